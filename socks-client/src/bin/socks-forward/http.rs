//! The head of an HTTP CONNECT request (RFC 9110 section 9.3.6), and the answers to one.

use socks_client::Target;

/// The most octets of a head.
pub(crate) const MAX_HEAD: usize = 8 * 1024;

/// The answer that begins a tunnel: everything behind it is the target's.
pub(crate) const GRANTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Why a request begins no tunnel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mistake {
    /// It asks for something else than a tunnel.
    #[error("method `{0}` is not CONNECT: this is a forwarder of connections, not a web proxy")]
    NotConnect(Box<str>),
    /// It is no request.
    #[error("malformed request: {0}")]
    Malformed(Box<str>),
}

impl Mistake {
    fn malformed(why: impl Into<Box<str>>) -> Self {
        Self::Malformed(why.into())
    }

    /// What the program hears.
    pub(crate) fn answer(&self) -> Vec<u8> {
        match self {
            Self::NotConnect(_) => answer("405 Method Not Allowed", "Allow: CONNECT\r\n", &self.to_string()),
            Self::Malformed(_) => answer("400 Bad Request", "", &self.to_string()),
        }
    }
}

/// Reads the head at the front of `octets`, and gives the target and how many octets the head has.
///
/// `Ok(None)` means that more octets are needed.
pub(crate) fn read_head(octets: &[u8]) -> Result<Option<(Target, usize)>, Mistake> {
    let Some(len) = octets.windows(4).position(|four| four == b"\r\n\r\n") else {
        check_method_so_far(octets)?;
        let full = octets.len() >= MAX_HEAD;
        return if full { Err(Mistake::malformed("head is longer than 8 KiB")) } else { Ok(None) };
    };
    let head = octets.get(..len).and_then(|head| str::from_utf8(head).ok());
    let head = head.ok_or_else(|| Mistake::malformed("head is not text"))?;
    let mut lines = head.split("\r\n");
    let target = request_line(lines.next().unwrap_or_default())?;
    for line in lines {
        if !line.contains(':') || line.contains(char::is_control) {
            return Err(Mistake::malformed("header is none"));
        }
    }
    Ok(Some((target, len + 4)))
}

/// Ends early what can only be another method: nobody has to send a whole head to hear so.
fn check_method_so_far(octets: &[u8]) -> Result<(), Mistake> {
    let method = octets.split(|octet| *octet == b' ').next().unwrap_or(octets);
    if b"CONNECT".starts_with(method) { Ok(()) } else { Err(other_method(method)) }
}

fn other_method(method: &[u8]) -> Mistake {
    let is_token = !method.is_empty() && method.len() <= 32 && method.iter().all(u8::is_ascii_alphanumeric);
    match str::from_utf8(method) {
        Ok(method) if is_token => Mistake::NotConnect(method.into()),
        _ => Mistake::malformed("method is none"),
    }
}

fn request_line(line: &str) -> Result<Target, Mistake> {
    let mut words = line.split(' ');
    let (method, authority, version) = (words.next(), words.next(), words.next());
    let method = method.unwrap_or_default();
    if method != "CONNECT" {
        return Err(other_method(method.as_bytes()));
    }
    if !matches!(version, Some("HTTP/1.1" | "HTTP/1.0")) || words.next().is_some() {
        return Err(Mistake::malformed("request line is not `CONNECT host:port HTTP/1.1`"));
    }
    target(authority.unwrap_or_default())
}

/// Reads `host:port`; an IPv6 address stands in brackets, and the port is never left out.
fn target(authority: &str) -> Result<Target, Mistake> {
    let shown = authority.escape_debug();
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    if !is_port || port.parse::<u16>().is_ok_and(|port| port == 0) {
        return Err(Mistake::malformed(format!("`{shown}` has no port")));
    }
    authority.parse().map_err(|why| Mistake::malformed(format!("`{shown}` {why}")))
}

/// A whole answer with a text.
pub(crate) fn answer(status: &str, headers: &str, text: &str) -> Vec<u8> {
    let len = text.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\
         {headers}Connection: close\r\n\r\n{text}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(head: &str) -> Result<Option<(Target, usize)>, Mistake> {
        read_head(head.as_bytes())
    }

    #[test]
    fn targets_are_names_and_addresses() {
        for text in ["web.example:443", "192.0.2.1:80", "[2001:db8::1]:8443"] {
            let head = format!("CONNECT {text} HTTP/1.1\r\nHost: {text}\r\n\r\n");
            let expected = Ok(Some((text.parse().unwrap(), head.len())));
            assert_eq!(read(&format!("{head}early")), expected);
        }
        assert!(read("CONNECT a:1 HTTP/1.0\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn a_head_cut_at_any_octet_is_waited_for() {
        let head = "CONNECT web.example:443 HTTP/1.1\r\nHost: web.example\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(read(&head[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn other_methods_are_refused_at_once() {
        for head in ["GET", "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n", "CONNECTION x"] {
            let method = head.split(' ').next().unwrap();
            assert_eq!(read(head), Err(Mistake::NotConnect(method.into())));
        }
        let answer = String::from_utf8(Mistake::NotConnect("GET".into()).answer()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: CONNECT\r\n"), "{answer}");
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())), "{head}");
    }

    #[test]
    fn malformed_requests_are_refused() {
        let long = format!("CONNECT a:1 HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD));
        for head in [
            "CONNECT a:1 HTTP/2\r\n\r\n",
            "CONNECT a:1\r\n\r\n",
            "CONNECT  a:1 HTTP/1.1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1 x\r\n\r\n",
            "CONNECT a HTTP/1.1\r\n\r\n",
            "CONNECT a: HTTP/1.1\r\n\r\n",
            "CONNECT a:0 HTTP/1.1\r\n\r\n",
            "CONNECT a:+1 HTTP/1.1\r\n\r\n",
            "CONNECT a:70000 HTTP/1.1\r\n\r\n",
            "CONNECT :1 HTTP/1.1\r\n\r\n",
            "CONNECT ::1:1 HTTP/1.1\r\n\r\n",
            "CONNECT 0x7f.1:1 HTTP/1.1\r\n\r\n",
            "CONNECT http://a:1 HTTP/1.1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nnonsense\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
            "\r\n\r\n",
            "{}",
            &long,
        ] {
            let refused = matches!(read(head), Err(Mistake::Malformed(_)));
            assert!(refused, "{:.40} gives {:?}", head, read(head));
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_head(&octets);
            let _ = read_head(&[b"CONNECT ", octets.as_slice(), b" HTTP/1.1\r\n\r\n"].concat());
        }
    }
}
