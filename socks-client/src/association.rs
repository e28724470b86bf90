//! Datagrams through the gateway (RFC 1928 section 7, RFC 1961 section 5).

mod sealed;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use socks_core::wire::{Method, Target, UdpHeader};
use socks_core::{ClientStream, Level, SealError};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use self::sealed::Shield;
use crate::{ConnectError, Fault, Step, dial};

/// The room that one datagram of any size finds, in octets.
const DATAGRAM: usize = 64 * 1024;
/// Octets of the control connection that are read at a time; nobody looks at them.
const CONTROL: usize = 512;

/// A relay of datagrams at the gateway; it ends when this is dropped, or when the gateway ends it.
///
/// All methods work through a shared reference. Datagrams get lost on the way as they do without a gateway.
#[derive(Debug)]
pub struct Association {
    control: TcpStream,
    socket: UdpSocket,
    relay: SocketAddr,
    method: Method,
    shield: Shield,
    /// The buffer of the last datagram sent, for the next one.
    spare: Mutex<BytesMut>,
    refused: AtomicU64,
}

impl Association {
    /// Opens the socket for datagrams to the relay that the reply named.
    pub(crate) async fn open(
        stream: ClientStream,
        relay: &Target,
        method: Method,
        within: Duration,
    ) -> Result<Self, ConnectError> {
        let late = |_| Fault::TimedOut(within).at(Step::Relay);
        let found = timeout(within, dial::resolve(relay)).await.map_err(late)?;
        let found = found.map_err(|fault| fault.at(Step::Relay))?;
        let relay = found.into_iter().find(|relay| relay.port() != 0);
        let relay = relay.ok_or_else(|| {
            Fault::Malformed("its reply names no port for datagrams".into()).at(Step::Relay)
        })?;
        let (control, shield) = match stream {
            ClientStream::Plain(io) => (io.socket, Shield::none()),
            ClientStream::Protected(stream) => (stream.io.socket, Shield::of(stream.protection)),
        };
        let unreachable = |error| Fault::Unreachable { address: relay, error }.at(Step::Relay);
        let socket = socket_towards(relay, &control).await.map_err(unreachable)?;
        let (spare, refused) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self { control, socket, relay, method, shield, spare, refused })
    }

    /// Sends one datagram to `target`, whose name, if it is one, the gateway looks up.
    ///
    /// # Errors
    /// [`DatagramError`]; after [`DatagramError::TooLong`] and [`DatagramError::Io`] the association goes on.
    pub async fn send_to(&self, target: &Target, octets: &[u8]) -> Result<(), DatagramError> {
        self.check_control()?;
        let mut buffer = std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner));
        let header = UdpHeader { fragment: 0x00, target: target.clone() };
        let range = self.shield.wrap(&mut buffer, &header, octets)?;
        let sent = self.transmit(buffer.get(range).unwrap_or_default()).await;
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = buffer;
        sent
    }

    /// As [`Association::send_to`], without a wait.
    ///
    /// # Errors
    /// [`DatagramError`]; [`io::ErrorKind::WouldBlock`] where the socket takes no more now.
    pub fn try_send_to(&self, target: &Target, octets: &[u8]) -> Result<(), DatagramError> {
        self.check_control()?;
        let mut buffer = std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner));
        let header = UdpHeader { fragment: 0x00, target: target.clone() };
        let range = self.shield.wrap(&mut buffer, &header, octets)?;
        let sent = self.try_transmit(buffer.get(range).unwrap_or_default());
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = buffer;
        sent
    }

    /// Waits for the next datagram, puts its user data into `buffer`, and tells where it came from.
    ///
    /// What was in the buffer is lost; its memory is used again. Datagrams that are none, or not protected as
    /// agreed, are passed over and [counted](Self::refused). Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`DatagramError::Ended`] when the association is over, [`DatagramError::Io`] when the socket fails.
    pub async fn recv_from(&self, buffer: &mut BytesMut) -> Result<Target, DatagramError> {
        poll_fn(|cx| self.poll_recv_from(cx, buffer)).await
    }

    /// As [`Association::recv_from`]; the last task to ask is the one that is woken.
    ///
    /// # Errors
    /// As [`Association::recv_from`].
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Result<Target, DatagramError>> {
        if let Poll::Ready(ended) = self.poll_end(cx) {
            return Poll::Ready(Err(ended));
        }
        loop {
            ready!(self.socket.poll_recv_ready(cx)).map_err(DatagramError::Io)?;
            buffer.clear();
            buffer.reserve(DATAGRAM);
            match self.socket.try_recv_buf(buffer) {
                Ok(_) => match self.shield.unwrap(buffer) {
                    Some(origin) => return Poll::Ready(Ok(origin)),
                    None => _ = self.refused.fetch_add(1, Ordering::Relaxed),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_about_another(&error) => {}
                Err(error) => return Poll::Ready(Err(DatagramError::Io(error))),
            }
        }
    }

    /// Where the gateway takes datagrams.
    pub fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// The method that the gateway chose.
    pub fn method(&self) -> Method {
        self.method
    }

    /// How datagrams between us and the gateway are protected.
    pub fn level(&self) -> Level {
        self.shield.level()
    }

    /// How many datagrams came from the gateway's address and were none, or forged, repeated or too old.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    async fn transmit(&self, datagram: &[u8]) -> Result<(), DatagramError> {
        if datagram.len() > most_octets(self.relay) {
            return Err(DatagramError::TooLong);
        }
        let mut sent = self.socket.send(datagram).await;
        if sent.as_ref().is_err_and(is_about_another) {
            sent = self.socket.send(datagram).await;
        }
        match sent {
            Err(error) if !is_about_another(&error) => Err(DatagramError::Io(error)),
            _ => Ok(()),
        }
    }

    fn try_transmit(&self, datagram: &[u8]) -> Result<(), DatagramError> {
        if datagram.len() > most_octets(self.relay) {
            return Err(DatagramError::TooLong);
        }
        // Not by the reactor, which would have to hear first that there is room.
        let socket = SockRef::from(&self.socket);
        let mut sent = socket.send(datagram);
        if sent.as_ref().is_err_and(is_about_another) {
            sent = socket.send(datagram);
        }
        match sent {
            Err(error) if !is_about_another(&error) => Err(DatagramError::Io(error)),
            _ => Ok(()),
        }
    }

    // RFC 1928 section 7: the association ends with the TCP connection that it came by.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<DatagramError> {
        loop {
            if let Err(error) = ready!(self.control.poll_read_ready(cx)) {
                return Poll::Ready(DatagramError::Ended(error.into()));
            }
            if let Err(ended) = self.check_control() {
                return Poll::Ready(ended);
            }
        }
    }

    /// Reads what there is on the control connection, which costs nothing while there is nothing.
    fn check_control(&self) -> Result<(), DatagramError> {
        match self.control.try_read(&mut [0; CONTROL]) {
            Ok(0) => Err(DatagramError::Ended(Fault::HungUp)),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(DatagramError::Ended(error.into()))
            }
            // Nothing is said here that would change anything.
            _ => Ok(()),
        }
    }
}

/// A socket that takes datagrams from the relay alone, and sends from the address that the gateway knows us by.
async fn socket_towards(relay: SocketAddr, control: &TcpStream) -> io::Result<UdpSocket> {
    let own = control.local_addr()?.ip();
    let own = match (own, relay.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => own,
        (_, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (_, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(relay).await?;
    Ok(socket)
}

/// Errors that tell of an earlier datagram's fate. That one is lost, as datagrams may be.
fn is_about_another(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// The most octets of a datagram over IP: what its 16-bit length leaves beside the heads.
fn most_octets(relay: SocketAddr) -> usize {
    match relay {
        SocketAddr::V4(_) => 65_507,
        SocketAddr::V6(_) => 65_527,
    }
}

/// Why a datagram was not carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// The association is over: its TCP connection has ended.
    #[error("association has ended: {0}")]
    Ended(Fault),
    /// It does not fit into one datagram, or one protected frame, together with its header.
    #[error("datagram is too long to be carried")]
    TooLong,
    /// It cannot be protected; the association is of no more use.
    #[error("{0}")]
    Seal(SealError),
    /// The socket failed.
    #[error("datagram socket: {0}")]
    Io(io::Error),
}

#[cfg(test)]
mod tests;
