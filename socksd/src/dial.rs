//! Opening the connection to a target: exactly the addresses that were judged, raced as RFC 8305 says.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use socks_policy::{Family, Nat64, Permit};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout};

use crate::egress;
use crate::route::Route;

/// How long one address may try alone before the next one starts (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The most addresses of one target that are tried at a time.
const MOST_ATTEMPTS: usize = 4;
/// How long one address is waited for while others have not been tried.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection may be silent before the kernel asks whether the other end is still there.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(120);

/// A connection with the permit that opened it.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) socket: TcpStream,
    pub(crate) permit: Permit,
    /// The address that was judged, or the one that the network's translator has for it.
    pub(crate) address: SocketAddr,
}

/// Why no address could be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{address}: {error}")]
    Failed { address: SocketAddr, error: io::Error },
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
}

/// What a target is dialled by, beside its permits.
#[derive(Clone, Copy)]
pub(crate) struct Road<'a> {
    pub(crate) racing: &'a Semaphore,
    pub(crate) nat64: Option<&'a Nat64>,
    /// Tells whether an address that had to wait for others is still permitted: a socket of the gateway's own may
    /// have come to be there.
    pub(crate) is_still_good: &'a (dyn Fn(&Permit) -> bool + Sync),
}

/// Dials the judged addresses and gives the first that answers; the others are dropped.
///
/// Each address carries its own permit, so the rule that is recorded is the winner's. At most four are tried at
/// a time, and each beside the first needs a place in `racing`: a name with many silent addresses must not
/// take the descriptors of others.
pub(crate) async fn dial(permits: Vec<Permit>, most: Duration, road: Road<'_>) -> Result<Dialled, DialError> {
    match <[Permit; 1]>::try_from(permits) {
        Ok([permit]) => alone(permit, most, road.nat64).await,
        // In a box, because most targets have one address.
        Err(permits) => Box::pin(race(permits, most, road)).await,
    }
}

/// Dials the only address.
async fn alone(permit: Permit, most: Duration, nat64: Option<&Nat64>) -> Result<Dialled, DialError> {
    match timeout(most, attempt(permit, nat64, false, None)).await {
        Ok(dialled) => dialled.map_err(|(address, error)| DialError::Failed { address, error }),
        Err(_) => Err(DialError::Timeout(most)),
    }
}

async fn race(permits: Vec<Permit>, most: Duration, road: Road<'_>) -> Result<Dialled, DialError> {
    let Road { racing, nat64, is_still_good } = road;
    let end = Instant::now() + most;
    let mut waiting = ordered(permits).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failures = Vec::new();
    attempts.extend(waiting.next().map(|permit| attempt(permit, nat64, waiting.len() > 0, None)));
    let mut next = Instant::now() + ATTEMPT_DELAY;
    loop {
        tokio::select! {
            ended = attempts.next() => match ended {
                Some(Ok(dialled)) => return Ok(dialled),
                // RFC 8305 section 5: an attempt that fails starts the next one at once.
                Some(Err(failure)) => {
                    failures.push(failure);
                    let place = racing.try_acquire().ok();
                    if attempts.is_empty() || place.is_some() {
                        let others = waiting.len() > 1;
                        let permit = waiting.find(is_still_good);
                        attempts.extend(permit.map(|permit| attempt(permit, nat64, others, place)));
                    }
                    next = Instant::now() + ATTEMPT_DELAY;
                }
                None => return Err(most_meaningful(failures, most)),
            },
            () = sleep_until(next), if waiting.len() > 0 => {
                if attempts.len() < MOST_ATTEMPTS && let Ok(place) = racing.try_acquire() {
                    let others = waiting.len() > 1;
                    let permit = waiting.find(is_still_good);
                    attempts.extend(permit.map(|permit| attempt(permit, nat64, others, Some(place))));
                }
                next = Instant::now() + ATTEMPT_DELAY;
            }
            () = sleep_until(end) => return Err(DialError::Timeout(most)),
        }
    }
}

