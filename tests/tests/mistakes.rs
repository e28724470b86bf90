//! Mistakes in the gateway's files: all are shown with their places, and nothing is opened.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use tests::command::{Finished, run};
use tests::setup::add_user;
use tests::{Client, DEADLINE, Folder, Setup, program, targets};

/// EX_CONFIG of sysexits.h.
const CONFIG: i32 = 78;

const POLICY: &str = "\
version: 1
clients:
  - methods: [none]
rules:
  - name: everything
    action: permit
    special-use: permit
";

const GOOD: &str = "\
listeners:
  - address: 127.0.0.1:0
auth:
  - kind: none
policy: policy.yaml
";

fn socksd(words: &[&str], folder: &Folder) -> Finished {
    let mut command = Command::new(program::built("socksd"));
    run(command.args(words).arg("--config").arg(folder.file("socksd.yaml")), DEADLINE)
}

fn files(config: &str, policy: &str) -> Folder {
    let folder = Folder::new();
    folder.write("socksd.yaml", config);
    folder.write("policy.yaml", policy);
    folder
}

/// Checks that both `run` and `check` end with 78 and say each text.
#[track_caller]
fn expect_mistakes(folder: &Folder, texts: &[&str]) {
    for word in ["run", "check"] {
        let finished = socksd(&[word], folder);
        assert_eq!(finished.code, Some(CONFIG), "{word}: {finished}");
        for text in texts {
            assert!(finished.stderr.contains(text), "`{text}` is not said by {word}: {finished}");
        }
    }
}

#[test]
fn every_mistake_of_the_configuration_is_shown_with_its_place() {
    let config = "\
listeners:
  - address: 127.0.0.1:99999
  - adress: 127.0.0.1:1080
auth:
  - kind: nonesuch
  - kind: none
    name: two words
policy: policy.yaml
limits:
  idle-timeout: 30
  max-sessions: many
  handshake-timeout: 0s
  idle-timeout: 10s
log: { format: xml }
colour: blue
";
    let places = [
        ":2:",
        "99999",
        ":3:",
        "adress",
        ":5:",
        "nonesuch",
        ":7:",
        "two words",
        ":10:",
        "30",
        ":11:",
        "many",
        ":12:",
        ":13:",
        ":14:",
        "xml",
        ":15:",
        "colour",
    ];
    expect_mistakes(&files(config, POLICY), &places);
}

#[test]
fn mistakes_of_all_files_are_shown_together() {
    let config =
        GOOD.replace("kind: none", "kind: password\n    options: { users: users.yaml }") + "colour: blue\n";
    let policy = "version: 1\nrules:\n  - name: a\n    action: perhaps\n  - name: b\n    action: permit\n    sorce: x\n";
    let folder = files(&config, policy);
    folder.write("users.yaml", "users: 7\n");
    folder.set_mode("users.yaml", 0o600);
    expect_mistakes(
        &folder,
        &[
            "socksd.yaml:7:",
            "colour",
            "policy.yaml:4:",
            "perhaps",
            "policy.yaml:7:",
            "sorce",
            "users.yaml:1:",
        ],
    );
}

#[test]
fn files_that_are_missing_or_no_yaml_are_mistakes() {
    let missing = Folder::new();
    expect_mistakes(&missing, &["socksd.yaml"]);
    let no_policy = Folder::new();
    no_policy.write("socksd.yaml", GOOD);
    expect_mistakes(&no_policy, &["policy.yaml"]);
    let no_users =
        files(&GOOD.replace("kind: none", "kind: password\n    options: { users: users.yaml }"), POLICY);
    expect_mistakes(&no_users, &["users.yaml"]);
    for text in ["", "- a\n- b\n", "listeners: [\n", "\u{0}", "a: *b\n", "just words\n"] {
        expect_mistakes(&files(text, POLICY), &["socksd.yaml"]);
        expect_mistakes(&files(GOOD, text), &["policy.yaml"]);
    }
}

