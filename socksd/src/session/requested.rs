//! The third step: what the policy says to the request, for every address it may mean.

use std::net::IpAddr;

use socks_core::ClientStream;
use socks_core::wire::{Command, DomainName, Host, Request};
use socks_policy::{Decision, ExpectedPeer, Fact, Operation, OperationKind, Permit};

use crate::outcome::End;
use crate::route::Route;

use super::permitted::Permitted;
use super::{Ended, Session, associate, bind};

/// A client with a request.
pub(super) struct Requested {
    stream: ClientStream,
    request: Request,
}

impl Requested {
    pub(super) fn new(stream: ClientStream, request: Request) -> Self {
        Self { stream, request }
    }

    pub(super) fn command(&self) -> Command {
        self.request.command
    }

    /// The permits of a CONNECT.
    pub(super) async fn judge(self, session: &mut Session) -> Result<Permitted, Ended> {
        let target = &self.request.target;
        let permits = match target.port {
            0 => Err(End::PortZero),
            _ => permits(Operation::Connect(target), &target.host, session).await,
        };
        match permits {
            Ok(permits) => Ok(Permitted::new(self.stream, self.request.target, permits)),
            Err(end) => Err(self.refuse(end, session)),
        }
    }

    /// The permits of a BIND, for the peer that it names or for anybody.
    pub(super) async fn judge_bind(self, session: &mut Session) -> Result<bind::Permitted, Ended> {
        let target = &self.request.target;
        let permits = permits(Operation::BindListen(ExpectedPeer::from(target)), &target.host, session).await;
        match permits.map(by_one_way) {
            Ok(permits) => Ok(bind::Permitted::new(self.stream, self.request.target, permits)),
            Err(end) => Err(self.refuse(end, session)),
        }
    }

    /// The permit of an association; its datagrams are judged when they come.
    pub(super) fn judge_association(self, session: &mut Session) -> Result<associate::Permitted, Ended> {
        match session.decide(Some(Operation::Associate), None) {
            Decision::Permit(permit) => {
                Ok(associate::Permitted::new(self.stream, self.request.target, permit))
            }
            Decision::Deny(denial) => Err(self.refuse(End::Denied(denial), session)),
            Decision::Needs(_) => Err(self.refuse(End::Undecided, session)),
        }
    }

    fn refuse(self, end: End, session: &mut Session) -> Ended {
        session.record.facts().rule = end.rule().cloned();
        Ended::with_reply(self.stream, end)
    }
}

/// The permits for all addresses of the host that the policy permits; never an empty list.
async fn permits(operation: Operation<'_>, host: &Host, session: &Session) -> Result<Vec<Permit>, End> {
    match host {
        Host::Ip(ip) => permits_for(operation, host, &[*ip], session),
        Host::Name(name) => {
            // What the name alone forbids is not even looked up.
            match session.decide(Some(operation), None) {
                Decision::Deny(denial) => return Err(End::Denied(denial)),
                Decision::Needs(Fact::Address) => {}
                // An upstream gateway looks it up.
                Decision::Permit(permit) if permit.terms().upstream.is_some() => return Ok(vec![permit]),
                Decision::Permit(_) | Decision::Needs(_) => return Err(End::Undecided),
            }
            let addresses = addresses(name, session).await?;
            session.record.facts().note_addresses(&addresses);
            permits_for(operation, host, &addresses, session)
        }
    }
}

/// Those that go the way of the first one: by the same upstream, or by none.
fn by_one_way(mut permits: Vec<Permit>) -> Vec<Permit> {
    let upstream = permits.first().and_then(|permit| permit.terms().upstream.clone());
    permits.retain(|permit| permit.terms().upstream == upstream);
    permits
}

async fn addresses(name: &DomainName, session: &Session) -> Result<Vec<IpAddr>, End> {
    let most = session.snapshot.settings.limits.resolve_timeout;
    session.snapshot.resolver.lookup(name, most).await.map_err(End::Resolve)
}

fn permits_for(
    operation: Operation<'_>,
    host: &Host,
    addresses: &[IpAddr],
    session: &Session,
) -> Result<Vec<Permit>, End> {
    let mut permits = Vec::new();
    let mut refused = None;
    for address in addresses {
        match session.decide(Some(operation), Some(*address)) {
            Decision::Permit(permit) if is_usable(&permit, session) => permits.push(permit),
            Decision::Permit(permit) => refused = Some(End::other_family(permit.rule(), host)),
            // 02 only if all addresses were denied.
            Decision::Deny(denial) => refused = refused.or(Some(End::Denied(denial))),
            Decision::Needs(_) => refused = Some(End::Undecided),
        }
    }
    if permits.is_empty() { Err(refused.unwrap_or(End::Undecided)) } else { Ok(permits) }
}

/// Tells whether the rule's `family` leaves a way to the address. Peers come as they are, without a translator.
fn is_usable(permit: &Permit, session: &Session) -> bool {
    match (permit.kind(), permit.address()) {
        // The address is the upstream's business.
        _ if permit.terms().upstream.is_some() => true,
        (OperationKind::BindListen, address) => {
            address.is_none_or(|address| permit.terms().family.allows(address.ip()))
        }
        _ => Route::of(permit, session.snapshot.settings.nat64.as_ref()).is_some(),
    }
}
