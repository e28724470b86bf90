//! A new program takes over from the one that serves: no client is refused, no session is lost, limits count both.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::lines::Lines;
use tests::{
    Client, DEADLINE, Folder, Gateway, Setup, Successor, command, namespace, process, program, targets, web,
};

#[track_caller]
fn expect(log: &Lines, text: &str) {
    let told = |line: &str| line.contains(text).then_some(());
    assert!(log.find(DEADLINE, told).is_some(), "no `{text}` in\n{}", log.text());
}

fn setup() -> Setup {
    Setup::new().key("upgrade", "{ socket: upgrade.sock }").key("admin", "{ socket: admin.sock }")
}

fn socksd(gateway: &Gateway, words: &[&str]) -> command::Finished {
    let mut socksd = Command::new(program::built("socksd"));
    socksd.args(words).arg("--socket").arg(gateway.folder().file("admin.sock"));
    command::run(&mut socksd, DEADLINE)
}

/// Session and process of each row.
fn sessions(gateway: &Gateway) -> Vec<(String, u64)> {
    let listed = socksd(gateway, &["sessions", "--json"]);
    let rows: Value = serde_json::from_str(&listed.succeeded().text()).expect("JSON");
    let rows = rows.as_array().expect("a list").iter();
    let row = |row: &Value| (row["session"].as_str().map(str::to_owned), row["process"].as_u64());
    rows.map(row).map(|(session, process)| (session.expect("a number"), process.expect("one"))).collect()
}

