//! Connections through another gateway: two gateways, one behind the other, with each way to log in.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tests::forwarder::{Forwarder, password_file};
use tests::site::{self, SERVICES, Site};
use tests::targets::{self, echo, last_word};
use tests::{Client, DEADLINE, Folder, Gateway, Record, Setup};

/// Everything goes through `hq`.
const THROUGH: &str = "\
version: 1
rules:
  - { name: through, action: permit, command: connect, upstream: hq, special-use: permit }
";

/// A gateway in front of the one at `upstream`.
fn front(upstream: &str, auth: &str) -> Setup {
    Setup::new()
        .policy(THROUGH)
        .key("upstreams", &format!("[{{ name: hq, address: '{upstream}', auth: {auth}, timeout: 2s }}]"))
}

fn through(upstream: &Gateway) -> Gateway {
    front(&upstream.address().to_string(), "{ kind: none }").start()
}

fn password(file: &Path) -> String {
    format!("{{ kind: password, options: {{ user: gateway, password-file: {} }} }}", file.display())
}

fn greeted(gateway: &Gateway) -> Client {
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client
}

/// A request that the front refuses with this code and cause.
#[track_caller]
fn expect_failure(gateway: &Gateway, target: SocketAddr, code: u8, cause: &str) -> Record {
    let mut client = greeted(gateway);
    client.send(&tests::client::connect_request(target));
    client.expect_refusal(code);
    let record = gateway.session_of(client.local());
    record.expect(&[("verdict", "fail"), ("cause", cause), ("upstream", "hq"), ("bound", "")]);
    assert_eq!(record.number("reply"), u64::from(code), "{record}");
    record
}

/// Two tunnels through both gateways: to an address, and to a name, which the second one looks up.
#[track_caller]
fn expect_tunnels(front: &Gateway, behind: &Gateway, identity: &str) {
    let echo = echo();
    for by_name in [false, true] {
        let mut client = greeted(front);
        let (reply, target) = if by_name {
            (client.connect_to_name(b"localhost", echo.address.port()), "localhost")
        } else {
            (client.connect_to(echo.address), "127.0.0.1")
        };
        assert_eq!(reply.code, 0x00, "{target}");
        client.expect_echo(&[7; 100_000]);
        client.finish();
        assert_eq!(client.receive_all().0, b"", "the end passes through both");
        let target = format!("{target}:{}", echo.address.port());
        let first = front.session_of(client.local());
        first.expect(&[
            ("upstream", "hq"),
            ("target", &target),
            ("dialled", &behind.address().to_string()),
            ("rule", "through"),
            ("cause", "closed"),
        ]);
        assert_eq!((first.up(), first.down()), (100_000, 100_000), "{first}");
        let second = behind.session_of(first.text("bound").parse().expect("an address"));
        second.expect(&[
            ("target", &target),
            ("identity", identity),
            ("bound", &reply.bound.to_string()),
            ("cause", "closed"),
        ]);
    }
}

#[test]
fn connections_go_through_a_gateway_that_asks_nobody() {
    let behind = Setup::new().start();
    expect_tunnels(&through(&behind), &behind, "anonymous");
}

#[test]
fn connections_go_through_a_gateway_that_wants_a_password() {
    let (behind, folder) = (Setup::new().user("gateway", "secret").start(), Folder::new());
    let file = password_file(&folder, "secret");
    let front = front(&behind.address().to_string(), &password(&file)).start();
    expect_tunnels(&front, &behind, "password:gateway");
}

#[test]
fn what_a_target_says_first_arrives() {
    let behind = Setup::new().start();
    let front = through(&behind);
    let target = targets::farewell(b"220 ready\r\n");
    for _ in 0..20 {
        let mut client = greeted(&front);
        assert_eq!(client.connect_to(target.address).code, 0x00);
        client.expect_last(b"220 ready\r\n");
    }
    let target = last_word();
    let mut client = greeted(&front);
    assert_eq!(client.connect_to(target.address).code, 0x00);
    client.send(b"to the end");
    client.finish();
    drop(client.receive_all());
}

