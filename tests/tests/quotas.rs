//! Octets of a day: open sessions end when they are used up, new ones are refused, and neither a restart, nor a kill, nor a
//! new program forgets what was used.

use std::io::Write;
use std::time::Instant;

use tests::targets::{self, Server};
use tests::{Client, DEADLINE, Folder, Gateway, Setup, Successor, process};

const QUOTA: usize = 256 * 1024;
/// RFC 1928 section 6: general SOCKS server failure.
const REFUSED: u8 = 0x01;

/// With the file in a folder that outlives the gateway's own.
fn setup(kept: &Folder) -> Setup {
    let setup =
        Setup::new().user("alice", "secret").user("bob", "secret").limit("daily-per-identity", "256KiB");
    setup.key("quotas", &format!("{{ file: {}, every: 50ms }}", kept.file("quotas.json").display()))
}

fn ask(gateway: &Gateway, name: &str, target: &Server) -> (Client, u8) {
    let mut client = Client::connect(gateway.address());
    client.greet(&[0x02]);
    assert_eq!(client.login(name, "secret"), 0);
    let code = client.connect_to(target.address).code;
    (client, code)
}

/// A tunnel of a user whose quota is not used up.
#[track_caller]
fn open(gateway: &Gateway, name: &str, target: &Server) -> Client {
    let (client, code) = ask(gateway, name, target);
    assert_eq!(code, 0);
    client
}

/// Sends so many octets through a tunnel and waits until they have come back, which counts them twice.
fn echo_octets(client: &mut Client, count: usize) {
    for _ in 0..count / 8192 {
        client.expect_echo(&[7; 8192]);
    }
}

/// Waits until the file tells of so many octets at least.
fn wait_for_file(kept: &Folder, octets: u64) {
    let (path, until) = (kept.file("quotas.json"), Instant::now() + DEADLINE);
    let used = || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let rows = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        rows.filter_map(|row| row.get("used")?.as_u64()).sum::<u64>()
    };
    while used() < octets {
        assert!(Instant::now() < until, "{} instead of {octets}", used());
        std::thread::yield_now();
    }
}

#[test]
fn an_open_tunnel_ends_when_the_day_is_used_up_and_new_ones_are_refused() {
    let kept = Folder::new();
    let (gateway, echo) = (setup(&kept).start(), targets::echo());
    let (mut client, mut idle) = (open(&gateway, "alice", &echo), open(&gateway, "alice", &echo));
    let mut bobs = open(&gateway, "bob", &echo);
    let local = client.local();
    echo_octets(&mut client, QUOTA / 2);
    client.send(b"one too many");
    assert!(client.receive_all().0.is_empty());
    let record = gateway.session_of(local);
    record.expect(&[
        ("cause", "quota-used-up"),
        ("detail", "octets of the day of this identity"),
        ("verdict", "permit"),
    ]);
    let (refused, code) = ask(&gateway, "alice", &echo);
    assert_eq!(code, REFUSED);
    gateway.session_of(refused.local()).expect(&[("cause", "quota-used-up"), ("verdict", "deny")]);
    idle.send(b"this one too");
    assert!(idle.receive_all().0.is_empty(), "as soon as it wants to move something");
    bobs.expect_echo(b"each has his own");
}

#[test]
fn a_rule_and_a_source_have_their_days_too() {
    let policy = "version: 1\nclients: [{ methods: [none] }]\nrules: [{ name: r, action: permit, special-use: permit, limits: { daily: 64KiB } }]\n";
    let by_rule = Setup::new().policy(policy);
    let by_source = Setup::new().limit("daily-per-source", "64KiB");
    for (setup, whose) in [(by_rule, "rule"), (by_source, "source")] {
        let (gateway, echo) = (setup.start(), targets::echo());
        let told = |line: &str| line.contains("a restart forgets what was used: set `quotas`").then_some(());
        assert!(gateway.log().find(DEADLINE, told).is_some());
        let mut client = Client::tunnel(gateway.address(), echo.address);
        let local = client.local();
        echo_octets(&mut client, 32 * 1024);
        client.send(b"one too many");
        assert!(client.receive_all().0.is_empty());
        let detail = format!("octets of the day of this {whose}");
        gateway.session_of(local).expect(&[("cause", "quota-used-up"), ("detail", &detail)]);
    }
}

