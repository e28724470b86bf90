//! A gateway and how to log in there, and the connections made with that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socks_core::wire::{Command, Method, Request, Target};
use socks_core::{ClientIo, ClientStream};
use tracing::debug;

use crate::request::{self, LoggedIn};
use crate::{Association, ClientAuth, ConnectError, Connection, Fault, Listening, Step, dial};

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
        let LoggedIn { mut stream, method } = self.log_in().await?;
        let request = Request { command: Command::Connect, target };
        let bound = request::ask(&mut stream, request, self.settings.timeouts.request).await?;
        let connection = Connection::new(stream, bound, method);
        let gateway = self.gateway();
        debug!(%gateway, %method, level = %connection.level(), bound = %connection.bound(), "connected");
        Ok(connection)
    }

    /// Lets the gateway listen for one connection from `peer` (RFC 1928 section 4, BIND).
    ///
    /// The peer is the host that will connect, as far as it is known; all zero is anybody, where the gateway's
    /// ruleset goes along with that. Its port is mostly meaningless.
    ///
    /// # Errors
    /// [`ConnectError`] names the step that failed and why.
    pub async fn bind(&self, peer: Target) -> Result<Listening, ConnectError> {
        let LoggedIn { mut stream, method } = self.log_in().await?;
        let gateway = peer_ip(&stream)?;
        let timeouts = self.settings.timeouts;
        let request = Request { command: Command::Bind, target: peer };
        let bound = request::ask(&mut stream, request, timeouts.request).await?;
        let address = request::reachable(bound, gateway);
        debug!(gateway = %self.gateway(), %method, %address, "gateway listens");
        Ok(Listening::new(stream, address, method, timeouts.arrival))
    }

    /// Lets the gateway relay datagrams (RFC 1928 section 7), protected as was agreed for its control connection.
    ///
    /// The gateway is told nothing of where the datagrams come from, because that changes on the way where
    /// addresses are translated.
    ///
    /// # Errors
    /// [`ConnectError`] names the step that failed and why.
    pub async fn associate(&self) -> Result<Association, ConnectError> {
        let LoggedIn { mut stream, method } = self.log_in().await?;
        let gateway = peer_ip(&stream)?;
        let nobody = match gateway {
            IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let timeouts = self.settings.timeouts;
        // RFC 1928 section 4: all zero where the client does not know what the gateway will see.
        let request = Request { command: Command::UdpAssociate, target: nobody.into() };
        let bound = request::ask(&mut stream, request, timeouts.request).await?;
        let relay = request::reachable(bound, gateway);
        let association = Association::open(stream, &relay, method, timeouts.connect).await?;
        debug!(gateway = %self.gateway(), %method, relay = %association.relay(), "associated");
        Ok(association)
    }

    /// Opens a stream on which the gateway has accepted who we are.
    async fn log_in(&self) -> Result<LoggedIn, ConnectError> {
        let Settings { gateway, methods, timeouts } = &*self.settings;
        let socket = dial::dial(gateway, timeouts.connect).await?;
        request::log_in(ClientIo::new(socket), methods, gateway, timeouts.handshake).await
    }
}

/// The gateway's address on this connection.
fn peer_ip(stream: &ClientStream) -> Result<IpAddr, ConnectError> {
    let address = stream.socket().peer_addr().map_err(|error| Fault::Io(error).at(Step::Request))?;
    Ok(address.ip().to_canonical())
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
    /// The peer of a BIND, from the gateway's first reply to its second. The gateway has a deadline of its own
    /// here, too.
    pub arrival: Duration,
}

impl Default for Timeouts {
    /// 10, 30 and 75 seconds, and 10 minutes.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(30),
            request: Duration::from_secs(75),
            arrival: Duration::from_secs(600),
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
