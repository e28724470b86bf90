//! The gateway's reply as its client reads it (RFC 1928 section 6).

use bytes::BytesMut;
use socks_core::wire::{Decode, DecodeError, Reply, ReplyCode, Target, VERSION};

/// How a request went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was granted; the gateway's own end of the connection.
    Granted(Target),
    /// It was refused.
    Refused(ReplyCode),
}

impl Decode for Outcome {
    const MAX_LEN: usize = Reply::MAX_LEN;

    /// A refusal is known from its second octet: what stands behind it in an address that means nothing is
    /// filled in with little care by many a server.
    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        match src.as_ref() {
            [VERSION, 0x00, ..] | [] | [_] => Ok(Reply::decode(src)?.map(|reply| Self::Granted(reply.bound))),
            &[VERSION, code, ..] => {
                src.clear();
                Ok(Some(Self::Refused(ReplyCode(code))))
            }
            &[found, ..] => Err(DecodeError::Version { found, expected: VERSION }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(octets: &[u8]) -> Result<Option<Outcome>, DecodeError> {
        Outcome::decode(&mut BytesMut::from(octets))
    }

    #[test]
    fn a_refusal_needs_no_address() {
        let refused = Ok(Some(Outcome::Refused(ReplyCode::NOT_ALLOWED)));
        for octets in [&[5, 2][..], &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0], &[5, 2, 9, 9, 9]] {
            assert_eq!(decode(octets), refused, "{octets:?}");
        }
    }

    #[test]
    fn a_grant_needs_all_of_its_address() {
        let octets = [5, 0, 0, 1, 127, 0, 0, 1, 0, 80];
        for cut in 0..octets.len() {
            assert_eq!(decode(&octets[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(decode(&octets), Ok(Some(Outcome::Granted("127.0.0.1:80".parse().unwrap()))));
    }

    #[test]
    fn what_is_no_reply_is_refused_at_once() {
        let version = |found| Err(DecodeError::Version { found, expected: 5 });
        assert_eq!(decode(&[4]), version(4));
        assert_eq!(decode(&[4, 0]), version(4));
        assert_eq!(decode(&[5, 0, 1]), Err(DecodeError::Reserved(1)));
        assert_eq!(decode(&[5, 0, 0, 2]), Err(DecodeError::AddressType(2)));
        assert!(matches!(decode(b"\x05\0\0\x03\x03\xFF\0\0\0P"), Err(DecodeError::Name { .. })));
    }
}
