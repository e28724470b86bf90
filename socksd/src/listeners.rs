//! The listening sockets of a configuration: opened before it comes into force, and kept where their address stays.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use socks_core::relay;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::warn;

use crate::config::{Keepalive, Listener};

/// Connections that may wait to be accepted; the system may allow fewer.
pub(crate) const BACKLOG: i32 = 4096;

/// The open listeners, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<Listening>>);

/// The listeners of a configuration that is not yet in force: their sockets are open, and nobody accepts on the new
/// ones.
#[derive(Debug)]
pub(crate) struct Planned(Vec<(Arc<Listening>, Arc<Listener>)>);

/// A listener whose socket is open.
#[derive(Debug)]
pub(crate) struct Listening {
    entrance: Entrance,
    bound: Bound,
    local: SocketAddr,
    socket: AsyncFd<std::net::TcpListener>,
    entry: ArcSwap<Listener>,
}

/// A listening socket that somebody else has opened.
#[derive(Debug)]
pub(crate) struct Given {
    /// For which listener; `None`: for the one with its address.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) socket: std::net::TcpListener,
}

/// Which listening socket: no other one of this process ever has its number, whatever the listener is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entrance(u64);

/// What a socket is bound to, which cannot change while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    address: SocketAddr,
    /// A wildcard of IPv6 that leaves IPv4 to another listener.
    only_v6: bool,
}

/// Why a listener cannot be opened.
#[derive(Debug)]
pub(crate) struct OpenError {
    address: SocketAddr,
    error: io::Error,
    /// The gateway's own listener that is in the way.
    own: Option<(Arc<str>, SocketAddr)>,
}

