//! Why a connection through the gateway did not come about: which step, and what happened there.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socks_core::wire::{DecodeError, Method, ReplyCode};
use socks_core::{OpenError, ReceiveError};

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {fault}")]
pub struct ConnectError {
    /// Where it failed.
    pub step: Step,
    /// What happened.
    #[source]
    pub fault: Fault,
}

impl ConnectError {
    /// The gateway's reply code, if it came to a reply.
    pub fn reply(&self) -> Option<ReplyCode> {
        match self.fault {
            Fault::Refused(code) => Some(code),
            _ => None,
        }
    }

    /// Tells whether something did not answer in time, at the gateway or behind it.
    pub fn is_timeout(&self) -> bool {
        matches!(self.fault, Fault::TimedOut(_) | Fault::Refused(ReplyCode::TTL_EXPIRED))
    }
}

/// A step on the way to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Looking up the gateway's name.
    ResolvingGateway,
    /// Opening the TCP connection to it.
    ConnectingToGateway,
    /// Agreeing on an authentication method (RFC 1928 section 3).
    MethodChoice,
    /// The method's own negotiation.
    Authentication,
    /// Agreeing on protection (RFC 1961 section 4).
    ProtectionLevel,
    /// The request and its reply (RFC 1928 sections 4 and 6).
    Request,
    /// The arrival of a BIND's peer, and the gateway's second reply.
    Arrival,
    /// Opening the way to the gateway's relay of datagrams.
    Relay,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ResolvingGateway => "resolving the gateway",
            Self::ConnectingToGateway => "connecting to the gateway",
            Self::MethodChoice => "method choice",
            Self::Authentication => "authentication",
            Self::ProtectionLevel => "protection level",
            Self::Request => "request",
            Self::Arrival => "waiting for the peer",
            Self::Relay => "reaching the datagram relay",
        })
    }
}

/// What happened in a step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There was no answer in time.
    #[error("no answer within {}", Shown(*.0))]
    TimedOut(Duration),
    /// The connection to the gateway failed.
    #[error("{0}")]
    Io(io::Error),
    /// No connection could be opened to this address, the last of the gateway's that was tried.
    #[error("`{address}`: {error}")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The gateway's name cannot be looked up.
    #[error("`{name}`: {error}")]
    Unresolved {
        /// The name.
        name: Box<str>,
        /// Why.
        error: io::Error,
    },
    /// The gateway ended the connection without an answer.
    #[error("gateway hung up")]
    HungUp,
    /// The gateway's octets are no message.
    #[error("malformed message from the gateway: {0}")]
    Malformed(Box<str>),
    /// The gateway's octets are no protected frame of this session, or one that was not protected enough.
    #[error("gateway's answer: {0}")]
    Frame(OpenError),
    /// The gateway accepts none of the methods that were offered.
    #[error("gateway accepts none of the methods offered ({})", Methods(.0))]
    NoAcceptableMethod(Vec<Method>),
    /// The gateway chose a method that was not offered.
    #[error("gateway has chosen method {0}, which was not offered")]
    MethodNotOffered(Method),
    /// The gateway does not accept the proof of identity, or the protection.
    #[error("{0}")]
    Rejected(Box<str>),
    /// This side cannot even try: no ticket, no password, no random octets.
    #[error("{0}")]
    Unavailable(Box<str>),
    /// The gateway refused the request.
    #[error("gateway answers {0}")]
    Refused(ReplyCode),
}

impl Fault {
    pub(crate) fn at(self, step: Step) -> ConnectError {
        ConnectError { step, fault: self }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::HungUp,
            _ => Self::Io(error),
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string().into())
    }
}

impl From<ReceiveError> for Fault {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Io(error) => error.into(),
            ReceiveError::HungUp => Self::HungUp,
            ReceiveError::Decode(error) => error.into(),
            ReceiveError::Open(error) => Self::Frame(error),
            other => Self::Malformed(other.to_string().into()),
        }
    }
}

/// Methods by name where they have one.
struct Methods<'a>(&'a [Method]);

impl fmt::Display for Methods<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, method) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            match *method {
                Method::NONE => f.write_str("no authentication"),
                Method::GSSAPI => f.write_str("gssapi"),
                Method::USERNAME_PASSWORD => f.write_str("password"),
                other => other.fmt(f),
            }?;
        }
        Ok(())
    }
}

/// A time as people write it.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_millis() == 0 {
            write!(f, "{} s", self.0.as_secs())
        } else {
            write!(f, "{} ms", self.0.as_millis())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_step_and_the_reply_in_words() {
        let table = [
            (
                Fault::Refused(ReplyCode::NOT_ALLOWED).at(Step::Request),
                "request: gateway answers 0x02 (not allowed by the ruleset)",
            ),
            (
                Fault::NoAcceptableMethod(vec![Method::GSSAPI, Method(0x80)]).at(Step::MethodChoice),
                "method choice: gateway accepts none of the methods offered (gssapi, 0x80)",
            ),
            (
                Fault::TimedOut(Duration::from_secs(10)).at(Step::ConnectingToGateway),
                "connecting to the gateway: no answer within 10 s",
            ),
            (
                Fault::TimedOut(Duration::from_millis(1500)).at(Step::ResolvingGateway),
                "resolving the gateway: no answer within 1500 ms",
            ),
        ];
        for (error, text) in table {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn an_end_inside_a_message_is_the_gateways_hanging_up() {
        let fault = Fault::from(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(matches!(fault, Fault::HungUp));
    }
}
