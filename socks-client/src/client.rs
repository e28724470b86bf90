//! A gateway and how to log in there, and the connections made with that.

use std::sync::Arc;
use std::time::Duration;

use socks_core::ClientIo;
use socks_core::wire::{Method, Target};
use tracing::debug;

use crate::request::{self, LoggedIn};
use crate::{ClientAuth, ConnectError, Connection, dial};

/// Opens connections through one gateway. Cheap to clone; all clones share one set of settings.
#[derive(Debug, Clone)]
pub struct Client {
    settings: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    gateway: Target,
    methods: Vec<Arc<dyn ClientAuth>>,
    timeouts: Timeouts,
}

impl Client {
    /// Begins a client of the gateway at that host and port.
    ///
    /// A [`Target`] is parsed from `host:port`, or made of a socket address.
    pub fn builder(gateway: Target) -> ClientBuilder {
        ClientBuilder { gateway, methods: Vec::new(), timeouts: Timeouts::default() }
    }

    /// The gateway.
    pub fn gateway(&self) -> &Target {
        &self.settings.gateway
    }

    /// Opens a connection to `target` through the gateway, which looks up the target's name.
    ///
    /// Dropping the future at any time leaves nothing behind but a closed socket.
    ///
    /// # Errors
    /// [`ConnectError`] names the step that failed and why.
    pub async fn connect(&self, target: Target) -> Result<Connection, ConnectError> {
        let Settings { gateway, methods, timeouts } = &*self.settings;
        let socket = dial::dial(gateway, timeouts.connect).await?;
        let logged_in = request::log_in(ClientIo::new(socket), methods, gateway, timeouts.handshake).await?;
        let LoggedIn { mut stream, method } = logged_in;
        let bound = request::connect(&mut stream, target, timeouts.request).await?;
        let connection = Connection::new(stream, bound, method);
        debug!(%gateway, %method, level = %connection.level(), bound = %connection.bound(), "connected");
        Ok(connection)
    }
}

/// How long each part of opening a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Looking up the gateway and opening the TCP connection to it.
    pub connect: Duration,
    /// Method choice, authentication and protection level, with what Kerberos asks its own servers.
    pub handshake: Duration,
    /// The gateway's reply to the request: it has its own deadlines, and says more when they end than we can.
    pub request: Duration,
}

impl Default for Timeouts {
    /// 10, 30 and 75 seconds.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(30),
            request: Duration::from_secs(75),
        }
    }
}

/// A [`Client`] in the making.
#[derive(Debug)]
pub struct ClientBuilder {
    gateway: Target,
    methods: Vec<Arc<dyn ClientAuth>>,
    timeouts: Timeouts,
}

impl ClientBuilder {
    /// Offers a method, after those that are there: the order is that of preference, the choice the gateway's.
    ///
    /// Whoever sits between can choose too: offering a weaker method beside a stronger one gives the weaker.
    #[must_use]
    pub fn method(mut self, method: impl ClientAuth + 'static) -> Self {
        self.methods.push(Arc::new(method));
        self
    }

    /// Sets how long each part may take.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Checks everything and makes the client.
    ///
    /// # Errors
    /// [`BuildError`] when no method is set, one stands twice, or one cannot work with this gateway.
    pub fn build(self) -> Result<Client, BuildError> {
        let Self { gateway, methods, timeouts } = self;
        if methods.is_empty() {
            return Err(BuildError::NoMethod);
        }
        let mut numbers: Vec<_> = methods.iter().map(|method| method.method()).collect();
        numbers.sort_unstable();
        let mut pairs = numbers.iter().zip(numbers.iter().skip(1));
        if let Some((twice, _)) = pairs.find(|(one, next)| one == next) {
            return Err(BuildError::Twice(*twice));
        }
        for method in &methods {
            method.check(&gateway).map_err(|why| BuildError::Method { method: method.method(), why })?;
        }
        Ok(Client { settings: Arc::new(Settings { gateway, methods, timeouts }) })
    }
}

/// Settings that make no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is nothing to offer.
    #[error("no authentication method is set")]
    NoMethod,
    /// A gateway could not tell the two apart.
    #[error("method {0} is set twice")]
    Twice(Method),
    /// A method cannot work with this gateway.
    #[error("{why}")]
    Method {
        /// The method.
        method: Method,
        /// Why it cannot.
        why: Box<str>,
    },
}

#[cfg(test)]
mod tests;
