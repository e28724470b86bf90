//! Other listeners for a running gateway: each is added, changed and removed while the others go on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::targets::echo;
use tests::{Client, DEADLINE, Gateway, Setup, command, program};

const ADMIN: &str = "{ socket: admin.sock }";
/// Who comes to `staff` may go anywhere, who comes to `guests` nowhere but to port 9.
const BY_NAME: &str = "\
version: 1
rules:
  - { name: staff, listener: staff, action: permit, special-use: permit, on-revoke: close }
  - { name: guests, listener: guests, action: permit, special-use: permit, port: 9 }
";

/// Adds a listener after the others.
fn add(gateway: &Gateway, keys: &str) {
    gateway.edit("socksd.yaml", "auth:\n", &format!("  - {keys}\nauth:\n"));
}

/// A port that nobody has.
fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("a socket").port()
}

/// How many sockets it has opened for listeners in all its time.
fn opened(gateway: &Gateway) -> usize {
    gateway.log().all().iter().filter(|line| line.contains("\"listening\"")).count()
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn a_listener_is_added_and_removed_while_tunnels_carry_data() {
    let (gateway, echo) = (Setup::new().key("admin", ADMIN).start(), echo());
    let mut first = Client::tunnel(gateway.address(), echo.address);
    first.expect_echo(b"before");
    add(&gateway, "{ name: second, address: '127.0.0.1:0' }");
    assert_eq!(gateway.command(&["reload"]).succeeded().text(), "reloaded: policy 2 is in force\n");
    let address = gateway.listener("second");
    let mut second = Client::tunnel(address, echo.address);
    for client in [&mut first, &mut second] {
        client.expect_echo(&[7; 100_000]);
    }
    let status = gateway.command(&["status"]).succeeded().text();
    assert!(status.contains(&format!("listener  second at {address}")), "{status}");

    gateway.edit("socksd.yaml", "  - { name: second, address: '127.0.0.1:0' }\n", "");
    gateway.command(&["reload"]).succeeded();
    assert!(is_refused(address), "the port is closed when the reload is done");
    for client in [&mut first, &mut second] {
        client.expect_echo(b"open tunnels go on, wherever they came in");
    }
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"the other listener as well");
    let local = second.local();
    drop(second);
    gateway.session_of(local).expect(&[("listener", "second"), ("cause", "closed")]);
}

