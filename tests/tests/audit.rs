//! The audit stream as an operator has it: its targets, and what stops, crashes and full queues leave of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{Client, DEADLINE, Folder, Gateway, Record, Setup, audit, command, process, program, targets};

fn events(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.text("event")).collect()
}

fn wait_for_log(gateway: &Gateway, text: &str) {
    let told = |line: &str| line.contains(text).then_some(());
    assert!(gateway.log().find(DEADLINE, told).is_some(), "no `{text}` in\n{}", gateway.log().text());
}

/// Opens a tunnel and ends it; gives the client's address.
fn visit(gateway: SocketAddr, target: SocketAddr) -> SocketAddr {
    Client::tunnel(gateway, target).local()
}

/// Waits until a file has the end record of this client, and gives all that it has.
fn wait_for_session(path: &Path, client: SocketAddr) -> Vec<Record> {
    let found = audit::wait_for(path, DEADLINE, |records| {
        records.iter().any(|record| record.is_of(client)).then(|| records.to_vec())
    });
    found.unwrap_or_else(|| panic!("{client} is not in {}: {:?}", path.display(), audit::read(path)))
}

#[test]
fn a_start_record_stands_before_the_end_record_and_only_where_a_session_was_open() {
    let policy = "version: 1\nrules:\n  - { name: no, action: deny, port: 1 }\n  \
                  - { name: rest, action: permit, special-use: permit }\n";
    let (gateway, echo) = (Setup::new().policy(policy).audit("start: true").start(), targets::echo());
    visit(gateway.address(), echo.address);
    gateway.sessions(1);
    let mut denied = Client::connect(gateway.address());
    denied.greet(&[0x00]);
    assert_eq!(denied.connect_to(([127, 0, 0, 1], 1).into()).code, 0x02);
    drop(denied);
    let records = gateway.stop().records;
    let all = ["gateway-start", "session-start", "session", "session", "gateway-stop"];
    assert_eq!(events(&records), all, "{records:#?}");
    let [_, start, end, refused, _] = &records[..] else { unreachable!("just counted") };
    for field in ["session", "client", "identity", "target", "dialled", "bound", "rule", "started"] {
        assert_eq!(start.0[field], end.0[field], "{field}");
    }
    refused.expect(&[("verdict", "deny"), ("rule", "no")]);
}

