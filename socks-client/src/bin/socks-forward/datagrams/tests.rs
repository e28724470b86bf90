//! Programs that send datagrams, with gateways that play a script and relays in the test's hand.

use socks_client::testing::Line::{Hears, HearsTheEnd, Says};
use socks_client::testing::{FakeGateway, Line, datagram, granted, greeting, refused, request_of};
use socks_core::wire::{Command, Decode, Reply};
use tokio::io::AsyncReadExt;

use super::outlets::{IDLE, MOST_NAMED};
use super::*;
use crate::forwarder::tests::Program;

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

/// What a gateway does for an association whose relay is that socket.
fn associating(relay: &UdpSocket, then: Line) -> Vec<Line> {
    let asked = request_of(Command::UdpAssociate, &target("0.0.0.0:0"));
    let bound = relay.local_addr().unwrap().to_string();
    vec![Hears(greeting(&[0])), Says(vec![5, 0]), Hears(asked), Says(granted(&bound)), then]
}

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Asks for an association from that port (0: any), and gives where the forwarder takes datagrams.
async fn associate(program: &mut Program, port: u16) -> SocketAddr {
    let expected = Target { port, ..target("0.0.0.0:0") };
    program.says(&[&[5, 1, 0][..], &request_of(Command::UdpAssociate, &expected)].concat()).await;
    program.hears(&[5, 0]).await;
    let mut octets = [0; 10];
    program.socket.read_exact(&mut octets).await.unwrap();
    let reply = Reply::decode(&mut octets[..].into()).unwrap().unwrap();
    assert_eq!(reply.code, ReplyCode::SUCCEEDED);
    reply.bound.to_string().parse().unwrap()
}

/// The next datagram that a socket gets, and who sent it.
async fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut octets = vec![0; 65_536];
    let (len, from) = socket.recv_from(&mut octets).await.unwrap();
    octets.truncate(len);
    (octets, from)
}

