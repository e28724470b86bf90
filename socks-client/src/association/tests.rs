//! Datagrams over real loopback sockets, with gateways that play a script and a relay in the test's hand.

use socks_core::wire::Command;

use super::*;
use crate::testing::Line::{Ends, Hears, HearsTheEnd, Says};
use crate::testing::{
    FakeGateway, Line, ToyAuth, datagram, granted, greeting, refused, request_of, toy_frame,
};
use crate::{Client, NoAuthentication};

const LEVEL: Level = Level::Confidentiality;

fn nobody() -> Target {
    "0.0.0.0:0".parse().unwrap()
}

fn target() -> Target {
    "dns.example:53".parse().unwrap()
}

/// A gateway that is asked for an association and answers with `bound`, and goes on with `then`.
async fn answering(bound: &str, then: Vec<Line>) -> FakeGateway {
    let begin =
        [Hears(greeting(&[0])), Says(vec![5, 0]), Hears(request_of(Command::UdpAssociate, &nobody()))];
    let script = begin.into_iter().chain([Says(granted(bound))]).chain(then);
    FakeGateway::play(script.collect()).await.unwrap()
}

async fn relay() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

async fn associated(gateway: &FakeGateway) -> Association {
    let client = Client::builder(gateway.target()).method(NoAuthentication).build().unwrap();
    client.associate().await.unwrap()
}

/// The next datagram that the relay gets, and who sent it.
async fn heard(relay: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut octets = vec![0; DATAGRAM];
    let (len, from) = relay.recv_from(&mut octets).await.unwrap();
    octets.truncate(len);
    (octets, from)
}

#[tokio::test]
async fn datagrams_travel_with_their_header_both_ways() {
    let relay = relay().await;
    // All zero is the gateway's own address.
    let bound = format!("0.0.0.0:{}", relay.local_addr().unwrap().port());
    let gateway = answering(&bound, vec![HearsTheEnd]).await;
    let association = associated(&gateway).await;
    assert_eq!((association.relay(), association.level()), (relay.local_addr().unwrap(), Level::None));
    let mut buffer = BytesMut::new();
    for octets in [&b"question"[..], b"", &[0xA5; 9000]] {
        association.send_to(&target(), octets).await.unwrap();
        let (sent, from) = heard(&relay).await;
        assert_eq!(sent, datagram(&target(), octets));
        let origin: Target = "[2001:db8::1]:53".parse().unwrap();
        relay.send_to(&datagram(&origin, octets), from).await.unwrap();
        assert_eq!(association.recv_from(&mut buffer).await.unwrap(), origin);
        assert_eq!(&buffer, octets);
    }
    drop(association);
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn protected_datagrams_are_frames_around_header_and_data() {
    let (relay, sealed) = (relay().await, |octets: &[u8]| toy_frame(LEVEL, octets));
    let bound = granted(&relay.local_addr().unwrap().to_string());
    let script = vec![
        Hears(greeting(&[0x80])),
        Says(vec![5, 0x80]),
        Hears(sealed(&request_of(Command::UdpAssociate, &nobody()))),
        Says(sealed(&bound)),
        HearsTheEnd,
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let client = Client::builder(gateway.target()).method(ToyAuth(LEVEL)).build().unwrap();
    let association = client.associate().await.unwrap();
    assert_eq!(association.level(), LEVEL);
    association.send_to(&target(), b"question").await.unwrap();
    let (sent, from) = heard(&relay).await;
    assert_eq!(sent, sealed(&datagram(&target(), b"question")));
    let origin: Target = "192.0.2.53:53".parse().unwrap();
    let answer = sealed(&datagram(&origin, b"answer"));
    let refused = [
        b"not a frame".to_vec(),
        answer[..answer.len() - 1].to_vec(),
        [&answer[..], b"x"].concat(),
        toy_frame(Level::Integrity, &datagram(&origin, b"only signed")),
        sealed(b"no header"),
        sealed(&[0, 0, 0x81, 1, 1, 2, 3, 4, 0, 53]),
        b"".to_vec(),
    ];
    for octets in &refused {
        relay.send_to(octets, from).await.unwrap();
    }
    relay.send_to(&answer, from).await.unwrap();
    let mut buffer = BytesMut::new();
    assert_eq!(association.recv_from(&mut buffer).await.unwrap(), origin);
    assert_eq!(&buffer[..], b"answer");
    assert_eq!(association.refused(), refused.len() as u64);
    drop(association);
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn nobody_but_the_relay_is_heard() {
    let (relay, stranger) = (relay().await, relay().await);
    let gateway = answering(&relay.local_addr().unwrap().to_string(), vec![HearsTheEnd]).await;
    let association = associated(&gateway).await;
    association.send_to(&target(), b"question").await.unwrap();
    let (_, from) = heard(&relay).await;
    stranger.send_to(&datagram(&target(), b"forged"), from).await.unwrap();
    relay.send_to(&datagram(&target(), b"answer"), from).await.unwrap();
    let mut buffer = BytesMut::new();
    association.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..], association.refused()), (&b"answer"[..], 0));
}

