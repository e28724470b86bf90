//! What scripts rely on: exit codes, JSON, and no colour where nobody looks.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;
use tests::command::{Finished, run, run_with_input, tool};
use tests::setup::add_user;
use tests::{DEADLINE, Folder, program};

const CONFIG: &str = "\
listeners: [{ address: '127.0.0.1:0' }]
auth: [{ kind: password, options: { users: users.yaml } }]
policy: policy.yaml
";
const POLICY: &str = "\
version: 1
clients: [{ methods: [password] }]
rules:
  - { name: web, action: permit, identity: 'password:alice', port: 443 }
tests:
  - { name: alice may, given: { source: 10.0.0.1, identity: 'password:alice', destination: '192.0.2.1:443' }, expect: { permit: web } }
";

/// A gateway's files, with the account `alice`.
fn site(policy: &str) -> Folder {
    let folder = Folder::new();
    folder.write("socksd.yaml", CONFIG);
    folder.write("policy.yaml", policy);
    add_user(&program::built("socksd"), &folder.file("users.yaml"), "alice", "secret");
    folder
}

fn socksd(folder: &Folder, words: &str) -> Command {
    let mut command = Command::new(program::built("socksd"));
    command.args(words.split(' ')).current_dir(folder.path());
    command
}

fn call(folder: &Folder, words: &str) -> Finished {
    run_with_input(&mut socksd(folder, words), b"secret\n", DEADLINE)
}

