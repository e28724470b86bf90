//! The messages before protection begins (RFC 1961 sections 3.4, 3.8 and 4.3).

use std::fmt;

use crate::frame::{self, HEAD, VERSION, mtyp};

/// A message of the negotiation.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// A token for the context; an empty one says that nothing is missing any more.
    Authentication(Vec<u8>),
    /// A sealed protection level.
    Level(Vec<u8>),
    /// The peer gives up.
    Abort,
}

/// Why octets are no message of the negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The version octet is another one; 0x05 is a request without the sub-negotiation before it.
    #[error("version octet is {0:#04x} instead of 0x01")]
    Version(u8),
    /// The message type is another one.
    #[error("message type is {0:#04x}")]
    Type(u8),
    /// The token is longer than allowed.
    #[error("token of {len} octets is longer than the {most} allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The most that was allowed.
        most: usize,
    },
    /// The message has a token that is too long for its length field.
    #[error("token of {0} octets does not fit into a message")]
    Unfit(usize),
}

/// The first two octets of a message, which say whether a length follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Two octets of length and a token follow.
    Token(TokenKind),
    /// Nothing follows.
    Abort,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// For the context.
    Authentication,
    /// For the sub-negotiation of the level.
    Level,
}

impl Start {
    /// Octets that [`Start::read`] needs.
    pub const LEN: usize = 2;

    /// Reads the first two octets.
    ///
    /// # Errors
    /// [`MessageError::Version`] or [`MessageError::Type`].
    pub fn read([version, message_type]: [u8; Self::LEN]) -> Result<Self, MessageError> {
        match (version, message_type) {
            (VERSION, mtyp::AUTHENTICATION) => Ok(Self::Token(TokenKind::Authentication)),
            (VERSION, mtyp::LEVEL) => Ok(Self::Token(TokenKind::Level)),
            (VERSION, mtyp::ABORT) => Ok(Self::Abort),
            (VERSION, other) => Err(MessageError::Type(other)),
            (other, _) => Err(MessageError::Version(other)),
        }
    }
}

impl TokenKind {
    /// The token's length, from the two octets behind the first two; at most `most`.
    ///
    /// # Errors
    /// [`MessageError::TooLong`].
    pub fn token_len(octets: [u8; 2], most: usize) -> Result<usize, MessageError> {
        let len = usize::from(u16::from_be_bytes(octets));
        if len > most { Err(MessageError::TooLong { len, most }) } else { Ok(len) }
    }

    /// The message of this kind with that token.
    pub fn message(self, token: Vec<u8>) -> Message {
        match self {
            Self::Authentication => Message::Authentication(token),
            Self::Level => Message::Level(token),
        }
    }
}

impl Message {
    /// Reads one message from the front of `octets`, and tells how many it has.
    ///
    /// `Ok(None)` means that more octets are needed. Tokens of more than `most` octets are refused before
    /// they are there.
    ///
    /// # Errors
    /// [`MessageError`] as soon as the octets cannot become a message.
    pub fn read(octets: &[u8], most: usize) -> Result<Option<(Self, usize)>, MessageError> {
        if let Some(version) = octets.first().filter(|version| **version != VERSION) {
            return Err(MessageError::Version(*version));
        }
        let Some((start, rest)) = octets.split_first_chunk() else { return Ok(None) };
        let kind = match Start::read(*start)? {
            Start::Abort => return Ok(Some((Self::Abort, Start::LEN))),
            Start::Token(kind) => kind,
        };
        let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let len = TokenKind::token_len(*len, most)?;
        let token = rest.get(..len);
        Ok(token.map(|token| (kind.message(token.to_vec()), HEAD + len)))
    }

    /// The message's octets.
    ///
    /// # Errors
    /// [`MessageError::Unfit`] when its token is too long for a message.
    pub fn octets(&self) -> Result<Vec<u8>, MessageError> {
        let (message_type, token) = match self {
            Self::Authentication(token) => (mtyp::AUTHENTICATION, token),
            Self::Level(token) => (mtyp::LEVEL, token),
            Self::Abort => return Ok(frame::ABORT.to_vec()),
        };
        let head = frame::head(message_type, token.len()).ok_or(MessageError::Unfit(token.len()))?;
        Ok([&head, token.as_slice()].concat())
    }

    /// Octets of its token.
    pub(crate) fn token_len(&self) -> usize {
        match self {
            Self::Authentication(token) | Self::Level(token) => token.len(),
            Self::Abort => 0,
        }
    }
}

impl fmt::Debug for Message {
    /// Never a token: it proves who somebody is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication(token) => write!(f, "Authentication({} octets)", token.len()),
            Self::Level(token) => write!(f, "Level({} octets)", token.len()),
            Self::Abort => f.write_str("Abort"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_those_of_the_diagrams() {
        let table: [(&[u8], Message); 4] = [
            (&[1, 1, 0, 3, 7, 8, 9], Message::Authentication(vec![7, 8, 9])),
            (&[1, 1, 0, 0], Message::Authentication(vec![])),
            (&[1, 2, 0, 1, 2], Message::Level(vec![2])),
            (&[1, 0xFF], Message::Abort),
        ];
        for (octets, message) in table {
            assert_eq!(message.octets().unwrap(), octets);
            assert_eq!(Message::read(octets, 65535), Ok(Some((message, octets.len()))));
            for cut in 0..octets.len() {
                assert_eq!(Message::read(&octets[..cut], 65535), Ok(None), "{octets:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_cannot_become_a_message_is_refused_at_once() {
        assert_eq!(Message::read(&[5], 65535), Err(MessageError::Version(5)));
        assert_eq!(Message::read(&[1, 3], 65535), Err(MessageError::Type(3)));
        let too_long = MessageError::TooLong { len: 300, most: 299 };
        assert_eq!(Message::read(&[1, 1, 1, 44], 299), Err(too_long));
    }

    #[test]
    fn a_token_that_fits_no_message_is_refused() {
        assert!(Message::Authentication(vec![0; 65535]).octets().is_ok());
        assert_eq!(Message::Level(vec![0; 65536]).octets(), Err(MessageError::Unfit(65536)));
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Message::Authentication(vec![77; 5])), "Authentication(5 octets)");
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..64), most in 0_usize..70000) {
            if let Ok(Some((message, len))) = Message::read(&octets, most) {
                prop_assert_eq!(message.octets().unwrap(), &octets[..len]);
            }
        }
    }
}
