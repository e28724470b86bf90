//! Records that the real gateway has written, judged by its own policy and by others.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use krb_testenv::Realm;
use serde_json::{Value, json};
use socks_core::wire::Target;
use tests::command::{Finished, run, tool};
use tests::forwarder::{self, Forwarder};
use tests::udp::Association;
use tests::{Client, DEADLINE, Folder, Gateway, Setup, process, program, targets};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const POLICY: &str = "\
version: 1
clients:
  - { methods: [gssapi], identity: '*@EXAMPLE.TEST', protection: [confidentiality] }
  - { methods: [password, none] }
rules:
  - { name: no-mail, action: deny, port: 25 }
  - { name: staff, action: permit, identity: 'group:staff', special-use: permit }
  - { name: data, action: permit, command: [bind, udp-associate], special-use: permit }
  - { name: users, action: permit, identity: 'password:o''brien', special-use: permit }
  - { name: web, action: permit, port: 80 }
";

/// A gateway with all methods, whose groups come from a file, and whose shadow policy is the same as the one in force.
fn start(realm: &Realm, folder: &Folder) -> Gateway {
    folder.write("groups.yaml", "groups: { staff: [alice@EXAMPLE.TEST] }\n");
    let keytab = folder.file("socks.keytab");
    realm.keytab(&["socks/localhost"], &keytab).expect("the service is there");
    let (keytab, groups) = (keytab.display(), folder.file("groups.yaml"));
    let auth = format!(
        "  - kind: gssapi\n    options: {{ keytab: {keytab}, groups: [{{ file: {} }}] }}\n  \
         - kind: password\n    options: {{ users: users.yaml }}\n  - kind: none\n",
        groups.display()
    );
    let environment = realm.server_env(folder.file("socks.keytab"));
    let setup = Setup::new().user("o'brien", "secret").auth(&auth).policy(POLICY);
    let setup = setup.key("shadow-policy", "same.yaml").key("admin", "{ socket: admin.sock }");
    setup.environment(environment.iter()).start_with(|folder| drop(folder.write("same.yaml", POLICY)))
}

fn anonymous(gateway: &Gateway) -> Client {
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client
}

fn obrien(gateway: &Gateway) -> Client {
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x02]), 0x02);
    assert_eq!(client.login("o'brien", "secret"), 0x00);
    client
}

/// Asks for a page at a name, with alice's ticket.
fn alice(gateway: &Gateway, realm: &Realm, web: SocketAddr) {
    let mut command = forwarder::command(&format!("localhost:{}", gateway.address().port()));
    realm.kinit("alice").expect("the password is right").env().apply(&mut command);
    let forwarder = Forwarder::start_as(command);
    let mut curl = Command::new(tool("curl"));
    curl.args(["--disable", "--silent", "--show-error", "--noproxy", ""]);
    curl.args(["--proxy", &forwarder.url("socks5h"), &format!("http://localhost:{}/", web.port())]);
    assert_eq!(run(&mut curl, DEADLINE).succeeded().text(), "hello\n");
}

/// Whatever a policy decides: every command, every method, permitted and denied, by name and by address.
fn live_through_it(gateway: &Gateway, realm: &Realm) {
    alice(gateway, realm, targets::http().address);
    let mut bound = anonymous(gateway);
    let reply = bound.bind(([0, 0, 0, 0], 0).into());
    let peer = TcpStream::connect(reply.bound).expect("the gateway listens");
    assert_eq!(bound.reply().code, 0x00);
    drop((bound, peer));
    let mut alone = anonymous(gateway);
    assert_eq!(alone.bind(([127, 0, 0, 1], 1).into()).code, 0x00);
    drop(alone);
    let echo = targets::udp_echo(V4);
    let association = Association::open(gateway.address());
    association.expect_echo(&Target::from(echo.address), echo.address, b"carried");
    association.end();
    let (mut tunnel, echo) = (obrien(gateway), targets::echo());
    assert_eq!(tunnel.connect_to(echo.address).code, 0x00);
    drop(tunnel);
    let closed = TcpListener::bind((V4, 0)).and_then(|listener| listener.local_addr()).expect("a free port");
    assert_eq!(obrien(gateway).connect_to(closed).code, 0x05);
    assert_eq!(anonymous(gateway).connect_to(([192, 0, 2, 1], 25).into()).code, 0x02);
    assert_eq!(anonymous(gateway).connect_to(([127, 0, 0, 1], 80).into()).code, 0x02);
    assert_eq!(anonymous(gateway).connect_to_name(b"localhost", 80).code, 0x02);
    assert_eq!(anonymous(gateway).connect_to_name(b"localhost", 81).code, 0x02);
    drop(anonymous(gateway));
    gateway.sessions(11);
}