#[test]
fn a_port_that_is_taken_refuses_the_whole_reload() {
    let (gateway, echo) = (Setup::new().key("admin", ADMIN).start(), echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (taken, free) = (other.local_addr().expect("a socket"), free_port());
    add(&gateway, &format!("{{ name: open, address: '127.0.0.1:{free}' }}"));
    add(&gateway, &format!("{{ name: taken, address: '{taken}' }}"));
    gateway.edit("policy.yaml", "action: permit", "action: permit\n    destination: 192.0.2.0/24");
    let refused = gateway.command(&["reload"]);
    assert_eq!(refused.code, Some(78), "{refused}");
    let why = format!("cannot listen on `{taken}`: Address already in use");
    assert!(refused.stderr.contains(&why), "{refused}");
    assert!(is_refused(([127, 0, 0, 1], free).into()), "the other new listener was not opened either");
    tunnel.expect_echo(b"the policy is the old one");
    Client::tunnel(gateway.address(), echo.address);
    gateway.record(|record| record.text("event") == "reload").expect(&[("result", "refused")]);

    drop(other);
    gateway.command(&["reload"]).succeeded();
    let mut denied = Client::connect(gateway.listener("taken"));
    assert_eq!(denied.greet(&[0x00]), 0x00);
    assert_eq!(denied.connect_to(echo.address).code, 0x02, "now it is in force");
}

#[test]
fn a_session_belongs_to_its_listener_whatever_that_is_called() {
    let setup = Setup::new().policy(BY_NAME).key("admin", ADMIN).listener_key("name", "staff");
    let gateway = setup.more_listener("{ name: guests, address: '127.0.0.2:0' }").start();
    let (echo, [staff, guests]) = (echo(), ["staff", "guests"].map(|name| gateway.listener(name)));
    let mut tunnel = Client::tunnel(staff, echo.address);
    let rename = |name: &str, to: &str| {
        for file in ["socksd.yaml", "policy.yaml"] {
            gateway.edit(file, name, to);
        }
    };
    rename("staff", "employees");
    let renamed = gateway.command(&["reload"]).succeeded().text();
    assert_eq!(
        renamed,
        "reloaded: policy 2 is in force\nopen sessions: 1 under another rule; permit lost: 0 ended, 0 draining, 0 kept\n"
    );
    tunnel.expect_echo(b"another name, the same door");
    Client::tunnel(staff, echo.address).expect_echo(b"for new ones too");

    gateway.edit("socksd.yaml", "name: employees", "name: other");
    gateway.edit("socksd.yaml", "name: guests", "name: employees");
    gateway.edit("socksd.yaml", "name: other", "name: guests");
    gateway.command(&["reload"]).succeeded();
    let record = gateway.session_of(tunnel.local());
    record.expect(&[("cause", "permit-revoked"), ("listener", "staff"), ("rule", "employees")]);
    Client::tunnel(guests, echo.address).expect_echo(b"they have changed places");
    let mut guest = Client::connect(staff);
    assert_eq!(guest.greet(&[0x00]), 0x00);
    assert_eq!(guest.connect_to(echo.address).code, 0x02);
}

#[test]
fn an_address_within_the_one_before_is_taken_over_without_a_refused_connection() {
    let (gateway, echo) = (Setup::new().listener("0.0.0.0:0").key("admin", ADMIN).start(), echo());
    let port = gateway.address().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut tunnel = Client::tunnel(address, echo.address);
    let (done, target) = (AtomicBool::new(false), echo.address);
    let clients = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut clients = 0;
            while !done.load(Ordering::Relaxed) {
                Client::tunnel(address, target).expect_echo(b"all the time");
                clients += 1;
            }
            clients
        });
        let [one, all] = [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")];
        for (from, to) in [("0.0.0.0:0", &one), (&*one, &all), (&*all, &one)] {
            gateway.edit("socksd.yaml", from, to);
            gateway.command(&["reload"]).succeeded();
        }
        done.store(true, Ordering::Relaxed);
        clients.join().expect("no client was refused")
    });
    assert!(clients > 0);
    tunnel.expect_echo(b"still there");
    assert!(is_refused(SocketAddr::from(([127, 0, 0, 2], port))), "the wildcard is gone");
}

#[test]
fn listeners_that_are_in_each_others_way_are_named() {
    let gateway = Setup::new().listener("0.0.0.0:0").listener_key("name", "all").key("admin", ADMIN).start();
    add(&gateway, &format!("{{ name: one, address: '127.0.0.1:{}' }}", gateway.address().port()));
    let refused = gateway.command(&["reload"]);
    assert_eq!(refused.code, Some(78), "{refused}");
    assert!(refused.stderr.contains("listener `all` of the same gateway has `0.0.0.0:"), "{refused}");
}

#[test]
fn reloads_at_once_come_one_after_the_other() {
    let (gateway, echo) = (Setup::new().key("admin", ADMIN).start(), echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    add(&gateway, "{ name: second, address: '127.0.0.1:0' }");
    let mut answers = thread::scope(|scope| {
        let reload = || gateway.command(&["reload"]).succeeded().text();
        let reloads: Vec<_> = (0..4).map(|_| scope.spawn(reload)).collect();
        gateway.signal(Signal::HUP);
        reloads.into_iter().map(|reload| reload.join().expect("a reload")).collect::<Vec<_>>()
    });
    let last = gateway.log().find(DEADLINE, |line| {
        line.contains("\"reloaded\"").then(|| line.contains("\"policy\":6").then_some(())).flatten()
    });
    assert!(last.is_some(), "five reloads, one of them by the signal");
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 4, "each has a policy of its own: {answers:?}");
    assert_eq!(opened(&gateway), 2, "the new socket was opened once");
    tunnel.expect_echo(b"and nobody was disturbed");
    Client::tunnel(gateway.listener("second"), echo.address).expect_echo(b"second");
}

