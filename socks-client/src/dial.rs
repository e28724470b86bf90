//! Opening the TCP connection to the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use socks_core::wire::{Host, Target};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{ConnectError, Fault, Step};

/// Silence after which a gateway is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// The most addresses of a gateway that are tried.
const MOST_ADDRESSES: usize = 16;

/// Looks the gateway up and opens a connection to the first of its addresses that answers.
///
/// All of it takes at most `within`; an address that does not answer gets only its share.
pub(crate) async fn dial(gateway: &Target, within: Duration) -> Result<TcpStream, ConnectError> {
    let started = Instant::now();
    let late = |step| Fault::TimedOut(within).at(step);
    let resolving = timeout(within, resolve(gateway)).await;
    let addresses = resolving.map_err(|_| late(Step::ResolvingGateway))?;
    let addresses = addresses.map_err(|fault| fault.at(Step::ResolvingGateway))?;
    let mut last = late(Step::ConnectingToGateway);
    for (position, address) in addresses.iter().enumerate() {
        let left = within.saturating_sub(started.elapsed());
        let others = u32::try_from(addresses.len() - position).unwrap_or(1);
        let until = Instant::now() + left / others;
        last = match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                prepare(&socket);
                return Ok(socket);
            }
            Ok(Err(error)) => Fault::Unreachable { address: *address, error }.at(Step::ConnectingToGateway),
            Err(_) => late(Step::ConnectingToGateway),
        };
    }
    Err(last)
}

/// The addresses of a host; an address is its own, without a lookup.
pub(crate) async fn resolve(gateway: &Target) -> Result<Vec<SocketAddr>, Fault> {
    let name = match &gateway.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, gateway.port)]),
        Host::Name(name) => name.as_str(),
    };
    let unresolved = |error| Fault::Unresolved { name: name.into(), error };
    let found = lookup_host((name, gateway.port)).await.map_err(unresolved)?;
    let addresses: Vec<_> = found.take(MOST_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(unresolved(std::io::Error::other("the name has no address")));
    }
    Ok(addresses)
}

/// Both options are for comfort; a connection works without them.
fn prepare(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}
