//! The gateway under a service manager, played by the tests: what it tells (the notify protocol of systemd), and the
//! sockets that it is given (socket activation).

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{Client, DEADLINE, Folder, Gateway, Setup, program, targets};

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    folder: Folder,
}

impl Manager {
    fn new() -> Self {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.file("notify")).expect("our folder");
        Self { socket, folder }
    }

    fn start(&self, setup: &Setup, more: &[(&str, &str)]) -> Gateway {
        let path = self.folder.file("notify");
        let pairs = more.iter().map(|(name, value)| (OsStr::new(*name), OsStr::new(*value)));
        setup.clone().environment(pairs.chain([(OsStr::new("NOTIFY_SOCKET"), path.as_os_str())])).start()
    }

    /// The next message with this line, before the deadline; the others are thrown away.
    #[track_caller]
    fn hear(&self, wanted: &str) -> String {
        let until = Instant::now() + DEADLINE;
        let mut others = Vec::new();
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).expect("not zero");
            let mut text = [0; 4096];
            let Ok(length) = self.socket.recv(&mut text) else { break };
            let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
            if text.lines().any(|line| line == wanted) {
                return text;
            }
            others.push(text);
        }
        panic!("no `{wanted}` among {others:#?}");
    }
}

fn wait_for_log(gateway: &Gateway, text: &str) {
    let told = |line: &str| line.contains(text).then_some(());
    assert!(gateway.log().find(DEADLINE, told).is_some(), "no `{text}` in\n{}", gateway.log().text());
}

#[test]
fn the_manager_hears_when_the_gateway_serves_reloads_and_stops() {
    let (manager, echo) = (Manager::new(), targets::echo());
    let gateway = manager.start(&Setup::new(), &[]);
    assert_eq!(manager.hear("READY=1"), "READY=1\nSTATUS=0 sessions, policy 1 with 1 rules");

    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    gateway.signal(Signal::HUP);
    let reloading = manager.hear("RELOADING=1");
    let micros = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let micros: u64 = micros.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{reloading}"));
    let uptime = std::fs::read_to_string("/proc/uptime").expect("a Linux");
    let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("seconds");
    // Not the same clock where a machine sleeps, but that of the same boot.
    assert!(micros > 0 && Duration::from_micros(micros) <= Duration::from_secs_f64(uptime + 1.0));
    assert_eq!(manager.hear("READY=1"), "READY=1\nSTATUS=1 sessions, policy 2 with 1 rules");

    gateway.folder().write("policy.yaml", "version: 1\nclients: [{ methods: [none] }]\nruels: []\n");
    gateway.signal(Signal::HUP);
    manager.hear("RELOADING=1");
    let refused = manager.hear("READY=1");
    assert!(refused.contains("\nSTATUS=last reload refused: "), "{refused}");
    assert!(
        refused.contains("policy.yaml:1:1: ") && refused.ends_with("; 1 sessions, policy 2 with 1 rules"),
        "{refused}"
    );

    gateway.signal(Signal::TERM);
    manager.hear("STOPPING=1");
    let more_time = manager.hear("EXTEND_TIMEOUT_USEC=60000000");
    assert!(more_time.contains("\nSTATUS=stopping: 1 sessions still open, "), "{more_time}");
    tunnel.expect_echo(b"until the end");
    drop(tunnel);
    assert!(gateway.log().wait_for_end(DEADLINE));
}

#[test]
fn the_watchdog_gets_signs_of_life_also_on_the_way_down() {
    let (manager, echo) = (Manager::new(), targets::echo());
    let gateway = manager.start(&Setup::new(), &[("WATCHDOG_USEC", "200000")]);
    manager.hear("READY=1");
    manager.hear("WATCHDOG=1");
    let tunnel = Client::tunnel(gateway.address(), echo.address);
    gateway.signal(Signal::TERM);
    manager.hear("STOPPING=1");
    manager.hear("WATCHDOG=1");
    manager.hear("WATCHDOG=1");
    drop(tunnel);
    assert!(gateway.log().wait_for_end(DEADLINE));
}

