//! What an authentication method sees of a session.

use std::fmt;
use std::net::SocketAddr;

use bytes::{Buf, BufMut, BytesMut};
use socks_core::wire::{Decode, Encode};
use socks_core::{Identity, IdentityName, Levels};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::logins::Unguarded;
use crate::{Attempt, AuthError, Lockout, LoginGuard};

/// A stream of octets in both directions: a socket, or a pipe in memory.
pub trait BytePipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> BytePipe for T {}

/// What is known of a client before it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// Its address, IPv4 in IPv4's own form.
    pub address: SocketAddr,
    /// The gateway's address that it came to.
    pub local: SocketAddr,
}

impl ClientInfo {
    /// A client at `address` that came to `local`.
    pub fn new(address: SocketAddr, local: SocketAddr) -> Self {
        Self { address, local }
    }
}

/// The policy's answer to a method that negotiates protection.
pub trait LevelPolicy: Send + Sync {
    /// The levels that the `clients` row for this source, listener, method and identity allows.
    fn levels(&self, identity: &Identity) -> Levels;
}

impl<F: Fn(&Identity) -> Levels + Send + Sync> LevelPolicy for F {
    fn levels(&self, identity: &Identity) -> Levels {
        self(identity)
    }
}

/// A client that is being authenticated: a byte pipe, what is known of it, and what the policy allows it.
///
/// Octets that the client sent behind the method's last message stay in the buffer for the request.
pub struct AuthSession<'a> {
    pipe: &'a mut dyn BytePipe,
    received: &'a mut BytesMut,
    client: ClientInfo,
    policy: &'a dyn LevelPolicy,
    guard: &'a dyn LoginGuard,
}

impl<'a> AuthSession<'a> {
    /// A session over `pipe`; `received` holds octets that were read ahead, and takes those left over.
    pub fn new(
        pipe: &'a mut dyn BytePipe,
        received: &'a mut BytesMut,
        client: ClientInfo,
        policy: &'a dyn LevelPolicy,
    ) -> Self {
        Self { pipe, received, client, policy, guard: &Unguarded }
    }

    /// The same session; failed logins are counted by `guard`.
    #[must_use]
    pub fn guarded_by(mut self, guard: &'a dyn LoginGuard) -> Self {
        self.guard = guard;
        self
    }

    /// Receives one message.
    ///
    /// # Errors
    /// [`AuthError::HungUp`], [`AuthError::Io`], or [`AuthError::Malformed`].
    pub async fn receive<M: Decode>(&mut self) -> Result<M, AuthError> {
        loop {
            if let Some(message) = M::decode(self.received)? {
                return Ok(message);
            }
            let missing = M::MAX_LEN.saturating_sub(self.received.len()).max(1);
            self.fill(missing).await?;
        }
    }

    /// Reads exactly as many octets as `octets` has room for.
    ///
    /// # Errors
    /// [`AuthError::HungUp`] or [`AuthError::Io`].
    pub async fn read_exact(&mut self, octets: &mut [u8]) -> Result<(), AuthError> {
        while self.received.len() < octets.len() {
            self.fill(octets.len() - self.received.len()).await?;
        }
        self.received.copy_to_slice(octets);
        Ok(())
    }

    /// Waits until at least `least` octets were received, and takes with them what else is there, up to `most` in all.
    ///
    /// What is ahead of its reader costs no call of the system of its own. It is for messages that are no secret: what
    /// is left over may be copied within memory.
    ///
    /// # Errors
    /// [`AuthError::HungUp`] or [`AuthError::Io`].
    pub async fn read_ahead(&mut self, least: usize, most: usize) -> Result<(), AuthError> {
        while self.received.len() < least {
            self.fill(most.max(least) - self.received.len()).await?;
        }
        Ok(())
    }

    /// Sends one message with one write.
    ///
    /// # Errors
    /// [`AuthError::Io`].
    pub async fn send<M: Encode>(&mut self, message: &M) -> Result<(), AuthError> {
        let mut octets = BytesMut::new();
        message.encode(&mut octets);
        self.write_all(&octets).await
    }

    /// Sends octets.
    ///
    /// # Errors
    /// [`AuthError::Io`].
    pub async fn write_all(&mut self, octets: &[u8]) -> Result<(), AuthError> {
        self.pipe.write_all(octets).await?;
        Ok(self.pipe.flush().await?)
    }

