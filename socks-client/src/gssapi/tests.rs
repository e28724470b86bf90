//! RFC 1961 over real sockets, both sides with the messages of `socks-gssapi` and contexts that are made up.

use std::sync::Mutex;

use socks_core::ClientStream;
use socks_core::wire::{Reply, Request};
use socks_gssapi::Halves;
use socks_gssapi::cfx::{self, ContextKeys, KeyOrigin, Role};
use socks_gssapi::negotiation::server::{Encryption, Established, Stepped as Answered};
use socks_gssapi::negotiation::{BareLevels, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::testing::Line::{Ends, Hears, HearsTheEnd, Says};
use crate::testing::{FakeGateway, greeting};
use crate::{BuildError, Client, ConnectError};

/// Contexts that need no ticket, and note for which service they were asked.
#[derive(Default)]
struct MadeUp {
    asked: Mutex<Vec<(ServiceName, Option<String>)>>,
    refusal: Option<&'static str>,
}

/// A context that says `token 1`, hears `token 2`, and is established.
struct MadeUpContext;

impl Contexts for MadeUp {
    fn begin(&self, service: &ServiceName, tickets: &Tickets) -> Result<Box<dyn Context>, Box<str>> {
        self.asked.lock().unwrap().push((service.clone(), tickets.ccache.as_deref().map(str::to_owned)));
        match self.refusal {
            None => Ok(Box::new(MadeUpContext)),
            Some(text) => Err(text.into()),
        }
    }
}

impl Context for MadeUpContext {
    fn step(self: Box<Self>, token: &[u8]) -> Result<Stage, Box<str>> {
        match token {
            b"" => Ok(Stage::Continue { token: b"token 1".to_vec(), context: self }),
            b"token 2" => Ok(Stage::Complete { token: vec![], halves: halves(Role::Initiator) }),
            _ => Err("token is malformed".into()),
        }
    }
}

fn halves(role: Role) -> Halves {
    let keys = ContextKeys {
        role,
        enctype: 18,
        protocol_key: vec![7; 32].into(),
        origin: KeyOrigin::AcceptorSubkey,
        send_sequence: 100,
        receive_sequence: 100,
    };
    let (seal, open) = cfx::halves(&keys).unwrap();
    Halves::new(seal, open)
}

fn target() -> Target {
    "web.example:80".parse().unwrap()
}

/// A client of what listens there, by a name: Kerberos has none for addresses.
fn client(gateway: &Target, gssapi: Gssapi, contexts: MadeUp) -> (Client, Arc<MadeUp>) {
    let contexts = Arc::new(contexts);
    let gssapi = Gssapi { contexts: Arc::clone(&contexts) as Arc<dyn Contexts>, ..gssapi };
    let named = Target { host: "localhost".parse().unwrap(), port: gateway.port };
    (Client::builder(named).method(gssapi).build().unwrap(), contexts)
}

/// A gateway that allows these levels, grants the first request, and sends back what it hears.
async fn gateway(levels: Vec<Level>) -> (Target, JoinHandle<Result<(), Refusal>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Target::from(listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut socket = listener.accept().await.unwrap().0;
        let mut hello = [0; 3];
        socket.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello, [5, 1, 1]);
        socket.write_all(&[5, 1]).await.unwrap();
        match negotiated(&mut socket, levels).await {
            Ok(protection) => {
                echo(socket, protection).await;
                Ok(())
            }
            Err(refusal) => {
                socket.write_all(refusal.farewell()).await.unwrap();
                Err(refusal)
            }
        }
    });
    (address, serving)
}

async fn negotiated(socket: &mut TcpStream, levels: Vec<Level>) -> Result<Option<Protection>, Refusal> {
    let mut server = Server::new(Limits::default(), BareLevels::Refuse);
    let mut received = Vec::new();
    loop {
        let (message, len) = loop {
            match Message::read(&received, server.most_token())? {
                Some(read) => break read,
                None => assert!(socket.read_buf(&mut received).await.unwrap() > 0, "the client has gone"),
            }
        };
        received.drain(..len);
        let mut action = server.receive(message)?;
        if let Action::Step { token } = action {
            assert_eq!(token, b"token 1");
            let established = Established {
                halves: halves(Role::Acceptor),
                encryption: Encryption::Available,
                levels: Levels::Only(levels.clone()),
            };
            action = server.stepped(Answered::Complete { token: b"token 2".to_vec(), established })?;
        }
        match action {
            Action::Receive { send } => socket.write_all(&send).await.unwrap(),
            Action::Finish { send, protection } => {
                socket.write_all(&send).await.unwrap();
                return Ok(protection);
            }
            Action::Step { .. } => panic!("the context is established"),
        }
    }
}