/// RFC 8305 section 4: families take turns, IPv6 first. IPv4 waits for all of IPv6 where its rule says so.
fn ordered(permits: Vec<Permit>) -> Vec<Permit> {
    let is_v6 = |permit: &Permit| permit.address().is_some_and(|address| address.is_ipv6());
    let (v6, v4): (Vec<_>, Vec<_>) = permits.into_iter().partition(is_v6);
    let (last, v4): (Vec<_>, Vec<_>) =
        v4.into_iter().partition(|permit| permit.terms().family == Family::PreferV6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut order = Vec::with_capacity(v6.len() + v4.len() + last.len());
    while v6.len() + v4.len() > 0 {
        order.extend(v6.next());
        order.extend(v4.next());
    }
    order.extend(last);
    order
}

type Failure = (SocketAddr, io::Error);

/// Tries one address; `others`: more are waiting, so this one is not waited for very long.
async fn attempt(
    permit: Permit,
    nat64: Option<&Nat64>,
    others: bool,
    _place: Option<SemaphorePermit<'_>>,
) -> Result<Dialled, Failure> {
    let connected = if others {
        timeout(ATTEMPT_TIMEOUT, connect_by_route(&permit, nat64))
            .await
            .unwrap_or_else(|_| Err((judged(&permit), Errno::TIMEDOUT.into())))
    } else {
        connect_by_route(&permit, nat64).await
    };
    connected.map(|(socket, address)| Dialled { socket, permit, address })
}

/// Goes to the judged address itself, or by the translator where there is no way to it.
async fn connect_by_route(
    permit: &Permit,
    nat64: Option<&Nat64>,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut failure = (judged(permit), Errno::NETUNREACH.into());
    for address in Route::of(permit, nat64).into_iter().flat_map(Route::ways) {
        match connect(address, permit).await {
            Ok(socket) => return Ok((socket, address)),
            Err(error) => {
                let has_no_way = has_no_way(&error);
                failure = (address, error);
                if !has_no_way {
                    break;
                }
            }
        }
    }
    Err(failure)
}

/// The address in a permit for CONNECT, which always has one.
fn judged(permit: &Permit) -> SocketAddr {
    permit.address().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

/// Tells whether this host does not reach the address's family or network at all.
fn has_no_way(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NETUNREACH | Errno::AFNOSUPPORT))
}

async fn connect(address: SocketAddr, permit: &Permit) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    egress::apply(&socket, &permit.terms().egress)?;
    if let Some(egress) = egress_for(address, permit)? {
        // Without this the ports of one egress address run out, whatever the targets.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::new(egress, 0))?;
    }
    socket.connect(address).await
}

/// The rule's egress address for that family. A rule that names egress addresses, but none of this family,
/// does not let the family out.
pub(crate) fn egress_for(address: SocketAddr, permit: &Permit) -> io::Result<Option<IpAddr>> {
    let egress = &permit.terms().egress;
    let (own, other) = match address {
        SocketAddr::V4(_) => (egress.v4.map(IpAddr::from), egress.v6.is_some()),
        SocketAddr::V6(_) => (egress.v6.map(IpAddr::from), egress.v4.is_some()),
    };
    match (own, other) {
        (None, true) => Err(Errno::NETUNREACH.into()),
        (own, _) => Ok(own),
    }
}

/// The last failure that says something of the target; "no route for this family" only if there is no other.
fn most_meaningful(failures: Vec<Failure>, most: Duration) -> DialError {
    let says_little = |error: &io::Error| {
        has_no_way(error) || error.raw_os_error() == Some(Errno::ADDRNOTAVAIL.raw_os_error())
    };
    let mut chosen: Option<Failure> = None;
    for failure in failures {
        if chosen.as_ref().is_none_or(|(_, error)| says_little(error) || !says_little(&failure.1)) {
            chosen = Some(failure);
        }
    }
    chosen.map_or(DialError::Timeout(most), |(address, error)| DialError::Failed { address, error })
}

#[cfg(test)]
mod tests {
    use socks_config::Document;
    use socks_core::Identity;
    use socks_policy::{Context, Decision, Operation, Query, Ruleset};
    use tokio::net::TcpListener;

    use super::*;

    fn permit(address: SocketAddr) -> Permit {
        let text = "version: 1\nclients: [{ methods: [none] }]\n\
                    rules: [{ name: r, action: permit, special-use: permit }]\n";
        let ruleset =
            Ruleset::load(&Document::parse("policy.yaml", text.into()).unwrap(), &Context::default());
        let (target, nobody) = (address.into(), Identity::anonymous());
        let decision = ruleset.unwrap().ruleset.decide(&Query {
            listener: "main",
            client: "10.0.0.1:5000".parse().unwrap(),
            identity: Some(&nobody),
            operation: Some(Operation::Connect(&target)),
            address: None,
            gateway: &[],
            now: jiff::Timestamp::UNIX_EPOCH,
        });
        match decision {
            Decision::Permit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_address_that_had_to_wait_is_dialled_only_if_it_is_still_permitted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        // The same port of another address of this machine's, where nobody listens.
        let closed = SocketAddr::new([127, 0, 0, 2].into(), open.port());
        let racing = Semaphore::new(1);
        for is_good in [true, false] {
            let is_still_good = |permit: &Permit| is_good || permit.address() != Some(open);
            let road = Road { racing: &racing, nat64: None, is_still_good: &is_still_good };
            let dialled = dial(vec![permit(closed), permit(open)], Duration::from_secs(5), road).await;
            match dialled {
                Ok(dialled) => assert!(is_good && dialled.address == open),
                Err(DialError::Failed { address, .. }) => assert!(!is_good && address == closed),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
