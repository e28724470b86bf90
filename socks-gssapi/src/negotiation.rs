//! The negotiation of RFC 1961 sections 3 and 4 as two state machines, one for each side, which know no
//! socket, clock or library.
//!
//! Both are told what has come ([`Server::receive`]) and what the context said to a token
//! ([`Server::stepped`]), and answer with what to do next. An error ends the negotiation: what then goes to
//! the peer is [`Refusal::farewell`].

pub mod client;
pub mod server;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use socks_core::{Level, OpenError, Protection, SealError};

pub use client::Client;
pub use server::{BareLevels, Encryption, Server};

use crate::frame;
use crate::message::{Message, MessageError};

/// Bounds on what a peer may send before the context is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages of the peer, the one with the level too.
    pub messages: u32,
    /// Octets of all its tokens together.
    pub octets: usize,
}

impl Default for Limits {
    /// Eight messages, of which Kerberos needs two, and room for the largest token twice.
    fn default() -> Self {
        Self { messages: 8, octets: 2 * frame::MOST_TOKEN }
    }
}

/// What to do next.
#[derive(Debug)]
pub enum Action {
    /// Send these octets, if any, and wait for the peer's next message.
    Receive {
        /// What to send first.
        send: Vec<u8>,
    },
    /// Give this token to the context, and what it says to `stepped`.
    Step {
        /// The peer's token.
        token: Vec<u8>,
    },
    /// Send these octets, if any, with one write; everything behind them is protected.
    Finish {
        /// What to send first.
        send: Vec<u8>,
        /// How; `None`: not at all.
        protection: Option<Protection>,
    },
}

/// Why a negotiation has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer gives up.
    #[error("peer has aborted the negotiation")]
    Aborted,
    /// The peer has sent something else than a message.
    #[error("malformed message: {0}")]
    Malformed(#[from] MessageError),
    /// The peer's message is not the one that is due.
    #[error("peer has sent {0} out of turn")]
    OutOfTurn(&'static str),
    /// The peer has sent too much before the context was established.
    #[error("peer has sent more than the {0} allowed")]
    TooMuch(&'static str),
    /// The peer's first token is empty.
    #[error("peer's token is empty")]
    EmptyToken,
    /// The message with the level cannot be opened.
    #[error("protection level cannot be read: {0}")]
    LevelSealed(OpenError),
    /// There is no such level.
    #[error("protection level is none of RFC 1961: `{0}`")]
    UnknownLevel(u8),
    /// The message with the level holds something else than one octet.
    #[error("protection level has {0} octets instead of 1")]
    LevelLength(usize),
    /// The level asked for is not allowed.
    #[error("protection level `{0}` is not allowed")]
    LevelRefused(Level),
    /// The level agreed encrypts, and the context does not.
    #[error("context has no confidentiality, which protection level `{0}` needs")]
    CannotEncrypt(Level),
    /// The server has agreed to another level than this side accepts.
    #[error("server insists on protection level `{0}`")]
    LevelImposed(Level),
    /// Our own message cannot be sealed.
    #[error("protection level cannot be sent: {0}")]
    Seal(#[from] SealError),
}

impl Refusal {
    /// What a server sends before it closes at once (RFC 1961 section 3.8); a client just closes.
    pub fn farewell(&self) -> &'static [u8] {
        match self {
            Self::Aborted => &[],
            _ => &frame::ABORT,
        }
    }
}

/// Counts what the peer has sent against the bounds.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    left: Limits,
}

impl Allowance {
    fn new(limits: Limits) -> Self {
        Self { left: limits }
    }

    /// The longest token that may still come.
    fn most_token(self) -> usize {
        self.left.octets.min(frame::MOST_TOKEN)
    }

    fn count(&mut self, message: &Message) -> Result<(), Refusal> {
        let left = (self.left.messages.checked_sub(1), self.left.octets.checked_sub(message.token_len()));
        let (Some(messages), Some(octets)) = left else {
            return Err(Refusal::TooMuch(if left.0.is_none() { "messages" } else { "octets" }));
        };
        self.left = Limits { messages, octets };
        Ok(())
    }
}

/// How the record speaks of a message.
fn name(message: &Message) -> &'static str {
    match message {
        Message::Authentication(_) => "an authentication message",
        Message::Level(_) => "a protection level",
        Message::Abort => "an abort message",
    }
}

/// The level in the octets of a sub-negotiation.
fn level(octets: &[u8]) -> Result<Level, Refusal> {
    match *octets {
        [octet] => Level::from_octet(octet).ok_or(Refusal::UnknownLevel(octet)),
        _ => Err(Refusal::LevelLength(octets.len())),
    }
}