#[test]
fn a_watchdog_of_another_process_hears_nothing() {
    let manager = Manager::new();
    let gateway = manager.start(&Setup::new(), &[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")]);
    manager.hear("READY=1");
    let stopped = gateway.stop();
    assert_eq!(stopped.code, Some(0));
    manager.socket.set_nonblocking(true).expect("a socket");
    let mut heard = Vec::new();
    let mut text = [0; 4096];
    while let Ok(length) = manager.socket.recv(&mut text) {
        heard.push(String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned());
    }
    assert!(heard.iter().any(|text| text == "STOPPING=1"), "{heard:#?}");
    assert!(!heard.iter().any(|text| text.contains("WATCHDOG")), "{heard:#?}");
}

#[test]
fn a_gateway_without_a_manager_that_can_be_told_serves_all_the_same() {
    let echo = targets::echo();
    let nowhere = [(OsStr::new("NOTIFY_SOCKET"), OsStr::new("/nowhere/notify"))];
    let gateway = Setup::new().environment(nowhere.into_iter()).start();
    wait_for_log(&gateway, "the service manager cannot be told how the gateway does");
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"served");
}

#[test]
fn files_are_opened_anew_and_permits_taken_away_while_the_gateway_stops() {
    let echo = targets::echo();
    let policy = "version: 1\nclients: [{ methods: [none] }]\n\
                  rules: [{ name: all, action: permit, special-use: permit, on-revoke: close }]\n";
    let gateway = Setup::new().policy(policy).start();
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    tunnel.expect_echo(b"before");
    gateway.signal(Signal::TERM);
    wait_for_log(&gateway, "stopping");
    gateway.signal(Signal::USR1);
    wait_for_log(&gateway, "audit target opened anew");
    tunnel.expect_echo(b"still there");
    gateway.folder().write("policy.yaml", "version: 1\nclients: [{ methods: [none] }]\nrules: []\n");
    gateway.signal(Signal::HUP);
    let record = gateway.session_of(tunnel.local());
    assert_eq!(record.text("cause"), "permit-revoked");
    assert!(gateway.log().wait_for_end(DEADLINE));
}

/// A gateway that is given one TCP socket as the first of its descriptors, and a file that is none as the second.
fn activated(setup: &Setup, socket: &TcpListener, names: &str) -> Setup {
    let script = format!(
        "exec env LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names} \"$@\" 3<&0 4</dev/null 0</dev/null"
    );
    setup.clone().given(socket).under(&["sh", "-c", &script, "sh"])
}

fn on(address: SocketAddr) -> Setup {
    Setup::new().listener(Box::leak(address.to_string().into_boxed_str()))
}

fn free() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

#[test]
fn a_socket_of_the_managers_is_used_where_its_address_is_a_listeners() {
    let (echo, (socket, address)) = (targets::echo(), free());
    // Who comes before the gateway runs, waits for it.
    let mut early = Client::connect(address);
    let gateway = activated(&on(address), &socket, "socksd.socket:file").start();
    assert_eq!(gateway.address(), address);
    assert_eq!(early.greet(&[0x00]), 0x00);
    assert_eq!(early.connect_to(echo.address).code, 0x00);
    early.expect_echo(b"served");
    wait_for_log(&gateway, "descriptor 1 of the service manager (file) is no listening TCP socket");
    gateway.signal(Signal::HUP);
    wait_for_log(&gateway, "\"reloaded\"");
    Client::tunnel(address, echo.address).expect_echo(b"the same socket after a reload");
}

#[test]
fn a_socket_of_the_managers_is_used_where_its_name_is_a_listeners() {
    let (echo, (socket, address)) = (targets::echo(), free());
    let setup = Setup::new().listener_key("name", "office");
    let gateway = activated(&setup, &socket, "office:file").start();
    assert_eq!(gateway.listener("office"), address, "the port is the manager's choice");
    Client::tunnel(address, echo.address).expect_echo(b"served");
}

#[test]
fn a_socket_that_no_listener_wants_is_closed_with_a_warning() {
    let (socket, address) = free();
    let gateway = activated(&Setup::new(), &socket, "other").start();
    wait_for_log(&gateway, &format!("the service manager listens on `{address}` for a listener that"));
    drop(socket);
    assert!(!targets::is_open(address), "nobody holds it any more");
}

#[test]
fn a_socket_that_contradicts_the_listener_of_its_name_is_a_mistake() {
    let (socket, address) = free();
    let folder = on(([127, 0, 0, 2], address.port()).into()).listener_key("name", "office").write();
    let mut command = std::process::Command::new("sh");
    let script = "exec env LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=office \"$@\" 3<&0 0</dev/null";
    command.args(["-c", script, "sh"]).arg(program::built("socksd")).args(["run", "--config"]);
    command.arg(folder.file("socksd.yaml")).stdin(std::process::Stdio::from(OwnedFd::from(socket)));
    let output = command.output().expect("a shell");
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains(&format!("`office` listens on `{address}`, and the listener of that name on")),
        "{text}"
    );
}