/// `socksd policy replay` in the gateway's folder.
fn replay(folder: &Folder, words: &[&str]) -> Finished {
    let mut command = Command::new(program::built("socksd"));
    command.args(["policy", "replay"]).args(words).current_dir(folder.path());
    run(&mut command, DEADLINE)
}

fn answer(finished: &Finished) -> Value {
    serde_json::from_slice(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"))
}

#[test]
fn what_a_gateway_has_recorded_its_own_policy_says_again_and_another_one_does_not() {
    let realm = Realm::builder("EXAMPLE.TEST").user("alice", "secret").service("socks/localhost");
    let (realm, files) = (realm.start().expect("a realm"), Folder::new());
    let gateway = start(&realm, &files);
    live_through_it(&gateway, &realm);
    let folder = gateway.folder();
    let shadow = answer(&gateway.command(&["shadow", "--json"]).succeeded());
    assert_eq!((&shadow["differences"], &shadow["failed"]), (&json!([]), &false.into()), "the same policy");
    assert!(shadow["compared"].as_u64().is_some_and(|count| count >= 10), "{shadow:#}");
    assert!(gateway.records().iter().all(|record| record.0.get("shadow").is_none()));

    for how in
        [&["--config", "socksd.yaml"][..], &["policy.yaml"], &["--config", "socksd.yaml", "policy.yaml"]]
    {
        let same = replay(folder, &[&["--audit", "audit.jsonl", "--json"], how].concat());
        let told = answer(&same);
        assert_eq!((same.code, &told["changes"]), (Some(0), &json!([])), "{told:#}");
        assert_eq!((&told["judged"], &told["sums"]["unchanged"]), (&10.into(), &10.into()), "{told:#}");
        assert_eq!(
            (&told["associations"], &told["skipped"]["no-request"]),
            (&1.into(), &1.into()),
            "{told:#}"
        );
    }

    let next = POLICY
        .replace(
            "{ name: no-mail, action: deny, port: 25 }",
            "{ name: mail, action: permit, command: [connect], port: 25 }",
        )
        .replace("group:staff", "group:admins")
        .replace("name: data", "name: transfers")
        .replace("port: 80", "port: [80, 81]");
    folder.write("next.yaml", &next);
    let mut audit = OpenOptions::new().append(true).open(folder.file("audit.jsonl")).expect("the file");
    audit.write_all(b"{\"v\":1,\"event\":\"sess\n{\"v\":7,\"event\":\"session\"}\nodd").expect("room");
    let other = replay(folder, &["--audit", "audit.jsonl", "--json", "next.yaml"]);
    let told = answer(&other);
    assert_eq!(other.code, Some(1), "{told:#}");
    let sums = json!({"unchanged": 4, "permitted-to-denied": 1, "denied-to-permitted": 1, "other-rule": 3, "undecided": 1});
    assert_eq!(told["sums"], sums, "{told:#}");
    assert_eq!((&told["skipped"]["no-record"], &told["skipped"]["newer-version"]), (&2.into(), &1.into()));
    let lost = &told["changes"][0];
    assert_eq!((&lost["change"], &lost["then"]["rule"]), (&"permitted-to-denied".into(), &"staff".into()));
    assert_eq!(lost["examples"][0]["identity"], "alice@EXAMPLE.TEST");

    let shown = replay(folder, &["--audit", "audit.jsonl", "next.yaml"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(1), ""), "no progress where nobody watches");
    for words in [
        "changes  1 permitted to denied, 1 denied to permitted, 3 by another rule, 1 undecided; 4 unchanged",
        "permitted to denied: 1 of 1 identities, rule `staff` then, no-match now",
        "denied to permitted: 1 of 1 identities, rule `no-mail` then, rule `mail` now",
        "by another rule: 3 of 1 identities, rule `data` then, rule `transfers` now",
        "depends on the address now",
        "anonymous from 127.0.0.1:",
    ] {
        assert!(shown.text().contains(words), "{words} in\n{}", shown.text());
    }
}

const LINE: &str = r#"{"v":1,"event":"session","session":"1-1","started":"2026-03-02T08:00:00Z","listener":"a","client":"10.0.0.1:1","method":"none","identity":"anonymous","protection":"none","command":"connect","target":"192.0.2.1:80","rule":"web","cause":"closed"}"#;

/// A folder with a policy that says the same to that line, and an audit file of it.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write(
        "policy.yaml",
        "version: 1\nclients: [{ methods: [none] }]\nrules: [{ name: web, action: permit }]\n",
    );
    folder.write("audit.jsonl", &format!("{LINE}\n"));
    folder
}