impl Listeners {
    /// Takes sockets that others have opened: one has the name of the listener that it is for, or that one's address.
    /// Those that are for none are closed; where they listen is told.
    ///
    /// It runs within the reactor that is to accept.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn given(
        wanted: &[Arc<Listener>],
        mut sockets: Vec<Given>,
    ) -> io::Result<(Self, Vec<SocketAddr>)> {
        let mut taken = Vec::new();
        let mut rest: Vec<&Arc<Listener>> = wanted.iter().collect();
        for by_name in [true, false] {
            rest.retain(|listener| {
                let is_for = |given: &Given| {
                    let is_named = given.name.as_ref() == Some(&listener.name);
                    given.fits(listener) && (is_named || !by_name && listener.address.port() != 0)
                };
                let place = sockets.iter().position(is_for);
                taken.extend(place.map(|place| ((*listener).clone(), sockets.remove(place))));
                place.is_none()
            });
        }
        let take = |(listener, given): (Arc<Listener>, Given)| {
            let bound = Bound::of(&listener, wanted);
            relay::prepare(&given.socket);
            ask_as(&SockRef::from(&given.socket), listener.keepalive)?;
            Listening::adopt(&listener, bound, given.socket).map(Arc::new)
        };
        let taken = taken.into_iter().map(take).collect::<io::Result<_>>()?;
        let unused = sockets.iter().filter_map(|given| given.socket.local_addr().ok()).collect();
        Ok((Self(taken), unused))
    }

    /// Opens what is wanted and not open yet; what is open with the same address goes on.
    ///
    /// It runs within the reactor that is to accept.
    ///
    /// # Errors
    /// When a socket cannot be opened; nothing has changed then.
    pub(crate) fn plan(&self, wanted: &[Arc<Listener>]) -> Result<Planned, OpenError> {
        let bounds: Vec<Bound> = wanted.iter().map(|listener| Bound::of(listener, wanted)).collect();
        let (kept, leaving) = self.sort(wanted, &bounds);
        let mut planned = Planned(Vec::with_capacity(wanted.len()));
        // Those that stay come first, so that one that is in the way can be named.
        let staying: Vec<Arc<Listening>> = kept.iter().flatten().cloned().collect();
        for ((listener, bound), kept) in wanted.iter().zip(bounds).zip(kept) {
            let listening = match kept {
                Some(kept) => kept,
                None => Arc::new(Listening::open(listener, bound, &leaving).map_err(|error| {
                    let opened = planned.0.iter().map(|(listening, _)| listening);
                    let own = staying.iter().chain(opened).find(|own| own.is_in_the_way_of(bound.address));
                    OpenError::new(listener.address, error, own)
                })?),
            };
            planned.0.push((listening, listener.clone()));
        }
        Ok(planned)
    }

    /// Tells whether all that is wanted could be opened, and by which sockets its clients would come; those that are
    /// new exist for nobody.
    ///
    /// # Errors
    /// The first that could not.
    pub(crate) fn try_plan(&self, wanted: &[Arc<Listener>]) -> Result<Vec<Entrance>, OpenError> {
        let bounds: Vec<Bound> = wanted.iter().map(|listener| Bound::of(listener, wanted)).collect();
        let (kept, leaving) = self.sort(wanted, &bounds);
        for (at, bound) in bounds.iter().enumerate() {
            // Two that only have the address, and do not listen yet, are not in each other's way for the system.
            if bounds.iter().take(at).any(|earlier| earlier.excludes(bound)) {
                return Err(OpenError::new(bound.address, io::ErrorKind::AddrInUse.into(), None));
            }
        }
        let staying: Vec<Arc<Listening>> = kept.iter().flatten().cloned().collect();
        let tried = bounds.into_iter().zip(kept).map(|(bound, kept)| match kept {
            Some(kept) => Ok(kept.entrance),
            None => bound
                .socket()
                .and_then(|socket| bind(&socket, bound.address, &leaving, || Ok(())))
                .map_or_else(
                    |error| {
                        let own = staying.iter().find(|own| own.is_in_the_way_of(bound.address));
                        Err(OpenError::new(bound.address, error, own))
                    },
                    |()| Ok(Entrance::next()),
                ),
        });
        tried.collect()
    }

    /// What each wanted listener keeps, and what nobody wants any more. Where several have one address (with a port
    /// that the system chooses), those of the same name belong together.
    fn sort(
        &self,
        wanted: &[Arc<Listener>],
        bounds: &[Bound],
    ) -> (Vec<Option<Arc<Listening>>>, Vec<Arc<Listening>>) {
        let mut left = self.0.clone();
        let mut kept = vec![None; wanted.len()];
        for by_name in [true, false] {
            for ((slot, listener), bound) in kept.iter_mut().zip(wanted).zip(bounds) {
                let fits = |open: &Arc<Listening>| {
                    open.bound == *bound && (!by_name || open.entry.load().name == listener.name)
                };
                if slot.is_none()
                    && let Some(place) = left.iter().position(fits)
                {
                    *slot = Some(left.remove(place));
                }
            }
        }
        (kept, left)
    }

    /// Both.
    pub(crate) fn and(mut self, mut other: Self) -> Self {
        self.0.append(&mut other.0);
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Listening>> {
        self.0.iter()
    }
}

impl Given {
    /// Tells whether it listens where the listener is to.
    pub(crate) fn fits(&self, listener: &Listener) -> bool {
        self.socket.local_addr().is_ok_and(|local| {
            let (wanted, port) = (listener.address, listener.address.port());
            local.ip() == wanted.ip() && (port == 0 || local.port() == port)
        })
    }
}

impl Planned {
    /// The sockets, in the order of the listeners.
    pub(crate) fn entrances(&self) -> Vec<Entrance> {
        self.0.iter().map(|(listening, _)| listening.entrance).collect()
    }

    /// Where they listen.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(listening, _)| listening.local)
    }

    /// Makes each listener what its configuration says.
    pub(crate) fn settle(self) -> Listeners {
        let settle = |(listening, listener): (Arc<Listening>, Arc<Listener>)| {
            listening.become_as(listener);
            listening
        };
        Listeners(self.0.into_iter().map(settle).collect())
    }
}

impl Listening {
    /// Opens the socket; those that leave may be in its way until they are closed.
    fn open(listener: &Arc<Listener>, bound: Bound, leaving: &[Arc<Self>]) -> io::Result<Self> {
        let socket = bound.socket()?;
        // Accepted sockets inherit these on Linux, which saves calls for each connection.
        if let Some(keepalive) = listener.keepalive.options() {
            socket.set_tcp_keepalive(&keepalive)?;
        }
        relay::prepare(&socket);
        bind(&socket, bound.address, leaving, || socket.listen(BACKLOG))?;
        Self::adopt(listener, bound, socket.into())
    }

