//! The carrying between a connection and local streams, which here are pipes in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use socks_client::NoAuthentication;
use socks_client::testing::Line::{Echoes, Ends, Hears, HearsTheEnd, Resets, Says};
use socks_client::testing::{FakeGateway, Line, granted, greeting, request};
use tokio::io::{DuplexStream, duplex};

use super::*;

async fn connected(then: Vec<Line>) -> (FakeGateway, Connection) {
    let target: Target = "web.example:22".parse().unwrap();
    let mut script =
        vec![Hears(greeting(&[0])), Says(vec![5, 0]), Hears(request(&target)), Says(granted("192.0.2.7:99"))];
    script.extend(then);
    let gateway = FakeGateway::play(script).await.unwrap();
    let client = Client::builder(gateway.target()).method(NoAuthentication).build().unwrap();
    let connection = client.connect(target).await.unwrap();
    (gateway, connection)
}

/// Carries with pipes whose other ends `program` has, and tells whether the output was ended.
async fn carried(connection: Connection, program: impl AsyncFnOnce(DuplexStream, DuplexStream)) -> bool {
    let ((program_out, input), (output, program_in)) = (duplex(1024), duplex(1024));
    let is_ended = AtomicBool::new(false);
    let end_output = || {
        is_ended.store(true, Ordering::SeqCst);
        Ok(())
    };
    let local = Local { input, output, end_output };
    let (done, ()) = tokio::join!(carry(connection, local), program(program_out, program_in));
    done.is_ok() && is_ended.load(Ordering::SeqCst)
}

#[tokio::test]
async fn the_end_of_the_input_passes_and_the_answer_still_comes() {
    let (gateway, connection) = connected(vec![Echoes]).await;
    let octets = vec![0xA5; 200_000];
    let ended = carried(connection, async |mut out, mut inward| {
        let mut back = Vec::new();
        let writing = async {
            out.write_all(&octets).await.unwrap();
            out.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(writing, inward.read_to_end(&mut back));
        read.unwrap();
        assert!(back == octets, "octets were changed on the way");
    });
    assert!(ended.await);
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_target_passes_and_the_input_goes_on() {
    let then = vec![Says(b"bye".to_vec()), Ends, Hears(b"after the end".to_vec()), HearsTheEnd];
    let (gateway, connection) = connected(then).await;
    let ended = carried(connection, async |mut out, mut inward| {
        let mut all = Vec::new();
        inward.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"bye");
        out.write_all(b"after the end").await.unwrap();
        out.shutdown().await.unwrap();
    });
    assert!(ended.await);
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_reset_ends_it_although_the_input_is_open() {
    let (_gateway, connection) = connected(vec![Hears(b"go".to_vec()), Resets]).await;
    let mut kept = None;
    let ended = carried(connection, async |mut out, mut inward| {
        out.write_all(b"go").await.unwrap();
        assert_eq!(inward.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        kept = Some(out);
    });
    assert!(!ended.await);
}