#[test]
fn who_is_no_longer_balanced_needs_no_header() {
    let setup = Setup::new()
        .listener_key("proxy-protocol", "{ from: [127.0.0.1] }")
        .limit("handshake-timeout", "30s");
    let (gateway, echo) = (setup.key("admin", ADMIN).start(), echo());
    let mut headless = Client::connect(gateway.address());
    headless.send(&[0x05, 0x01, 0x00]);
    headless.expect_last(b"");
    gateway.edit("socksd.yaml", "    proxy-protocol: { from: [127.0.0.1] }\n", "");
    gateway.command(&["reload"]).succeeded();
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"as itself");
    assert_eq!(opened(&gateway), 1, "the socket is the same");
}

#[test]
fn a_removed_listener_that_a_rule_still_names_refuses_the_reload() {
    let setup = Setup::new().policy(BY_NAME).listener_key("name", "staff").key("admin", ADMIN);
    let gateway = setup.more_listener("{ name: guests, address: '127.0.0.2:0' }").start();
    gateway.edit("socksd.yaml", "  - { name: guests, address: '127.0.0.2:0' }\n", "");
    let refused = gateway.command(&["reload"]);
    assert_eq!(refused.code, Some(78), "{refused}");
    assert!(refused.stderr.contains("guests") && refused.stderr.contains("policy.yaml:4"), "{refused}");
    assert!(!is_refused(gateway.listener("guests")));
}

#[test]
fn level_and_format_of_the_log_change() {
    let (gateway, echo) = (Setup::new().key("admin", ADMIN).start(), echo());
    let reload = |from, to| {
        gateway.edit("socksd.yaml", from, to);
        gateway.command(&["reload"]).succeeded();
    };
    let visit = || {
        let mut client = Client::tunnel(gateway.address(), echo.address);
        client.expect_echo(b"hello");
        let local = client.local();
        drop(client);
        gateway.session_of(local);
        local.to_string()
    };
    reload("level: info", "level: warn");
    let quiet = visit();
    reload("format: json, level: warn", "format: text, level: info");
    let loud = visit();
    let line = gateway.log().find(DEADLINE, |line| line.contains(&loud).then(|| line.to_owned()));
    let line = line.expect("sessions are told of again");
    assert!(!line.starts_with('{') && line.contains(" INFO "), "{line}");
    assert!(!gateway.log().text().contains(&quiet), "{}", gateway.log().text());
}

#[test]
fn who_may_ask_the_gateway_changes_and_where_takes_a_restart() {
    let gateway = Setup::new().key("admin", "{ socket: admin.sock, viewers: [] }").start();
    gateway.edit("socksd.yaml", "socket: admin.sock", "socket: other.sock");
    let old = gateway.folder().file("admin.sock");
    assert_eq!(gateway.command(&["reload"]).code, Some(69), "nobody listens there");
    let ask = |words: &[&str]| {
        let mut program = Command::new(program::built("socksd"));
        program.args(words).arg("--socket").arg(&old);
        command::run(&mut program, DEADLINE)
    };
    for _ in 0..2 {
        let reloaded = ask(&["reload"]).succeeded();
        assert!(reloaded.stderr.contains("`admin` listens elsewhere"), "{reloaded}");
    }
    let status = ask(&["status"]).succeeded().text();
    assert!(status.contains("only after a restart"), "{status}");
}

#[test]
fn no_descriptor_is_left_behind() {
    let gateway = Setup::new().key("admin", ADMIN).start();
    let toggle = || {
        add(&gateway, "{ name: second, address: '127.0.0.1:0' }");
        gateway.command(&["reload"]).succeeded();
        gateway.edit("socksd.yaml", "  - { name: second, address: '127.0.0.1:0' }\n", "");
        gateway.command(&["reload"]).succeeded();
    };
    toggle();
    let before = tests::process::descriptors(gateway.pid());
    for _ in 0..20 {
        toggle();
    }
    let until = Instant::now() + DEADLINE;
    // The connection of the last command may be on its way out.
    while tests::process::descriptors(gateway.pid()) > before + 1 {
        assert!(
            Instant::now() < until,
            "{before} before, {} now",
            tests::process::descriptors(gateway.pid())
        );
        thread::sleep(Duration::from_millis(10));
    }
}
