//! The messages of RFC 1928, and what a load balancer puts before them, as values that work on buffers and know no socket, clock or thread.
//!
//! Decoding asks for more octets, fails, or takes exactly the octets of one message; encoding cannot fail.

mod datagram;
mod greeting;
mod host;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod property;
mod proxy;
mod reply;
mod request;

pub use datagram::UdpHeader;
pub use greeting::{Greeting, Method, MethodChoice};
pub use host::{DomainName, Host, NameError, Target};
pub use proxy::ProxyHeader;
pub use reply::{Reply, ReplyCode};
pub use request::{Command, Request};

use bytes::BytesMut;

/// The version octet of SOCKS 5 (RFC 1928 section 3).
pub const VERSION: u8 = 0x05;

/// A message that can be read from the front of a buffer.
pub trait Decode: Sized {
    /// The most octets one encoded message can have; a reader never needs a larger buffer.
    const MAX_LEN: usize;

    /// Takes one message from the front of `src`.
    ///
    /// `Ok(None)` means that more octets are needed, and nothing was taken. Octets behind the message stay.
    ///
    /// # Errors
    /// [`DecodeError`] as soon as the octets cannot become a message; nothing was taken then either.
    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError>;
}

/// A message that can be appended to a buffer.
pub trait Encode {
    /// Appends the message to `dst`.
    fn encode(&self, dst: &mut BytesMut);
}

/// Why octets from a peer are no message; always the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The version octet is another one; 0x04 is a SOCKS 4 client.
    #[error("version octet is {found:#04x} instead of {expected:#04x}")]
    Version {
        /// The octet that was read.
        found: u8,
        /// The octet that the message must start with.
        expected: u8,
    },
    /// A greeting that offers no method at all.
    #[error("greeting offers no authentication method")]
    NoMethods,
    /// The reserved octet is not zero (RFC 1928 sections 4, 6 and 7).
    #[error("reserved octet is {0:#04x} instead of 0x00")]
    Reserved(u8),
    /// A command other than CONNECT, BIND and UDP ASSOCIATE.
    #[error("unknown command {0:#04x}")]
    Command(u8),
    /// An address type other than IPv4, domain name and IPv6.
    #[error("unknown address type {0:#04x}")]
    AddressType(u8),
    /// A domain name that cannot be one.
    #[error("name `{name}` {why}")]
    Name {
        /// The name as it was sent, with everything that is not printable ASCII escaped.
        name: Box<str>,
        /// What is wrong with it.
        why: NameError,
    },
    /// Octets that do not begin as a header of the PROXY protocol does.
    #[error("it does not begin with a PROXY header")]
    NoProxyHeader,
    /// A header of the PROXY protocol with a mistake, or one that says what cannot be.
    #[error("PROXY header: {0}")]
    ProxyHeader(&'static str),
    /// A mistake in a message of an authentication method, in that method's words.
    #[error("{0}")]
    Method(&'static str),
}

/// A reader over octets of a peer that never reads past their end.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    octets: &'a [u8],
    taken: usize,
}

impl<'a> Cursor<'a> {
    fn new(octets: &'a [u8]) -> Self {
        Self { octets, taken: 0 }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.octets.split_at_checked(count)?;
        self.octets = tail;
        self.taken += count;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn octet(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }
}

/// Checks the version octet, once there is one.
fn version(octet: Option<u8>) -> Result<Option<()>, DecodeError> {
    match octet {
        None => Ok(None),
        Some(VERSION) => Ok(Some(())),
        Some(found) => Err(DecodeError::Version { found, expected: VERSION }),
    }
}

#[cfg(test)]
mod tests;