#[test]
fn an_upstreams_refusal_is_passed_on() {
    let policy = "version: 1\nrules:\n  - { name: no, action: deny, port: 1 }\n  - { name: yes, action: permit, special-use: permit }\n";
    let behind = Setup::new().policy(policy).start();
    let (front, refusing) = (through(&behind), targets::Refusing::new());
    let record = expect_failure(&front, refusing.address, 0x05, "upstream-refused");
    assert!(record.text("detail").contains("upstream `hq`"), "{record}");
    expect_failure(&front, ([127, 0, 0, 1], 1).into(), 0x02, "upstream-refused");
    let mut client = greeted(&front);
    client.send(&tests::client::name_request(0x01, b"no-such-host.invalid", 80));
    client.expect_refusal(0x04);
    front
        .session_of(client.local())
        .expect(&[("cause", "upstream-refused"), ("target", "no-such-host.invalid:80")]);
}

#[test]
fn an_upstream_that_is_down_is_the_gateways_own_trouble() {
    let (down, echo) = (targets::Refusing::new(), echo());
    let front = front(&down.address.to_string(), "{ kind: none }").start();
    expect_failure(&front, echo.address, 0x01, "upstream-unreachable");
    let warned = |line: &str| (line.contains("WARN") && line.contains("upstream-unreachable")).then_some(());
    assert!(front.log().find(DEADLINE, warned).is_some(), "the operator hears of it");
}

#[test]
fn an_upstream_that_refuses_the_login_is_named_and_the_password_is_not() {
    let (behind, folder, echo) = (Setup::new().user("gateway", "secret").start(), Folder::new(), echo());
    let file = password_file(&folder, "wrong-password-7");
    let wrong = front(&behind.address().to_string(), &password(&file)).level("trace").start();
    expect_failure(&wrong, echo.address, 0x01, "upstream-login-failed");
    assert!(!wrong.stop().log.contains("wrong-password-7"));
    let none = front(&behind.address().to_string(), "{ kind: none }").start();
    expect_failure(&none, echo.address, 0x01, "upstream-login-failed");
}

#[test]
fn nothing_waits_for_ever() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (silent, echo) = (listener.local_addr().unwrap(), echo());
    let gateway = front(&silent.to_string(), "{ kind: none }").start();
    expect_failure(&gateway, echo.address, 0x01, "upstream-login-failed");
    let (behind, deaf) = (Setup::new().start(), targets::Deaf::new());
    let gateway =
        front(&behind.address().to_string(), "{ kind: none }").limit("connect-timeout", "1s").start();
    expect_failure(&gateway, deaf.address, 0x04, "connect-timeout");
    behind.record(|record| record.text("cause") == "client-lost" || record.text("verdict") == "fail");
}

#[test]
fn a_rule_that_names_networks_has_the_name_looked_up_here() {
    let policy = "\
version: 1
rules:
  - { name: local, action: permit, command: connect, destination: 127.0.0.0/8, upstream: hq, special-use: permit }
";
    let (behind, echo) = (Setup::new().start(), echo());
    let front = front(&behind.address().to_string(), "{ kind: none }").policy(policy).start();
    let mut client = greeted(&front);
    assert_eq!(client.connect_to_name(b"localhost", echo.address.port()).code, 0x00);
    client.expect_echo(b"judged");
    drop(client);
    let record = behind.session();
    record.expect(&[("target", &echo.address.to_string()), ("verdict", "permit")]);
}

#[test]
fn a_name_for_the_upstreams_own_loopback_is_not_passed_on_unless_the_rule_says_so() {
    let (behind, echo) = (Setup::new().start(), echo());
    let policy = THROUGH.replace(", special-use: permit", "");
    let front = front(&behind.address().to_string(), "{ kind: none }").policy(&policy).start();
    let mut client = greeted(&front);
    client.send(&tests::client::name_request(0x01, b"localhost", echo.address.port()));
    client.expect_refusal(0x02);
    front.session_of(client.local()).expect(&[("cause", "special-use"), ("verdict", "deny")]);
    assert!(behind.records().iter().all(|record| !record.is_session()));
}

