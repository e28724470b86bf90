//! Datagrams through another gateway: two gateways, one behind the other, with each way to log in.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tests::dante::DanteSite;
use tests::forwarder::password_file;
use tests::site::Site;
use tests::targets::{self, udp_echo};
use tests::udp::{Association, expect_nothing};
use tests::{DEADLINE, Folder, Gateway, Setup};

/// All datagrams go through `hq`.
const THROUGH: &str = "\
version: 1
rules:
  - { name: through, action: permit, command: udp-associate, upstream: hq, special-use: permit }
";

/// A gateway in front of the one at `upstream`.
fn front(upstream: &str, auth: &str) -> Setup {
    Setup::new()
        .policy(THROUGH)
        .key("upstreams", &format!("[{{ name: hq, address: '{upstream}', auth: {auth}, timeout: 5s }}]"))
}

fn through(upstream: &Gateway) -> Setup {
    front(&upstream.address().to_string(), "{ kind: none }")
}

/// Datagrams of all sizes to an address, and some to a name, which the second gateway looks up.
#[track_caller]
fn expect_echoes(front: &Gateway, behind: &Gateway, identity: &str) {
    let echo = udp_echo(Ipv4Addr::LOCALHOST.into());
    let association = Association::open(front.address());
    for len in [0, 1, 64, 1200, 9000, 60_000] {
        association.expect_echo(&echo.address.into(), echo.address, &vec![5; len]);
    }
    // The upstream alone knows which of its addresses the name has.
    let both = udp_echo(Ipv6Addr::UNSPECIFIED.into());
    let name = format!("localhost:{}", both.address.port()).parse().expect("a target");
    for number in 0..4_u8 {
        association.send(&name, &[number]);
        let (origin, data) = association.receive();
        assert!(origin.ip().is_loopback() && origin.port() == both.address.port(), "{origin}");
        assert_eq!(data, [number]);
    }
    let record = front.session_of(association.end());
    record.expect(&[("upstream", "hq"), ("rule", "through"), ("cause", "closed"), ("verdict", "permit")]);
    assert_eq!((record.number("datagrams-up"), record.number("datagrams-down")), (10, 10), "{record}");
    assert_eq!((record.up(), record.down()), (70_269, 70_269), "{record}");
    // It ends with the client's.
    let record = behind.record(|record| record.text("command") == "udp-associate");
    record.expect(&[("identity", identity), ("cause", "closed")]);
    assert_eq!((record.number("datagrams-up"), record.up()), (10, 70_269), "{record}");
}

#[test]
fn datagrams_go_through_a_gateway_that_asks_nobody() {
    let behind = Setup::new().start();
    expect_echoes(&through(&behind).start(), &behind, "anonymous");
}

#[test]
fn datagrams_go_through_a_gateway_that_wants_a_password() {
    let (behind, folder) = (Setup::new().user("gateway", "secret").start(), Folder::new());
    let file = password_file(&folder, "secret");
    let auth =
        format!("{{ kind: password, options: {{ user: gateway, password-file: {} }} }}", file.display());
    expect_echoes(&front(&behind.address().to_string(), &auth).start(), &behind, "password:gateway");
}

#[test]
fn datagrams_go_through_a_gateway_that_wants_a_ticket_and_seals_each() {
    for level in ["confidentiality", "integrity"] {
        let site = Site::start(level);
        let (keytab, environment) = (site.folder().file("alice.keytab"), site.realm().client_env());
        site.realm().keytab(&["alice"], &keytab).expect("she is there");
        let auth =
            format!("{{ kind: gssapi, options: {{ protection: [{level}], keytab: {} }} }}", keytab.display());
        let upstream = format!("localhost:{}", site.gateway().address().port());
        let front = front(&upstream, &auth).environment(environment.iter()).start();
        expect_echoes(&front, site.gateway(), "alice@EXAMPLE.TEST");
        site.gateway().record(|record| record.text("protection") == level);
    }
}