    /// Takes a socket that listens already.
    #[expect(
        deprecated,
        reason = "what comes in its place is unsafe; this descriptor stays open as long as it is watched"
    )]
    fn adopt(listener: &Arc<Listener>, bound: Bound, socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        let entry = ArcSwap::new(listener.clone());
        Ok(Self { entrance: Entrance::next(), bound, local, socket, entry })
    }

    /// Takes another configuration with the same address.
    fn become_as(&self, listener: Arc<Listener>) {
        let before = self.entry.load();
        if before.keepalive != listener.keepalive
            && let Err(error) = ask_as(&SockRef::from(self.socket.get_ref()), listener.keepalive)
        {
            warn!(listener = %listener.name, %error, "`keepalive` cannot be changed; restart to try again");
        }
        self.entry.store(listener);
    }

    pub(crate) fn entrance(&self) -> Entrance {
        self.entrance
    }

    /// Where it listens, with the port that the system chose if it was to choose one.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// What the configuration that came last says of it.
    pub(crate) fn entry(&self) -> Arc<Listener> {
        self.entry.load_full()
    }

    /// Waits for a connection. Its socket is watched by no reactor yet, so that whichever thread serves it is the only one
    /// that ever watches it.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.async_io(Interest::READABLE, accept).await
    }

    /// A connection that is there already; `None`: no more is.
    pub(crate) fn accept_waiting(&self) -> Option<(TcpStream, SocketAddr)> {
        accept(self.socket.get_ref()).ok()
    }

    fn is_in_the_way_of(&self, address: SocketAddr) -> bool {
        let (own, other) = (self.local.ip(), address.ip());
        self.local.port() == address.port()
            && (own == other || own.is_unspecified() || other.is_unspecified())
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes a connection that is there; its socket does not block.
fn accept(listener: &std::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| peer.try_into().ok());
    Ok((socket.into(), peer.ok_or(io::ErrorKind::Unsupported)?))
}

impl Entrance {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The entrance of a session that came by no listener.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(0)
    }
}

impl Bound {
    /// A wildcard of IPv6 takes IPv4 too, unless another listener has the same port.
    fn of(listener: &Listener, all: &[Arc<Listener>]) -> Self {
        let address = listener.address;
        let same_port = all.iter().filter(|other| other.address.port() == address.port()).count();
        let only_v6 =
            address.is_ipv6() && address.ip().is_unspecified() && address.port() != 0 && same_port > 1;
        Self { address, only_v6 }
    }

    /// A socket that can be bound so.
    fn socket(self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        if self.address.is_ipv6() {
            socket.set_only_v6(self.only_v6)?;
        }
        socket.set_reuse_address(true)?;
        Ok(socket)
    }

    /// Tells whether only one of the two can be open.
    fn excludes(&self, other: &Self) -> bool {
        let (own, its) = (self.address, other.address);
        let is_same = own.ip() == its.ip() || own.ip().is_unspecified() || its.ip().is_unspecified();
        own.port() != 0 && own.port() == its.port() && own.is_ipv4() == its.is_ipv4() && is_same
    }
}

impl OpenError {
    fn new(address: SocketAddr, error: io::Error, own: Option<&Arc<Listening>>) -> Self {
        let own = own.filter(|_| error.kind() == io::ErrorKind::AddrInUse);
        Self { address, error, own: own.map(|own| (own.entry().name.clone(), own.local)) }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on `{}`: {}", self.address, self.error)?;
        match &self.own {
            Some((name, address)) => write!(f, "; listener `{name}` of the same gateway has `{address}`"),
            None => Ok(()),
        }
    }
}

/// Binds the socket and does what comes `then`. Where a socket that leaves has the address, both have it until that one
/// is closed: there is no moment at which nobody listens.
fn bind(
    socket: &Socket,
    address: SocketAddr,
    leaving: &[Arc<Listening>],
    then: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let bind = || socket.bind(&address.into());
    let in_the_way: Vec<SockRef<'_>> = leaving
        .iter()
        .filter(|listening| listening.is_in_the_way_of(address))
        .map(|listening| SockRef::from(&listening.socket))
        .collect();
    match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !in_the_way.is_empty() => {
            let all = || in_the_way.iter().map(|own| &**own).chain([socket]);
            let bound = all().try_for_each(|socket| socket.set_reuse_port(true)).and_then(|()| bind());
            let done = bound.and_then(|()| then());
            // It was only for this moment: else a second gateway could be started on the same ports unseen.
            let alone = all().map(|socket| socket.set_reuse_port(false)).fold(Ok(()), Result::and);
            done.and(alone)
        }
        bound => bound.and_then(|()| then()),
    }
}