/// Waits until something is so.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "not in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_program_is_replaced_again_and_again_and_no_client_notices() {
    let (gateway, echo) = (setup().start(), targets::echo());
    let (address, target) = (gateway.address(), echo.address);
    let mut tunnels: Vec<_> = (0..20).map(|_| Client::tunnel(address, target)).collect();
    let (stop, visits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (stop, visits) = (stop.clone(), visits.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    Client::tunnel(address, target).expect_echo(b"a visit");
                    visits.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut successors = Vec::new();
    for _ in 0..3 {
        successors.push(Successor::taken_over(gateway.folder()));
        let before = visits.load(Ordering::Relaxed);
        wait_until("more visits", || visits.load(Ordering::Relaxed) > before + 20);
        tunnels.iter_mut().for_each(|tunnel| tunnel.expect_echo(b"still there"));
        tunnels.push(Client::tunnel(address, target));
    }
    stop.store(true, Ordering::Relaxed);
    visitors.into_iter().for_each(|visitor| visitor.join().expect("no visit was refused"));
    tunnels.iter_mut().for_each(|tunnel| tunnel.expect_echo(b"to the end"));

    wait_until("only the tunnels are left", || sessions(&gateway).len() == tunnels.len());
    let processes: BTreeSet<_> = sessions(&gateway).into_iter().map(|(_, process)| process).collect();
    assert_eq!(processes.len(), 4, "each process has sessions: {processes:?}");
    let all = visits.load(Ordering::Relaxed) + tunnels.len();
    drop(tunnels);
    assert!(gateway.log().wait_for_end(DEADLINE), "the first process has no session any more");
    let records = gateway.sessions(all);
    let ended: BTreeSet<_> = records.iter().map(|record| record.text("session").to_owned()).collect();
    assert_eq!((records.len(), ended.len()), (all, all), "one end record for each session");
    assert!(records.iter().all(|record| record.text("cause") == "closed"));
}

#[test]
fn limits_count_the_sessions_of_both_processes() {
    let (gateway, echo) = (setup().limit("max-sessions-per-source", "2").start(), targets::echo());
    let mut tunnels = [0, 1].map(|_| Client::tunnel(gateway.address(), echo.address));
    let _successor = Successor::taken_over(gateway.folder());
    let mut refused = Client::connect(gateway.address());
    assert!(refused.receive_all().0.is_empty(), "both places are taken, in the old process");
    let [first, second] = &mut tunnels;
    second.expect_echo(b"still there");
    first.expect_echo(b"and here");
    let [first, mut second] = tunnels;
    drop(first);
    wait_until("one place is free", || sessions(&gateway).len() == 1);
    wait_until("the new process knows", || Client::is_answered(gateway.address()));
    second.expect_echo(b"not disturbed");
}

/// RFC 1928 section 6: general SOCKS server failure.
const REFUSED: u8 = 0x01;

/// Asks for a tunnel as a user, and tells the answer.
fn ask(gateway: &Gateway, name: &str, target: SocketAddr) -> (Client, u8) {
    let mut client = Client::connect(gateway.address());
    client.greet(&[0x02]);
    assert_eq!(client.login(name, "secret"), 0);
    let code = client.connect_to(target).code;
    (client, code)
}

/// Stops others when it is dropped, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets several users ask for tunnels again and again meanwhile; gives those that were granted.
fn rush<T>(
    gateway: &Gateway,
    names: &[&str],
    target: SocketAddr,
    meanwhile: impl FnOnce(&AtomicUsize) -> T,
) -> (T, Vec<Client>) {
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (granted, count) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let ask = |name: &str| {
        while !stop.load(Ordering::Relaxed) {
            let (client, code) = ask(gateway, name, target);
            asked.fetch_add(1, Ordering::Relaxed);
            if code == 0 {
                granted.lock().expect("nobody panics with it").push(client);
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                assert_eq!(code, REFUSED);
            }
        }
    };
    let ask = &ask;
    let done = thread::scope(|scope| {
        let _stop = Stop(&stop);
        for name in names.iter().cycle().take(4) {
            scope.spawn(move || ask(name));
        }
        let done = meanwhile(&count);
        let before = asked.load(Ordering::Relaxed);
        wait_until("some more have asked", || asked.load(Ordering::Relaxed) > before + 8);
        done
    });
    (done, granted.into_inner().expect("nobody panics with it"))
}

#[test]
fn limits_of_rules_and_identities_hold_in_both_processes_while_many_ask() {
    let table = [
        ("limits: { sessions-in-all: 2 },", "100", &["alice", "bob"][..]),
        ("limits: { sessions: 2 },", "100", &["alice"]),
        ("", "2", &["alice"]),
    ];
    for (of_rule, of_identity, names) in table {
        let rule = format!("{{ name: all, action: permit, {of_rule} special-use: permit }}");
        let policy = format!("version: 1\nclients: [{{ methods: [password] }}]\nrules: [{rule}]\n");
        let setup = setup().user("alice", "secret").user("bob", "secret").policy(&policy);
        let gateway = setup.limit("max-sessions-per-identity", of_identity).start();
        let echo = targets::echo();
        let held = [0, 1].map(|at| ask(&gateway, names[at % names.len()], echo.address));
        assert_eq!(held.each_ref().map(|(_, code)| *code), [0, 0]);
        let take_over = |_: &AtomicUsize| Successor::taken_over(gateway.folder());
        let (_successor, granted) = rush(&gateway, names, echo.address, take_over);
        assert_eq!(granted.len(), 0, "{rule}: both places are taken, in the old process");
        let bobs = ask(&gateway, "bob", echo.address).1;
        assert_eq!(bobs, if names.contains(&"bob") { REFUSED } else { 0 }, "{rule}");
        let [(mut stays, _), (goes, _)] = held;
        drop(goes);
        let one = |granted: &AtomicUsize| {
            wait_until("there is one place", || granted.load(Ordering::Relaxed) > 0);
        };
        let ((), mut granted) = rush(&gateway, names, echo.address, one);
        assert_eq!(granted.len(), 1, "{rule}: one in each process");
        stays.expect_echo(b"not disturbed");
        granted[0].expect_echo(b"in the new process");
    }
}

#[test]
fn sessions_of_the_old_process_are_ended_by_the_new_one_and_judged_by_its_files() {
    let policy = "version: 1\nclients: [{ methods: [none] }]\n\
                  rules: [{ name: all, action: permit, special-use: permit, on-revoke: close }]\n";
    let (gateway, echo) = (setup().policy(policy).start(), targets::echo());
    let [one, mut other] = [0, 1].map(|_| Client::tunnel(gateway.address(), echo.address));
    let successor = Successor::taken_over(gateway.folder());
    let status = socksd(&gateway, &["status"]).succeeded().text();
    let old = format!("before    process {}, version ", gateway.pid());
    assert!(status.contains(&old) && status.contains("still with 2 sessions"), "{status}");
    let listed = sessions(&gateway);
    assert!(listed.iter().all(|(_, process)| *process == u64::from(gateway.pid())), "{listed:?}");
    let first = listed.iter().map(|(session, _)| session).min().expect("there are two");
    assert_eq!(socksd(&gateway, &["kill", first]).succeeded().text(), "1 ended\n");
    let record = gateway.session_of(one.local());
    assert_eq!(record.text("cause"), "killed");
    assert!(!record.text("detail").contains("socksd"), "in the operator's name: {record}");
    other.expect_echo(b"still permitted");
    gateway.folder().write("policy.yaml", "version: 1\nclients: [{ methods: [none] }]\nrules: []\n");
    process::signal(successor.pid(), Signal::HUP);
    assert_eq!(gateway.session_of(other.local()).text("cause"), "permit-revoked");
    assert!(gateway.log().wait_for_end(DEADLINE), "it has no session any more");
}

#[test]
fn what_fails_in_the_new_process_leaves_the_old_one_serving() {
    let (gateway, echo) = (setup().start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    let policy = fs::read_to_string(gateway.folder().file("policy.yaml")).expect("it is there");
    gateway.folder().write("policy.yaml", "version: 1\nclients: nonsense\n");
    let mut mistaken = Successor::start(gateway.folder());
    assert!(mistaken.log().wait_for_end(DEADLINE));
    assert_eq!(mistaken.code(), Some(78));
    gateway.folder().write("policy.yaml", &policy);
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"served as before");

    let killed = Successor::taken_over(gateway.folder());
    process::kill(killed.pid());
    expect(gateway.log(), "the process that had taken over is gone");
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"served by the old one again");
    tunnel.expect_echo(b"still there");
    wait_until("the admin socket is back", || {
        socksd(&gateway, &["status"]).text().contains(&format!("process {},", gateway.pid()))
    });
    let next = Successor::taken_over(gateway.folder());
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"served by the next one");
    next.expect("\"taken over\"");
}