#[test]
fn datagrams_go_through_dantes_server_with_a_ticket() {
    for level in ["confidentiality", "integrity"] {
        let dante = DanteSite::start(&[level]);
        let keytab = dante.folder().file("alice.keytab");
        dante.realm().keytab(&["alice"], &keytab).expect("she is there");
        let auth =
            format!("{{ kind: gssapi, options: {{ protection: [{level}], keytab: {} }} }}", keytab.display());
        let upstream = format!("localhost:{}", dante.address().port());
        let environment = dante.realm().client_env();
        let front = front(&upstream, &auth).environment(environment.iter()).start();
        let echo = udp_echo(Ipv4Addr::LOCALHOST.into());
        let association = Association::open(front.address());
        for len in [1, 64, 1200, 9000] {
            association.expect_echo(&echo.address.into(), echo.address, &vec![7; len]);
        }
        let record = front.session_of(association.end());
        record.expect(&[("upstream", "hq"), ("cause", "closed")]);
        assert_eq!((record.number("datagrams-up"), record.number("datagrams-down")), (4, 4), "{record}");
    }
}

#[test]
fn datagrams_of_one_association_go_through_the_upstream_and_past_it_as_their_rules_say() {
    let behind = Setup::new().start();
    let [far, near, denied] = [(); 3].map(|()| udp_echo(Ipv4Addr::LOCALHOST.into()));
    let policy = format!(
        "version: 1\nrules:\n  \
         - {{ name: no, action: deny, port: {} }}\n  \
         - {{ name: near, action: permit, command: udp-associate, port: {}, special-use: permit }}\n  \
         - {{ name: far, action: permit, command: udp-associate, upstream: hq, special-use: permit }}\n",
        denied.address.port(),
        near.address.port()
    );
    let front = through(&behind).policy(&policy).start();
    let association = Association::open(front.address());
    for _ in 0..3 {
        association.expect_echo(&near.address.into(), near.address, b"here");
        association.expect_echo(&far.address.into(), far.address, b"there");
    }
    association.send(&denied.address.into(), b"nowhere");
    association.expect_echo(&near.address.into(), near.address, b"behind it, so that it was judged");
    let record = front.session_of(association.end());
    record.expect(&[("upstream", "hq"), ("rule", "near")]);
    assert_eq!((record.drops("denied"), record.number("datagrams-up")), (1, 7), "{record}");
    assert_eq!((record.number("destinations"), denied.received()), (2, 0), "{record}");
    let record = behind.record(|record| record.text("command") == "udp-associate");
    assert_eq!(record.number("datagrams-up"), 3, "{record}");
}

#[test]
fn an_upstream_that_is_down_takes_its_own_datagrams_with_it_and_no_others() {
    let down = targets::Refusing::new();
    let (far, near) = (udp_echo(Ipv4Addr::LOCALHOST.into()), udp_echo(Ipv4Addr::LOCALHOST.into()));
    let policy = format!(
        "version: 1\nrules:\n  \
         - {{ name: near, action: permit, command: udp-associate, port: {}, special-use: permit }}\n  \
         - {{ name: far, action: permit, command: udp-associate, upstream: hq, special-use: permit }}\n",
        near.address.port()
    );
    let front = front(&down.address.to_string(), "{ kind: none }").policy(&policy).start();
    let association = Association::open(front.address());
    association.send(&far.address.into(), b"lost");
    let warned = |line: &str| {
        (line.contains("WARN") && line.contains("no datagrams through an upstream gateway")).then_some(())
    };
    assert!(front.log().find(DEADLINE, warned).is_some(), "the operator hears of it");
    for _ in 0..5 {
        association.send(&far.address.into(), b"lost");
        association.expect_echo(&near.address.into(), near.address, b"here");
    }
    let record = front.session_of(association.end());
    record.expect(&[("upstream", ""), ("cause", "closed")]);
    assert_eq!((record.drops("upstream-failed"), record.number("datagrams-up")), (6, 5), "{record}");
    assert_eq!(far.received(), 0, "nothing goes past the upstream");
}

#[test]
fn an_upstream_that_says_nothing_holds_up_nobody_but_its_own() {
    let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = silent.local_addr().expect("a socket").to_string();
    let near = udp_echo(Ipv4Addr::LOCALHOST.into());
    let policy = format!(
        "version: 1\nrules:\n  \
         - {{ name: near, action: permit, command: udp-associate, port: {}, special-use: permit }}\n  \
         - {{ name: far, action: permit, command: udp-associate, upstream: hq, special-use: permit }}\n",
        near.address.port()
    );
    let front = front(&address, "{ kind: none }").policy(&policy).start();
    let association = Association::open(front.address());
    // Sixteen may wait for the way; the others are too many.
    for _ in 0..20 {
        association.send(&"127.0.0.1:9".parse().expect("a target"), b"waits");
    }
    association.expect_echo(&near.address.into(), near.address, b"meanwhile");
    let record = front.session_of(association.end());
    assert_eq!((record.drops("full"), record.number("datagrams-up")), (4, 1), "{record}");
}

