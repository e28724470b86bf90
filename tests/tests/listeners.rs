//! Several listeners of one gateway: each with its own methods, rules and keepalive.

use std::process::Command;
use std::time::{Duration, Instant};

use tests::command::{self, run};
use tests::targets::echo;
use tests::{Client, DEADLINE, Setup};

/// Nobody needs a password at the first listener, everybody at `staff`, and `closed` lets in nobody from here.
const POLICY: &str = "\
version: 1
clients:
  - { listener: open, methods: [none] }
  - { listener: staff, methods: [password] }
  - { listener: closed, source: 192.0.2.0/24, methods: [none] }
rules:
  - { name: open, listener: open, action: permit, port: 1-1023 }
  - { name: staff, listener: staff, action: permit, special-use: permit }
  - { name: closed, listener: closed, action: permit, special-use: permit }
";

fn setup() -> Setup {
    Setup::new()
        .user("alice", "secret")
        .or_nobody()
        .policy(POLICY)
        .listener_key("name", "open")
        .more_listener(
            "{ name: staff, address: '127.0.0.1:0', keepalive: { after: 30s, every: 5s, probes: 2 } }",
        )
        .more_listener("{ name: closed, address: '127.0.0.1:0', keepalive: off }")
}

#[test]
fn each_listener_has_its_own_methods_and_rules() {
    let (gateway, echo) = (setup().start(), echo());
    let mut open = Client::connect(gateway.listener("open"));
    assert_eq!(open.greet(&[0x02, 0x00]), 0x00);
    assert_eq!(open.connect_to(echo.address).code, 0x02, "no rule of this listener");
    let mut staff = Client::connect(gateway.listener("staff"));
    assert_eq!(staff.greet(&[0x00]), 0xFF, "no authentication is not on offer here");
    let mut staff = Client::connect(gateway.listener("staff"));
    assert_eq!(staff.greet(&[0x00, 0x02]), 0x02);
    assert_eq!(staff.login("alice", "secret"), 0x00);
    assert_eq!(staff.connect_to(echo.address).code, 0x00);
    staff.expect_echo(b"staff");
    let local = staff.local();
    drop(staff);
    gateway.session_of(local).expect(&[("listener", "staff"), ("rule", "staff"), ("method", "password")]);
    let mut closed = Client::connect(gateway.listener("closed"));
    assert_eq!(closed.receive_all().0, b"", "not even a greeting");
}

/// What the system tells of the gateway's end of a client's connection.
fn timer(client: &Client) -> String {
    let local = client.local();
    let mut ss = Command::new(command::tool("ss"));
    ss.args(["-tnoH", &format!("dst = {} and dport = :{}", local.ip(), local.port())]);
    run(&mut ss, DEADLINE).succeeded().text()
}

#[test]
fn each_listener_has_its_own_keepalive() {
    let gateway = setup().policy(&POLICY.replace("192.0.2.0/24", "127.0.0.0/8")).start();
    let seen = ["open", "staff", "closed"].map(|name| {
        let mut client = Client::connect(gateway.listener(name));
        assert_ne!(client.greet(&[0x00, 0x02]), 0xFF);
        let until = Instant::now() + DEADLINE;
        // Until what was sent is acknowledged, another timer runs.
        loop {
            let seen = timer(&client);
            if name == "closed" && !seen.contains("timer:") || seen.contains("timer:(keepalive,") {
                return seen;
            }
            assert!(Instant::now() < until, "{name}: {seen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let [open, staff, closed] = seen;
    assert!(open.contains("keepalive,1min") || open.contains("keepalive,2min"), "{open}");
    assert!(staff.contains("keepalive,29sec") || staff.contains("keepalive,30sec"), "{staff}");
    assert!(closed.contains("ESTAB"), "{closed}");
}
