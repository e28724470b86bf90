//! What an operator does to a gateway, and what a machine does to it.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use tests::{Client, DEADLINE, Gateway, Record, Setup, process, targets};

const NO_MAIL: &str = "\
version: 1
clients: [{ methods: [none] }]
rules:
  - { name: no-echo, action: deny, port: PORT }
  - { name: rest, action: permit, special-use: permit }
";

fn pid(gateway: &Gateway) -> Pid {
    Pid::from_raw(i32::try_from(gateway.pid()).expect("a process number")).expect("not zero")
}

fn limit_descriptors(gateway: &Gateway, soft: u64) {
    let hard = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(pid(gateway)), Resource::Nofile, Rlimit { current: Some(soft), maximum: hard })
        .expect("a child of ours, and not above its hard limit");
}

/// The number that the next descriptor would have: a limit of that number leaves room for none.
fn first_free_descriptor(gateway: &Gateway) -> u64 {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("a child of ours");
    let open: Vec<u64> = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).expect("there is always one")
}

#[test]
fn no_descriptors_left_means_waiting_and_not_spinning() {
    let echo = targets::echo();
    let gateway = Setup::new().start();
    let mut before = Client::tunnel(gateway.address(), echo.address);
    limit_descriptors(&gateway, first_free_descriptor(&gateway));

    let mut waiting = Client::connect(gateway.address());
    waiting.send(&[0x05, 0x01, 0x00]);
    let told = |line: &str| line.contains("no resources to accept").then_some(());
    assert!(gateway.log().find(DEADLINE, told).is_some());
    let before_waiting = process::cpu_time(gateway.pid());
    waiting.stream().set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    assert!(waiting.stream().read(&mut [0]).is_err(), "nobody is served without a descriptor");
    waiting.stream().set_read_timeout(Some(DEADLINE)).expect("not zero");
    let spent = process::cpu_time(gateway.pid()) - before_waiting;
    assert!(spent < Duration::from_millis(250), "half a second of waiting cost {spent:?}");
    before.expect_echo(b"still served");
    limit_descriptors(&gateway, 1024);
    assert_eq!(waiting.receive(2), [0x05, 0x00], "who waited is served once there is room");
    before.expect_echo(b"and who was there as well");
}

#[test]
fn a_reload_changes_what_new_sessions_may_do_and_leaves_open_ones_alone() {
    let echo = targets::echo();
    let gateway = Setup::new().start();
    let mut open = Client::tunnel(gateway.address(), echo.address);
    let policy = NO_MAIL.replace("PORT", &echo.address.port().to_string());
    gateway.folder().write("policy.yaml", &policy);
    gateway.signal(Signal::HUP);
    assert!(gateway.log().find(DEADLINE, |line| line.contains("reloaded").then_some(())).is_some());
    let mut denied = greeted(gateway.address());
    assert_eq!(denied.connect_to(echo.address).code, 0x02);
    let record = gateway.session_of(denied.local());
    record.expect(&[("rule", "no-echo"), ("cause", "denied")]);
    assert_eq!(record.number("policy"), 2);
    open.expect_echo(b"as before");
}