#[tokio::test]
async fn datagrams_travel_both_ways_until_the_program_ends() {
    let (relay, own) = (socket().await, socket().await);
    let gateway = FakeGateway::play(associating(&relay, HearsTheEnd)).await.unwrap();
    let mut program = Program::at(&gateway).await;
    let address = associate(&mut program, 0).await;
    for asked in ["dns.example:53", "192.0.2.53:53", "[2001:db8::53]:53"] {
        let question = datagram(&target(asked), b"question");
        own.send_to(&question, address).await.unwrap();
        let (sent, forwarder) = heard(&relay).await;
        assert_eq!(sent, question);
        let answer = datagram(&target("192.0.2.53:53"), b"answer");
        relay.send_to(&answer, forwarder).await.unwrap();
        assert_eq!(heard(&own).await, (answer, address));
    }
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn an_association_that_the_gateway_ends_is_over_for_the_program() {
    let relay = socket().await;
    let gateway = FakeGateway::play(associating(&relay, Line::Ends)).await.unwrap();
    let mut program = Program::at(&gateway).await;
    associate(&mut program, 0).await;
    assert_eq!(program.hears_all().await, "");
    program.served.await.unwrap();
}

#[tokio::test]
async fn only_the_programs_whole_datagrams_are_carried() {
    let (relay, own, stranger) = (socket().await, socket().await, socket().await);
    let gateway = FakeGateway::play(associating(&relay, HearsTheEnd)).await.unwrap();
    let mut program = Program::at(&gateway).await;
    let address = associate(&mut program, 0).await;
    let good = |octets: &[u8]| datagram(&target("192.0.2.53:53"), octets);
    let mut fragment = good(b"fragment");
    fragment[2] = 0x81;
    // What is none does not make a port the program's.
    stranger.send_to(b"no datagram", address).await.unwrap();
    own.send_to(&good(b"first"), address).await.unwrap();
    assert_eq!(heard(&relay).await.0, good(b"first"));
    stranger.send_to(&good(b"hijack"), address).await.unwrap();
    own.send_to(&fragment, address).await.unwrap();
    own.send_to(&good(b"second"), address).await.unwrap();
    assert_eq!(heard(&relay).await.0, good(b"second"));
    program.ends().await;
}

#[tokio::test]
async fn the_port_that_a_request_names_is_the_programs() {
    let (relay, own, stranger) = (socket().await, socket().await, socket().await);
    let gateway = FakeGateway::play(associating(&relay, HearsTheEnd)).await.unwrap();
    let mut program = Program::at(&gateway).await;
    let address = associate(&mut program, own.local_addr().unwrap().port()).await;
    stranger.send_to(&datagram(&target("192.0.2.53:53"), b"first"), address).await.unwrap();
    own.send_to(&datagram(&target("192.0.2.53:53"), b"second"), address).await.unwrap();
    assert_eq!(heard(&relay).await.0, datagram(&target("192.0.2.53:53"), b"second"));
    program.ends().await;
}

#[tokio::test]
async fn answers_of_a_name_come_from_its_fake_address() {
    let (main, first, second, own) = (socket().await, socket().await, socket().await, socket().await);
    let scripts = [&main, &first, &second].map(|relay| associating(relay, HearsTheEnd));
    let gateway = FakeGateway::play_at_once(scripts.into()).await.unwrap();
    let mut program = Program::with_names(&gateway, &["one.example", "two.example"]).await;
    let address = associate(&mut program, 0).await;
    let asked = ["192.0.2.53:53", "198.18.0.1:53", "198.18.0.2:53"];
    let names = ["192.0.2.53:53", "one.example:53", "two.example:53"];
    let mut relays = Vec::new();
    for ((asked, name), relay) in asked.iter().zip(names).zip([&main, &first, &second]) {
        // The first waits until there is an association for it, the next goes by the same.
        for number in [b"1", b"2"] {
            own.send_to(&datagram(&target(asked), number), address).await.unwrap();
            let (sent, forwarder) = heard(relay).await;
            assert_eq!(sent, datagram(&target(name), number));
            relays.push((relay, asked, forwarder));
        }
    }
    // All three answer from one address, in the opposite order.
    for (relay, asked, forwarder) in relays.into_iter().rev() {
        relay.send_to(&datagram(&target("192.0.2.53:53"), b"answer"), forwarder).await.unwrap();
        assert_eq!(heard(&own).await.0, datagram(&target(asked), b"answer"));
    }
    own.send_to(&datagram(&target("198.18.0.3:53"), b"nobody"), address).await.unwrap();
    own.send_to(&datagram(&target("192.0.2.53:53"), b"last"), address).await.unwrap();
    assert_eq!(heard(&main).await.0, datagram(&target("192.0.2.53:53"), b"last"));
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_refuses_an_association_is_not_asked_again_at_once() {
    let (main, named, own) = (socket().await, socket().await, socket().await);
    let asked = request_of(Command::UdpAssociate, &target("0.0.0.0:0"));
    let refusal = vec![Hears(greeting(&[0])), Says(vec![5, 0]), Hears(asked), Says(refused(1))];
    let scripts = vec![associating(&main, HearsTheEnd), refusal, associating(&named, HearsTheEnd)];
    let gateway = FakeGateway::play_at_once(scripts).await.unwrap();
    let mut program = Program::with_names(&gateway, &["one.example"]).await;
    let address = associate(&mut program, 0).await;
    let (fake, other) = (target("198.18.0.1:53"), target("192.0.2.53:53"));
    // Many more than could wait for the one association that is refused: what goes by the other one tells that all
    // before it were looked at. Those that come within the pause are lost, the first one behind it opens the next.
    let mut sent = 0_u32;
    let opened = loop {
        own.send_to(&datagram(&fake, &sent.to_be_bytes()), address).await.unwrap();
        own.send_to(&datagram(&other, &sent.to_be_bytes()), address).await.unwrap();
        sent += 1;
        tokio::select! {
            biased;
            (octets, _) = heard(&named) => break octets,
            (octets, _) = heard(&main) => {
                assert_eq!(octets, datagram(&other, &(sent - 1).to_be_bytes()));
            }
        }
    };
    let first = u32::from_be_bytes(opened[opened.len() - 4..].try_into().unwrap());
    assert!(first > 8, "datagram {first} was not lost to a pause");
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_fake_address_that_nobody_uses_gives_its_association_to_another_one() {
    let (main, own) = (socket().await, socket().await);
    let mut relays = Vec::new();
    for _ in 0..=MOST_NAMED {
        relays.push(socket().await);
    }
    let scripts = [&main].into_iter().chain(&relays).map(|relay| associating(relay, HearsTheEnd));
    let gateway = FakeGateway::play_at_once(scripts.collect()).await.unwrap();
    let names: Vec<String> = (0..=MOST_NAMED).map(|number| format!("host{number}.example")).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut program = Program::with_names(&gateway, &known).await;
    let address = associate(&mut program, 0).await;
    let to = |number: usize| datagram(&target(&format!("198.18.0.{}:53", number + 1)), b"question");
    for (number, relay) in relays.iter().enumerate().take(MOST_NAMED) {
        own.send_to(&to(number), address).await.unwrap();
        heard(relay).await;
    }
    let other = datagram(&target("192.0.2.53:53"), b"after it");
    own.send_to(&to(MOST_NAMED), address).await.unwrap();
    own.send_to(&other, address).await.unwrap();
    assert_eq!(heard(&main).await.0, other, "all places are taken, and the datagram is lost");
    tokio::time::pause();
    tokio::time::advance(IDLE).await;
    tokio::time::resume();
    own.send_to(&to(0), address).await.unwrap();
    heard(&relays[0]).await;
    own.send_to(&to(MOST_NAMED), address).await.unwrap();
    heard(&relays[MOST_NAMED]).await;
    own.send_to(&to(0), address).await.unwrap();
    heard(&relays[0]).await;
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn reply_codes_pass_through() {
    for code in [1, 2, 7] {
        let asked = request_of(Command::UdpAssociate, &target("0.0.0.0:0"));
        let script = vec![Hears(greeting(&[0])), Says(vec![5, 0]), Hears(asked.clone()), Says(refused(code))];
        let gateway = FakeGateway::play(script).await.unwrap();
        let mut program = Program::at(&gateway).await;
        program.says(&[&[5, 1, 0][..], &asked].concat()).await;
        program.hears(&[&[5, 0][..], &refused(code)].concat()).await;
        program.ends().await;
    }
}

#[test]
fn a_port_counts_only_with_the_programs_own_address() {
    let ip: IpAddr = "127.0.0.1".parse().unwrap();
    let table = [
        ("0.0.0.0:0", None),
        ("0.0.0.0:9", Some(9)),
        ("[::]:9", Some(9)),
        ("127.0.0.1:9", Some(9)),
        ("[::ffff:127.0.0.1]:9", Some(9)),
        ("192.0.2.1:9", None),
        ("name.example:9", None),
    ];
    for (expected, port) in table {
        assert_eq!(Source::new(ip, &target(expected)), Source { ip, port }, "{expected}");
    }
}
