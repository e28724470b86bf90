//! The step in which the gateway waits for the peer, and tells the client who has come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use socks_core::ClientStream;
use socks_policy::Permit;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::dial::KEEPALIVE;
use crate::outcome::End;
use crate::own::OwnSocket;
use crate::server::{EXHAUSTED_PAUSE, is_exhausted};
use crate::session::connected::{Connected, Far};
use crate::session::permitted::{grant, place_instead};
use crate::session::{Ended, Session};

use super::Expected;
use super::expected::Verdict;
use super::upstream::UpstreamDoor;

/// What a client may send before its peer is there. It waits for the peer; more is not read.
const MOST_EARLY: usize = 16 * 1024;

/// A client that was told where its peer is awaited.
pub(in crate::session) struct Listening {
    stream: ClientStream,
    door: Door,
    /// How long the wait may take in all, and its end.
    deadline: (Duration, Instant),
}

/// By which the peer comes.
pub(super) enum Door {
    Own(OwnDoor),
    Upstream(UpstreamDoor),
}

/// The socket, and who may come through it.
pub(super) struct OwnDoor {
    socket: TcpListener,
    expected: Expected,
    /// The rule that lets the gateway listen; the session has its place in it.
    rule: Arc<str>,
    /// Goes after the socket.
    _own: OwnSocket,
}

/// The right peer.
pub(super) struct Arrived {
    pub(super) far: Far,
    pub(super) address: SocketAddr,
    pub(super) permit: Permit,
    /// It is at an address that the request names.
    pub(super) is_named: bool,
}

impl Listening {
    pub(super) fn new(stream: ClientStream, door: Door, deadline: (Duration, Instant)) -> Self {
        Self { stream, door, deadline }
    }

    pub(in crate::session) async fn accept(self, session: &mut Session) -> Result<Connected, Ended> {
        let Self { mut stream, door, deadline: (most, until) } = self;
        let arrived = tokio::select! {
            arrived = timeout_at(until, door.take_one(session)) => {
                arrived.unwrap_or(Err(End::NoPeer(most)))
            }
            error = stream.hung_up(MOST_EARLY) => return Err(Ended::silently(End::ClientLeft(error))),
        };
        let Arrived { far, address, permit, is_named } = match arrived {
            Ok(arrived) => arrived,
            Err(end) => return Err(Ended::with_reply(stream, end)),
        };
        session.record.learn(|facts| {
            facts.hold(&permit);
            facts.peer_is_named = is_named;
            facts.rare_mut().peer = Some(address);
        });
        grant(&mut stream, address).await?;
        Ok(Connected::under(&permit, stream, far, session))
    }
}

impl Door {
    /// Waits for the right peer. One only: all others find nobody listening.
    async fn take_one(self, session: &mut Session) -> Result<Arrived, End> {
        match self {
            Self::Own(door) => door.take_one(session).await,
            Self::Upstream(door) => door.take_one(session).await,
        }
    }
}

impl OwnDoor {
    pub(super) fn new(socket: (TcpListener, OwnSocket), expected: Expected, permit: &Permit) -> Self {
        let (socket, own) = socket;
        Self { socket, expected, rule: permit.rule().clone(), _own: own }
    }

    /// Waits for the right peer and closes all others.
    async fn take_one(self, session: &mut Session) -> Result<Arrived, End> {
        loop {
            let (socket, address) = match self.socket.accept().await {
                Ok((socket, address)) => {
                    (socket, SocketAddr::new(address.ip().to_canonical(), address.port()))
                }
                Err(error) if is_exhausted(&error) => {
                    sleep(EXHAUSTED_PAUSE).await;
                    continue;
                }
                // That connection was gone before it was taken.
                Err(_) => continue,
            };
            match self.judge(address, session) {
                Verdict::Take(permit) => {
                    // A peer that vanishes without a word must not keep the session open for ever.
                    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
                    SockRef::from(&socket).set_tcp_keepalive(&keepalive).map_err(End::Peer)?;
                    let is_named = self.expected.names(address);
                    return Ok(Arrived { far: Far::Direct(socket), address, permit, is_named });
                }
                Verdict::Refuse => {
                    debug!(peer = %address, "peer refused");
                    session.record.facts().rare_mut().refused_peers += 1;
                    refuse(&socket);
                }
                Verdict::End(end) => return Err(end),
            }
        }
    }

    /// Judges a peer, and takes a place in the rule that permits it, if that is another one and limits them.
    fn judge(&self, peer: SocketAddr, session: &mut Session) -> Verdict {
        judge(&self.expected, &self.rule, peer, session)
    }
}

/// Judges a peer where the session has its place in the rule of that name.
pub(super) fn judge(
    expected: &Expected,
    rule: &Arc<str>,
    peer: SocketAddr,
    session: &mut Session,
) -> Verdict {
    let permit = match expected.judge(peer, session) {
        Verdict::Take(permit) => permit,
        other => return other,
    };
    if permit.rule() == rule {
        return Verdict::Take(permit);
    }
    let Some(places) = place_instead(&permit, session) else { return Verdict::Refuse };
    session.record.live().take_places(Some(places));
    Verdict::Take(permit)
}

/// Resets a connection: so nothing is left of it that would keep the port from being used again.
fn refuse(socket: &TcpStream) {
    // Without it the connection is closed all the same, only more slowly.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