/// Lets both gateways wait for a peer at that address.
fn bind(gateway: &Gateway, peer: [u8; 4]) -> (Client, SocketAddr) {
    let mut client = greeted(gateway);
    let reply = client.bind((peer, 0).into());
    assert_eq!(reply.code, 0x00);
    (client, reply.bound)
}

#[test]
fn a_peer_comes_by_the_upstream() {
    let behind = Setup::new().start();
    let policy = THROUGH.replace("command: connect", "command: bind, bind: { timeout: 20s }");
    let gateway = front(&behind.address().to_string(), "{ kind: none }").policy(&policy).start();
    let (mut client, told) = bind(&gateway, [127, 0, 0, 1]);
    let mut peer = TcpStream::connect(told).unwrap();
    peer.write_all(b"150 here it comes").unwrap();
    let reply = client.reply();
    assert_eq!((reply.code, reply.bound), (0x00, peer.local_addr().unwrap()));
    assert_eq!(client.receive(17), b"150 here it comes");
    client.send(b"thanks");
    client.finish();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"thanks");
    let came_from = peer.local_addr().unwrap().to_string();
    drop(peer);
    let first = gateway.session_of(client.local());
    first.expect(&[
        ("upstream", "hq"),
        ("bound", &told.to_string()),
        ("peer", &came_from),
        ("dialled", &behind.address().to_string()),
        ("verdict", "permit"),
    ]);
    assert_eq!((first.up(), first.down()), (6, 17), "{first}");
    behind.session().expect(&[("command", "bind"), ("bound", &told.to_string()), ("peer", &came_from)]);
}

#[test]
fn a_peer_that_the_upstream_takes_is_judged_here_too() {
    let behind = Setup::new().start();
    let policy = "\
version: 1
rules:
  - { name: not-him, action: deny, destination: 127.0.0.2 }
  - { name: through, action: permit, command: bind, upstream: hq, special-use: permit, bind: { peer: any } }
";
    let gateway = front(&behind.address().to_string(), "{ kind: none }").policy(policy).start();
    // Whom the upstream lets in is its business: it was not told of anybody.
    let (mut client, told) = bind(&gateway, [0, 0, 0, 0]);
    let _peer = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2).into(), told);
    client.expect_refusal(0x02);
    gateway.session_of(client.local()).expect(&[
        ("cause", "peer-refused"),
        ("verdict", "deny"),
        ("peer", ""),
    ]);
}

