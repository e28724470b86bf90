//! What an authentication method sees of a connection to the gateway.

use std::fmt;

use bytes::{Buf, BufMut, BytesMut};
use socks_core::wire::{Decode, Encode, Target};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Fault, Step};

/// A stream of octets in both directions: a socket, or a pipe in memory.
pub trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

/// A method's talk with the gateway: a byte pipe, and what is known of the other side.
///
/// Octets that the gateway sent behind the method's last message stay in the buffer.
pub struct Exchange<'a> {
    pipe: &'a mut dyn Pipe,
    received: &'a mut BytesMut,
    gateway: &'a Target,
    step: Step,
}

impl<'a> Exchange<'a> {
    /// A talk over `pipe` with what stands at `gateway`; `received` holds octets that were read ahead.
    pub fn new(pipe: &'a mut dyn Pipe, received: &'a mut BytesMut, gateway: &'a Target) -> Self {
        Self { pipe, received, gateway, step: Step::Authentication }
    }

    /// Says which step begins now; errors from here on name it.
    pub fn enter(&mut self, step: Step) {
        self.step = step;
    }

    /// The step it is at.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The gateway as the user named it.
    pub fn gateway(&self) -> &Target {
        self.gateway
    }

    /// Receives one message.
    ///
    /// # Errors
    /// [`Fault::HungUp`], [`Fault::Io`] or [`Fault::Malformed`].
    pub async fn receive<M: Decode>(&mut self) -> Result<M, Fault> {
        loop {
            if let Some(message) = M::decode(self.received)? {
                return Ok(message);
            }
            self.fill(M::MAX_LEN.saturating_sub(self.received.len()).max(1)).await?;
        }
    }

    /// Reads exactly `count` octets. The caller has bounded `count`.
    ///
    /// # Errors
    /// [`Fault::HungUp`] or [`Fault::Io`].
    pub async fn take(&mut self, count: usize) -> Result<BytesMut, Fault> {
        while self.received.len() < count {
            self.fill(count - self.received.len()).await?;
        }
        Ok(self.received.split_to(count))
    }

    /// Reads exactly `N` octets.
    ///
    /// # Errors
    /// [`Fault::HungUp`] or [`Fault::Io`].
    pub async fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut octets = [0; N];
        self.take(N).await?.copy_to_slice(&mut octets);
        Ok(octets)
    }

    /// Sends one message with one write.
    ///
    /// # Errors
    /// [`Fault::Io`].
    pub async fn send<M: Encode>(&mut self, message: &M) -> Result<(), Fault> {
        let mut octets = BytesMut::new();
        message.encode(&mut octets);
        self.write_all(&octets).await
    }

    /// Sends octets.
    ///
    /// # Errors
    /// [`Fault::Io`].
    pub async fn write_all(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.pipe.write_all(octets).await?;
        Ok(self.pipe.flush().await?)
    }

    async fn fill(&mut self, most: usize) -> Result<(), Fault> {
        self.received.reserve(most);
        let mut limited = (&mut *self.received).limit(most);
        match self.pipe.read_buf(&mut limited).await? {
            0 => Err(Fault::HungUp),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("gateway", &self.gateway)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}
