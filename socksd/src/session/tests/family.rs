//! Which addresses of a target a rule's `family` lets the gateway use.

use super::*;

/// A gateway with that `family` in its only rule.
async fn bench(family: &str) -> Bench {
    let policy = format!(
        "version: 1\nclients: [{{ methods: [none] }}]\n\
         rules: [{{ name: all, action: permit, special-use: permit, family: {family} }}]\n"
    );
    Bench::under("", &policy).await
}

/// CONNECT to a host in the request's own form; the reply code.
async fn connect(client: &mut TcpStream, host: &[u8], port: u16) -> u8 {
    say(client, &[5, 1, 0], &[5, 0]).await;
    let request = [&[5, 1, 0], host, &port.to_be_bytes()].concat();
    client.write_all(&request).await.unwrap();
    let mut reply = [0; 4];
    client.read_exact(&mut reply).await.unwrap();
    reply[1]
}

const LITERAL_V4: &[u8] = &[1, 127, 0, 0, 1];
const LITERAL_V6: &[u8] = &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const LOCALHOST: &[u8] = b"\x03\x09localhost";

/// A port that is open on both loopback addresses.
async fn targets() -> (TcpListener, TcpListener, u16) {
    for _ in 0..100 {
        let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = v4.local_addr().unwrap().port();
        if let Ok(v6) = TcpListener::bind(("::1", port)).await {
            return (v4, v6, port);
        }
    }
    panic!("no port is free on both addresses");
}

#[tokio::test]
async fn a_target_is_reached_by_addresses_of_the_rules_family_only() {
    let (_v4, _v6, port) = targets().await;
    // A literal address of the other family: 08, address type not supported.
    let table = [
        ("any", LITERAL_V4, 0, Some("127.0.0.1")),
        ("any", LITERAL_V6, 0, Some("[::1]")),
        ("prefer-v6", LITERAL_V4, 0, Some("127.0.0.1")),
        ("prefer-v6", LOCALHOST, 0, Some("[::1]")),
        ("v4", LITERAL_V4, 0, Some("127.0.0.1")),
        ("v4", LITERAL_V6, 8, None),
        ("v4", LOCALHOST, 0, Some("127.0.0.1")),
        ("v6", LITERAL_V4, 8, None),
        ("v6", LITERAL_V6, 0, Some("[::1]")),
        ("v6", LOCALHOST, 0, Some("[::1]")),
    ];
    for (family, host, code, dialled) in table {
        let bench = bench(family).await;
        let (mut client, task) = bench.client().await;
        assert_eq!(connect(&mut client, host, port).await, code, "{family} {host:?}");
        drop(client);
        task.await.unwrap();
        let [record] = bench.records().try_into().unwrap();
        let dialled = dialled.map(|ip| format!("{ip}:{port}"));
        assert_eq!(record["dialled"].as_str(), dialled.as_deref(), "{family} {host:?}");
        assert_eq!(record["rule"], "all");
        if code != 0 {
            assert_eq!(
                (&record["cause"], &record["verdict"]),
                (&"family-not-allowed".into(), &"deny".into())
            );
        }
    }
}

#[tokio::test]
async fn another_family_is_tried_only_where_the_rule_does_not_exclude_it() {
    let (_v4, v6, port) = targets().await;
    // A socket that has the port and does not listen refuses whoever comes.
    drop(v6);
    let deaf = TcpSocket::new_v6().unwrap();
    deaf.set_reuseaddr(true).unwrap();
    deaf.bind(SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), port)).unwrap();
    for (family, code) in [("any", 0), ("prefer-v6", 0), ("v4", 0), ("v6", 5)] {
        let bench = bench(family).await;
        let (mut client, _task) = bench.client().await;
        assert_eq!(connect(&mut client, LOCALHOST, port).await, code, "{family}");
    }
}
