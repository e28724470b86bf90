//! The trait of an authentication method, and how an attempt ends.

use std::any::Any;
use std::io;
use std::time::SystemTime;

use async_trait::async_trait;
use socks_core::wire::{DecodeError, Method};
use socks_core::{Identity, Level, Protection};

use crate::AuthSession;

/// One configured authentication method; shared by all sessions.
#[async_trait]
pub trait Authenticator: Any + Send + Sync {
    /// The method's number in the greeting (RFC 1928 section 3).
    fn method(&self) -> Method;

    /// Tells whether the method can bring a [`Protection`]. One that cannot is not offered where the policy
    /// asks for protection.
    fn protects(&self) -> bool {
        false
    }

    /// What a client is told whose time for the handshake ended while it talked with this method. The gateway
    /// says it and closes; nothing by default.
    fn farewell(&self) -> &'static [u8] {
        &[]
    }

    /// What an operator should know where the policy lets clients of this method go on without protection;
    /// shown whenever the configuration is read.
    fn risk_without_protection(&self) -> Option<&'static str> {
        None
    }

    /// Tells whether an identity that this method once proved could still be let in, as far as the method can tell
    /// without the client: an account that was taken away or disabled could not. By default it could. Ends in time
    /// are [`Identity::valid_until`]'s.
    fn still_knows(&self, identity: &Identity) -> bool {
        let _ = identity;
        true
    }

    /// The accounts that the method has a list of, for a comparison with another list; none by default.
    fn accounts(&self) -> Vec<Account> {
        Vec::new()
    }

    /// Numbers of the method for the operator's metrics, as they are now; none by default. It may look at a file,
    /// and is never called by a session.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Runs the method's own negotiation, after the choice of the method was sent to the client.
    ///
    /// It takes exactly its own octets from the session, sends its own refusal before it returns an error, and
    /// holds nothing that must be undone: the gateway drops the future when the handshake's time is over.
    ///
    /// # Errors
    /// [`AuthError`] says whose fault it is; the session ends.
    async fn authenticate(&self, session: &mut AuthSession<'_>) -> Result<Authenticated, AuthError>;
}

/// An account, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub name: String,
    /// What holds for it beside that, by keys of the method's own.
    pub terms: Vec<(&'static str, String)>,
}

/// What a method counts for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Logins that it has refused since it was built, by causes of its own: few, in kebab-case, never a name that a
    /// client gave.
    pub failures: Vec<(String, u64)>,
    /// When the file with its keys was last changed.
    pub key_modified: Option<SystemTime>,
}

/// What a successful authentication gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Authenticated {
    /// Who the client is. The gateway itself fills in `method` and `level`.
    pub identity: Identity,
    /// What protects everything that follows; `None`: nothing.
    pub protection: Option<Protection>,
}

impl Authenticated {
    /// A client without protection.
    pub fn new(identity: Identity) -> Self {
        Self { identity, protection: None }
    }

    /// The same client, protected from the next octet on.
    #[must_use]
    pub fn protected(mut self, protection: Protection) -> Self {
        self.protection = Some(protection);
        self
    }

    /// The level that the protection stands for; [`Level::None`] without one.
    pub fn level(&self) -> Level {
        self.protection.as_ref().map_or(Level::None, |protection| protection.level)
    }
}

/// Why an authentication did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The client's proof is wrong, or its account may not log in; the method has told the client.
    #[error("refused: {reason}")]
    Refused {
        /// The name that the client claimed, if it came that far.
        claimed: Option<Box<str>>,
        /// Why, for the record; the client is not told. Never a secret.
        reason: Box<str>,
    },
    /// The policy allows this client no protection level that it asks for; the method has told the client.
    #[error("protection level refused by the policy")]
    LevelRefused {
        /// The name that was proven.
        claimed: Option<Box<str>>,
    },
    /// Too many logins under this name have failed from where the client is; its proof was not looked at, and the
    /// method has told the client the same as for a wrong one.
    #[error("locked out: too many failed logins under this name from this source")]
    LockedOut {
        /// The name that the client claimed.
        claimed: Box<str>,
    },
    /// The client's octets are no message of the method.
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// The client ended the stream.
    #[error("client hung up")]
    HungUp,
    /// The client's socket failed.
    #[error(transparent)]
    Io(io::Error),
    /// The method cannot decide now (a file is gone, a queue is full); the method has told the client.
    #[error("authenticator failed: {0}")]
    Unavailable(Box<str>),
}

impl AuthError {
    /// A refusal of a client that claimed no name.
    pub fn refused(reason: impl Into<Box<str>>) -> Self {
        Self::Refused { claimed: None, reason: reason.into() }
    }

    /// A refusal of a client that claimed `name`.
    pub fn refused_for(name: impl Into<Box<str>>, reason: impl Into<Box<str>>) -> Self {
        Self::Refused { claimed: Some(name.into()), reason: reason.into() }
    }
}

impl From<io::Error> for AuthError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::HungUp,
            _ => Self::Io(error),
        }
    }
}