    /// What is known of the client.
    pub fn client(&self) -> &ClientInfo {
        &self.client
    }

    /// The protection levels that the policy allows this client under the name that was proven.
    ///
    /// A method that negotiates protection asks once it has proven the name; a method without any asks
    /// whether it may let the client in at all ([`AuthSession::require_unprotected`]).
    pub fn levels(&self, identity: &Identity) -> Levels {
        self.policy.levels(identity)
    }

    /// Begins to judge a login under the `name` that the client sent, and that records show as `claimed`.
    ///
    /// For methods whose proofs can be guessed. It makes failures slow by name, and locks out a source that fails too
    /// often under one name; the method tells the [`Attempt`] how it came out before it answers. A method that does not ask
    /// is never slowed down, and nobody is locked out of it.
    ///
    /// # Errors
    /// [`Lockout`]: the proof must not be looked at.
    pub fn attempt(&self, name: &[u8], claimed: impl Into<Box<str>>) -> Result<Attempt<'a>, Lockout> {
        Attempt::begin(self.guard, name, claimed)
    }

    /// Checks that the policy lets this client go on without protection.
    ///
    /// # Errors
    /// [`AuthError::LevelRefused`] when it does not.
    pub fn require_unprotected(&self, identity: &Identity) -> Result<(), AuthError> {
        if self.levels(identity).allow_unprotected() {
            return Ok(());
        }
        let claimed = match &identity.name {
            IdentityName::Anonymous => None,
            IdentityName::User(name) => Some(name.clone()),
            IdentityName::Principal(principal) => Some(principal.to_string().into()),
        };
        Err(AuthError::LevelRefused { claimed })
    }

    async fn fill(&mut self, most: usize) -> Result<(), AuthError> {
        // Room for the whole message at once: a buffer that grows leaves copies of a secret behind.
        self.received.reserve(most);
        let mut limited = (&mut *self.received).limit(most);
        match self.pipe.read_buf(&mut limited).await? {
            0 => Err(AuthError::HungUp),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for AuthSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSession").field("client", &self.client).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeSession;

    /// Reads ahead while octets come one by one, or all at once, and tells what was received and what was left.
    async fn read_ahead(sent: &[u8], arrival: Arrival, least: usize, most: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut fake, mut client) = FakeSession::new(Levels::Unrestricted);
        if arrival == Arrival::Single {
            fake = fake.octet_by_octet();
        }
        client.write_all(sent).await.unwrap();
        drop(client);
        fake.session().read_ahead(least, most).await.unwrap();
        let received = fake.received.to_vec();
        let mut rest = vec![0; sent.len() - received.len()];
        fake.received.clear();
        fake.session().read_exact(&mut rest).await.unwrap();
        (received, rest)
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Arrival {
        Whole,
        Single,
    }

    #[tokio::test]
    async fn reading_ahead_takes_what_is_there_up_to_its_most_and_waits_for_its_least_only() {
        let table = [
            (Arrival::Whole, 2, 4, "abcd"),
            (Arrival::Whole, 2, 9, "abcdef"),
            (Arrival::Whole, 4, 2, "abcd"),
            (Arrival::Whole, 0, 9, ""),
            (Arrival::Single, 2, 4, "ab"),
            (Arrival::Single, 4, 2, "abcd"),
        ];
        for (arrival, least, most, expected) in table {
            let (received, rest) = read_ahead(b"abcdef", arrival, least, most).await;
            assert_eq!(received, expected.as_bytes(), "{least} to {most}");
            assert_eq!([received, rest].concat(), b"abcdef", "nothing is lost");
        }
    }

    #[tokio::test]
    async fn what_was_received_before_counts_for_reading_ahead() {
        let (mut fake, mut client) = FakeSession::new(Levels::Unrestricted);
        fake.received.extend_from_slice(b"ab");
        // Nothing was sent: it must not wait.
        fake.session().read_ahead(2, 9).await.unwrap();
        client.write_all(b"cdef").await.unwrap();
        fake.session().read_ahead(3, 5).await.unwrap();
        assert_eq!(&fake.received[..], b"abcde");
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_before_the_least_is_told_apart() {
        let (mut fake, mut client) = FakeSession::new(Levels::Unrestricted);
        client.write_all(b"ab").await.unwrap();
        drop(client);
        assert!(matches!(fake.session().read_ahead(3, 9).await, Err(AuthError::HungUp)));
    }
}