#[test]
fn a_reload_with_an_address_of_another_machine_changes_nothing() {
    let echo = targets::echo();
    let setup = Setup::new();
    let gateway = setup.start();
    let config =
        std::fs::read_to_string(gateway.folder().file("socksd.yaml")).expect("it was started with it");
    gateway.folder().write("socksd.yaml", &config.replace("127.0.0.1:0", "192.0.2.1:0"));
    let policy = NO_MAIL.replace("PORT", &echo.address.port().to_string());
    gateway.folder().write("policy.yaml", &policy);
    gateway.signal(Signal::HUP);
    let refused = |line: &str| {
        (line.contains("nothing was reloaded") && line.contains("cannot listen on `192.0.2.1:0`"))
            .then_some(())
    };
    assert!(gateway.log().find(DEADLINE, refused).is_some(), "{}", gateway.log().text());
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"by the policy that was there");
    assert_eq!(gateway.session().number("policy"), 1);
    let reloaded = gateway.log().all().iter().any(|line| line.contains(r#""reloaded""#));
    assert!(!reloaded, "{}", gateway.log().text());

    gateway.folder().write("socksd.yaml", &config);
    gateway.signal(Signal::HUP);
    let reloaded = |line: &str| line.contains(r#""reloaded""#).then_some(());
    assert!(gateway.log().find(DEADLINE, reloaded).is_some(), "{}", gateway.log().text());
    assert_eq!(greeted(gateway.address()).connect_to(echo.address).code, 0x02, "the new policy");
}

#[test]
fn logins_that_find_the_queue_full_leave_few_warnings() {
    let setup = Setup::new().user("alice", "right-horse-battery").auth(
        "  - kind: password\n    options: { users: users.yaml, hashing: { threads: 1, queue: 0 }, cache: off }\n",
    );
    let gateway = setup.start();
    let mut clients: Vec<_> = (0..500)
        .map(|_| {
            let mut client = Client::connect(gateway.address());
            client.send(b"\x05\x01\x02\x01\x05alice\x05wrong");
            client
        })
        .collect();
    for client in &mut clients {
        client.receive_all();
    }
    let stopped = gateway.stop();
    let full: u64 = stopped.records.iter().map(failed_authenticators).sum();
    assert!(full >= 50, "only {full} of {} logins found the queue full", clients.len());
    let warnings = stopped.log.lines().filter(|line| line.contains("WARN")).count();
    assert!((1..20).contains(&warnings), "{warnings} warnings of {full} logins:\n{}", stopped.log);
}

/// A policy with one rule, which has these keys too.
fn one_rule(keys: &str) -> String {
    format!(
        "version: 1\nclients: [{{ methods: [none] }}]\nrules: [{{ name: all, action: permit, special-use: permit{keys} }}]\n"
    )
}

const NOTHING: &str = "version: 1\nclients: [{ methods: [none] }]\nrules: []\n";

fn reload(gateway: &Gateway, policy: &str) {
    gateway.folder().write("policy.yaml", policy);
    gateway.signal(Signal::HUP);
    let reloaded = |line: &str| line.contains(r#""reloaded""#).then_some(());
    assert!(gateway.log().find(DEADLINE, reloaded).is_some(), "{}", gateway.log().text());
}

/// The record of a session whose permit a reload has taken away.
#[track_caller]
fn revoked(gateway: &Gateway, tunnel: &Client) {
    let record = gateway.session_of(tunnel.local());
    assert_eq!((record.text("cause"), record.text("verdict")), ("permit-revoked", "permit"), "{record}");
    assert_eq!(record.text("rule"), "all", "the rule that had permitted it");
}

#[test]
fn a_session_that_loses_its_permit_ends_as_its_rule_says() {
    for (keys, lasts) in
        [(", on-revoke: close", false), (", on-revoke: drain 1s", false), (", on-revoke: keep", true)]
    {
        let (gateway, echo) = (Setup::new().policy(&one_rule(keys)).start(), targets::echo());
        let mut tunnel = Client::tunnel(gateway.address(), echo.address);
        tunnel.expect_echo(b"before");
        reload(&gateway, NOTHING);
        match lasts {
            true => tunnel.expect_echo(b"after"),
            false => revoked(&gateway, &tunnel),
        }
    }
}

#[test]
fn a_session_that_another_rule_permits_goes_on_under_that() {
    let (gateway, echo) = (Setup::new().policy(&one_rule(", on-revoke: close")).start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    tunnel.expect_echo(b"before");
    reload(&gateway, &one_rule("").replace("name: all", "name: other"));
    tunnel.expect_echo(b"after");
    drop(tunnel);
    let record = gateway.session();
    assert_eq!((record.text("cause"), record.text("rule"), record.number("policy")), ("closed", "other", 2));
}

#[test]
fn sessions_of_an_account_that_was_taken_away_end_with_it() {
    let policy = one_rule(", on-revoke: close").replace("[none]", "[password]");
    let gateway = Setup::new().user("alice", "right-horse-battery").policy(&policy).start();
    let echo = targets::echo();
    let mut tunnel = Client::connect(gateway.address());
    assert_eq!(tunnel.greet(&[0x02]), 0x02);
    assert_eq!(tunnel.login("alice", "right-horse-battery"), 0x00);
    assert_eq!(tunnel.connect_to(echo.address).code, 0x00);
    tunnel.expect_echo(b"before");
    gateway.folder().write("users.yaml", "users: []\n");
    reload(&gateway, &policy);
    revoked(&gateway, &tunnel);
}

#[test]
fn a_rule_that_expires_takes_its_sessions_with_it() {
    let policy = one_rule(", on-revoke: close, expires: 2031-05-01");
    // Not by the command `faketime`, which stands between the test and the gateway.
    let preload = format!("LD_PRELOAD={}", faketime().display());
    let words = ["env", "TZ=UTC", "FAKETIME=@2031-05-01 23:59:55", &preload];
    let setup = Setup::new().policy(&policy).under(&words);
    let (gateway, echo) = (setup.start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    tunnel.expect_echo(b"before");
    revoked(&gateway, &tunnel);
    // In order, so that the library clears up behind it.
    gateway.stop();
}

#[test]
fn a_rule_expires_also_while_the_gateway_stops() {
    let policy = one_rule(", on-revoke: close, expires: 2031-05-01");
    let preload = format!("LD_PRELOAD={}", faketime().display());
    let words = ["env", "TZ=UTC", "FAKETIME=@2031-05-01 23:59:52", &preload];
    let setup = Setup::new().policy(&policy).limit("drain-timeout", "1h").under(&words);
    let (gateway, echo) = (setup.start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    gateway.signal(Signal::TERM);
    let stopping = |line: &str| line.contains("stopping").then_some(());
    assert!(gateway.log().find(DEADLINE, stopping).is_some());
    tunnel.expect_echo(b"still permitted");
    revoked(&gateway, &tunnel);
    assert!(gateway.log().wait_for_end(DEADLINE), "the last session has ended");
}

/// The library that gives a program another clock, where distributions put it.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a system").filter_map(Result::ok);
    let mut files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.exists()).expect("libfaketime, of the package faketime")
}

#[test]
fn a_stop_lets_tunnels_come_to_their_end() {
    let (mut gateway, echo) = (Setup::new().start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    tunnel.expect_echo(b"before");
    gateway.signal(Signal::TERM);
    let stopping = |line: &str| line.contains("stopping").then_some(());
    assert!(gateway.log().find(DEADLINE, stopping).is_some());
    assert!(!targets::is_open(gateway.address()), "new clients go elsewhere");
    tunnel.expect_echo(b"after");
    assert!(gateway.is_running());
    drop(tunnel);
    assert!(gateway.log().wait_for_end(DEADLINE), "the last session has ended");
    let record = gateway.session();
    assert_eq!((record.text("cause"), record.up()), ("closed", 11));
}

#[test]
fn a_stop_waits_for_tunnels_no_longer_than_it_may() {
    let (gateway, echo) = (Setup::new().limit("drain-timeout", "1s").start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    tunnel.expect_echo(b"before");
    gateway.signal(Signal::TERM);
    assert!(gateway.log().wait_for_end(DEADLINE));
    assert_eq!(gateway.session().text("cause"), "gateway-stopped");
}

/// How many logins of this cause a record stands for.
fn failed_authenticators(record: &Record) -> u64 {
    match record.text("event") {
        "refusals" => record.0.pointer("/causes/authenticator-failed").and_then(Value::as_u64).unwrap_or(0),
        _ => u64::from(record.text("cause") == "authenticator-failed"),
    }
}

fn greeted(gateway: SocketAddr) -> Client {
    let mut client = Client::connect(gateway);
    assert_eq!(client.greet(&[0x00]), 0x00);
    client
}

#[test]
fn an_audit_file_that_cannot_be_written_keeps_new_sessions_out() {
    let echo = targets::echo();
    let setup = Setup::new();
    let gateway = setup.start();
    let mut open = Client::tunnel(gateway.address(), echo.address);
    // That of the start must not be the one that cannot be written.
    gateway.record(|_| true);
    // The file is moved away, and a folder takes its place: it cannot be opened anew.
    let audit = gateway.folder().file("audit.jsonl");
    std::fs::rename(&audit, gateway.folder().file("audit.1")).expect("it is there");
    std::fs::create_dir(&audit).expect("the place is free");
    drop(Client::tunnel(gateway.address(), echo.address));
    let told = |line: &str| line.contains("audit target cannot be written").then_some(());
    assert!(gateway.log().find(DEADLINE, told).is_some());
    let mut refused = Client::connect(gateway.address());
    assert!(refused.receive_all().0.is_empty());
    open.expect_echo(b"as before");

    std::fs::remove_dir(&audit).expect("it is empty");
    gateway.record(|record| record.text("cause") == "closed");
    // It says so once new sessions are let in.
    let told = |line: &str| line.contains("audit target is written again").then_some(());
    assert!(gateway.log().find(DEADLINE, told).is_some());
    drop(Client::tunnel(gateway.address(), echo.address));
    gateway.sessions(2);
}
