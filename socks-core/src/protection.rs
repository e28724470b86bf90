//! Per-message protection: RFC 1961 section 5, or whatever frames an authentication plug-in brings.

use std::fmt;
use std::ops::Range;

/// How a session's messages are protected (RFC 1961 section 4.3; 0 is outside the RFC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Not at all.
    None = 0x00,
    /// Nobody can change a message unseen.
    Integrity = 0x01,
    /// Nobody can read or change a message.
    Confidentiality = 0x02,
    /// Each message says for itself; as a minimum it counts as [`Level::Integrity`].
    Selective = 0x03,
}

impl Level {
    /// Every level, weakest first; selective last.
    pub const ALL: [Self; 4] = [Self::None, Self::Integrity, Self::Confidentiality, Self::Selective];

    /// The level of that octet.
    pub fn from_octet(octet: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level as u8 == octet)
    }

    /// Tells whether a session at this level satisfies a rule that asks for at least `minimum`.
    pub fn is_at_least(self, minimum: Self) -> bool {
        self.strength() >= minimum.strength()
    }

    fn strength(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Integrity | Self::Selective => 1,
            Self::Confidentiality => 2,
        }
    }

    /// The word that configuration and record use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
            Self::Selective => "selective",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The protection levels that the policy allows a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Levels {
    /// The policy says nothing: a method without protection may be used, and a method that negotiates
    /// protection may agree to any level of RFC 1961, but not to [`Level::None`].
    Unrestricted,
    /// Exactly these, in order of preference. An empty set allows nothing.
    Only(Vec<Level>),
}

impl Levels {
    /// Tells whether a method that brings no protection may be used.
    pub fn allow_unprotected(&self) -> bool {
        match self {
            Self::Unrestricted => true,
            Self::Only(levels) => levels.contains(&Level::None),
        }
    }

    /// Tells whether a session may go on at `level`, with or without a negotiation before it.
    pub fn allow(&self, level: Level) -> bool {
        match self {
            Self::Unrestricted => true,
            Self::Only(levels) => levels.contains(&level),
        }
    }

    /// The level to answer a client that asks for `asked`; `None`: refuse.
    ///
    /// The answer is the level asked for, if it is allowed. A set of exactly `none` answers `none` to
    /// anything, which is what curl needs.
    pub fn answer(&self, asked: Level) -> Option<Level> {
        match self {
            Self::Unrestricted => (asked != Level::None).then_some(asked),
            Self::Only(levels) if levels.as_slice() == [Level::None] => Some(Level::None),
            Self::Only(levels) => levels.contains(&asked).then_some(asked),
        }
    }
}

/// The two halves that protect a session, which share no lock, and the level they stand for.
///
/// The same two serve requests, replies, TCP data and UDP datagrams.
pub struct Protection {
    /// The level that was agreed; it goes into the identity and the record.
    pub level: Level,
    /// From us to the client.
    pub seal: Box<dyn Seal>,
    /// From the client to us.
    pub open: Box<dyn Open>,
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protection").field("level", &self.level).finish_non_exhaustive()
    }
}

/// The most octets that sealing puts around a plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Octets needed in front of the plaintext.
    pub head: usize,
    /// Octets needed behind the plaintext.
    pub tail: usize,
}

/// One message to be sealed in place; the plaintext has room on both sides.
#[derive(Debug)]
pub struct Sealing<'a> {
    /// Room, plaintext, room.
    pub buffer: &'a mut [u8],
    /// Where the plaintext lies in `buffer`; after sealing, where the whole frame lies.
    pub range: Range<usize>,
}

/// The sealing half of a [`Protection`]: makes frames out of plaintext, in place.
pub trait Seal: Send {
    /// The most room that [`Seal::seal`] needs around a plaintext.
    fn room(&self) -> Room;

    /// The largest plaintext of one frame, in octets; at least 1.
    fn max_plaintext(&self) -> usize;

