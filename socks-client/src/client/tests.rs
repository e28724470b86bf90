//! The way to a connection, against gateways that behave and gateways that do not.

use socks_core::wire::ReplyCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::testing::Line::{Dribbles, Echoes, Ends, Hears, HearsTheEnd, Resets, Says};
use crate::testing::{FakeGateway, Line, ToyAuth, granted, greeting, refused, request, toy_frame};
use crate::{Fault, Level, NoAuthentication, Password, Step};

fn target() -> Target {
    "web.example:80".parse().unwrap()
}

/// Time for gateways that stay silent on purpose.
fn short() -> Timeouts {
    let short = Duration::from_millis(200);
    Timeouts { connect: Duration::from_secs(10), handshake: short, request: short, arrival: short }
}

fn open(gateway: &FakeGateway) -> ClientBuilder {
    Client::builder(gateway.target()).method(NoAuthentication)
}

async fn fails(builder: ClientBuilder) -> ConnectError {
    builder.build().unwrap().connect(target()).await.expect_err("the gateway misbehaves")
}

#[tokio::test]
async fn a_connection_carries_octets_both_ways_and_its_ends() {
    let script = vec![
        Hears(greeting(&[0x00])),
        Says(vec![5, 0]),
        Hears(request(&target())),
        Says([granted("192.0.2.7:4711"), b"early ".to_vec()].concat()),
        Echoes,
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let mut connection = open(&gateway).build().unwrap().connect(target()).await.unwrap();
    assert_eq!(connection.bound().to_string(), "192.0.2.7:4711");
    assert_eq!((connection.method(), connection.level()), (Method::NONE, Level::None));
    connection.write_all(b"hello").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut all = Vec::new();
    connection.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"early hello");
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn messages_that_come_octet_by_octet_are_put_together() {
    let script = vec![
        Hears(greeting(&[0x02])),
        Dribbles(vec![5, 2]),
        Hears(b"\x01\x05alice\x06secret".to_vec()),
        Dribbles(vec![1, 0]),
        Hears(request(&target())),
        Dribbles(granted("[2001:db8::1]:9")),
        Echoes,
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let password = Password::new(b"alice", b"secret").unwrap();
    let client = Client::builder(gateway.target()).method(password).build().unwrap();
    let connection = client.connect(target()).await.unwrap();
    assert_eq!(connection.method(), Method::USERNAME_PASSWORD);
    drop(connection);
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn methods_are_offered_in_order_and_the_gateway_chooses() {
    let script = vec![
        Hears(greeting(&[0x80, 0x02, 0x00])),
        Says(vec![5, 0]),
        Hears(request(&target())),
        Says(granted("192.0.2.7:1")),
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let client = Client::builder(gateway.target())
        .method(ToyAuth(Level::Confidentiality))
        .method(Password::new(b"a", b"b").unwrap())
        .method(NoAuthentication);
    let connection = client.build().unwrap().connect(target()).await.unwrap();
    assert_eq!(connection.method(), Method::NONE);
}

#[tokio::test]
async fn request_and_reply_are_protected() {
    let sealed = |octets: &[u8]| toy_frame(Level::Confidentiality, octets);
    let reply = granted("192.0.2.7:1");
    let (head, tail) = reply.split_at(3);
    let script = vec![
        Hears(greeting(&[0x80])),
        Says(vec![5, 0x80]),
        Hears(sealed(&request(&target()))),
        Says([sealed(head), sealed(b""), sealed(tail), sealed(b"early")].concat()),
        Echoes,
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let client = Client::builder(gateway.target()).method(ToyAuth(Level::Confidentiality));
    let mut connection = client.build().unwrap().connect(target()).await.unwrap();
    assert_eq!(connection.level(), Level::Confidentiality);
    let mut early = [0; 5];
    connection.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early");
    drop(connection);
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_reply_that_was_only_signed_is_refused_where_encryption_was_agreed() {
    let script = vec![
        Hears(greeting(&[0x80])),
        Says(vec![5, 0x80]),
        Hears(toy_frame(Level::Confidentiality, &request(&target()))),
        Says(toy_frame(Level::Integrity, &granted("192.0.2.7:1"))),
        HearsTheEnd,
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let error = fails(Client::builder(gateway.target()).method(ToyAuth(Level::Confidentiality))).await;
    assert_eq!(
        error.to_string(),
        "request: gateway's answer: frame is only signed, but the session is agreed to be encrypted"
    );
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn every_reply_code_is_passed_on() {
    for code in 1..=9 {
        let script = vec![
            Hears(greeting(&[0x00])),
            Says(vec![5, 0]),
            Hears(request(&target())),
            Says(refused(code)),
            HearsTheEnd,
        ];
        let gateway = FakeGateway::play(script).await.unwrap();
        let error = fails(open(&gateway)).await;
        assert_eq!((error.step, error.reply()), (Step::Request, Some(ReplyCode(code))));
        gateway.finish().await.unwrap();
    }
}

#[tokio::test]
async fn gateways_that_misbehave_are_named_with_their_step() {
    let (hello, asked) = (|| Hears(greeting(&[0x00])), || Hears(request(&target())));
    let chosen = || Says(vec![5, 0]);
    let table: Vec<(Vec<Line>, &str)> = vec![
        (vec![hello(), Ends], "method choice: gateway hung up"),
        (vec![hello(), Says(vec![5]), Ends], "method choice: gateway hung up"),
        (
            vec![hello(), Says(vec![5, 0xFF])],
            "method choice: gateway accepts none of the methods offered (no authentication)",
        ),
        (
            vec![hello(), Says(vec![5, 2])],
            "method choice: gateway has chosen method 0x02, which was not offered",
        ),
        (
            vec![hello(), Says(b"HTTP/1.0 400".to_vec())],
            "method choice: malformed message from the gateway: version octet is 0x48 instead of 0x05",
        ),
        (
            vec![hello(), Says(vec![5, 0, 5])],
            "authentication: malformed message from the gateway: it answers before it was asked",
        ),
        (vec![hello(), chosen(), asked(), Ends], "request: gateway hung up"),
        (vec![hello(), chosen(), asked(), Says(vec![5, 0, 0, 1]), Ends], "request: gateway hung up"),
        (
            vec![hello(), chosen(), asked(), Says(vec![5, 0, 0, 9])],
            "request: malformed message from the gateway: unknown address type 0x09",
        ),
        (
            vec![hello(), chosen(), asked(), Says(b"\x05\0\0\x03\x04a\x1b[m\0P".to_vec())],
            r"request: malformed message from the gateway: name `a\x1b[m` is not a valid host name",
        ),
    ];
    for (mut script, text) in table {
        script.push(HearsTheEnd);
        let gateway = FakeGateway::play(script).await.unwrap();
        assert_eq!(fails(open(&gateway)).await.to_string(), text);
        gateway.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_that_stays_silent_is_given_up_in_every_step() {
    let silent: Vec<(Vec<Line>, Step)> = vec![
        (vec![HearsTheEnd], Step::MethodChoice),
        (vec![Says(vec![5]), HearsTheEnd], Step::MethodChoice),
        (vec![Says(vec![5, 2]), Hears(b"\x01\x01a\x01b".to_vec()), HearsTheEnd], Step::Authentication),
        (
            vec![Says(vec![5, 2]), Hears(b"\x01\x01a\x01b".to_vec()), Says(vec![1, 0])]
                .into_iter()
                .chain([Hears(request(&target())), Says(vec![5, 0, 0]), HearsTheEnd])
                .collect(),
            Step::Request,
        ),
    ];
    for (mut script, step) in silent {
        script.insert(0, Hears(greeting(&[0x02])));
        let gateway = FakeGateway::play(script).await.unwrap();
        let password = Password::new(b"a", b"b").unwrap();
        let error = fails(Client::builder(gateway.target()).method(password).timeouts(short())).await;
        assert_eq!(error.to_string(), format!("{step}: no answer within 200 ms"));
        assert!(error.is_timeout());
        gateway.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_as_such() {
    let script = vec![
        Hears(greeting(&[0x02])),
        Says(vec![5, 2]),
        Hears(b"\x01\x01a\x01b".to_vec()),
        Says(vec![1, 1]),
        HearsTheEnd,
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let error = fails(Client::builder(gateway.target()).method(Password::new(b"a", b"b").unwrap())).await;
    assert_eq!(error.to_string(), "authentication: gateway refuses the user name or the password");
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_resets_is_an_error_of_the_connection() {
    let gateway = FakeGateway::play(vec![Hears(greeting(&[0x00])), Resets]).await.unwrap();
    let error = fails(open(&gateway)).await;
    assert!(matches!(error.fault, Fault::Io(_)) && error.step == Step::MethodChoice, "{error}");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_named_with_its_address() {
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = nobody.local_addr().unwrap();
    let error = fails(Client::builder(address.into()).method(NoAuthentication)).await;
    let text = error.to_string();
    assert!(text.starts_with(&format!("connecting to the gateway: `{address}`: ")), "{text}");
}

#[tokio::test]
async fn a_gateway_whose_name_is_unknown_is_named() {
    let client = Client::builder("no-such-host.invalid:1080".parse().unwrap()).method(NoAuthentication);
    let error = fails(client).await;
    assert_eq!(error.step, Step::ResolvingGateway);
    assert!(error.to_string().contains("`no-such-host.invalid`") || error.is_timeout(), "{error}");
}

#[test]
fn settings_that_cannot_work_make_no_client() {
    let gateway: Target = "gw.example:1080".parse().unwrap();
    let none = Client::builder(gateway.clone()).build();
    assert_eq!(none.unwrap_err(), BuildError::NoMethod);
    let twice = Client::builder(gateway).method(NoAuthentication).method(NoAuthentication).build();
    assert_eq!(twice.unwrap_err(), BuildError::Twice(Method::NONE));
}