/// Changes how clients are asked whether they are still there. What is left to the system is what a new socket has.
fn ask_as(socket: &Socket, keepalive: Keepalive) -> io::Result<()> {
    let Some(options) = keepalive.options() else { return socket.set_keepalive(false) };
    let new = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    let usual = TcpKeepalive::new().with_interval(new.tcp_keepalive_interval()?);
    socket.set_tcp_keepalive(&usual.with_retries(new.tcp_keepalive_retries()?))?;
    socket.set_tcp_keepalive(&options)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::config::{Advertised, Balancers};

    fn listener(name: &str, address: impl Into<SocketAddr>) -> Arc<Listener> {
        Arc::new(Listener {
            name: name.into(),
            address: address.into(),
            advertise: Advertised::default(),
            balancers: Balancers::default(),
            keepalive: Keepalive::default(),
        })
    }

    fn open(wanted: &[Arc<Listener>]) -> Listeners {
        Listeners::default().plan(wanted).unwrap().settle()
    }

    /// Name and number of each.
    fn all(listeners: &Listeners) -> Vec<(String, Entrance)> {
        listeners.iter().map(|open| (open.entry().name.to_string(), open.entrance())).collect()
    }

    fn port(listeners: &Listeners) -> u16 {
        listeners.iter().next().unwrap().local().port()
    }

    const FREE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

    #[tokio::test]
    async fn what_stays_keeps_its_socket_and_takes_its_new_name() {
        let before = open(&[listener("a", FREE), listener("b", FREE)]);
        let [(_, a), (_, b)] = <[_; 2]>::try_from(all(&before)).unwrap();
        let after = before.plan(&[listener("c", FREE), listener("b", FREE), listener("d", FREE)]).unwrap();
        assert_eq!(all(&before), [("a".into(), a), ("b".into(), b)], "nothing has changed yet");
        let after = all(&after.settle());
        assert_eq!(after[..2], [("c".into(), a), ("b".into(), b)]);
        assert!(after[2].0 == "d" && ![a, b].contains(&after[2].1), "{after:?}");
    }

    #[tokio::test]
    async fn names_change_places_and_sockets_do_not() {
        let ports = [port(&open(&[listener("x", FREE)])), port(&open(&[listener("x", FREE)]))];
        let at = |port: u16| (Ipv4Addr::LOCALHOST, port);
        let before = open(&[listener("a", at(ports[0])), listener("b", at(ports[1]))]);
        let [(_, first), (_, second)] = <[_; 2]>::try_from(all(&before)).unwrap();
        let after = before.plan(&[listener("a", at(ports[1])), listener("b", at(ports[0]))]).unwrap();
        assert_eq!(all(&after.settle()), [("a".into(), second), ("b".into(), first)]);
    }

    #[tokio::test]
    async fn an_address_within_another_one_takes_over_without_a_gap() {
        let before = open(&[listener("all", (Ipv4Addr::UNSPECIFIED, 0))]);
        let port = port(&before);
        let error = before.plan(&[
            listener("all", (Ipv4Addr::UNSPECIFIED, 0)),
            listener("one", (Ipv4Addr::LOCALHOST, port)),
        ]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("listener `all` of the same gateway has `0.0.0.0:"), "{error}");
        let (kept, after) =
            (before.clone(), before.plan(&[listener("one", (Ipv4Addr::LOCALHOST, port))]).unwrap());
        let alone = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        assert_eq!(alone.unwrap_err().kind(), io::ErrorKind::AddrInUse, "nobody else gets it");
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        drop((before, kept));
        let after = after.settle();
        let (_, peer) = after.iter().next().unwrap().accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_wildcard_of_ipv6_gives_ipv4_away_and_takes_it_back() {
        let both = open(&[listener("both", (Ipv6Addr::UNSPECIFIED, 0))]);
        let port = port(&both);
        drop(both);
        let [v4, v6] =
            [listener("v4", (Ipv4Addr::UNSPECIFIED, port)), listener("v6", (Ipv6Addr::UNSPECIFIED, port))];
        let both = open(std::slice::from_ref(&v6));
        let apart = both.plan(&[v6.clone(), v4]).unwrap().settle();
        drop(both);
        let reaches = |listeners: &Listeners, ip: std::net::IpAddr| {
            let client = TcpStream::connect((ip, port)).unwrap();
            let waiting = listeners.iter().find(|open| open.accept_waiting().is_some());
            (client, waiting.unwrap().entry().name.to_string()).1
        };
        assert_eq!(reaches(&apart, Ipv4Addr::LOCALHOST.into()), "v4");
        assert_eq!(reaches(&apart, Ipv6Addr::LOCALHOST.into()), "v6");
        let both = apart.plan(&[v6]).unwrap().settle();
        drop(apart);
        assert_eq!(reaches(&both, Ipv4Addr::LOCALHOST.into()), "v6");
    }

    #[tokio::test]
    async fn a_taken_port_opens_nothing_and_is_named() {
        let other = std::net::TcpListener::bind(FREE).unwrap();
        let taken = other.local_addr().unwrap();
        let before = open(&[listener("a", FREE)]);
        let error = before.plan(&[listener("a", FREE), listener("b", taken)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on `{taken}`: ")), "{error}");
        assert!(!error.contains("same gateway"), "{error}");
    }

    #[tokio::test]
    async fn a_plan_is_tried_without_anybody_noticing() {
        let other = std::net::TcpListener::bind(FREE).unwrap();
        let taken = other.local_addr().unwrap();
        let before = open(&[listener("a", (Ipv4Addr::UNSPECIFIED, 0))]);
        let (entrance, port) = (before.iter().next().unwrap().entrance(), port(&before));
        let all = listener("a", (Ipv4Addr::UNSPECIFIED, 0));
        let free = before.try_plan(&[all.clone(), listener("b", FREE)]).unwrap();
        assert!(free[0] == entrance && free[1] != entrance);
        assert!(
            before.try_plan(&[listener("one", (Ipv4Addr::LOCALHOST, port))]).is_ok(),
            "in place of the other"
        );
        let refused = |wanted: &[Arc<Listener>]| before.try_plan(wanted).unwrap_err().to_string();
        assert!(refused(&[all.clone(), listener("b", taken)]).starts_with("cannot listen on"));
        assert!(refused(&[all, listener("one", (Ipv4Addr::LOCALHOST, port))]).contains("same gateway"));
        drop(other);
        let twice = [listener("x", taken), listener("y", taken)];
        assert!(refused(&twice).contains(&taken.to_string()));
        assert!(TcpStream::connect(taken).is_err(), "nobody listens there");
        assert!(before.try_plan(&twice[..1]).is_ok(), "nor has it been kept");
    }

    #[tokio::test]
    async fn what_keepalive_leaves_out_is_the_systems_again() {
        let with = |keepalive| {
            let mut listener = listener("a", FREE);
            Arc::make_mut(&mut listener).keepalive = keepalive;
            listener
        };
        let on =
            |every, probes| with(Keepalive::On { after: std::time::Duration::from_secs(7), every, probes });
        let listeners = open(&[on(Some(std::time::Duration::from_secs(3)), Some(2))]);
        let seen = |listeners: &Listeners| {
            let open = listeners.iter().next().unwrap();
            let socket = SockRef::from(&open.socket);
            let asks = socket.keepalive().unwrap();
            (
                asks,
                socket.tcp_keepalive_interval().unwrap().as_secs(),
                socket.tcp_keepalive_retries().unwrap(),
            )
        };
        assert_eq!(seen(&listeners), (true, 3, 2));
        let listeners = listeners.plan(&[on(None, None)]).unwrap().settle();
        let new = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let usual = (new.tcp_keepalive_interval().unwrap().as_secs(), new.tcp_keepalive_retries().unwrap());
        assert_eq!(seen(&listeners), (true, usual.0, usual.1));
        assert!(!seen(&listeners.plan(&[with(Keepalive::Off)]).unwrap().settle()).0);
    }
}
