//! What an operator asks the running gateway, and does to it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use tests::web::{request, request_with};
use tests::{Client, DEADLINE, Gateway, Setup, command, process, program, targets, web};

const ADMIN: &str = "{ socket: admin.sock }";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// A user that is neither root nor one of the gateway's.
const STRANGER: u32 = 65_532;

const RULES: &str = "\
version: 1
rules:
  - { name: first, action: permit, port: PORT, special-use: permit }
  - { name: rest, action: permit, special-use: permit }
";

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
}

fn ask(gateway: &Gateway, request: &str) -> (u16, String) {
    let socket = UnixStream::connect(gateway.folder().file("admin.sock")).expect("the admin socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let answer = web::exchange(socket, request);
    (answer.code, answer.body)
}

#[test]
fn sessions_are_listed_as_they_are_and_ended_by_number() {
    let (gateway, echo) = (Setup::new().key("admin", ADMIN).start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    tunnel.expect_echo(b"hello");
    let mut greeted = Client::connect(gateway.address());
    assert_eq!(greeted.greet(&[0x00]), 0x00);

    let list = json(&gateway.command(&["sessions", "--json"]).succeeded().stdout);
    let rows = list.as_array().expect("a list");
    assert_eq!(rows.len(), 2, "{list}");
    let [first, second] = [&rows[0], &rows[1]];
    assert_eq!(first["stage"], "open");
    assert_eq!(first["client"], tunnel.local().to_string());
    assert_eq!(first["target"], echo.address.to_string());
    assert_eq!((first["up"].as_u64(), first["down"].as_u64()), (Some(5), Some(5)));
    assert_eq!((&second["stage"], &second["target"]), (&"authenticated".into(), &Value::Null));

    let number = first["session"].as_str().expect("a number");
    assert_eq!(gateway.command(&["kill", number]).succeeded().text(), "1 ended\n");
    let record = gateway.session_of(tunnel.local());
    assert_eq!((record.text("cause"), record.text("verdict")), ("killed", "permit"));
    assert!(record.text("detail").starts_with("by root (uid 0)"), "{record}");
    assert_eq!(gateway.command(&["kill", number]).code, Some(1), "it is gone");
    let act = gateway.record(|record| record.text("event") == "admin");
    assert_eq!((act.text("act"), act.text("about")), ("end-session", number));
    tunnel.receive_all();
}

#[test]
fn all_sessions_of_a_rule_a_source_or_an_identity_are_ended_together() {
    let (echo, other) = (targets::echo(), targets::echo());
    let rules = RULES.replace("PORT", &echo.address.port().to_string());
    let gateway = Setup::new().policy(&rules).key("admin", ADMIN).start();
    let open = |target| Client::tunnel(gateway.address(), target);
    let (first, second, mut third) = (open(echo.address), open(echo.address), open(other.address));
    assert_eq!(
        gateway.command(&["kill"]).code,
        Some(64),
        "all sessions at once is nothing to say by mistake"
    );
    assert_eq!(gateway.command(&["kill", "--rule", "first"]).succeeded().text(), "2 ended\n");
    for ended in [&first, &second] {
        assert_eq!(gateway.session_of(ended.local()).text("cause"), "killed");
    }
    third.expect_echo(b"another rule's");
    assert_eq!(gateway.command(&["kill", "--source", "192.0.2.0/24"]).code, Some(1), "nobody from there");
    let ended = gateway.command(&["kill", "--identity", "anonymous", "--json"]).succeeded();
    assert_eq!(json(&ended.stdout)["ended"], 1);
    assert_eq!(gateway.session_of(third.local()).text("cause"), "killed");
}

#[test]
fn a_reload_answers_what_is_wrong_and_changes_nothing_then() {
    let gateway = Setup::new().key("admin", ADMIN).start();
    let good = gateway.command(&["reload"]).succeeded();
    assert_eq!(good.text(), "reloaded: policy 2 is in force\n");
    let again = json(&gateway.command(&["reload", "--json"]).succeeded().stdout);
    assert_eq!((again["policy"].as_u64(), again["warnings"].as_array().map(Vec::len)), (Some(3), Some(0)));
    gateway.folder().write("policy.yaml", "version: 1\nclients: []\nrules: [{ name: x, action: maybe }]\n");
    let bad = gateway.command(&["reload"]);
    assert_eq!(bad.code, Some(78), "{bad}");
    assert!(bad.stderr.contains("maybe") && bad.stderr.contains("policy.yaml"), "{bad}");
    let status = json(&gateway.command(&["status", "--json"]).succeeded().stdout);
    assert_eq!((status["policy"].as_u64(), status["unready"].is_null()), (Some(3), true));
}

#[test]
fn a_long_list_comes_in_parts() {
    let (gateway, echo) = (Setup::new().key("admin", ADMIN).start(), targets::echo());
    let open: Vec<_> = (0..5).map(|_| Client::tunnel(gateway.address(), echo.address)).collect();
    let page = |query: &str| {
        let (code, answer) = ask(&gateway, &request(&format!("GET /api/sessions?{query}"), ""));
        assert_eq!(code, 200, "{answer}");
        json(answer.as_bytes())
    };
    let numbers = |listing: &Value| {
        let rows = listing["sessions"].as_array().expect("a list").clone();
        rows.iter().map(|row| row["session"].as_str().expect("a number").to_owned()).collect::<Vec<_>>()
    };
    let first = page("limit=3&sort=oldest");
    assert_eq!((&first["open"], &first["matching"]), (&5.into(), &5.into()));
    assert_eq!(first["stages"]["open"], 5);
    let second = page(&format!("limit=3&sort=oldest&after={}", numbers(&first)[2]));
    let mut all = numbers(&first);
    all.extend(numbers(&second));
    assert_eq!(all.len(), 5, "{second}");
    all.reverse();
    assert_eq!(numbers(&page("")), all, "the newest first");
    let list = json(&gateway.command(&["sessions", "--json", "--limit", "2"]).succeeded().stdout);
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    for odd in ["limit=1001", "limit=-1", "sort=up", "after=x", "sort=rate&after=1-1", "colour=red"] {
        assert_eq!(ask(&gateway, &request(&format!("GET /api/sessions?{odd}"), "")).0, 400, "{odd}");
    }
    drop(open);
}

#[test]
fn refused_acts_leave_records_of_bounded_number() {
    let gateway = Setup::new().key("admin", ADMIN).start();
    let foreign = request("POST /api/sessions/1-1/end", "Origin: http://evil.example\r\n");
    for _ in 0..30 {
        assert_eq!(ask(&gateway, &foreign).0, 403);
    }
    let record = gateway.record(|record| record.text("event") == "admin");
    assert_eq!((record.text("act"), record.text("about")), ("end-session", "/api/sessions/1-1/end"));
    assert!(record.text("who").contains("uid "), "{record}");
    assert!(record.text("result").starts_with("refused: "), "{record}");
    assert_eq!(ask(&gateway, &request("POST /api/sessions/end", "")).0, 400);
    gateway.record(|record| record.text("result").starts_with("refused: say which"));
    let records = gateway.stop().records;
    let results =
        records.iter().filter(|record| record.text("event") == "admin").map(|act| act.text("result"));
    let results: Vec<_> = results.collect();
    let counted = results.iter().filter_map(|result| {
        let more = result.strip_prefix("refused: ")?.strip_suffix(" more")?;
        more.parse::<usize>().ok()
    });
    let single = results.iter().filter(|result| result.contains("another site")).count();
    assert_eq!(counted.sum::<usize>() + single, 30, "{results:?}");
    assert!(single < 30, "{results:?}");
}

#[test]
fn a_question_is_answered_by_the_policy_that_is_in_force() {
    let gateway = Setup::new().key("admin", ADMIN).start();
    let body = r#"{"from":"10.0.0.1","to":"192.0.2.1:443"}"#;
    let (code, answer) = ask(&gateway, &request_with("POST /api/explain", body));
    assert_eq!(code, 200, "{answer}");
    assert!(json(answer.as_bytes())["request"].is_object(), "{answer}");
    for odd in
        [r#"{"from":"x"}"#, r#"{"from":"10.0.0.1"}"#, "{", r#"{"from":"10.0.0.1","to":"a:1","more":1}"#]
    {
        let (code, answer) = ask(&gateway, &request_with("POST /api/explain", odd));
        assert!((400..500).contains(&code), "{odd}: {code} {answer}");
    }
}

#[test]
fn a_gateway_that_stops_is_not_ready_but_healthy() {
    let (gateway, echo) = (Setup::new().key("admin", ADMIN).start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    assert_eq!(ask(&gateway, &request("GET /readyz", "")).0, 200);
    gateway.signal(Signal::TERM);
    let stopping = |line: &str| line.contains("stopping").then_some(());
    assert!(gateway.log().find(DEADLINE, stopping).is_some());
    let (code, why) = ask(&gateway, &request("GET /readyz", ""));
    assert_eq!(code, 503, "{why}");
    assert!(why.contains("stops"), "{why}");
    assert_eq!(ask(&gateway, &request("GET /healthz", "")).0, 200);
    tunnel.expect_echo(b"and open tunnels go on");
    drop(tunnel);
    assert!(gateway.log().wait_for_end(DEADLINE));
    assert!(!gateway.folder().file("admin.sock").exists(), "the socket goes with the gateway");
}

#[test]
fn pages_of_other_sites_and_other_hosts_names_are_refused() {
    let gateway = Setup::new().key("admin", ADMIN).start();
    let foreign = request("POST /api/reload", "Origin: http://evil.example\r\n");
    assert_eq!(ask(&gateway, &foreign).0, 403);
    let rebound = "GET /api/sessions HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&gateway, rebound).0, 421);
    assert_eq!(ask(&gateway, &request("GET /api/nothing", "")).0, 404);
    assert_eq!(ask(&gateway, &request("DELETE /api/sessions", "")).0, 405);
}

#[test]
fn over_loopback_everybody_may_look_and_only_the_token_acts() {
    let setup = Setup::new().key("admin", "{ http: '127.0.0.1:0', token-file: token }");
    let gateway = setup.start_with(|folder| drop(folder.write("token", TOKEN)));
    let address = web::admin(&gateway);
    let ask = |text: String| {
        let answer = web::ask(address, &text);
        (answer.code, answer.body)
    };
    let (code, list) = ask(request("GET /api/sessions", ""));
    assert_eq!((code, &json(list.as_bytes())["open"]), (200, &0.into()));
    assert_eq!(ask(request("POST /api/reload", "")).0, 403);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(ask(request("POST /api/reload", &bearer("0123456789abcdef0123456789abcdeF"))).0, 401);
    let (code, answer) = ask(request("POST /api/reload", &bearer(TOKEN)));
    assert_eq!(code, 200, "{answer}");
    let act = gateway.record(|record| record.text("result") == "policy 2 is in force");
    assert!(act.text("who").starts_with("token from 127.0.0.1:"), "{act}");
    let stopped = gateway.stop();
    let records: String = stopped.records.iter().map(ToString::to_string).collect();
    assert!(!stopped.log.contains(TOKEN) && !records.contains(TOKEN), "a secret stays one");
}

/// A gateway whose admin socket everybody may ask, if others can be tried here.
fn open_to_all() -> Option<(Gateway, PathBuf)> {
    if !process::is_root() {
        eprintln!("NOT RUN: only root can become another user");
        return None;
    }
    let setup = Setup::new().key("admin", "{ socket: admin.sock, mode: '0666' }");
    let gateway = setup.start_with(|folder| folder.set_mode("", 0o755));
    let socket = gateway.folder().file("admin.sock");
    Some((gateway, socket))
}

/// Begins a command of another user.
fn as_user(user: u32) -> Command {
    let mut tool = Command::new(command::tool("setpriv"));
    tool.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()]);
    tool
}

#[test]
fn the_socket_knows_who_may_look_and_who_may_act() {
    let Some((gateway, socket)) = open_to_all() else { return };
    assert_eq!(socket.metadata().expect("it is there").permissions().mode() & 0o777, 0o666);
    let as_stranger = |words: &[&str]| {
        let mut tool = as_user(STRANGER);
        tool.arg(program::built("socksd")).args(words).arg("--socket").arg(&socket);
        command::run(&mut tool, DEADLINE)
    };
    as_stranger(&["status"]).succeeded();
    let refused = as_stranger(&["reload"]);
    assert_eq!(refused.code, Some(77), "{refused}");
    assert!(refused.stderr.contains("only an operator"), "{refused}");
    gateway.edit("socksd.yaml", "mode: '0666'", "mode: '0666', viewers: []");
    gateway.command(&["reload"]).succeeded();
    let refused = as_stranger(&["status"]);
    assert_eq!(refused.code, Some(77), "who is struck off the list is not let in: {refused}");
}

/// Opens many connections, asks by each something that it never says whole, and keeps them.
const CROWD: &str = "\
import socket, sys
crowd = [socket.socket(socket.AF_UNIX) for _ in range(40)]
for one in crowd:
    one.connect(sys.argv[1])
    try:
        one.sendall(b'POST /api/explain HTTP/1.1\\r\\nhost: localhost\\r\\ncontent-type: application/json\\r\\ncontent-length: 9\\r\\n\\r\\n')
    except OSError:
        pass
print('there', flush=True)
sys.stdin.read()
";

#[test]
fn one_user_keeps_nobody_out() {
    let Some((gateway, socket)) = open_to_all() else { return };
    let mut crowd = as_user(STRANGER);
    crowd.args(["/usr/bin/python3", "-c", CROWD]).arg(&socket).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut crowd = crowd.spawn().expect("python3 runs");
    let mut there = [0; 5];
    crowd.stdout.as_mut().expect("piped").read_exact(&mut there).expect("all have come");
    let status = |mut tool: Command| {
        tool.arg(program::built("socksd")).args(["status", "--socket"]).arg(&socket);
        command::run(&mut tool, DEADLINE)
    };
    gateway.command(&["status"]).succeeded();
    status(as_user(STRANGER - 1)).succeeded();
    let until = Instant::now() + DEADLINE;
    loop {
        let refused = status(as_user(STRANGER));
        if refused.stderr.contains("too many connections are open") {
            break;
        }
        assert!(Instant::now() < until, "he has what he may have: {refused}");
    }
    drop(crowd.stdin.take());
    crowd.wait().expect("it ends");
    let until = Instant::now() + DEADLINE;
    while status(as_user(STRANGER)).code != Some(0) {
        assert!(Instant::now() < until, "there is room again");
    }
}

#[test]
fn mistakes_of_the_section_are_told_with_their_place() {
    let table = [
        ("{}", "neither `socket` nor `http`"),
        ("{ http: '0.0.0.0:9180' }", "an address of this machine alone"),
        ("{ socket: a, mode: '9999' }", "a file mode in octal"),
        ("{ socket: a, operators: [nobody-of-that-name] }", "a user of this machine"),
        ("{ socket: a, token-file: token }", "is for `http`"),
        ("{ http: '127.0.0.1:0', token-file: missing }", "missing"),
        ("{ socket: a, colour: red }", "colour"),
    ];
    for (section, expected) in table {
        let folder = Setup::new().key("admin", section).write();
        folder.write("token", TOKEN);
        let mut check = Command::new(program::built("socksd"));
        check.args(["check", "--config"]).arg(folder.file("socksd.yaml"));
        let checked = command::run(&mut check, DEADLINE);
        assert_eq!(checked.code, Some(78), "{section}: {checked}");
        assert!(checked.stderr.contains(expected), "{section}: {checked}");
    }
}