#[test]
fn begin_reloads_and_end_of_the_gateway_stand_in_the_stream() {
    let gateway = Setup::new().start();
    gateway.signal(Signal::HUP);
    wait_for_log(&gateway, r#""reloaded""#);
    gateway.folder().write("policy.yaml", "version: 1\nruls: []\n");
    gateway.signal(Signal::HUP);
    wait_for_log(&gateway, "nothing was reloaded");
    let pid = gateway.pid();
    let records = gateway.stop().records;
    assert_eq!(events(&records), ["gateway-start", "reload", "reload", "gateway-stop"], "{records:#?}");
    let [start, applied, refused, stop] = &records[..] else { unreachable!("just counted") };
    applied.expect(&[("by", "signal"), ("result", "applied"), ("detail", "")]);
    refused.expect(&[("by", "signal"), ("result", "refused")]);
    assert!(refused.text("detail").contains("policy.yaml"), "{refused}");
    assert_eq!((applied.number("policy"), refused.number("policy")), (2, 2));
    assert_eq!((start.number("pid"), stop.number("pid")), (u64::from(pid), u64::from(pid)));
    assert_eq!(start.text("boot"), stop.text("boot"));
}

#[test]
fn a_reload_takes_other_targets_and_says_if_one_cannot_be_opened() {
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let config =
        std::fs::read_to_string(gateway.folder().file("socksd.yaml")).expect("it was started with it");
    let reload = |file: &str, told: &str| {
        gateway.folder().write("socksd.yaml", &config.replace("file: audit.jsonl", &format!("file: {file}")));
        gateway.signal(Signal::HUP);
        wait_for_log(&gateway, told);
    };
    reload("missing/audit.jsonl", "audit target");
    let first = visit(gateway.address(), echo.address);
    gateway.session_of(first);
    reload("second.jsonl", r#""reloaded""#);
    let second = visit(gateway.address(), echo.address);
    let records = wait_for_session(&gateway.folder().file("second.jsonl"), second);
    assert!(!records.iter().any(|record| record.is_of(first)), "{records:#?}");
    let before = gateway.records();
    assert!(!before.iter().any(|record| record.is_of(second)), "{before:#?}");
}

#[test]
fn each_target_gets_every_record() {
    let (folder, echo) = (Folder::new(), targets::echo());
    let bind = |name: &str| {
        let socket = UnixDatagram::bind(folder.file(name)).expect("a socket in a folder of our own");
        socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
        socket
    };
    let (journal, local) = (bind("journal"), bind("log"));
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("it listens");
    let at = |name: &str| folder.file(name).display().to_string();
    let targets = format!(
        "targets: [{{ kind: stdout }}, {{ kind: journald, socket: '{}' }}, {{ kind: file, path: '{}', fsync: always }}, \
         {{ kind: syslog, address: 'unix:{}', message: structured }}, {{ kind: syslog, address: 'tcp:{address}' }}]",
        at("journal"),
        at("second"),
        at("log"),
    );
    // The words before the program send its standard output to a file.
    let shell = format!("exec \"$0\" \"$@\" > '{}'", at("stdout"));
    let gateway = Setup::new().audit(&targets).under(&["sh", "-c", &shell]).start();
    let client = visit(gateway.address(), echo.address);
    let stopped = gateway.stop();
    assert_eq!(events(&stopped.records), ["gateway-start", "session", "gateway-stop"]);
    assert_eq!(audit::read(&folder.file("second")), stopped.records);
    assert_eq!(audit::read(&folder.file("stdout")), stopped.records);

    let (mut connection, _) = server.accept().expect("the gateway has come");
    let mut frames = String::new();
    connection.read_to_string(&mut frames).expect("it has gone");
    assert_eq!(records_of(&frames), stopped.records);
    for record in &stopped.records {
        let datagram = receive(&journal);
        let message = datagram.lines().find_map(|line| line.strip_prefix("MESSAGE=")).expect("a message");
        assert_eq!(audit::parse(message), *record);
        assert!(datagram.contains(&format!("\nSOCKSD_EVENT={}\n", record.text("event"))), "{datagram}");
        let message = receive(&local);
        assert!(message.contains(&format!(" event=\"{}\"", record.text("event"))), "{message}");
        if record.is_session() {
            assert!(message.contains(&format!(" client=\"{client}\"")), "{message}");
        }
    }
}

fn receive(socket: &UnixDatagram) -> String {
    let mut octets = vec![0; 65_536];
    let length = socket.recv(&mut octets).expect("a datagram in time");
    String::from_utf8_lossy(octets.get(..length).unwrap_or_default()).into_owned()
}

/// The records in frames of RFC 6587 section 3.4.1.
fn records_of(mut frames: &str) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((length, rest)) = frames.split_once(' ') {
        let (message, rest) = rest.split_at(length.parse().expect("a length"));
        let (_, record) = message.split_once(" - ").expect("no structured data");
        records.push(audit::parse(record));
        frames = rest;
    }
    records
}

#[test]
fn the_sample_for_logrotate_loses_no_record() {
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let sample = std::fs::read_to_string(program::workspace().join("deploy/logrotate")).expect("the sample");
    let log = gateway.folder().file("audit.jsonl");
    let signal = "systemctl kill --kill-whom=main --signal=USR1 socksd.service";
    assert!(sample.contains(signal) && sample.contains("/var/log/socksd/*.jsonl"));
    let sample = sample
        .replace("/var/log/socksd/*.jsonl", &log.display().to_string())
        .replace(signal, &format!("kill -USR1 {}", gateway.pid()));
    let sample = gateway.folder().write("logrotate", &sample);
    gateway.folder().set_mode("logrotate", 0o644);

    let first = visit(gateway.address(), echo.address);
    wait_for_session(&log, first);
    let mut rotate = Command::new(command::tool("logrotate"));
    rotate.args(["--force", "--state"]).arg(gateway.folder().file("state")).arg(sample);
    command::run(&mut rotate, DEADLINE).succeeded();
    wait_for_log(&gateway, "audit target opened anew");
    let second = visit(gateway.address(), echo.address);
    let now = wait_for_session(&log, second);
    assert!(!now.iter().any(|record| record.is_of(first)), "{now:#?}");
    let names = std::fs::read_dir(gateway.folder().path()).expect("our folder");
    let old = names
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.display().to_string().contains("audit.jsonl-"));
    let old = audit::read(&old.expect("the old file, with its date"));
    assert_eq!(old.iter().filter(|record| record.is_of(first)).count(), 1);
    assert!(!old.iter().any(|record| record.is_of(second)), "{old:#?}");
}

#[test]
fn a_signal_makes_the_gateway_let_go_of_a_file_that_was_moved() {
    let gateway = Setup::new().start();
    let log = gateway.folder().file("audit.jsonl");
    let moved = gateway.folder().file("audit.1");
    gateway.record(|record| record.text("event") == "gateway-start");
    std::fs::rename(&log, &moved).expect("it is there");
    gateway.signal(Signal::USR1);
    wait_for_log(&gateway, "audit target opened anew");
    assert!(log.exists());
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("a child of ours");
    let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    assert!(open.contains(&log) && !open.contains(&moved), "{open:?}");
}

