//! The server's side.

use socks_core::{Level, Levels};

use super::{Action, Allowance, Limits, Refusal, level, name};
use crate::message::Message;
use crate::protect::Halves;

/// Whether a level may come as a bare octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareLevels {
    /// It must be sealed (RFC 1961 section 4.4).
    #[default]
    Refuse,
    /// It may be bare, and is answered so. Whoever can change octets on the way can then lower the level.
    Accept,
}

/// The server's side of one negotiation.
///
/// ```text
/// receive ─► Step ─► stepped ─► Receive ─► receive … receive ─► Finish
/// ```
#[derive(Debug)]
pub struct Server {
    state: State,
    allowance: Allowance,
    bare_levels: BareLevels,
}

#[derive(Debug)]
enum State {
    /// The client's token is due.
    Token,
    /// The context has the client's token.
    Stepping,
    /// The client's level is due.
    Level(Established),
    /// It is over, one way or the other.
    Over,
}

/// What the context said to a token.
#[derive(Debug)]
pub enum Stepped {
    /// It wants another.
    Continue {
        /// For the client.
        token: Vec<u8>,
    },
    /// It is established.
    Complete {
        /// For the client; may be empty.
        token: Vec<u8>,
        /// What came of it.
        established: Established,
    },
}

/// What a context brings into the sub-negotiation.
#[derive(Debug)]
pub struct Established {
    /// Its messages' protection.
    pub halves: Halves,
    /// The levels that the policy allows the client that was proven.
    pub levels: Levels,
    /// Whether messages may be encrypted.
    pub encryption: Encryption,
}

/// Whether the two sides of a context have agreed that messages may be encrypted (RFC 2743 section 1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// They may be.
    Available,
    /// They must not be: only signed ones will do.
    Unavailable,
}

impl Encryption {
    /// Tells whether messages may travel at that level.
    fn suits(self, level: Level) -> bool {
        self == Self::Available || matches!(level, Level::None | Level::Integrity)
    }
}

impl Server {
    /// A negotiation in which nothing has come yet.
    pub fn new(limits: Limits, bare_levels: BareLevels) -> Self {
        Self { state: State::Token, allowance: Allowance::new(limits), bare_levels }
    }

    /// The longest token that the next message may have, in octets.
    pub fn most_token(&self) -> usize {
        self.allowance.most_token()
    }

    /// Takes the client's next message.
    ///
    /// # Errors
    /// [`Refusal`]: send its farewell and close.
    pub fn receive(&mut self, message: Message) -> Result<Action, Refusal> {
        if message == Message::Abort {
            self.state = State::Over;
            return Err(Refusal::Aborted);
        }
        match (std::mem::replace(&mut self.state, State::Over), message) {
            (State::Token, message @ Message::Authentication(_)) => {
                self.allowance.count(&message)?;
                self.take_token(message)
            }
            // A client whose context was complete before ours has nothing to say, and some say so.
            (State::Level(established), message @ Message::Authentication(_)) if message.token_len() == 0 => {
                self.allowance.count(&message)?;
                self.state = State::Level(established);
                Ok(Action::Receive { send: Vec::new() })
            }
            (State::Level(established), message @ Message::Level(_)) => {
                self.allowance.count(&message)?;
                self.take_level(established, message)
            }
            (_, message) => Err(Refusal::OutOfTurn(name(&message))),
        }
    }

    /// Takes what the context said to the token of [`Action::Step`].
    ///
    /// # Errors
    /// [`Refusal`]: send its farewell and close.
    pub fn stepped(&mut self, stepped: Stepped) -> Result<Action, Refusal> {
        if !matches!(self.state, State::Stepping) {
            return Err(Refusal::OutOfTurn("nothing for the context"));
        }
        let (state, token) = match stepped {
            Stepped::Continue { token } => (State::Token, token),
            // RFC 1961 section 3.6: an empty token tells the client that we are ready.
            Stepped::Complete { token, established } => (State::Level(established), token),
        };
        let send = Message::Authentication(token).octets()?;
        self.state = state;
        Ok(Action::Receive { send })
    }

    fn take_token(&mut self, message: Message) -> Result<Action, Refusal> {
        match message {
            Message::Authentication(token) if !token.is_empty() => {
                self.state = State::Stepping;
                Ok(Action::Step { token })
            }
            _ => Err(Refusal::EmptyToken),
        }
    }

    fn take_level(&self, established: Established, message: Message) -> Result<Action, Refusal> {
        let Established { mut halves, levels, encryption } = established;
        let Message::Level(token) = message else { return Err(Refusal::OutOfTurn(name(&message))) };
        // No sealed token is that short.
        let bare = token.len() == 1 && self.bare_levels == BareLevels::Accept;
        let octets = if bare { token } else { halves.open_level(&token).map_err(Refusal::LevelSealed)? };
        let asked = level(&octets)?;
        // A set of exactly `none` answers so to anything; no other answer differs from what was asked.
        let granted = levels.answer(asked).ok_or(Refusal::LevelRefused(asked))?;
        if !encryption.suits(granted) {
            return Err(Refusal::CannotEncrypt(granted));
        }
        debug_assert!(granted == asked || granted == Level::None, "never higher than asked");
        let send =
            if bare { Message::Level(vec![granted as u8]).octets()? } else { halves.seal_level(granted)? };
        Ok(Action::Finish { send, protection: halves.at(granted) })
    }
}