#[test]
fn a_stranger_gets_no_socket() {
    let gateway = setup().start();
    if !process::is_root() {
        return;
    }
    let path = gateway.folder().file("upgrade.sock");
    // Even where the file's mode lets him in.
    gateway.folder().set_mode("", 0o755);
    gateway.folder().set_mode("upgrade.sock", 0o666);
    let mut stranger = Command::new(command::tool("setpriv"));
    stranger.args(["--reuid=65534", "--regid=65534", "--clear-groups", "nc", "-U"]).arg(path);
    assert_eq!(command::run(stranger.stdin(Stdio::null()), DEADLINE).text(), "");
    expect(gateway.log(), "who is neither root nor the gateway's own user");
}

#[test]
fn where_nobody_serves_the_new_process_is_the_first() {
    let folder = setup().write();
    let first = Successor::start(&folder);
    first.expect("\"listening\"");
    assert!(!first.log().text().contains("taken over"));
}

#[test]
fn a_signal_starts_the_program_anew_and_it_takes_over() {
    let (gateway, echo) = (setup().start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    gateway.signal(Signal::USR2);
    expect(gateway.log(), "another process has taken over");
    let (_, successor) = {
        let mut client = Client::tunnel(gateway.address(), echo.address);
        client.expect_echo(b"served");
        let own = u64::from(gateway.pid());
        sessions(&gateway).into_iter().find(|(_, process)| *process != own).expect("one of the new process")
    };
    tunnel.expect_echo(b"still there");
    process::signal(u32::try_from(successor).expect("a process number"), Signal::TERM);
}

#[test]
fn after_a_crash_in_the_midst_of_it_all_sockets_are_taken_again() {
    let kept = Folder::new();
    let socket = |name: &str| format!("{{ socket: {} }}", kept.file(name).display());
    let audit = format!("targets: [{{ kind: file, path: '{}' }}]", kept.file("audit.jsonl").display());
    let setup = Setup::new()
        .key("upgrade", &socket("upgrade.sock"))
        .key("admin", &socket("admin.sock"))
        .audit(&audit);
    let (gateway, echo) = (setup.start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    let mut association = tests::udp::Association::open(gateway.address());
    let mut successor = Successor::taken_over(gateway.folder());
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"in the new process");
    // Both at once, while one still has sessions and tells the other of them.
    process::kill(gateway.pid());
    process::kill(successor.pid());
    assert_eq!(successor.code(), None);
    assert!(tunnel.receive_all().0.is_empty());
    assert!(association.control().receive_all().0.is_empty());
    drop(gateway);

    let again = setup.start();
    Client::tunnel(again.address(), echo.address).expect_echo(b"as before");
    let status = again.command(&["status"]).succeeded().text();
    assert!(status.contains("ready"), "{status}");
    let _next = Successor::taken_over(again.folder());
    Client::tunnel(again.address(), echo.address).expect_echo(b"once more");
    let text = fs::read_to_string(kept.file("audit.jsonl")).expect("it is there");
    assert!(
        text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "every line can be read: {text}"
    );
}

const NOTHING: &str = "version: 1\nclients: [{ methods: [none] }]\n\
                       rules: [{ name: elsewhere, action: permit, destination: 192.0.2.1 }]\n";
/// RFC 1928 section 6: connection not allowed by ruleset.
const DENIED: u8 = 0x02;

/// A test's end of the connection between two processes.
struct Told(BufReader<UnixStream>);

impl Told {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn say(&mut self, message: &str) {
        self.0.get_mut().write_all(format!("{message}\n").as_bytes()).expect("the other end listens");
    }

    /// The next message that is no news of sessions; `None`: the other end is closed.
    fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            let count = self.0.read_line(&mut line).expect("in time");
            let message: Option<Value> = serde_json::from_str(&line).ok();
            let message = message.and_then(|message| Some(message.get("message")?.as_str()?.to_owned()));
            match message.as_deref() {
                Some("counts") => {}
                _ if count == 0 => return None,
                _ => return message,
            }
        }
    }
}

