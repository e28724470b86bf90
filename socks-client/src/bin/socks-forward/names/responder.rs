//! The DNS server that answers every name with its fake addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socks_core::wire::DomainName;
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::Names;
use super::message::{Answer, Mistake, Question, kind};

/// The most octets of a question that is read; more is cut off, and malformed then.
const MOST: usize = 4096;
/// Pause after the socket has failed, which must not keep a processor busy.
const FAILED_PAUSE: Duration = Duration::from_millis(50);

/// A socket on which questions are answered.
#[derive(Debug)]
pub(crate) struct Responder {
    socket: UdpSocket,
    names: Arc<Names>,
}

impl Responder {
    /// Opens the socket.
    pub(crate) async fn bind(address: SocketAddr, names: Arc<Names>) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::bind(address).await?, names })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until the future is dropped.
    pub(crate) async fn run(self) {
        let mut buffer = vec![0; MOST];
        loop {
            let (len, asker) = match self.socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    warn!(%error, "names: nothing was received");
                    sleep(FAILED_PAUSE).await;
                    continue;
                }
            };
            let Some(answer) = self.names.respond(buffer.get(..len).unwrap_or_default()) else { continue };
            if let Err(error) = self.socket.send_to(&answer, asker).await {
                debug!(%asker, %error, "names: answer was not sent");
            }
        }
    }
}

impl Names {
    /// The message that answers a message, if it is to be answered.
    fn respond(&self, message: &[u8]) -> Option<Vec<u8>> {
        match Question::read(message) {
            Ok(question) => Some(question.answered(&self.answer(&question.name, question.kind))),
            Err(Mistake::Said(answer)) => Some(answer),
            Err(Mistake::Silent) => None,
        }
    }

    fn answer(&self, name: &str, asked: u16) -> Answer {
        if let Some(address) = reversed(name) {
            let known = self.name_of(address).ok().flatten();
            return match known {
                None => Answer::NoSuchName,
                Some(name) if asked == kind::PTR => Answer::Name(name),
                Some(_) => Answer::Nothing,
            };
        }
        // What is no host name cannot be asked of the gateway either.
        let Ok(name) = name.parse::<DomainName>() else { return Answer::NoSuchName };
        if ![kind::A, kind::AAAA].contains(&asked) {
            return Answer::Nothing;
        }
        let Some(fakes) = self.assign(&name) else {
            warn!(%name, "names: all fake addresses are in use");
            return Answer::Failure;
        };
        let address = if asked == kind::A { fakes.v4.map(IpAddr::V4) } else { fakes.v6.map(IpAddr::V6) };
        address.map_or(Answer::Nothing, Answer::Address)
    }
}

/// The address whose name is asked for (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reversed(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let text: Vec<_> = octets.rsplit('.').collect();
        return text.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let digits: Vec<_> = name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
    if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
        return None;
    }
    let value = u128::from_str_radix(&digits.concat(), 16).ok()?;
    Some(Ipv6Addr::from(value).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(&["198.18.0.0/15".parse().unwrap(), "fd00::/64".parse().unwrap()]).unwrap()
    }

    #[test]
    fn names_are_answered_with_addresses_and_those_with_the_names() {
        let names = names();
        let fake = |ip: &str| Answer::Address(ip.parse().unwrap());
        assert_eq!(names.answer("web.example", kind::A), fake("198.18.0.1"));
        assert_eq!(names.answer("Web.Example", kind::AAAA), fake("fd00::1"));
        assert_eq!(names.answer("git.example", kind::A), fake("198.18.0.2"));
        let web = Answer::Name("web.example".parse().unwrap());
        assert_eq!(names.answer("1.0.18.198.in-addr.arpa", kind::PTR), web);
        let reverse = format!("1.{}0.0.d.f.ip6.arpa", "0.".repeat(27));
        assert_eq!(names.answer(&reverse, kind::PTR), web);
    }

    #[test]
    fn other_kinds_are_nothing_and_what_is_no_name_does_not_exist() {
        let names = names();
        assert_eq!(names.answer("web.example", 15), Answer::Nothing);
        for name in ["", "a b", "127.1", "9.0.18.198.in-addr.arpa", "1.2.0.192.in-addr.arpa"] {
            assert_eq!(names.answer(name, kind::A), Answer::NoSuchName, "{name}");
        }
    }

    #[test]
    fn a_family_without_a_network_has_no_addresses() {
        let names = Names::new(&["198.18.0.0/15".parse().unwrap()]).unwrap();
        assert_eq!(names.answer("web.example", kind::AAAA), Answer::Nothing);
    }

    #[tokio::test]
    async fn a_question_over_the_socket_is_answered() {
        let names = Arc::new(names());
        let responder = Responder::bind("127.0.0.1:0".parse().unwrap(), names).await.unwrap();
        let asker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        asker.connect(responder.address().unwrap()).await.unwrap();
        let running = tokio::spawn(responder.run());
        asker.send(b"?").await.unwrap();
        asker.send(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03web\x07example\0\0\x01\0\x01").await.unwrap();
        let mut answer = [0; 512];
        let len = asker.recv(&mut answer).await.unwrap();
        assert!(answer[..len].ends_with(&[0, 4, 198, 18, 0, 1]), "{:02x?}", &answer[..len]);
        running.abort();
    }
}
