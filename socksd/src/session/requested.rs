//! The third step: what the policy says to the request, for every address it may mean.

use std::net::IpAddr;

use socks_core::ClientStream;
use socks_core::wire::{Command, DomainName, Host, Request, Target};
use socks_policy::{Decision, Fact, Permit};

use crate::outcome::End;
use crate::route::Route;

use super::permitted::Permitted;
use super::{Ended, Session};

/// A client with a request.
pub(super) struct Requested {
    stream: ClientStream,
    request: Request,
}

impl Requested {
    pub(super) fn new(stream: ClientStream, request: Request) -> Self {
        Self { stream, request }
    }

    pub(super) async fn judge(self, session: &mut Session) -> Result<Permitted, Ended> {
        let permits = match self.request.command {
            Command::Connect => permits(&self.request.target, session).await,
            command => Err(End::NotServed(command)),
        };
        match permits {
            Ok(permits) => Ok(Permitted::new(self.stream, permits)),
            Err(end) => {
                session.record.rule = end.rule().cloned();
                Err(Ended::with_reply(self.stream, end))
            }
        }
    }
}

/// The permits for all addresses of the target that the policy permits; never an empty list.
async fn permits(target: &Target, session: &Session) -> Result<Vec<Permit>, End> {
    if target.port == 0 {
        return Err(End::PortZero);
    }
    match &target.host {
        Host::Ip(ip) => permits_for(target, &[*ip], session),
        Host::Name(name) => {
            // What the name alone forbids is not even looked up.
            match session.decide(Some(target), None) {
                Decision::Deny(denial) => return Err(End::Denied(denial)),
                Decision::Needs(Fact::Address) => {}
                Decision::Permit(_) | Decision::Needs(_) => return Err(End::Undecided),
            }
            permits_for(target, &addresses(name, session).await?, session)
        }
    }
}

async fn addresses(name: &DomainName, session: &Session) -> Result<Vec<IpAddr>, End> {
    let most = session.snapshot.settings.limits.resolve_timeout;
    session.snapshot.resolver.lookup(name, most).await.map_err(End::Resolve)
}

fn permits_for(target: &Target, addresses: &[IpAddr], session: &Session) -> Result<Vec<Permit>, End> {
    let nat64 = session.snapshot.settings.nat64.as_ref();
    let mut permits = Vec::new();
    let mut refused = None;
    for address in addresses {
        match session.decide(Some(target), Some(*address)) {
            Decision::Permit(permit) if Route::of(&permit, nat64).is_some() => permits.push(permit),
            Decision::Permit(permit) => refused = Some(End::other_family(permit.rule(), &target.host)),
            // 02 only if all addresses were denied.
            Decision::Deny(denial) => refused = refused.or(Some(End::Denied(denial))),
            Decision::Needs(_) => refused = Some(End::Undecided),
        }
    }
    if permits.is_empty() { Err(refused.unwrap_or(End::Undecided)) } else { Ok(permits) }
}
