//! The script of a client: what it sends, and what it must hear.

use std::fmt;

use socks_core::Levels;

use crate::{AuthError, Authenticated};

/// A client that says its part word by word.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) steps: Vec<Step>,
    pub(super) levels: Levels,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Hear(Vec<u8>),
    HearAny(usize),
}

impl Client {
    /// A client that says nothing.
    pub fn new() -> Self {
        Self { steps: Vec::new(), levels: Levels::Unrestricted }
    }

    /// It sends these octets next.
    #[must_use]
    pub fn sends(mut self, octets: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Send(octets.as_ref().to_vec()));
        self
    }

    /// It hears exactly these octets next.
    #[must_use]
    pub fn hears(mut self, octets: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Hear(octets.as_ref().to_vec()));
        self
    }

    /// It hears that many octets next, whatever they are.
    #[must_use]
    pub fn hears_any(mut self, count: usize) -> Self {
        self.steps.push(Step::HearAny(count));
        self
    }

    /// The policy allows it these levels of protection; without a word, whatever it asks for.
    #[must_use]
    pub fn with_levels(mut self, levels: Levels) -> Self {
        self.levels = levels;
        self
    }

    /// How many octets it sends in all.
    pub(super) fn sent(&self) -> usize {
        self.steps.iter().map(|step| if let Step::Send(octets) = step { octets.len() } else { 0 }).sum()
    }

    /// The same client with octets behind the last ones that it sends.
    pub(super) fn with_more(&self, more: &[u8]) -> Self {
        let mut client = self.clone();
        match client.steps.iter_mut().rev().find_map(|step| match step {
            Step::Send(octets) => Some(octets),
            _ => None,
        }) {
            Some(octets) => octets.extend_from_slice(more),
            None => client.steps.insert(0, Step::Send(more.to_vec())),
        }
        client
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// How an authentication ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The client is let in.
    Granted,
    /// Its proof is wrong: [`AuthError::Refused`].
    Refused,
    /// It may not have the level it wants: [`AuthError::LevelRefused`].
    LevelRefused,
    /// It sent no message of the method: [`AuthError::Malformed`].
    Malformed,
    /// The method cannot decide: [`AuthError::Unavailable`].
    Unavailable,
    /// It went away: [`AuthError::HungUp`] or [`AuthError::Io`].
    Gone,
}

impl End {
    pub(super) fn of(result: &Result<Authenticated, AuthError>) -> Self {
        match result {
            Ok(_) => Self::Granted,
            Err(AuthError::Refused { .. } | AuthError::LockedOut { .. }) => Self::Refused,
            Err(AuthError::LevelRefused { .. }) => Self::LevelRefused,
            Err(AuthError::Malformed(_)) => Self::Malformed,
            Err(AuthError::HungUp | AuthError::Io(_)) => Self::Gone,
            Err(AuthError::Unavailable(_)) => Self::Unavailable,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::LevelRefused => "refused for its level",
            Self::Malformed => "malformed",
            Self::Unavailable => "unavailable",
            Self::Gone => "hung up",
        })
    }
}
