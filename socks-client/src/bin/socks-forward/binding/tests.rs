//! Programs that wait for a connection, with gateways that play a script.

use socks_client::testing::Line::{Echoes, Hears, HearsTheEnd, Says};
use socks_client::testing::{FakeGateway, Line, granted, greeting, refused, request_of};
use socks_core::wire::Command;

use crate::forwarder::tests::Program;

/// A gateway that listens for a peer of that name, and goes on with `then`.
async fn listening(peer: &str, then: Vec<Line>) -> FakeGateway {
    let asked = request_of(Command::Bind, &peer.parse().unwrap());
    let begin = [Hears(greeting(&[0])), Says(vec![5, 0]), Hears(asked), Says(granted("0.0.0.0:4711"))];
    FakeGateway::play(begin.into_iter().chain(then).collect()).await.unwrap()
}

fn asking(peer: &str) -> Vec<u8> {
    [&[5, 1, 0][..], &request_of(Command::Bind, &peer.parse().unwrap())].concat()
}

/// The answer to the greeting, and the first reply with the gateway's address as the program can use it.
fn first() -> Vec<u8> {
    [&[5, 0][..], &granted("127.0.0.1:4711")].concat()
}

#[tokio::test]
async fn a_program_hears_both_replies_and_then_its_peer() {
    let second = [granted("203.0.113.9:20"), b"220 ".to_vec()].concat();
    let gateway = listening("ftp.example:20", vec![Says(second), Hears(b"early".to_vec()), Echoes]).await;
    let mut program = Program::at(&gateway).await;
    program.says(&[asking("ftp.example:20"), b"early".to_vec()].concat()).await;
    program.hears(&first()).await;
    program.hears(&granted("203.0.113.9:20")).await;
    program.hears(b"220 ").await;
    program.says(b"hello").await;
    program.hears(b"hello").await;
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_program_that_waits_no_longer_ends_the_waiting_at_the_gateway() {
    let gateway = listening("ftp.example:20", vec![HearsTheEnd]).await;
    let mut program = Program::at(&gateway).await;
    program.says(&asking("ftp.example:20")).await;
    program.hears(&first()).await;
    drop(program.socket);
    program.served.await.unwrap();
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_come_is_told_with_the_gateways_code() {
    let gateway = listening("ftp.example:20", vec![Says(refused(6))]).await;
    let mut program = Program::at(&gateway).await;
    program.says(&asking("ftp.example:20")).await;
    program.hears(&first()).await;
    program.hears(&refused(6)).await;
    program.ends().await;
}

#[tokio::test]
async fn a_peer_that_is_known_by_a_fake_address_comes_from_there() {
    let gateway = listening("ftp.example:20", vec![Says(granted("203.0.113.9:2020"))]).await;
    let mut program = Program::with_names(&gateway, &["ftp.example"]).await;
    program.says(&asking("198.18.0.1:20")).await;
    program.hears(&first()).await;
    program.hears(&granted("198.18.0.1:2020")).await;
}