#[test]
fn a_bind_at_an_upstream_ends_with_its_client_and_its_time() {
    let behind = Setup::new().start();
    let policy = THROUGH.replace("command: connect", "command: bind, bind: { timeout: 1s }");
    let gateway = front(&behind.address().to_string(), "{ kind: none }").policy(&policy).start();
    let (mut client, _) = bind(&gateway, [127, 0, 0, 1]);
    client.expect_refusal(0x06);
    gateway.session_of(client.local()).expect(&[("cause", "no-peer")]);
    let (client, told) = bind(&gateway, [127, 0, 0, 1]);
    let local = client.local();
    drop(client);
    gateway.session_of(local).expect(&[("cause", "client-lost")]);
    let until = Instant::now() + DEADLINE;
    while targets::is_open(told) {
        assert!(Instant::now() < until, "the upstream listens no more");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn gateways_that_send_to_each_other_do_not_run_away() {
    let free = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        &*listener.local_addr().unwrap().to_string().leak()
    };
    let (one, other) = (free(), free());
    let start = |own: &'static str, next: &str| {
        front(next, "{ kind: none }")
            .listener(own)
            .limit("max-sessions-per-source", "40")
            .limit("connect-timeout", "2s")
            .start()
    };
    let (first, second) = (start(one, other), start(other, one));
    let (begun, echo) = (Instant::now(), echo());
    let mut client = greeted(&first);
    assert_ne!(client.connect_to(echo.address).code, 0x00);
    assert!(begun.elapsed() < DEADLINE);
    drop(client);
    // All of it ends with the first.
    let until = Instant::now() + DEADLINE;
    while !greets(&first) || !greets(&second) {
        assert!(Instant::now() < until, "both serve again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells whether a gateway answers a greeting, or closes.
fn greets(gateway: &Gateway) -> bool {
    let (client, mut answer) = (Client::connect(gateway.address()), [0; 2]);
    // Whoever is refused may be so before all is said.
    let _ = client.stream().write_all(&[5, 1, 0]);
    client.stream().read_exact(&mut answer).is_ok()
}

#[test]
fn connections_go_through_a_gateway_that_wants_a_ticket() {
    for level in ["confidentiality", "integrity"] {
        let site = Site::start(level);
        let (keytab, environment) = (site.folder().file("alice.keytab"), site.realm().client_env());
        site.realm().keytab(&["alice"], &keytab).expect("she is there");
        let auth =
            format!("{{ kind: gssapi, options: {{ protection: [{level}], keytab: {} }} }}", keytab.display());
        let upstream = format!("localhost:{}", site.gateway().address().port());
        let front = front(&upstream, &auth).environment(environment.iter()).start();
        expect_tunnels(&front, site.gateway(), "alice@EXAMPLE.TEST");
        for record in site.gateway().sessions(2) {
            record.expect(&[("protection", level)]);
        }
        // No ticket was taken by anybody else, and the gateway's own come anew when it has none.
        let mut client = greeted(&front);
        let target = targets::farewell(b"220 ready\r\n");
        assert_eq!(client.connect_to(target.address).code, 0x00);
        client.expect_last(b"220 ready\r\n");
    }
}

#[test]
fn a_protected_client_goes_through_a_gateway_that_protects_as_well() {
    let (behind, echo) = (Site::start("confidentiality"), echo());
    let realm = behind.realm();
    let (keytab, own) = (behind.folder().file("alice.keytab"), behind.folder().file("front.keytab"));
    realm.keytab(&["alice"], &keytab).expect("she is there");
    realm.keytab(&SERVICES, &own).expect("the service is there");
    let auth = format!("{{ kind: gssapi, options: {{ keytab: {} }} }}", keytab.display());
    let upstream = format!("localhost:{}", behind.gateway().address().port());
    let front = front(&upstream, &auth)
        .auth(&format!("  - kind: gssapi\n    options: {{ keytab: {} }}\n", own.display()))
        .environment(realm.server_env(&own).iter())
        .start();
    let forwarder = Forwarder::start_as(site::forwarder(front.address(), &behind.alice().env()));
    let mut client = Client::connect(forwarder.address());
    client.open(echo.address);
    client.expect_echo(&[9; 200_000]);
    client.finish();
    assert_eq!(client.receive_all().0, b"");
    for record in [front.session(), behind.gateway().session()] {
        record.expect(&[
            ("identity", "alice@EXAMPLE.TEST"),
            ("protection", "confidentiality"),
            ("cause", "closed"),
        ]);
        assert_eq!((record.up(), record.down()), (200_000, 200_000), "{record}");
    }
}

#[test]
fn a_gateway_without_a_ticket_says_so() {
    let site = Site::start("confidentiality");
    let (keytab, environment) = (site.folder().file("nobody.keytab"), site.realm().client_env());
    std::fs::write(&keytab, b"").unwrap();
    let auth = format!("{{ kind: gssapi, options: {{ keytab: {} }} }}", keytab.display());
    let upstream = format!("localhost:{}", site.gateway().address().port());
    let front = front(&upstream, &auth).environment(environment.iter()).start();
    let record = expect_failure(&front, echo().address, 0x01, "upstream-login-failed");
    assert!(!record.text("detail").is_empty(), "{record}");
}