#[test]
fn after_a_crash_everything_but_the_last_moment_is_there_and_the_next_record_stands_alone() {
    let (folder, echo) = (Folder::new(), targets::echo());
    let log = folder.file("audit.jsonl");
    let keys = format!("targets: [{{ kind: file, path: '{}', fsync: 500ms }}]", log.display());
    let setup = Setup::new().audit(&keys);
    let gateway = setup.start();
    let ended = Mutex::new(Vec::new());
    let over = AtomicBool::new(false);
    let killed = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let client = visit(gateway.address(), echo.address);
                    ended.lock().expect("no visitor panics").push((client, Instant::now()));
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        thread::sleep(Duration::from_millis(1500));
        // In the midst of it, as far as the gateway is concerned; visitors come to their end first.
        over.store(true, Ordering::Relaxed);
        Instant::now()
    });
    process::kill(gateway.pid());
    drop(gateway);
    let ended = ended.into_inner().expect("no visitor panics");
    let older: Vec<_> = ended
        .iter()
        .filter(|(_, at)| *at + Duration::from_millis(500) < killed)
        .map(|(client, _)| *client)
        .collect();
    assert!(older.len() > 20, "only {} sessions", older.len());
    let records = audit::read(&log);
    for client in &older {
        assert_eq!(records.iter().filter(|record| record.is_of(*client)).count(), 1, "{client}");
    }

    // As if the crash had cut a line.
    let torn = r#"{"v":1,"event":"cut by a cra"#;
    let mut file = std::fs::OpenOptions::new().append(true).open(&log).expect("it is there");
    file.write_all(torn.as_bytes()).expect("there is room");
    let gateway = setup.start();
    visit(gateway.address(), echo.address);
    drop(gateway.stop());
    let text = std::fs::read_to_string(&log).expect("it is there");
    let (before, after) = text.split_once(torn).expect("nobody has taken it away");
    assert!(before.lines().map(audit::parse).eq(records), "{before}");
    assert!(after.starts_with('\n'), "{after}");
    assert_eq!(
        events(&after.trim_start().lines().map(audit::parse).collect::<Vec<_>>())[..2],
        ["gateway-start", "session"]
    );
}

#[test]
fn a_slow_target_makes_new_sessions_wait_and_loses_no_record() {
    let (folder, echo) = (Folder::new(), targets::echo());
    let log = folder.file("audit.jsonl");
    let keys = format!(
        "targets: [{{ kind: file, path: '{}', fsync: always, queue: 16, on-overflow: block }}]",
        log.display()
    );
    let gateway = Setup::new().audit(&keys).start();
    let clients: Vec<SocketAddr> = thread::scope(|scope| {
        let visit_many = || (0..60).map(|_| visit(gateway.address(), echo.address)).collect::<Vec<_>>();
        let visitors: Vec<_> = (0..5).map(|_| scope.spawn(visit_many)).collect();
        visitors.into_iter().flat_map(|visitor| visitor.join().expect("everybody is served")).collect()
    });
    drop(gateway.stop());
    let records = audit::read(&log);
    let sessions = records.iter().filter(|record| record.is_session()).count();
    assert_eq!(sessions, clients.len());
    for client in clients {
        assert!(records.iter().any(|record| record.is_of(client)), "{client}");
    }
}

#[test]
fn a_target_that_counts_tells_how_many_records_it_misses_and_keeps_nobody_out() {
    let (folder, echo) = (Folder::new(), targets::echo());
    let log = folder.file("audit.jsonl");
    let keys = format!(
        "targets: [{{ kind: file, path: '{}', queue: 16, on-overflow: count, on-failure: continue }}]",
        log.display()
    );
    let gateway = Setup::new().audit(&keys).start();
    gateway.record(|record| record.text("event") == "gateway-start");
    // A folder in its place: it cannot be opened anew.
    std::fs::rename(&log, folder.file("old")).expect("it is there");
    std::fs::create_dir(&log).expect("the place is free");
    let clients: Vec<_> = (0..40).map(|_| visit(gateway.address(), echo.address)).collect();
    gateway.sessions(clients.len());
    std::fs::remove_dir(&log).expect("it is empty");
    let is_lost = |record: &&Record| record.text("event") == "audit-lost";
    let lost = audit::wait_for(&log, DEADLINE, |records| records.iter().find(is_lost).cloned());
    lost.expect("a record of what is missing").expect(&[("place", &log.display().to_string())]);
    let written = wait_for_session(&log, visit(gateway.address(), echo.address));
    let old = audit::read(&folder.file("old"));
    let sessions = old.iter().chain(&written).filter(|record| record.is_session()).count();
    // What came while the first batch was written again may have found no room either.
    let lost: u64 = written.iter().filter(is_lost).map(|record| record.number("count")).sum();
    assert_eq!(lost + u64::try_from(sessions).expect("few"), 41, "{written:#?}");
    assert!(lost >= 20, "{written:#?}");
}