#[test]
fn a_reload_while_the_new_process_reads_its_files_is_noticed() {
    let gateway = setup().start();
    let mut new =
        Told::new(UnixStream::connect(gateway.folder().file("upgrade.sock")).expect("somebody serves"));
    assert_eq!(new.hear().as_deref(), Some("offer"));
    gateway.folder().write("policy.yaml", NOTHING);
    gateway.command(&["reload"]).succeeded();
    new.say(r#"{"message":"ready"}"#);
    assert_eq!(new.hear(), None, "it would serve by what was taken away");
    expect(gateway.log(), "there was a reload meanwhile; try again");
    // Who reads behind the offer may.
    let _successor = Successor::taken_over(gateway.folder());
    expect_denial(&gateway, targets::echo().address);
}

#[test]
fn nobody_else_gets_the_address_of_the_page_while_it_is_handed_over() {
    let setup = Setup::new().key("upgrade", "{ socket: upgrade.sock }");
    let gateway = setup.key("admin", "{ socket: admin.sock, http: 127.0.0.1:0 }").start();
    let page = web::admin(&gateway);
    let stop = Arc::new(AtomicBool::new(false));
    let thief = {
        let stop = stop.clone();
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                assert!(TcpListener::bind(page).is_err(), "tokens would be shown to somebody else");
            }
        })
    };
    let asked = || web::ask(page, &web::request("GET /api/status", "")).json()["pid"].as_u64();
    assert_eq!(asked(), Some(u64::from(gateway.pid())));
    let lost = Successor::taken_over(gateway.folder());
    wait_until("the new process answers", || asked() == Some(u64::from(lost.pid())));
    process::kill(lost.pid());
    wait_until("the old one answers again", || asked() == Some(u64::from(gateway.pid())));
    let successor = Successor::taken_over(gateway.folder());
    expect(gateway.log(), "another process has taken over");
    assert_eq!(asked(), Some(u64::from(successor.pid())));
    stop.store(true, Ordering::Relaxed);
    thief.join().expect("the address was never free");
}

/// A client whose target is denied.
#[track_caller]
fn expect_denial(gateway: &Gateway, target: SocketAddr) {
    let mut client = Client::connect(gateway.address());
    client.greet(&[0x00]);
    assert_eq!(client.connect_to(target).code, DENIED);
}