/// A gateway after one that has left alice 16 KiB: the last is used up, and nothing more.
fn expect_the_rest(kept: &Folder, echo: &Server) {
    let again = setup(kept).start();
    let mut client = open(&again, "alice", echo);
    client.expect_echo(&[7; 8192]);
    client.send(b"one too many");
    assert!(client.receive_all().0.is_empty());
}

#[test]
fn a_restart_forgets_nothing() {
    let kept = Folder::new();
    let (gateway, echo) = (setup(&kept).start(), targets::echo());
    echo_octets(&mut open(&gateway, "alice", &echo), QUOTA / 2 - 8192);
    assert_eq!(gateway.stop().code, Some(0));
    expect_the_rest(&kept, &echo);
}

#[test]
fn a_kill_forgets_no_more_than_was_not_yet_written() {
    let kept = Folder::new();
    let (gateway, echo) = (setup(&kept).start(), targets::echo());
    echo_octets(&mut open(&gateway, "alice", &echo), QUOTA / 2 - 8192);
    wait_for_file(&kept, (QUOTA - 16 * 1024) as u64);
    process::kill(gateway.pid());
    drop(gateway);
    expect_the_rest(&kept, &echo);
}

#[test]
fn a_damaged_file_is_told_of_and_keeps_nobody_out() {
    let kept = Folder::new();
    kept.write("quotas.json", "\u{0}no file of ours");
    let (gateway, echo) = (setup(&kept).start(), targets::echo());
    let told = |line: &str| line.contains("what was used today cannot be read").then_some(());
    assert!(gateway.log().find(DEADLINE, told).is_some());
    echo_octets(&mut open(&gateway, "alice", &echo), 8192);
    wait_for_file(&kept, 16 * 1024);
}

#[test]
fn a_new_program_knows_what_was_used_and_what_sessions_of_the_old_one_use() {
    let kept = Folder::new();
    let (gateway, echo) = (setup(&kept).key("upgrade", "{ socket: upgrade.sock }").start(), targets::echo());
    let mut old = open(&gateway, "alice", &echo);
    echo_octets(&mut old, QUOTA / 4);
    let _successor = Successor::taken_over(gateway.folder());
    let mut new = open(&gateway, "alice", &echo);
    new.expect_echo(b"half is left");
    echo_octets(&mut old, QUOTA / 4 - 8192);
    // Only the new process writes: it has heard of what the old one's session has used meanwhile.
    wait_for_file(&kept, (QUOTA - 16 * 1024) as u64);
    new.expect_echo(&[7; 8192]);
    new.send(b"one too many");
    assert!(new.receive_all().0.is_empty());
    assert_eq!(ask(&gateway, "alice", &echo).1, REFUSED);
}

#[test]
fn a_session_of_the_old_process_ends_when_the_new_one_has_used_up_the_day() {
    let kept = Folder::new();
    let (gateway, echo) = (setup(&kept).key("upgrade", "{ socket: upgrade.sock }").start(), targets::echo());
    let old = open(&gateway, "alice", &echo);
    let local = old.local();
    let _successor = Successor::taken_over(gateway.folder());
    echo_octets(&mut open(&gateway, "alice", &echo), QUOTA / 2);
    let until = Instant::now() + DEADLINE;
    // Nothing is left for it, which it hears within a second or so.
    while old.stream().write(&[7]).is_ok_and(|sent| sent > 0) {
        assert!(Instant::now() < until, "it goes on");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    gateway.session_of(local).expect(&[("cause", "quota-used-up")]);
}
