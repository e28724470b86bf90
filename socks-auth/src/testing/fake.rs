//! A session in memory, and a policy that always says the same.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use socks_core::{Identity, Levels};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::FakeGuard;
use crate::{AuthSession, ClientInfo, LevelPolicy};

/// Octets that a pipe in memory holds before a write must wait.
const PIPE_SIZE: usize = 256 * 1024;

/// A policy that allows everybody the same levels.
#[derive(Debug, Clone)]
pub struct FakePolicy(pub Levels);

impl LevelPolicy for FakePolicy {
    fn levels(&self, _: &Identity) -> Levels {
        self.0.clone()
    }
}

/// The gateway's side of a session whose other side is a pipe in memory.
///
/// ```
/// # use socks_auth::{Authenticator, none::NoAuthentication, testing::FakeSession};
/// # use socks_core::Levels;
/// # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
/// let (mut fake, _client) = FakeSession::new(Levels::Unrestricted);
/// let granted = NoAuthentication.authenticate(&mut fake.session()).await;
/// assert!(granted.is_ok());
/// # });
/// ```
#[derive(Debug)]
pub struct FakeSession {
    pub(super) pipe: Trickle,
    /// Octets that were read from the client and that the method has not taken.
    pub received: BytesMut,
    client: ClientInfo,
    policy: FakePolicy,
    guard: Arc<FakeGuard>,
}

impl FakeSession {
    /// A session of a client that may have those levels, and the client's end of it.
    pub fn new(levels: Levels) -> (Self, DuplexStream) {
        let (server, client) = tokio::io::duplex(PIPE_SIZE);
        let address = |host, port| SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), port));
        let fake = Self {
            pipe: Trickle { pipe: server, most: usize::MAX },
            received: BytesMut::new(),
            client: ClientInfo::new(address(1, 40_000), address(2, 1080)),
            policy: FakePolicy(levels),
            guard: Arc::default(),
        };
        (fake, client)
    }

    /// The same session; the client's octets arrive one by one.
    #[must_use]
    pub fn octet_by_octet(mut self) -> Self {
        self.pipe.most = 1;
        self
    }

    /// The same session; the guard hears of its login.
    #[must_use]
    pub fn guarded_by(mut self, guard: Arc<FakeGuard>) -> Self {
        self.guard = guard;
        self
    }

    /// What an authenticator is given.
    pub fn session(&mut self) -> AuthSession<'_> {
        AuthSession::new(&mut self.pipe, &mut self.received, self.client.clone(), &self.policy)
            .guarded_by(&*self.guard)
    }
}

/// A pipe that gives no more than so many octets at a time.
#[derive(Debug)]
pub(super) struct Trickle {
    pub(super) pipe: DuplexStream,
    pub(super) most: usize,
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = self.most.min(buffer.remaining());
        let mut part = vec![0; most.min(PIPE_SIZE)];
        let mut limited = ReadBuf::new(&mut part);
        let polled = Pin::new(&mut self.pipe).poll_read(context, &mut limited);
        buffer.put_slice(limited.filled());
        polled
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}
