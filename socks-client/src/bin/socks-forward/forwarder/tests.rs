//! Local programs over real loopback sockets, with gateways that play a script.

use socks_client::testing::Line::{Echoes, Ends, Hears, HearsTheEnd, Resets, Says};
use socks_client::testing::{FakeGateway, Line, ToyAuth, granted, greeting, refused, request, toy_frame};
use socks_client::{Level, NoAuthentication, Target, Timeouts};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const LEVEL: Level = Level::Confidentiality;

fn target() -> Target {
    "web.example:443".parse().unwrap()
}

/// A gateway that grants the request and goes on with `then`.
async fn granting(then: Vec<Line>) -> FakeGateway {
    let mut script = opening(request(&target()));
    script.push(Says(granted("192.0.2.7:99")));
    script.extend(then);
    FakeGateway::play(script).await.unwrap()
}

fn opening(request: Vec<u8>) -> Vec<Line> {
    vec![Hears(greeting(&[0])), Says(vec![5, 0]), Hears(request)]
}

/// A program that is being served.
pub(crate) struct Program {
    pub(crate) socket: TcpStream,
    pub(crate) served: JoinHandle<()>,
}

impl Program {
    async fn of(client: Client) -> Self {
        Self::served_by(Forwarder::new(client, None)).await
    }

    /// A program of a forwarder that answers names with fake addresses, beginning with those.
    pub(crate) async fn with_names(gateway: &FakeGateway, known: &[&str]) -> Self {
        let names = Names::new(&["198.18.0.0/15".parse().unwrap()]).unwrap();
        for name in known {
            names.assign(&name.parse().unwrap()).unwrap();
        }
        let client = Client::builder(gateway.target()).method(NoAuthentication).build().unwrap();
        Self::served_by(Forwarder::new(client, None).with_names(Arc::new(names))).await
    }

    async fn served_by(forwarder: Forwarder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (socket, accepted) = tokio::join!(connecting, listener.accept());
        let (near, program) = accepted.unwrap();
        let served = tokio::spawn(async move { forwarder.serve(near, program).await });
        Self { socket: socket.unwrap(), served }
    }

    pub(crate) async fn at(gateway: &FakeGateway) -> Self {
        let short = Duration::from_millis(300);
        let timeouts = Timeouts { request: short, ..Timeouts::default() };
        let client = Client::builder(gateway.target()).method(NoAuthentication).timeouts(timeouts);
        Self::of(client.build().unwrap()).await
    }

    /// One for which no gateway is needed.
    async fn alone() -> Self {
        let nowhere: Target = "127.0.0.1:1".parse().unwrap();
        Self::of(Client::builder(nowhere).method(NoAuthentication).build().unwrap()).await
    }

    pub(crate) async fn says(&mut self, octets: &[u8]) {
        self.socket.write_all(octets).await.unwrap();
    }

    pub(crate) async fn hears(&mut self, octets: &[u8]) {
        let mut heard = vec![0; octets.len()];
        self.socket.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard.escape_ascii().to_string(), octets.escape_ascii().to_string());
    }

    /// Everything up to the end, as text.
    pub(crate) async fn hears_all(&mut self) -> String {
        let mut all = Vec::new();
        self.socket.read_to_end(&mut all).await.unwrap();
        all.escape_ascii().to_string()
    }

    pub(crate) async fn ends(mut self) {
        self.socket.shutdown().await.unwrap();
        assert_eq!(self.hears_all().await, "");
        self.served.await.unwrap();
    }
}

