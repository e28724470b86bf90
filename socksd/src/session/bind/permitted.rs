//! The step in which the gateway begins to listen, and tells the client where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socks_core::ClientStream;
use socks_core::wire::{Host, Target};
use socks_policy::{Family, Permit};
use tokio::time::Instant;

use crate::listen::{Front, Site, listen};
use crate::outcome::End;
use crate::session::permitted::{grant, places};
use crate::session::{Ended, Session};

use super::Expected;
use super::listening::{Door, Listening, OwnDoor};
use super::upstream;

/// A client for whose peer the policy lets the gateway listen.
pub(in crate::session) struct Permitted {
    stream: ClientStream,
    target: Target,
    permits: Vec<Permit>,
}

impl Permitted {
    /// The permits are for the addresses of `target`, or one for anybody; never none.
    pub(in crate::session) fn new(stream: ClientStream, target: Target, permits: Vec<Permit>) -> Self {
        Self { stream, target, permits }
    }

    pub(in crate::session) async fn listen(self, session: &mut Session) -> Result<Listening, Ended> {
        let Self { mut stream, target, permits } = self;
        if permits.first().is_some_and(|permit| permit.terms().upstream.is_some()) {
            return upstream::listen(stream, target, permits, session).await;
        }
        let (front, expected, permit) = match open(&stream, target, permits, session) {
            Ok(opened) => opened,
            Err(end) => return Err(Ended::with_reply(stream, end)),
        };
        let Front { socket, bound, told, own } = front;
        session.record.learn(|facts| {
            facts.bound = Some(bound);
            facts.rare_mut().advertised = Some(told).filter(|told| *told != bound);
        });
        let most = permit.terms().bind.timeout.unwrap_or(session.snapshot.settings.limits.bind_timeout);
        let until = Instant::now() + most;
        grant(&mut stream, told).await?;
        Ok(Listening::new(stream, Door::Own(OwnDoor::new((socket, own), expected, &permit)), (most, until)))
    }
}

/// Opens the socket under the terms of the rule that permits it, once that has a place left.
fn open(
    stream: &ClientStream,
    target: Target,
    permits: Vec<Permit>,
    session: &mut Session,
) -> Result<(Front, Expected, Permit), End> {
    let local = stream.socket().local_addr().map_err(End::Reply)?;
    let (places, permits) = places(permits, session)?.begin();
    let wildcard = wildcard(&target, &permits, local.ip().to_canonical());
    let (permit, addresses) = of_family(permits, wildcard).ok_or(End::Undecided)?;
    session.record.facts().rule = Some(permit.rule().clone());
    session.settle(places, &permit);
    let expected = Expected::new(target, addresses, permit.terms());
    let (expects, advertised) = (expected.address(), session.advertised());
    let site = Site { wildcard, local, expected: expects, advertised };
    let front = listen(&permit, site, &session.gateway.own_sockets).map_err(End::Listen)?;
    Ok((front, expected, permit))
}

/// The family by which the peer is awaited, as its unspecified address: there is one socket, and one address to tell.
///
/// A name with addresses of both gets the family by which the client came: most probably the one that it can
/// tell its peer of.
fn wildcard(target: &Target, permits: &[Permit], local: IpAddr) -> IpAddr {
    let unspecified =
        |is_v6| if is_v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
    let is_possible = |wildcard: &IpAddr| permits.iter().any(|permit| is_of(permit, *wildcard));
    let prefers_v6 = permits.iter().any(|permit| permit.terms().family == Family::PreferV6);
    let asked = match &target.host {
        Host::Ip(ip) => ip.to_canonical().is_ipv6(),
        Host::Name(_) => local.is_ipv6() || prefers_v6,
    };
    let asked = unspecified(asked);
    if is_possible(&asked) { asked } else { unspecified(asked.is_ipv4()) }
}

/// Tells whether a peer of the permit may come by the family of `wildcard`.
fn is_of(permit: &Permit, wildcard: IpAddr) -> bool {
    permit.address().is_none_or(|address| address.is_ipv6() == wildcard.is_ipv6())
        && permit.terms().family.allows(wildcard)
}

/// The first permit for peers of the family, and the addresses of all of them.
fn of_family(permits: Vec<Permit>, wildcard: IpAddr) -> Option<(Permit, Vec<IpAddr>)> {
    let permits: Vec<Permit> = permits.into_iter().filter(|permit| is_of(permit, wildcard)).collect();
    let addresses = permits.iter().filter_map(|permit| Some(permit.address()?.ip())).collect();
    Some((permits.into_iter().next()?, addresses))
}
