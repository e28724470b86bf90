//! What a local program hears, in the protocol that it speaks: the one place that chooses codes.

use std::fmt;

use bytes::BytesMut;
use socks_client::{ConnectError, ReplyCode, Target};
use socks_core::wire::{DecodeError, Encode, Reply};

use crate::http;
use crate::names::Forgotten;

/// How a local program asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Socks5,
    HttpConnect,
}

impl Via {
    /// The answer to a request that was granted.
    pub(crate) fn granted(self, bound: &Target) -> Vec<u8> {
        match self {
            Self::Socks5 => octets(&Reply { code: ReplyCode::SUCCEEDED, bound: bound.clone() }),
            Self::HttpConnect => http::GRANTED.to_vec(),
        }
    }

    /// The answer to a request for a fake address that stands for no name.
    pub(crate) fn forgotten(self, why: &Forgotten) -> Vec<u8> {
        match self {
            Self::Socks5 => refusal(ReplyCode::HOST_UNREACHABLE),
            Self::HttpConnect => http::answer("502 Bad Gateway", "", &format!("socks-forward: {why}")),
        }
    }

    /// The answer to a request that came to nothing.
    pub(crate) fn failed(self, error: &ConnectError) -> Vec<u8> {
        match self {
            Self::Socks5 => refusal(error.reply().unwrap_or(ReplyCode::GENERAL_FAILURE)),
            Self::HttpConnect => http::answer(http_status(error), "", &format!("socks-forward: {error}")),
        }
    }
}

fn http_status(error: &ConnectError) -> &'static str {
    if error.reply() == Some(ReplyCode::NOT_ALLOWED) {
        "403 Forbidden"
    } else if error.is_timeout() {
        "504 Gateway Timeout"
    } else {
        "502 Bad Gateway"
    }
}

/// The SOCKS reply that refuses with this code.
pub(crate) fn refusal(code: ReplyCode) -> Vec<u8> {
    octets(&Reply::refused(code))
}

/// The code for a SOCKS request that is none.
pub(crate) fn code_of_mistake(error: &DecodeError) -> ReplyCode {
    match error {
        DecodeError::Command(_) => ReplyCode::COMMAND_NOT_SUPPORTED,
        DecodeError::AddressType(_) => ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED,
        _ => ReplyCode::GENERAL_FAILURE,
    }
}

fn octets(message: &impl Encode) -> Vec<u8> {
    let mut octets = BytesMut::new();
    message.encode(&mut octets);
    octets.to_vec()
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socks5 => "socks5",
            Self::HttpConnect => "http-connect",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socks_client::{Fault, Step};

    use super::*;

    #[test]
    fn failures_have_a_code_in_either_protocol() {
        let refused = |code| ConnectError { step: Step::Request, fault: Fault::Refused(ReplyCode(code)) };
        let late = |step| ConnectError { step, fault: Fault::TimedOut(Duration::from_secs(1)) };
        let no_ticket = ConnectError {
            step: Step::Authentication,
            fault: Fault::Unavailable("there is no ticket: run `kinit`".into()),
        };
        let table = [
            (refused(1), 1, 502),
            (refused(2), 2, 403),
            (refused(3), 3, 502),
            (refused(4), 4, 502),
            (refused(5), 5, 502),
            (refused(6), 6, 504),
            (refused(9), 9, 502),
            (late(Step::ConnectingToGateway), 1, 504),
            (late(Step::Request), 1, 504),
            (no_ticket, 1, 502),
        ];
        for (error, code, status) in table {
            assert_eq!(Via::Socks5.failed(&error), [5, code, 0, 1, 0, 0, 0, 0, 0, 0], "{error}");
            let answer = String::from_utf8(Via::HttpConnect.failed(&error)).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{error}: {answer}");
            assert!(answer.ends_with(&format!("\r\n\r\nsocks-forward: {error}\n")), "{answer}");
        }
    }
}
