//! The client's side.

use socks_core::{Level, Levels};

use super::{Action, Allowance, Limits, Refusal, level, name};
use crate::message::Message;
use crate::protect::Halves;

/// The client's side of one negotiation.
///
/// It begins with what the context said to no token at all:
///
/// ```text
/// stepped ─► Receive ─► receive ─► Step ─► stepped ─► Receive … receive ─► Finish
/// ```
#[derive(Debug)]
pub struct Client {
    state: State,
    allowance: Allowance,
    asked: Level,
    accepted: Levels,
}

#[derive(Debug)]
enum State {
    /// The context has the server's token, or none yet.
    Stepping,
    /// The server's token is due.
    Token,
    /// The context is established here, and the server's word that it is so there is due.
    Ready(Halves),
    /// The server's level is due.
    Level(Halves),
    /// It is over, one way or the other.
    Over,
}

/// What the context said to a token.
#[derive(Debug)]
pub enum Stepped {
    /// It wants another.
    Continue {
        /// For the server.
        token: Vec<u8>,
    },
    /// It is established.
    Complete {
        /// For the server; may be empty.
        token: Vec<u8>,
        /// Its messages' protection.
        halves: Halves,
    },
}

impl Client {
    /// A negotiation that asks for one level, and goes on with any of `accepted`: one that is not the level
    /// asked for must be named there.
    pub fn new(limits: Limits, asked: Level, accepted: Levels) -> Self {
        Self { state: State::Stepping, allowance: Allowance::new(limits), asked, accepted }
    }

    /// The longest token that the next message may have, in octets.
    pub fn most_token(&self) -> usize {
        self.allowance.most_token()
    }

    /// Takes what the context said to no token at first, and then to that of [`Action::Step`].
    ///
    /// # Errors
    /// [`Refusal`]: close.
    pub fn stepped(&mut self, stepped: Stepped) -> Result<Action, Refusal> {
        match (std::mem::replace(&mut self.state, State::Over), stepped) {
            (State::Stepping, Stepped::Continue { token }) => {
                let send = Message::Authentication(token).octets()?;
                self.state = State::Token;
                Ok(Action::Receive { send })
            }
            // RFC 1961 section 3.3: with nothing left to say, the client goes on with the level.
            (State::Stepping, Stepped::Complete { token, halves }) if token.is_empty() => self.ask(halves),
            (State::Stepping, Stepped::Complete { token, halves }) => {
                let send = Message::Authentication(token).octets()?;
                self.state = State::Ready(halves);
                Ok(Action::Receive { send })
            }
            _ => Err(Refusal::OutOfTurn("nothing for the context")),
        }
    }

    /// Takes the server's next message.
    ///
    /// # Errors
    /// [`Refusal`]: close.
    pub fn receive(&mut self, message: Message) -> Result<Action, Refusal> {
        let state = std::mem::replace(&mut self.state, State::Over);
        if message == Message::Abort {
            return Err(Refusal::Aborted);
        }
        self.allowance.count(&message)?;
        match (state, message) {
            (State::Token, Message::Authentication(token)) if !token.is_empty() => {
                self.state = State::Stepping;
                Ok(Action::Step { token })
            }
            (State::Token, Message::Authentication(_)) => Err(Refusal::EmptyToken),
            (State::Ready(halves), Message::Authentication(token)) if token.is_empty() => self.ask(halves),
            (State::Level(halves), Message::Level(token)) => self.take_level(halves, &token),
            (_, message) => Err(Refusal::OutOfTurn(name(&message))),
        }
    }

    fn ask(&mut self, mut halves: Halves) -> Result<Action, Refusal> {
        let send = halves.seal_level(self.asked)?;
        self.state = State::Level(halves);
        Ok(Action::Receive { send })
    }

    fn take_level(&self, mut halves: Halves, token: &[u8]) -> Result<Action, Refusal> {
        let granted = level(&halves.open_level(token).map_err(Refusal::LevelSealed)?)?;
        let accepted = match &self.accepted {
            Levels::Unrestricted => false,
            Levels::Only(levels) => levels.contains(&granted),
        };
        if granted != self.asked && !accepted {
            return Err(Refusal::LevelImposed(granted));
        }
        Ok(Action::Finish { send: Vec::new(), protection: halves.at(granted) })
    }
}
