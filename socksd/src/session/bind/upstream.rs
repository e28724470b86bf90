//! A BIND whose peer is awaited by an upstream gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use socks_core::ClientStream;
use socks_core::wire::{Host, Target};
use socks_policy::Permit;
use tokio::time::Instant;

use crate::outcome::End;
use crate::session::chained::canonical;
use crate::session::connected::Far;
use crate::session::permitted::{grant, places};
use crate::session::{Ended, Session};
use crate::upstream::{Upstream, UpstreamError};

use super::Expected;
use super::expected::Verdict;
use super::listening::{Arrived, Door, Listening, judge};

/// The upstream that listens, and who may come there.
pub(super) struct UpstreamDoor {
    name: Arc<str>,
    listening: socks_client::Listening,
    expected: Expected,
    /// The rule that lets it listen; the session has its place in it.
    rule: Arc<str>,
}

/// Lets the upstream of the first permit listen, and tells the client where.
pub(super) async fn listen(
    mut stream: ClientStream,
    target: Target,
    permits: Vec<Permit>,
    session: &mut Session,
) -> Result<Listening, Ended> {
    let (door, permit) = match open(target, permits, session).await {
        Ok(opened) => opened,
        Err(end) => return Err(Ended::with_reply(stream, end)),
    };
    let Some(told) = address_of(door.listening.address()) else {
        let nowhere = UpstreamError::Nowhere { name: door.name };
        return Err(Ended::with_reply(stream, End::Upstream(nowhere)));
    };
    session.record.facts().bound = Some(told);
    let most = permit.terms().bind.timeout.unwrap_or(session.snapshot.settings.limits.bind_timeout);
    let until = Instant::now() + most;
    grant(&mut stream, told).await?;
    Ok(Listening::new(stream, Door::Upstream(door), (most, until)))
}

async fn open(
    target: Target,
    permits: Vec<Permit>,
    session: &mut Session,
) -> Result<(UpstreamDoor, Permit), End> {
    let (places, permits) = places(permits, session)?.begin();
    let addresses = permits.iter().filter_map(|permit| Some(permit.address()?.ip())).collect();
    let permit = permits.into_iter().next().ok_or(End::Undecided)?;
    let name = permit.terms().upstream.clone().ok_or(End::Undecided)?;
    session.record.learn(|facts| {
        facts.rule = Some(permit.rule().clone());
        facts.rare_mut().upstream = Some(name.clone());
    });
    session.settle(places, &permit);
    let limits = &session.snapshot.settings.limits;
    let most = permit.terms().connect_timeout.unwrap_or(limits.connect_timeout);
    let judged = permit.address().map_or_else(|| target.clone(), Target::from);
    let listening = match session.snapshot.upstream(&name) {
        Some(upstream) => upstream.bind(judged, most).await,
        None => Err(UpstreamError::Unknown(name.clone())),
    };
    let listening = listening.map_err(End::Upstream)?;
    let expected = Expected::new(target, addresses, permit.terms());
    let rule = permit.rule().clone();
    Ok((UpstreamDoor { name, listening, expected, rule }, permit))
}

impl UpstreamDoor {
    /// Waits for the one peer that the upstream takes, and judges it as any.
    pub(super) async fn take_one(self, session: &mut Session) -> Result<Arrived, End> {
        let Self { name, listening, expected, rule } = self;
        let (connection, peer) = Upstream::arrival(listening, &name).await.map_err(End::Upstream)?;
        let Some(address) = address_of(&peer) else {
            return Err(End::Upstream(UpstreamError::Nowhere { name }));
        };
        match judge(&expected, &rule, address, session) {
            Verdict::Take(permit) => {
                let stream = connection.into_parts().stream;
                session.record.facts().dialled = stream.socket().peer_addr().ok().map(canonical);
                let is_named = expected.names(address);
                Ok(Arrived { far: Far::Upstream(Box::new(stream)), address, permit, is_named })
            }
            Verdict::Refuse => {
                session.record.facts().rare_mut().refused_peers += 1;
                Err(End::PeerRefused(address))
            }
            Verdict::End(end) => Err(end),
        }
    }
}

/// An address and a port that others can use.
fn address_of(target: &Target) -> Option<SocketAddr> {
    match target.host {
        Host::Ip(ip) => Some(SocketAddr::new(ip.to_canonical(), target.port)),
        Host::Name(_) => None,
    }
}
