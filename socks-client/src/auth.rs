//! The trait of an authentication method on the client's side, and the method that asks for nothing.

use std::fmt;

use async_trait::async_trait;
use socks_core::Protection;
use socks_core::wire::{Method, Target};

use crate::{Exchange, Fault};

/// One way to log in at a gateway; shared by all connections of a [`Client`](crate::Client).
#[async_trait]
pub trait ClientAuth: fmt::Debug + Send + Sync {
    /// The method's number in the greeting (RFC 1928 section 3).
    fn method(&self) -> Method;

    /// Tells at once when the method cannot work with a gateway of that name.
    ///
    /// # Errors
    /// Why it cannot.
    fn check(&self, _gateway: &Target) -> Result<(), Box<str>> {
        Ok(())
    }

    /// Runs the method's own negotiation, after the gateway has chosen the method.
    ///
    /// What it gives protects everything that follows; `None`: nothing does. It takes exactly its own octets
    /// from the exchange, and holds nothing that must be undone: the future is dropped when time is over.
    ///
    /// # Errors
    /// [`Fault`] says what happened; [`Exchange::step`] says where.
    async fn authenticate(&self, exchange: &mut Exchange<'_>) -> Result<Option<Protection>, Fault>;
}

/// No authentication (method 0x00).
#[derive(Debug, Clone, Copy)]
pub struct NoAuthentication;

#[async_trait]
impl ClientAuth for NoAuthentication {
    fn method(&self) -> Method {
        Method::NONE
    }

    async fn authenticate(&self, _: &mut Exchange<'_>) -> Result<Option<Protection>, Fault> {
        Ok(None)
    }
}