#[tokio::test]
async fn a_socks_program_reaches_its_target() {
    let gateway = granting(vec![Echoes]).await;
    let mut program = Program::at(&gateway).await;
    program.says(&[5, 2, 2, 0]).await;
    program.hears(&[5, 0]).await;
    program.says(&request(&target())).await;
    program.hears(&granted("192.0.2.7:99")).await;
    program.says(b"hello").await;
    program.hears(b"hello").await;
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_program_that_does_not_wait_for_answers_loses_nothing() {
    let gateway = granting(vec![Echoes]).await;
    let mut program = Program::at(&gateway).await;
    program.says(&[&[5, 1, 0][..], &request(&target()), b"early"].concat()).await;
    program.hears(&[&[5, 0][..], &granted("192.0.2.7:99"), b"early"].concat()).await;
    program.ends().await;
    let gateway_http = granting(vec![Hears(b"early".to_vec()), Echoes]).await;
    let mut program = Program::at(&gateway_http).await;
    program.says(b"CONNECT web.example:443 HTTP/1.1\r\nHost: x\r\n\r\nearly").await;
    program.hears(crate::http::GRANTED).await;
    program.ends().await;
    gateway_http.finish().await.unwrap();
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn what_the_gateway_sends_with_its_reply_is_not_lost() {
    let mut script = opening(request(&target()));
    script.push(Says([granted("192.0.2.7:99"), b"220 ready".to_vec()].concat()));
    script.push(Ends);
    let gateway = FakeGateway::play(script).await.unwrap();
    let mut program = Program::at(&gateway).await;
    program.says(b"CONNECT web.example:443 HTTP/1.1\r\n\r\n").await;
    program.hears(crate::http::GRANTED).await;
    program.hears(b"220 ready").await;
    program.ends().await;
}

#[tokio::test]
async fn a_protected_connection_carries_octets_both_ways() {
    let sealed = |octets: &[u8]| toy_frame(LEVEL, octets);
    let script = vec![
        Hears(greeting(&[0x80])),
        Says(vec![5, 0x80]),
        Hears(sealed(&request(&target()))),
        Says([sealed(&granted("192.0.2.7:99")), sealed(b"220 "), sealed(b"ready")].concat()),
        Hears(sealed(b"early")),
        Echoes,
    ];
    let gateway = FakeGateway::play(script).await.unwrap();
    let client = Client::builder(gateway.target()).method(ToyAuth(LEVEL)).build().unwrap();
    let mut program = Program::of(client).await;
    program.says(&[&[5, 1, 0][..], &request(&target()), b"early"].concat()).await;
    program.hears(&[&[5, 0][..], &granted("192.0.2.7:99"), b"220 ready"].concat()).await;
    let octets = vec![0xA5; 300_000];
    let (mut reader, mut writer) = program.socket.split();
    let mut back = vec![0; octets.len()];
    let (sent, read) = tokio::join!(writer.write_all(&octets), reader.read_exact(&mut back));
    sent.unwrap();
    read.unwrap();
    assert!(back == octets, "octets were changed on the way");
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_half_close_passes_through_in_both_directions() {
    let gateway = granting(vec![Ends, Hears(b"after the end".to_vec()), HearsTheEnd]).await;
    let mut program = Program::at(&gateway).await;
    program.says(b"CONNECT web.example:443 HTTP/1.1\r\n\r\n").await;
    program.hears(crate::http::GRANTED).await;
    assert_eq!(program.hears_all().await, "");
    program.says(b"after the end").await;
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn reply_codes_pass_through() {
    for code in 1..=8 {
        let mut script = opening(request(&target()));
        script.push(Says(refused(code)));
        let gateway = FakeGateway::play(script).await.unwrap();
        let mut program = Program::at(&gateway).await;
        program.says(&[&[5, 1, 0][..], &request(&target())].concat()).await;
        program.hears(&[&[5, 0][..], &refused(code)].concat()).await;
        program.ends().await;
    }
}

#[tokio::test]
async fn http_programs_hear_why_in_a_text() {
    let table = [
        (
            vec![Says(refused(2))],
            "403 Forbidden",
            "request: gateway answers 0x02 (not allowed by the ruleset)",
        ),
        (vec![Says(refused(5))], "502 Bad Gateway", "request: gateway answers 0x05 (connection refused)"),
        (vec![HearsTheEnd], "504 Gateway Timeout", "request: no answer within 300 ms"),
        (vec![Ends, HearsTheEnd], "502 Bad Gateway", "request: gateway hung up"),
    ];
    for (then, status, text) in table {
        let mut script = opening(request(&target()));
        script.extend(then);
        let gateway = FakeGateway::play(script).await.unwrap();
        let mut program = Program::at(&gateway).await;
        program.says(b"CONNECT web.example:443 HTTP/1.1\r\n\r\n").await;
        let heard = program.hears_all().await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status}\\r\\n")), "{heard}");
        assert!(heard.ends_with(&format!("\\r\\n\\r\\nsocks-forward: {text}\\n")), "{heard}");
        program.ends().await;
        gateway.finish().await.unwrap();
    }
}

#[tokio::test]
async fn programs_that_ask_for_something_else_are_refused_in_their_language() {
    let table: [(&[u8], &str); 7] = [
        (b"\x04\x01\0P\x7f\0\0\x01me\0", r"\x00[\x00\x00\x00\x00\x00\x00"),
        (b"\x05\x01\x02", r"\x05\xff"),
        (b"\x05\x01\0\x05\x09\0\x01\x7f\0\0\x01\0P", r"\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"),
        (b"\x05\x01\0\x05\x01\0\x09", r"\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"),
        (b"\x05\x01\0\x05\x01\0\x03\x01-\0P", r"\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"),
        (b"GET http://web.example/ HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
        (b"\x16\x03\x01\x02\0", ""),
    ];
    for (asked, answer) in table {
        let mut program = Program::alone().await;
        program.says(asked).await;
        let heard = program.hears_all().await;
        let is_expected =
            if answer.starts_with("HTTP") { heard.starts_with(answer) } else { heard == answer };
        assert!(is_expected, "{} is answered {heard}", asked.escape_ascii());
        program.ends().await;
    }
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_a_general_failure() {
    let mut program = Program::alone().await;
    program.says(&[&[5, 1, 0][..], &request(&target())].concat()).await;
    program.hears(&[&[5, 0][..], &refused(1)].concat()).await;
    program.ends().await;
}

#[tokio::test]
async fn a_reset_of_the_gateway_is_one_for_the_program() {
    let gateway = granting(vec![Hears(b"go".to_vec()), Resets]).await;
    let mut program = Program::at(&gateway).await;
    program.says(b"CONNECT web.example:443 HTTP/1.1\r\n\r\n").await;
    program.hears(crate::http::GRANTED).await;
    program.says(b"go").await;
    let error = program.socket.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    program.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_program_that_says_nothing_is_given_up() {
    let program = Program::alone().await;
    program.served.await.unwrap();
}

#[tokio::test]
async fn a_fake_address_is_a_name_to_the_gateway() {
    let gateway = granting(vec![Echoes]).await;
    let mut program = Program::with_names(&gateway, &["other.example", "web.example"]).await;
    program.says(&[&[5, 1, 0][..], &request(&"198.18.0.2:443".parse().unwrap()), b"hello"].concat()).await;
    program.hears(&[&[5, 0][..], &granted("192.0.2.7:99"), b"hello"].concat()).await;
    program.ends().await;
    gateway.finish().await.unwrap();
}

#[tokio::test]
async fn a_fake_address_without_a_name_never_goes_to_the_gateway() {
    let gateway = FakeGateway::play_all(vec![]).await.unwrap();
    let mut program = Program::with_names(&gateway, &["web.example"]).await;
    program.says(&[&[5, 1, 0][..], &request(&"198.18.0.2:443".parse().unwrap())].concat()).await;
    program.hears(&[&[5, 0][..], &refused(4)].concat()).await;
    program.ends().await;
    let mut program = Program::with_names(&gateway, &["web.example"]).await;
    program.says(b"CONNECT 198.18.0.2:443 HTTP/1.1\r\n\r\n").await;
    let heard = program.hears_all().await;
    assert!(heard.contains("`198.18.0.2` is a fake address without a name"), "{heard}");
}
