//! The framing of RFC 1961: version, message type, length, token.

use socks_core::OpenError;

/// Octets in front of a token.
pub(crate) const HEAD: usize = 4;
/// The most octets of a token: its length field has two octets.
pub(crate) const MOST_TOKEN: usize = 0xFFFF;

/// The version of this protocol, in every message (RFC 1961 section 3.4).
pub(crate) const VERSION: u8 = 0x01;

/// Types of messages.
pub(crate) mod mtyp {
    /// An authentication message (RFC 1961 section 3.4).
    pub(crate) const AUTHENTICATION: u8 = 0x01;
    /// A protection-level negotiation message (RFC 1961 section 4.3).
    pub(crate) const LEVEL: u8 = 0x02;
    /// Encapsulated user data (RFC 1961 section 5).
    pub(crate) const DATA: u8 = 0x03;
    /// An abort message, which has neither length nor token (RFC 1961 section 3.8).
    pub(crate) const ABORT: u8 = 0xFF;
}

/// The abort message (RFC 1961 section 3.8).
pub(crate) const ABORT: [u8; 2] = [VERSION, mtyp::ABORT];

/// The octets in front of a token; `None` when the token is too long for them.
pub(crate) fn head(message_type: u8, token_len: usize) -> Option<[u8; HEAD]> {
    let [high, low] = u16::try_from(token_len).ok()?.to_be_bytes();
    Some([VERSION, message_type, high, low])
}

/// The length of the data frame that `octets` begin, once it can be told.
pub(crate) fn data_frame_len(octets: &[u8]) -> Result<Option<usize>, OpenError> {
    match *octets {
        [VERSION, mtyp::DATA, high, low, ..] => Ok(Some(HEAD + usize::from(u16::from_be_bytes([high, low])))),
        [] | [VERSION] | [VERSION, mtyp::DATA, ..] => Ok(None),
        [VERSION, mtyp::ABORT, ..] => Err(OpenError::Aborted),
        _ => Err(OpenError::NotAFrame),
    }
}

/// The token of one whole data frame, and nothing behind it.
pub(crate) fn data_token(frame: &mut [u8]) -> Result<&mut [u8], OpenError> {
    // A datagram's length field must match its length (RFC 1961 has no word on what could stand behind a token).
    if data_frame_len(frame)? != Some(frame.len()) {
        return Err(OpenError::NotAFrame);
    }
    frame.get_mut(HEAD..).ok_or(OpenError::NotAFrame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_told_from_its_head() {
        let table: [(&[u8], _); 9] = [
            (&[], Ok(None)),
            (&[1], Ok(None)),
            (&[1, 3], Ok(None)),
            (&[1, 3, 0xFF], Ok(None)),
            (&[1, 3, 0xFF, 0xFF], Ok(Some(0x1_0003))),
            (&[1, 3, 0, 0, 9], Ok(Some(4))),
            (&[1, 0xFF], Err(OpenError::Aborted)),
            (&[1, 2, 0, 1], Err(OpenError::NotAFrame)),
            (&[5], Err(OpenError::NotAFrame)),
        ];
        for (octets, expected) in table {
            assert_eq!(data_frame_len(octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn octets_behind_a_frame_are_refused() {
        assert_eq!(data_token(&mut [1, 3, 0, 1, 7]), Ok(&mut [7][..]));
        assert_eq!(data_token(&mut [1, 3, 0, 1, 7, 8]), Err(OpenError::NotAFrame));
        assert_eq!(data_token(&mut [1, 3, 0, 2, 7]), Err(OpenError::NotAFrame));
    }

    #[test]
    fn a_head_holds_no_more_than_two_octets_of_length() {
        assert_eq!(head(mtyp::DATA, MOST_TOKEN), Some([1, 3, 0xFF, 0xFF]));
        assert_eq!(head(mtyp::DATA, MOST_TOKEN + 1), None);
    }
}