#[test]
fn nothing_comes_back_through_an_upstream_from_where_nothing_was_sent_to() {
    let open =
        "version: 1\nrules:\n  - { name: all, action: permit, special-use: permit, udp: { replies: any } }\n";
    let behind = Setup::new().policy(open).start();
    let front = through(&behind).start();
    let socket = |number| {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, number), 0)).expect("a free port");
        socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
        socket
    };
    let (asked, stranger) = (socket(1), socket(2));
    let target = asked.local_addr().expect("a socket");
    let association = Association::open(front.address());
    association.send(&target.into(), b"question");
    let mut room = [0; 64];
    let (_, upstream) = asked.recv_from(&mut room).expect("the question");
    stranger.send_to(b"nobody has asked", upstream).expect("a socket takes a datagram");
    asked.send_to(b"answer", upstream).expect("a socket takes a datagram");
    assert_eq!(association.receive(), (target, b"answer".to_vec()));
    expect_nothing(association.socket());
    let record = front.session_of(association.end());
    assert_eq!((record.drops("not-asked-for"), record.number("datagrams-down")), (1, 1), "{record}");
}

#[test]
fn an_association_whose_upstream_has_ended_opens_another_after_a_while() {
    let behind = Setup::new().key("admin", "{ socket: admin.sock }").start();
    let (front, echo) = (through(&behind).start(), udp_echo(Ipv4Addr::LOCALHOST.into()));
    let association = Association::open(front.address());
    association.expect_echo(&echo.address.into(), echo.address, b"by the first");
    let mut kill = std::process::Command::new(tests::program::built("socksd"));
    kill.args(["kill", "--source", "127.0.0.1", "--config"]).arg(behind.folder().file("socksd.yaml"));
    tests::command::run(&mut kill, DEADLINE).succeeded();
    expect_return(&association, echo.address);
    let record = front.session_of(association.end());
    record.expect(&[("upstream", "hq"), ("cause", "closed")]);
    assert!(record.drops("upstream-failed") >= 1, "{record}");
    assert_eq!(behind.sessions(2).len(), 2, "one before, and one after");
}

#[test]
fn an_open_association_follows_its_upstream_to_another_address() {
    let [old, new] = [(); 2].map(|()| Setup::new().start());
    let front = through(&old).key("admin", "{ socket: admin.sock }").start();
    let echo = udp_echo(Ipv4Addr::LOCALHOST.into());
    let association = Association::open(front.address());
    association.expect_echo(&echo.address.into(), echo.address, b"by the old one");
    front.command(&["reload"]).succeeded();
    association.expect_echo(&echo.address.into(), echo.address, b"still, as nothing has changed");
    front.edit("socksd.yaml", &old.address().to_string(), &new.address().to_string());
    front.command(&["reload"]).succeeded();
    association.expect_echo(&echo.address.into(), echo.address, b"by the new one");
    let record = old.record(|record| record.text("command") == "udp-associate");
    assert_eq!(record.number("datagrams-up"), 2, "{record}");
    let record = front.session_of(association.end());
    record.expect(&[("upstream", "hq"), ("cause", "closed")]);
    assert_eq!((record.number("datagrams-up"), record.number("datagrams-down")), (3, 3), "{record}");
    let record = new.record(|record| record.text("command") == "udp-associate");
    assert_eq!(record.number("datagrams-up"), 1, "{record}");
}

/// Sends until an answer comes.
#[track_caller]
fn expect_return(association: &Association, target: SocketAddr) {
    let socket = association.socket();
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
    let until = Instant::now() + DEADLINE;
    let mut room = [0; 64];
    loop {
        association.send(&target.into(), b"again");
        if socket.recv(&mut room).is_ok() {
            return;
        }
        assert!(Instant::now() < until, "nothing comes back any more");
    }
}
