//! The fourth step where the rule goes through an upstream gateway: that one is asked in place of the target.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socks_client::{Connection, Parts};
use socks_core::ClientStream;
use socks_core::wire::{Host, Target};
use socks_policy::Permit;

use crate::outcome::End;
use crate::places::Places;
use crate::upstream::UpstreamError;

use super::connected::{Connected, Far};
use super::permitted::grant;
use super::{Ended, Session};

/// What is permitted through an upstream.
pub(super) struct Chain {
    /// The upstream's name.
    pub(super) name: Arc<str>,
    /// What the client has asked for.
    pub(super) target: Target,
    /// For its addresses, or one for its name; never none.
    pub(super) permits: Vec<Permit>,
    pub(super) places: Vec<Places>,
    /// How long all of it may take.
    pub(super) most: Duration,
}

impl Chain {
    pub(super) async fn connect(
        self,
        client: ClientStream,
        session: &mut Session,
    ) -> Result<Connected, Ended> {
        let Self { name, target, permits, places, most } = self;
        session.record.facts().rare_mut().upstream = Some(name.clone());
        // What was judged is what is asked for: an address, or the name where that alone was judged.
        let judged = |permit: &Permit| permit.address().map_or_else(|| target.clone(), Target::from);
        let targets: Vec<Target> = permits.iter().map(judged).collect();
        let connected = match session.snapshot.upstream(&name) {
            Some(upstream) => upstream.connect(&targets, most).await,
            None => Err(UpstreamError::Unknown(name)),
        };
        let (connection, number) = match connected {
            Ok(connected) => connected,
            Err(error) => return Err(Ended::with_reply(client, End::Upstream(error))),
        };
        let Some(permit) = permits.into_iter().nth(number) else {
            return Err(Ended::with_reply(client, End::Undecided));
        };
        session.settle(places, &permit);
        open(client, connection, &permit, session).await
    }
}

/// Tells the client, and the record, what the upstream has told.
async fn open(
    mut client: ClientStream,
    connection: Connection,
    permit: &Permit,
    session: &mut Session,
) -> Result<Connected, Ended> {
    let Parts { stream, bound, .. } = connection.into_parts();
    let (Ok(dialled), Ok(own)) = (stream.socket().peer_addr(), stream.socket().local_addr()) else {
        return Err(Ended::with_reply(client, End::Peer(std::io::ErrorKind::NotConnected.into())));
    };
    session.record.learn(|facts| {
        facts.hold(permit);
        facts.dialled = Some(canonical(dialled));
        facts.bound = Some(canonical(own));
    });
    // RFC 1928 section 6: BND.ADDR is the end towards the target, which is the upstream's.
    let told = match bound.host {
        Host::Ip(ip) => SocketAddr::new(ip.to_canonical(), bound.port),
        Host::Name(_) => canonical(own),
    };
    grant(&mut client, told).await?;
    Ok(Connected::under(permit, client, Far::Upstream(Box::new(stream)), session))
}

/// IPv4 in IPv4's own form.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