#[tokio::test]
async fn it_ends_with_its_connection_whatever_was_said_there() {
    let relay = relay().await;
    let bound = relay.local_addr().unwrap().to_string();
    let then = vec![Says(b"nobody looks at this".to_vec()), Ends, HearsTheEnd];
    let gateway = answering(&bound, then).await;
    let association = associated(&gateway).await;
    let error = association.recv_from(&mut BytesMut::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "association has ended: gateway hung up");
    let error = association.send_to(&target(), b"question").await.unwrap_err();
    assert!(matches!(error, DatagramError::Ended(_)), "{error}");
}

#[tokio::test]
async fn it_ends_with_a_reset_of_its_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(connecting, listener.accept());
    let stream = ClientStream::new(socks_core::ClientIo::new(near.unwrap()), None);
    let bound = Target::from(relay().await.local_addr().unwrap());
    let association = Association::open(stream, &bound, Method::NONE, Duration::from_secs(1)).await.unwrap();
    far.unwrap().0.set_zero_linger().unwrap();
    let error = association.recv_from(&mut BytesMut::new()).await.unwrap_err();
    assert!(matches!(error, DatagramError::Ended(Fault::Io(_))), "{error}");
}

#[tokio::test]
async fn a_datagram_that_does_not_fit_is_told_and_the_association_goes_on() {
    let relay = relay().await;
    let gateway = answering(&relay.local_addr().unwrap().to_string(), vec![HearsTheEnd]).await;
    let association = associated(&gateway).await;
    let target: Target = "192.0.2.53:53".parse().unwrap();
    let most = 65_507 - 10;
    let error = association.send_to(&target, &vec![0; most + 1]).await.unwrap_err();
    assert!(matches!(error, DatagramError::TooLong), "{error}");
    association.send_to(&target, &vec![7; most]).await.unwrap();
    assert_eq!(heard(&relay).await.0.len(), 65_507);
}

#[tokio::test]
async fn a_relay_that_is_away_for_a_while_costs_datagrams_and_nothing_else() {
    let first = relay().await;
    let address = first.local_addr().unwrap();
    let gateway = answering(&address.to_string(), vec![HearsTheEnd]).await;
    let association = associated(&gateway).await;
    drop(first);
    for _ in 0..3 {
        association.send_to(&target(), b"lost").await.unwrap();
    }
    let back = UdpSocket::bind(address).await.unwrap();
    association.send_to(&target(), b"question").await.unwrap();
    assert_eq!(heard(&back).await.0, datagram(&target(), b"question"));
}

#[tokio::test]
async fn failures_name_their_step() {
    let asked =
        || vec![Hears(greeting(&[0])), Says(vec![5, 0]), Hears(request_of(Command::UdpAssociate, &nobody()))];
    let table = [
        (Says(refused(7)), "request: gateway answers 0x07 (command not supported)"),
        (Ends, "request: gateway hung up"),
        (
            Says(granted("127.0.0.1:0")),
            "reaching the datagram relay: malformed message from the gateway: its reply names no port for datagrams",
        ),
    ];
    for (then, text) in table {
        let gateway = FakeGateway::play(asked().into_iter().chain([then]).collect()).await.unwrap();
        let client = Client::builder(gateway.target()).method(NoAuthentication).build().unwrap();
        assert_eq!(client.associate().await.unwrap_err().to_string(), text);
    }
}
