//! Requests in HTTP/1.1, as they are written, and their answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::{DEADLINE, Gateway};

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub code: u16,
    /// The status line and the headers.
    pub head: String,
    /// What came behind them.
    pub body: String,
}

impl Answer {
    /// A header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The text of a request without a body, after which the connection ends; each header ends in CRLF.
pub fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

/// The text of a request with a body of JSON.
pub fn request_with(line: &str, body: &str) -> String {
    let len = body.len();
    request(line, &format!("Content-Type: application/json\r\nContent-Length: {len}\r\n")) + body
}

/// Sends a request over a fresh connection and reads the answer.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).expect("somebody listens");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a head in text"), 0, "no whole head: {head}");
    }
    let code = head.get(9..12).and_then(|code| code.parse().ok()).expect("a status");
    let mut answer = Answer { code, head, body: String::new() };
    // Some keep the connection although they were asked not to.
    let len = answer.header("content-length").map_or(u64::MAX, |len| len.parse().expect("a number"));
    reader.take(len).read_to_string(&mut answer.body).expect("a body in text");
    answer
}

/// The same over TCP.
///
/// # Panics
/// When nobody answers in time.
#[track_caller]
pub fn ask(address: SocketAddr, request: &str) -> Answer {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
    exchange(stream, request)
}

/// Where the gateway's admin listener is for browsers.
///
/// # Panics
/// When its log does not say so.
#[track_caller]
pub fn admin(gateway: &Gateway) -> SocketAddr {
    let address = gateway.log().find(DEADLINE, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| event.get(name).and_then(Value::as_str);
        (field("message") == Some("admin listening")).then(|| field("address")?.parse().ok())?
    });
    address.expect("the gateway says where")
}