    /// Makes the plaintext at `message.range` a frame, and sets `message.range` to the frame.
    ///
    /// `level` is [`Level::Integrity`] or [`Level::Confidentiality`]: sign, or encrypt. At any session level
    /// but [`Level::Selective`] it is the session's own.
    ///
    /// # Errors
    /// [`SealError`] when room is missing, the plaintext is too long, or the keys can no longer be used;
    /// the session ends then.
    fn seal(&mut self, message: &mut Sealing<'_>, level: Level) -> Result<(), SealError>;

    /// Seals several messages, in order. An engine that can work on several at once does it here.
    ///
    /// # Errors
    /// As [`Seal::seal`]; the session ends then.
    fn seal_all(&mut self, messages: &mut [Sealing<'_>], level: Level) -> Result<(), SealError> {
        messages.iter_mut().try_for_each(|message| self.seal(message, level))
    }
}

/// The opening half of a [`Protection`]: finds frames and takes the plaintext out of them, in place.
pub trait Open: Send {
    /// The most octets of one frame.
    fn max_frame(&self) -> usize;

    /// The length of the frame that `head` begins, as soon as it can be told; `Ok(None)`: more octets needed.
    ///
    /// # Errors
    /// [`OpenError`] when no frame begins like that, or it would be longer than [`Open::max_frame`].
    fn frame_len(&self, head: &[u8]) -> Result<Option<usize>, OpenError>;

    /// Opens one whole frame in place and tells where in it the plaintext lies.
    ///
    /// # Errors
    /// [`OpenError`]; a stream ends with any of them, a datagram is dropped.
    fn open(&mut self, frame: &mut [u8]) -> Result<Opened, OpenError>;

    /// Opens several whole frames in place, in order, up to the first that is refused. An engine that can work on
    /// several at once does it here.
    ///
    /// The frames before a refused one tell what is [`opened`](Opening::opened); it and those behind it do not, and
    /// what is in them by then is nobody's to read.
    ///
    /// # Errors
    /// As [`Open::open`], of the first frame that is refused.
    fn open_all(&mut self, frames: &mut [Opening<'_>]) -> Result<(), OpenError> {
        frames.iter_mut().try_for_each(|opening| {
            opening.opened = Some(self.open(opening.frame)?);
            Ok(())
        })
    }

    /// Turns the strict order of a stream into the window of datagrams (RFC 1961 section 5, UDP).
    ///
    /// From then on [`Open::open`] refuses what comes twice or is too old, and accepts any order.
    fn accept_any_order(&mut self);
}

/// One whole frame to be opened in place.
#[derive(Debug, Default)]
pub struct Opening<'a> {
    /// The frame.
    pub frame: &'a mut [u8],
    /// What opening it has told; `None` before, and when it or a frame before it was refused.
    pub opened: Option<Opened>,
}

/// What opening a frame has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Where in the frame the plaintext lies.
    pub plaintext: Range<usize>,
    /// Whether it was encrypted, or only signed. A session at confidentiality refuses what was only signed.
    pub level: Level,
    /// Its place among the messages before it.
    pub sequence: Sequence,
}

/// A frame's place among those that came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// It is the next one.
    Next,
    /// It came early or late, but for the first time. On a stream the engine refuses it instead.
    Moved,
}

/// Why a message could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The buffer has less room than [`Seal::room`], or the plaintext is longer than [`Seal::max_plaintext`].
    #[error("message does not fit into one protected frame")]
    Room,
    /// The keys cannot be used for another message.
    #[error("session keys are used up")]
    Exhausted,
    /// The engine failed.
    #[error("{0}")]
    Engine(&'static str),
}

/// Why a frame is refused; the peer's fault, or somebody's between us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It does not begin like a frame.
    #[error("octets are no protected frame")]
    NotAFrame,
    /// It says that it is longer than a frame may be.
    #[error("protected frame is longer than allowed")]
    TooLong,
    /// Its check value is wrong.
    #[error("protected frame was changed or made with another key")]
    Forged,
    /// It was only signed in a session that must be encrypted.
    #[error("frame is only signed, but the session is agreed to be encrypted")]
    OnlySigned,
    /// It was there before.
    #[error("protected frame came twice")]
    Duplicate,
    /// It is older than the window.
    #[error("protected frame is too old")]
    Old,
    /// One before it is missing, or came later.
    #[error("protected frame is out of order")]
    OutOfOrder,
    /// The peer says that it gives up.
    #[error("peer has aborted the session")]
    Aborted,
    /// The engine failed.
    #[error("{0}")]
    Engine(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selective_counts_as_integrity() {
        assert!(Level::Selective.is_at_least(Level::Integrity));
        assert!(!Level::Selective.is_at_least(Level::Confidentiality));
        assert!(Level::Confidentiality.is_at_least(Level::Selective));
        assert!(!Level::None.is_at_least(Level::Integrity));
    }

    #[test]
    fn the_answer_is_what_was_asked_or_nothing() {
        use Level::{Confidentiality, Integrity, None as Clear, Selective};
        let both = Levels::Only(vec![Confidentiality, Integrity]);
        let clear = Levels::Only(vec![Clear]);
        let table = [
            (&both, Integrity, Some(Integrity)),
            (&both, Confidentiality, Some(Confidentiality)),
            (&both, Selective, None),
            (&both, Clear, None),
            (&clear, Confidentiality, Some(Clear)),
            (&Levels::Unrestricted, Clear, None),
            (&Levels::Unrestricted, Selective, Some(Selective)),
            (&Levels::Only(vec![]), Integrity, None),
        ];
        for (levels, asked, answer) in table {
            assert_eq!(levels.answer(asked), answer, "{levels:?} asked for {asked}");
        }
    }

    #[test]
    fn levels_that_the_policy_names_without_none_keep_unprotected_methods_out() {
        assert!(Levels::Unrestricted.allow_unprotected());
        assert!(!Levels::Only(vec![Level::Integrity]).allow_unprotected());
        assert!(Levels::Only(vec![Level::Integrity, Level::None]).allow_unprotected());
    }
}