#[test]
fn mistakes_and_files_without_records_have_exit_codes_of_their_own() {
    let folder = folder();
    folder.write("bad.yaml", "version: 1\nclients: []\nrules: [{ name: web, action: permitt }]\n");
    folder.write("notes.txt", "nothing of ours\n");
    folder.write("empty.jsonl", "");
    for (words, code, said) in [
        (&["--audit", "audit.jsonl", "policy.yaml"][..], 0, ""),
        (&["--audit", "audit.jsonl", "notes.txt", "policy.yaml"], 0, ""),
        (&["--audit", "audit.jsonl", "bad.yaml"], 78, "bad.yaml:3:"),
        (&["--audit", "no-such-file", "policy.yaml"], 71, "audit file `no-such-file`: "),
        (&["--audit", ".", "policy.yaml"], 71, "audit file `.`: "),
        (
            &["--audit", "notes.txt", "policy.yaml"],
            78,
            "nothing could be judged: 1 lines; 1 lines that are no record",
        ),
        (
            &["--audit", "empty.jsonl", "policy.yaml"],
            78,
            "nothing could be judged: 0 lines; the input is empty",
        ),
        (&["--audit", "audit.jsonl"], 64, ""),
    ] {
        let finished = replay(&folder, words);
        assert_eq!(finished.code, Some(code), "{words:?}: {finished}");
        assert!(finished.stderr.contains(said), "{words:?}: {finished}");
    }
    let told = replay(&folder, &["--audit", "audit.jsonl", "--json", "bad.yaml"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(78), ""), "{told}");
    assert_eq!(answer(&told)["findings"][0]["line"], 3);
}

#[test]
fn many_records_come_by_standard_input() {
    let folder = folder();
    let mut command = Command::new(program::built("socksd"));
    command.args(["policy", "replay", "--json", "policy.yaml", "--audit", "-"]).current_dir(folder.path());
    let text = format!("{LINE}\n").repeat(20_000);
    let finished = tests::command::run_with_input(&mut command, text.as_bytes(), DEADLINE).succeeded();
    assert_eq!(answer(&finished)["sums"]["unchanged"], 20_000);
}

#[test]
fn a_person_who_waits_sees_how_far_it_is() {
    let folder = folder();
    let pipe = folder.file("pipe");
    run(Command::new(tool("mkfifo")).arg(&pipe), DEADLINE).succeeded();
    // `script` gives it a terminal.
    let line = format!("{} policy replay --audit pipe policy.yaml", program::built("socksd").display());
    let mut script = Command::new(tool("script"));
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(folder.path());
    script.env("TERM", "xterm").env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("script is there");
    let mut output = child.stdout.take().expect("a pipe");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut octets = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut octets) {
            let _ = tell.send(String::from_utf8_lossy(&octets[..count]).into_owned());
        }
    });
    let mut seen = String::new();
    let mut wait = |wanted: &str| {
        while !seen.contains(wanted) {
            match told.recv_timeout(DEADLINE) {
                Ok(text) => seen += &text,
                Err(_) => return Err(seen.clone()),
            }
        }
        Ok(())
    };
    // It waits for whoever writes, and the line comes while it reads.
    let mut audit = OpenOptions::new().write(true).open(&pipe).expect("somebody reads");
    writeln!(audit, "{LINE}").expect("somebody reads");
    let progress = wait("1 lines judged, 0 MiB of pipe");
    if progress.is_err() {
        process::kill(child.id());
    }
    drop(audit);
    assert_eq!(progress, Ok(()));
    assert_eq!(wait("1 unchanged"), Ok(()));
    assert!(child.wait().expect("a child of ours").success());
}