#[test]
fn a_reload_of_the_old_process_is_the_new_ones() {
    let (gateway, echo) = (setup().start(), targets::echo());
    let successor = Successor::taken_over(gateway.folder());
    gateway.folder().write("policy.yaml", NOTHING);
    gateway.signal(Signal::HUP);
    successor.expect("\"reloaded\"");
    expect_denial(&gateway, echo.address);
    expect(gateway.log(), "\"reloaded\"");

    let aside = format!("admin.sock.{}", gateway.pid());
    let mut reload = Command::new(program::built("socksd"));
    reload.args(["reload", "--socket"]).arg(gateway.folder().file(&aside));
    let asked = command::run(&mut reload, DEADLINE);
    let told = format!("process {} serves, and nothing was reloaded", successor.pid());
    assert!(asked.to_string().contains(&told), "{asked}");
}

#[test]
fn what_the_lost_process_has_taken_away_does_not_come_back() {
    let (gateway, echo) = (setup().start(), targets::echo());
    let successor = Successor::taken_over(gateway.folder());
    gateway.folder().write("policy.yaml", NOTHING);
    process::signal(successor.pid(), Signal::HUP);
    successor.expect("\"reloaded\"");
    process::kill(successor.pid());
    expect(gateway.log(), "the process that had taken over is gone");
    expect_denial(&gateway, echo.address);
    gateway.record(|record| record.text("event") == "reload" && record.text("by") == "take-back");
}

#[test]
fn a_new_process_ends_where_the_old_one_goes_on() {
    // The old one is the test, which lives.
    for says in [&[][..], &[r#"{"message":"stopped","admin":null}"#]] {
        let folder = setup().write();
        let old = UnixListener::bind(folder.file("upgrade.sock")).expect("nobody listens there");
        let mut new = Successor::start(&folder);
        let mut told = Told::new(old.accept().expect("it wants to take over").0);
        told.say(r#"{"message":"offer","protocol":2,"pid":1,"version":"0","listeners":[],"http":false}"#);
        assert_eq!(told.hear().as_deref(), Some("ready"));
        told.say(r#"{"message":"counts","total":0,"unknown":0,"sources":[],"rules":[],"associations":[],"used":[]}"#);
        assert_eq!(told.hear().as_deref(), Some("accepting"));
        says.iter().for_each(|message| told.say(message));
        drop(told);
        assert_eq!(new.code(), Some(69), "two would serve: {}", new.log().text());
        new.expect("the process that served goes on, and this one ends");
    }
}

#[test]
fn a_client_of_the_old_process_is_not_led_to_the_listener_of_the_new_one() {
    if !namespace::inside("a_client_of_the_old_process_is_not_led_to_the_listener_of_the_new_one") {
        return;
    }
    namespace::two_networks();
    let policy = "version: 1\nclients: [{ methods: [none] }]\nrules: [{ name: all, action: permit }]\n";
    let setup = setup().listener("10.1.0.1:0").policy(policy).limit("handshake-timeout", "60s");
    let gateway = setup.start();
    let mut client = Client::connect(gateway.address());
    client.greet(&[0x00]);
    let _successor = Successor::taken_over(gateway.folder());
    expect(gateway.log(), "another process has taken over");
    // It learns its addresses anew with a reload.
    gateway.signal(Signal::HUP);
    expect(gateway.log(), "\"reloaded\"");
    assert_eq!(client.connect_to(gateway.address()).code, DENIED);
}

#[test]
fn sessions_that_no_operator_would_reach_come_to_their_end() {
    let (gateway, echo) = (setup().limit("drain-timeout", "100ms").start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    let middle = Successor::taken_over(gateway.folder());
    let newest = Successor::taken_over(gateway.folder());
    tunnel.expect_echo(b"in the oldest");
    assert_eq!(sessions(&gateway).len(), 1, "which the newest one knows");
    process::kill(middle.pid());
    expect(gateway.log(), "no operator would reach the sessions here");
    assert!(tunnel.receive_all().0.is_empty());
    assert!(gateway.log().wait_for_end(DEADLINE));
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"served by the newest");
    newest.expect("its sessions are not counted");
}