fn json(finished: &Finished) -> Value {
    serde_json::from_slice(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"))
}

/// The table in `docs/operations.md`.
fn documented() -> BTreeMap<i32, String> {
    let page = fs::read_to_string(program::workspace().join("docs/operations.md")).expect("the page");
    let (_, table) = page.split_once("| code | means |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split_once('|').expect("two columns"));
    cells.map(|(code, text)| (code.trim().parse().expect("a number"), text.trim().to_owned())).collect()
}

#[test]
fn exit_codes_are_those_of_the_documentation() {
    let (folder, broken) = (site(POLICY), site("version: 1\nclients: 7\n"));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound listener").to_string();
    folder.write("taken.yaml", &CONFIG.replace("127.0.0.1:0", &address));
    let failing = site(&POLICY.replace("permit: web }", "deny: web }"));
    let codes = documented();
    for (folder, words, code) in [
        (&folder, "check --config socksd.yaml", 0),
        (&folder, "policy test --config socksd.yaml", 0),
        (&folder, "policy explain --config socksd.yaml --from 10.0.0.1 --to 192.0.2.1:25", 0),
        (&folder, "user verify --file users.yaml alice", 0),
        (&folder, "user verify --file users.yaml bob", 1),
        (&folder, "user add --file users.yaml alice", 1),
        (&folder, "user remove --file users.yaml bob", 1),
        (&folder, "no-such-command", 64),
        (&folder, "check --no-such-option", 64),
        (&folder, "policy explain --config socksd.yaml --from 10.0.0.1", 64),
        (&folder, "run --config taken.yaml", 69),
        (&folder, "user add --file no-such-folder/users.yaml carol", 71),
        (&folder, "check --config no-such-file.yaml", 78),
        (&broken, "run --config socksd.yaml", 78),
        (&broken, "check --config socksd.yaml", 78),
        (&failing, "policy test --config socksd.yaml", 78),
        (&failing, "run --config socksd.yaml", 78),
    ] {
        assert_eq!(call(folder, words).code, Some(code), "{words}: {}", call(folder, words));
        assert!(codes.contains_key(&code), "{code} stands in no row of {codes:#?}");
    }
}

#[test]
fn the_manual_tells_the_same_exit_codes_as_the_documentation() {
    let folder = Folder::new();
    let mut manual = Command::new(program::built("socksd"));
    run(manual.arg("--write-manual").arg(folder.path()), DEADLINE).succeeded();
    let page = fs::read_to_string(folder.file("man/man8/socksd.8")).expect("a page");
    let (_, section) = page.split_once(".SH \"EXIT STATUS\"\n").expect("the section");
    let section = section.split(".SH").next().expect("its text");
    let entries = section.split(".TP\n\\fB").skip(1).map(|entry| entry.split_once("\\fR\n").expect("a term"));
    let told: BTreeMap<i32, String> = entries
        .map(|(code, text)| (code.parse().expect("a number"), text.trim().replace("\\-", "-")))
        .collect();
    assert_eq!(told, documented());
}

#[test]
fn every_command_that_answers_a_question_answers_in_json() {
    let folder = site(POLICY);
    let checked = json(&call(&folder, "check --config socksd.yaml --json"));
    assert_eq!((&checked["mistakes"], &checked["findings"]), (&0.into(), &Value::Array(vec![])));
    let tested = json(&call(&folder, "policy test --config socksd.yaml --json"));
    assert_eq!(tested["passed"], serde_json::json!(["alice may"]));
    let explained = json(&call(
        &folder,
        "policy explain --config socksd.yaml --from 10.0.0.1 --identity password:alice --to 192.0.2.1:443 --json",
    ));
    assert_eq!(explained["request"]["verdict"]["rule"], "web");
    assert!(json(&call(&folder, "doctor --config socksd.yaml --json"))["findings"].is_array());
    let listed = json(&call(&folder, "user list --file users.yaml --json"));
    assert_eq!(listed["users"], serde_json::json!([{ "name": "alice", "state": "active", "groups": [] }]));
    let verified = json(&call(&folder, "user verify --file users.yaml alice --json"));
    assert_eq!(verified, serde_json::json!({ "name": "alice", "granted": true, "verdict": "granted" }));
}

#[test]
fn json_tells_mistakes_with_their_places_and_leaves_the_other_stream_alone() {
    let folder = site(&POLICY.replace("identity:", "identitty:"));
    for words in ["check --config socksd.yaml --json", "policy test --config socksd.yaml --json"] {
        let told = call(&folder, words);
        assert_eq!((told.code, told.stderr.as_str()), (Some(78), ""), "{words}: {told}");
        let finding = json(&told)["findings"][0].clone();
        assert_eq!(finding["severity"], "mistake");
        assert!(finding["file"].as_str().is_some_and(|file| file.ends_with("policy.yaml")), "{finding}");
        assert_eq!((&finding["line"], finding["column"].is_u64()), (&4.into(), true), "{finding}");
        assert!(finding["message"].as_str().is_some_and(|text| text.contains("identitty")), "{finding}");
    }
}

#[test]
fn a_list_of_users_shows_state_and_groups_and_no_hash() {
    let folder = site(POLICY);
    let add = "user add --file users.yaml --group staff --group build --expires 2020-01-01 bob";
    assert_eq!(call(&folder, add).code, Some(0));
    let listed = call(&folder, "user list --file users.yaml").succeeded().text();
    assert_eq!(listed, "alice  active\nbob    expired   until 2020-01-02T00:00:00Z  staff, build\n");
}

#[test]
fn only_a_terminal_is_coloured_unless_somebody_says_otherwise() {
    let folder = site(POLICY);
    let words = "policy test --config socksd.yaml";
    let coloured = |finished: &Finished| finished.text().contains('\x1b') || finished.stderr.contains('\x1b');
    assert!(!coloured(&call(&folder, words)), "a pipe");
    assert!(coloured(&call(&folder, &format!("{words} --color always"))));
    // `script` gives it a terminal.
    let on_terminal = |color: &str, no_color: Option<&str>| {
        let mut script = Command::new(tool("script"));
        let line = format!("{} {words} {color}", program::built("socksd").display());
        script
            .args(["--quiet", "--return", "--command", line.trim(), "/dev/null"])
            .current_dir(folder.path());
        script.env_remove("NO_COLOR").env("TERM", "xterm");
        if let Some(value) = no_color {
            script.env("NO_COLOR", value);
        }
        coloured(&run(&mut script, DEADLINE).succeeded())
    };
    assert!(on_terminal("", None));
    assert!(on_terminal("", Some("")), "an empty variable is none");
    assert!(!on_terminal("", Some("1")));
    assert!(!on_terminal("--color never", None));
    assert!(on_terminal("--color always", Some("1")));
}
