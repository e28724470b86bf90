//! Waiting for a peer, against gateways that play a script.

use std::time::Duration;

use socks_core::wire::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::testing::Line::{Echoes, Ends, Hears, HearsTheEnd, Says};
use crate::testing::{FakeGateway, Line, ToyAuth, granted, greeting, refused, request_of, toy_frame};
use crate::{Client, NoAuthentication, Timeouts};

const LEVEL: Level = Level::Integrity;

fn peer() -> Target {
    "ftp.example:20".parse().unwrap()
}

/// A gateway that is asked to listen, and goes on with `then`.
async fn asked(then: Vec<Line>) -> FakeGateway {
    let begin = [Hears(greeting(&[0])), Says(vec![5, 0]), Hears(request_of(Command::Bind, &peer()))];
    FakeGateway::play(begin.into_iter().chain(then).collect()).await.unwrap()
}

fn client(gateway: &FakeGateway) -> Client {
    let timeouts = Timeouts { arrival: Duration::from_millis(200), ..Timeouts::default() };
    let client = Client::builder(gateway.target()).method(NoAuthentication).timeouts(timeouts);
    client.build().unwrap()
}

#[tokio::test]
async fn the_first_reply_is_the_address_and_the_second_the_peer() {
    let second = [granted("203.0.113.9:20"), b"220 ".to_vec()].concat();
    let gateway = asked(vec![Says(granted("198.51.100.1:4711")), Says(second), Echoes]).await;
    let listening = client(&gateway).bind(peer()).await.unwrap();
    assert_eq!(listening.address().to_string(), "198.51.100.1:4711");
    let (mut connection, from) = listening.accept().await.unwrap();
    assert_eq!(from.to_string(), "203.0.113.9:20");
    assert_eq!(connection.bound().to_string(), "198.51.100.1:4711");
    connection.write_all(b"hello").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut all = Vec::new();
    connection.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"220 hello");
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn both_replies_are_protected_like_everything_behind_them() {
    let sealed = |octets: &[u8]| toy_frame(LEVEL, octets);
    let replies =
        [sealed(&granted("198.51.100.1:4711")), sealed(&granted("203.0.113.9:20")), sealed(b"220 ")];
    let script = vec![
        Hears(greeting(&[0x80])),
        Says(vec![5, 0x80]),
        Hears(sealed(&request_of(Command::Bind, &peer()))),
        Says(replies.concat()),
        Echoes,
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let client = Client::builder(gateway.target()).method(ToyAuth(LEVEL)).build().unwrap();
    let listening = client.bind(peer()).await.unwrap();
    assert_eq!(listening.level(), LEVEL);
    let (mut connection, _) = listening.accept().await.unwrap();
    connection.write_all(b"hello").await.unwrap();
    let mut all = [0; 9];
    connection.read_exact(&mut all).await.unwrap();
    assert_eq!(&all, b"220 hello");
    drop(connection);
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn an_address_of_zeros_is_the_gateways_own() {
    for (bound, address) in [("0.0.0.0:4711", "127.0.0.1:4711"), ("[::]:4711", "127.0.0.1:4711")] {
        let gateway = asked(vec![Says(granted(bound))]).await;
        let listening = client(&gateway).bind(peer()).await.unwrap();
        assert_eq!(listening.address().to_string(), address);
    }
}

#[tokio::test]
async fn failures_name_the_reply_that_was_not_given() {
    let first = || Says(granted("198.51.100.1:4711"));
    let table = [
        (vec![Says(refused(2))], "request: gateway answers 0x02 (not allowed by the ruleset)"),
        (vec![Ends], "request: gateway hung up"),
        (
            vec![first(), Says(refused(6))],
            "waiting for the peer: gateway answers 0x06 (time to live expired)",
        ),
        (vec![first(), Ends], "waiting for the peer: gateway hung up"),
        (vec![first(), HearsTheEnd], "waiting for the peer: no answer within 200 ms"),
        (
            vec![first(), Says(vec![4])],
            "waiting for the peer: malformed message from the gateway: version octet is 0x04 instead of 0x05",
        ),
    ];
    for (then, text) in table {
        let gateway = asked(then).await;
        let error = match client(&gateway).bind(peer()).await {
            Ok(listening) => listening.accept().await.map(drop).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.to_string(), text);
        gateway.finish().await.unwrap();
    }
}

#[tokio::test]
async fn who_waits_no_longer_hangs_up() {
    let gateway = asked(vec![Says(granted("198.51.100.1:4711")), HearsTheEnd]).await;
    drop(client(&gateway).bind(peer()).await.unwrap());
    gateway.finish().await.unwrap();
}