async fn echo(socket: TcpStream, protection: Option<Protection>) {
    let mut stream = ClientStream::new(socks_core::ClientIo::new(socket), protection);
    let request: Request = stream.receive().await.unwrap();
    assert_eq!(request.target, target());
    stream.send(&Reply::succeeded("192.0.2.7:1".parse().unwrap())).await.unwrap();
    match stream {
        ClientStream::Plain(mut io) => {
            let (mut reader, mut writer) = io.socket.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        }
        ClientStream::Protected(mut stream) => {
            while stream.fill().await.unwrap() > 0 {
                let octets = stream.plaintext.split();
                let mut buffer = stream.plaintext_buffer();
                let start = buffer.len();
                buffer.extend_from_slice(&octets);
                let end = buffer.len();
                buffer.resize(end + stream.protection.seal.room().tail, 0);
                let mut message = socks_core::Sealing { buffer: &mut buffer, range: start..end };
                stream.protection.seal(&mut message).unwrap();
                let frame = message.range;
                stream.io.socket.write_all(&buffer[frame]).await.unwrap();
            }
        }
    }
}

async fn fails(client: &Client) -> ConnectError {
    client.connect(target()).await.expect_err("there is nothing to agree on")
}

#[tokio::test]
async fn every_level_is_agreed_on_and_carries_octets() {
    for level in Level::ALL {
        let (address, serving) = gateway(vec![level]).await;
        let (client, _) = client(&address, Gssapi::new(level), MadeUp::default());
        let mut connection = client.connect(target()).await.unwrap();
        assert_eq!((connection.method(), connection.level()), (Method::GSSAPI, level));
        let octets = vec![0xA5; 100_000];
        let mut back = vec![0; octets.len()];
        let (mut reader, mut writer) = tokio::io::split(&mut connection);
        let writing = async {
            writer.write_all(&octets).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(writing, reader.read_exact(&mut back));
        read.unwrap();
        assert!(back == octets, "octets were changed on the way");
        serving.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_service_is_that_of_the_gateways_name_unless_said_otherwise() {
    let plain = || Gssapi::new(Level::Integrity);
    let exact: ServiceName = "rcmd/gw.example@R".parse().unwrap();
    let table = [
        (plain(), "socks@localhost", None),
        (plain().service("rcmd"), "rcmd@localhost", None),
        (plain().service_name(exact).ccache("FILE:/nowhere"), "rcmd/gw.example@R", Some("FILE:/nowhere")),
    ];
    for (gssapi, service, ccache) in table {
        let (address, _serving) = gateway(vec![Level::Integrity]).await;
        let (client, contexts) = client(&address, gssapi, MadeUp::default());
        client.connect(target()).await.unwrap();
        let asked = contexts.asked.lock().unwrap().clone();
        assert_eq!(asked, [(service.parse().unwrap(), ccache.map(str::to_owned))]);
    }
}

#[tokio::test]
async fn a_level_that_the_gateway_does_not_allow_is_told_as_such() {
    let (address, serving) = gateway(vec![Level::Integrity]).await;
    let (client, _) = client(&address, Gssapi::new(Level::Confidentiality), MadeUp::default());
    assert_eq!(
        fails(&client).await.to_string(),
        "protection level: gateway does not allow the level `confidentiality`, or not this user"
    );
    assert_eq!(serving.await.unwrap().unwrap_err(), Refusal::LevelRefused(Level::Confidentiality));
}

#[tokio::test]
async fn a_gateway_cannot_talk_a_client_into_less_than_it_wants() {
    // A set of exactly `none` answers `none` to anything.
    let (address, _serving) = gateway(vec![Level::None]).await;
    let (client, _) = client(&address, Gssapi::new(Level::Confidentiality), MadeUp::default());
    assert_eq!(
        fails(&client).await.to_string(),
        "protection level: gateway insists on the level `none`, which is not accepted here"
    );
}

#[tokio::test]
async fn a_level_that_is_accepted_too_is_gone_on_with() {
    let (address, _serving) = gateway(vec![Level::None]).await;
    let gssapi = Gssapi::new(Level::Confidentiality).or_level(Level::None);
    let (client, _) = client(&address, gssapi, MadeUp::default());
    assert_eq!(client.connect(target()).await.unwrap().level(), Level::None);
}

#[tokio::test]
async fn a_missing_ticket_is_told_with_what_to_do() {
    let script = vec![Hears(greeting(&[1])), Says(vec![5, 1]), HearsTheEnd];
    let fake = FakeGateway::play(script).await.unwrap();
    let contexts = MadeUp { refusal: Some("there is no ticket: run `kinit`"), ..MadeUp::default() };
    let (client, _) = client(&fake.target(), Gssapi::new(Level::Integrity), contexts);
    assert_eq!(fails(&client).await.to_string(), "authentication: there is no ticket: run `kinit`");
    fake.finish().await.unwrap();
}

#[tokio::test]
async fn gateways_that_misbehave_are_named_with_their_step() {
    let authentication = "authentication: malformed message from the gateway: ";
    let table: Vec<(Vec<u8>, String)> = vec![
        (vec![1, 0xFF], "authentication: gateway refuses the ticket; its log says why".into()),
        (vec![5, 0], format!("{authentication}version octet is 0x05 instead of 0x01")),
        (vec![1, 3], format!("{authentication}message type is 0x03")),
        (vec![1, 2, 0, 1, 2], format!("{authentication}peer has sent a protection level out of turn")),
        (vec![1, 1, 0, 0], format!("{authentication}peer's token is empty")),
        (vec![1, 1, 0, 1, 9], "authentication: token is malformed".into()),
        (vec![1, 1, 0, 9, 9], "authentication: gateway hung up".into()),
        (
            b"\x01\x01\0\x07token 2\x01\xFF".to_vec(),
            "protection level: gateway does not allow the level `integrity`, or not this user".into(),
        ),
        (
            b"\x01\x01\0\x07token 2".to_vec(),
            "protection level: gateway hung up: it may not allow the level `integrity`, or not this user"
                .into(),
        ),
        (
            b"\x01\x01\0\x07token 2\x01\x02\0\x01\x02".to_vec(),
            "protection level: gateway's answer: octets are no protected frame".into(),
        ),
    ];
    for (octets, text) in table {
        let script = vec![Hears(greeting(&[1])), Says(vec![5, 1]), Hears(b"\x01\x01\0\x07token 1".to_vec())];
        let script = script.into_iter().chain([Says(octets), Ends]).collect();
        let fake = FakeGateway::play(script).await.unwrap();
        let (client, _) = client(&fake.target(), Gssapi::new(Level::Integrity), MadeUp::default());
        assert_eq!(fails(&client).await.to_string(), text);
    }
}

#[test]
fn a_gateway_known_by_an_address_needs_a_named_service() {
    let address: Target = "192.0.2.1:1080".parse().unwrap();
    let guessing = Client::builder(address.clone()).method(Gssapi::new(Level::Integrity)).build();
    let BuildError::Method { method, why } = guessing.unwrap_err() else { panic!("it cannot work") };
    assert_eq!(method, Method::GSSAPI);
    assert!(why.contains("`192.0.2.1` is an address"), "{why}");
    let named = Gssapi::new(Level::Integrity).service_name("socks@gw.example".parse().unwrap());
    assert!(Client::builder(address).method(named).build().is_ok());
}

#[tokio::test]
async fn a_call_that_panics_ends_only_its_own_connection() {
    let threads = Threads::default();
    let ended: Result<(), _> = threads.run(|| panic!("on purpose")).await;
    assert_eq!(ended.unwrap_err(), "a call of Kerberos has panicked".into());
    assert_eq!(threads.run(|| Ok(7)).await, Ok(7));
}
