//! Failed logins: slow by name, locked out by name and source together, and what an operator sees and does.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Client, DEADLINE, Gateway, Setup, command, program};

const ADMIN: &str = "{ socket: admin.sock }";
const GRANTED: u8 = 0x00;
const REFUSED: u8 = 0x01;

/// A gateway with the user `alice`, and these keys of `limits.logins`.
fn start(logins: &str) -> Gateway {
    Setup::new().user("alice", "secret").limit("logins", logins).key("admin", ADMIN).start()
}

fn source(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

/// Logs in from an address of loopback, and gives the status.
#[track_caller]
fn login(gateway: &Gateway, from: u8, name: &str, password: &str) -> u8 {
    let mut client = Client::connect_from(source(from), gateway.address());
    assert_eq!(client.greet(&[0x02]), 0x02);
    client.login(name, password)
}

fn socksd(gateway: &Gateway, words: &[&str]) -> command::Finished {
    let mut program = Command::new(program::built("socksd"));
    program.args(words).arg("--config").arg(gateway.folder().file("socksd.yaml"));
    command::run(&mut program, DEADLINE)
}

fn locks(gateway: &Gateway) -> Vec<Value> {
    let answer = socksd(gateway, &["locks", "--json"]).succeeded().stdout;
    serde_json::from_slice(&answer).expect("a list")
}

#[test]
fn who_guesses_is_locked_out_where_he_is_and_nobody_else() {
    let gateway = start("{ longest-delay: off, lock-after: 3 }");
    for name in ["alice", "nobody"] {
        for _ in 0..3 {
            assert_eq!(login(&gateway, 2, name, "guess"), REFUSED);
        }
    }
    assert_eq!(login(&gateway, 2, "alice", "secret"), REFUSED, "even the right password");
    let record = gateway.record(|record| record.text("cause") == "locked-out");
    record.expect(&[("verdict", "deny"), ("claimed-identity", "alice"), ("method", "password")]);
    assert_eq!(login(&gateway, 3, "alice", "secret"), GRANTED, "the owner, from elsewhere");

    let shown: Vec<_> =
        locks(&gateway).iter().map(|lock| (lock["name"].clone(), lock["source"].clone())).collect();
    let expected = ["alice", "nobody"].map(|name| (name.into(), "127.0.0.2".into()));
    assert_eq!(shown, expected, "a name that is not there is locked as any other");
    for name in ["alice", "nobody"] {
        let lock = gateway
            .record(|record| record.text("event") == "login-lock" && record.text("claimed-identity") == name);
        lock.expect(&[("source", "127.0.0.2"), ("method", "password")]);
        assert_eq!(lock.number("failures"), 3);
    }
}

#[test]
fn an_operator_lifts_a_lock_and_leaves_a_record_of_it() {
    let gateway = start("{ longest-delay: off, lock-after: 1 }");
    for (from, name) in [(2, "alice"), (3, "alice"), (2, "bob")] {
        assert_eq!(login(&gateway, from, name, "guess"), REFUSED);
    }
    assert!(socksd(&gateway, &["status"]).succeeded().text().contains("locked    3 after failed logins"));
    assert!(socksd(&gateway, &["locks"]).succeeded().text().contains("127.0.0.3"));
    assert_eq!(socksd(&gateway, &["unlock"]).code, Some(64), "all at once is nothing to say by mistake");
    assert_eq!(socksd(&gateway, &["unlock", "carol"]).code, Some(1));
    assert_eq!(socksd(&gateway, &["unlock", "alice", "--source", "office"]).code, Some(64));
    let lifted = socksd(&gateway, &["unlock", "alice", "--source", "127.0.0.2"]).succeeded();
    assert_eq!(lifted.text(), "1 lifted\n");
    let is_unlock =
        |record: &tests::Record| record.text("act") == "unlock" && record.text("result") == "1 lifted";
    let act = gateway.record(is_unlock);
    assert!(act.text("who").starts_with("root (uid 0)") && act.text("about").contains("alice"), "{act}");
    assert_eq!(login(&gateway, 2, "alice", "secret"), GRANTED);
    assert_eq!(login(&gateway, 3, "alice", "secret"), REFUSED);
    let lifted = socksd(&gateway, &["unlock", "--source", "127.0.0.3", "--json"]).succeeded().text();
    assert_eq!(serde_json::from_str::<Value>(&lifted).expect("JSON")["lifted"], 1);
    assert_eq!(locks(&gateway).len(), 1, "that of bob");
}

#[test]
fn a_name_under_attack_is_slow_for_those_who_guess_and_its_owner_gets_in() {
    let gateway = start("{ longest-delay: 1500ms, lock-after: 9 }");
    assert_eq!(login(&gateway, 9, "alice", "secret"), GRANTED);
    thread::scope(|scope| {
        for name in ["alice", "nobody"] {
            scope.spawn(|| (2..7).for_each(|from| assert_eq!(login(&gateway, from, name, "guess"), REFUSED)));
        }
    });
    let took = |from, name, password, expected| {
        let begun = Instant::now();
        assert_eq!(login(&gateway, from, name, password), expected);
        begun.elapsed()
    };
    let delay = Duration::from_millis(1500);
    thread::scope(|scope| {
        // From sources that have never failed; a name that is not there waits as any other.
        scope.spawn(|| assert!(took(7, "alice", "guess", REFUSED) >= delay));
        scope.spawn(|| assert!(took(7, "nobody", "guess", REFUSED) >= delay));
        scope.spawn(|| assert!(took(8, "alice", "secret", GRANTED) >= delay, "a place that is new"));
        scope.spawn(|| assert!(took(9, "alice", "secret", GRANTED) < delay, "where she has come in before"));
    });
}

/// The metrics, by curl as any program would.
fn scrape(gateway: &Gateway) -> String {
    let mut curl = Command::new(command::tool("curl"));
    curl.args(["--silent", "--unix-socket"]).arg(gateway.folder().file("admin.sock"));
    command::run(curl.arg("http://localhost/metrics"), DEADLINE).succeeded().text()
}

#[test]
fn a_reload_keeps_what_is_remembered_and_counts_by_its_new_keys() {
    let gateway = start("{ longest-delay: off, lock-after: 2 }");
    for _ in 0..2 {
        login(&gateway, 2, "alice", "guess");
    }
    login(&gateway, 3, "alice", "guess");
    let config = std::fs::read_to_string(gateway.folder().file("socksd.yaml")).expect("it is there");
    let config = config.replace("lock-after: 2", "lock-after: 4");
    gateway.folder().write("socksd.yaml", &config);
    socksd(&gateway, &["reload"]).succeeded();
    assert_eq!(login(&gateway, 2, "alice", "secret"), REFUSED, "the lock holds");
    for _ in 0..2 {
        login(&gateway, 3, "alice", "guess");
    }
    assert_eq!(locks(&gateway).len(), 1, "three failures are no longer enough");
    login(&gateway, 3, "alice", "guess");
    assert_eq!(locks(&gateway).len(), 2);
    let metrics = scrape(&gateway);
    for line in ["socksd_login_locks_total 2", "socksd_logins_locked 2"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn mistakes_of_the_section_are_told_with_their_place() {
    let table = [("{ lock-after: 0 }", "`off` locks nobody out"), ("{ longest-delay: 5m }", "at most 60 s")];
    for (section, expected) in table {
        let folder = Setup::new().limit("logins", section).write();
        let mut check = Command::new(program::built("socksd"));
        check.args(["check", "--config"]).arg(folder.file("socksd.yaml"));
        let checked = command::run(&mut check, DEADLINE);
        assert_eq!(checked.code, Some(78), "{section}: {checked}");
        assert!(checked.stderr.contains(expected), "{section}: {checked}");
    }
}