#[test]
fn a_policy_whose_own_test_fails_is_a_mistake() {
    let test = "\
tests:
  - name: mail goes out
    given:  { identity: anonymous, method: none, source: 192.0.2.1, command: connect, destination: \"203.0.113.5:25\" }
    expect: { deny: no-match }
";
    expect_mistakes(&files(GOOD, &format!("{POLICY}{test}")), &["policy.yaml", "mail goes out"]);
}

#[test]
fn nothing_is_opened_when_a_file_has_a_mistake() {
    // The port is taken: a gateway that opened it before it read everything would say so instead.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("a bound listener");
    let config =
        GOOD.replace("127.0.0.1:0", &address.to_string()) + "audit: { file: audit.jsonl }\ncolour: blue\n";
    let folder = files(&config, POLICY);
    expect_mistakes(&folder, &["colour"]);
    assert!(!folder.file("audit.jsonl").exists(), "the audit file was made");
    let whole = files(&config.replace("colour: blue\n", ""), POLICY);
    let finished = socksd(&["run"], &whole);
    assert_eq!(finished.code, Some(69), "a taken port is no mistake of a file: {finished}");
}

#[test]
fn a_users_file_that_everybody_can_read_is_a_warning() {
    let gateway = Setup::new().user("alice", "secret").start();
    let folder = gateway.folder();
    folder.set_mode("users.yaml", 0o600);
    let quiet = socksd(&["check"], folder).succeeded();
    assert!(!quiet.stderr.contains("users.yaml"), "{quiet}");
    folder.set_mode("users.yaml", 0o644);
    let warned = socksd(&["check"], folder).succeeded();
    assert!(warned.stderr.contains("warning") && warned.stderr.contains("users.yaml"), "{warned}");
}

#[test]
fn users_are_added_verified_and_removed() {
    let folder = Folder::new();
    let (file, socksd) = (folder.file("users.yaml"), program::built("socksd"));
    add_user(&socksd, &file, "alice", "first");
    add_user(&socksd, &file, "bob", "other");
    let user = |word: &str, name: &str, password: &str| {
        let mut command = Command::new(&socksd);
        command.args(["user", word, "--file"]).arg(&file).arg(name);
        tests::command::run_with_input(&mut command, format!("{password}\n").as_bytes(), DEADLINE).code
    };
    assert_eq!(user("verify", "alice", "first"), Some(0));
    assert_eq!(user("verify", "alice", "other"), Some(1));
    assert_eq!(user("verify", "nobody", "first"), Some(1));
    assert_eq!(user("remove", "alice", ""), Some(0));
    assert_eq!(user("verify", "alice", "first"), Some(1));
    assert_eq!(user("verify", "bob", "other"), Some(0));
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("it is there").permissions());
    assert_eq!(mode & 0o077, 0, "nobody else may read it");
}

#[test]
fn a_reload_takes_all_or_nothing() {
    let head = "version: 1\nclients:\n  - methods: [none]\n";
    let deny = "rules:\n  - name: nothing\n    action: deny\n    port: 1-65535\n";
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let mut old = Client::tunnel(gateway.address(), echo.address);
    let code = |target: SocketAddr| {
        let mut client = Client::connect(gateway.address());
        match client.greet(&[0x00]) {
            0x00 => client.connect_to(target).code,
            _ => 0x02,
        }
    };
    let reload = |policy: &str, said: &str| {
        gateway.folder().write("policy.yaml", policy);
        let before = gateway.log().all().len();
        gateway.signal(rustix::process::Signal::HUP);
        let mut seen = 0;
        let answer = gateway.log().find(DEADLINE, |line| {
            seen += 1;
            (seen > before && line.contains(said)).then_some(())
        });
        assert!(answer.is_some(), "`{said}` after a reload:\n{}", gateway.log().text());
    };
    reload("version: 1\nrules: 7\n", "nothing was reloaded");
    assert_eq!(code(echo.address), 0x00, "the old policy is in force");
    reload(
        &format!("{head}{deny}  - name: x\n    action: permit\n    source: 127.0.0.1\n    command: bind\n"),
        "reloaded",
    );
    assert_eq!(code(echo.address), 0x02, "the new policy is in force");
    old.expect_echo(b"open sessions go on");
}
