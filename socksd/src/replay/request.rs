//! One recorded request, and what a policy says to it.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use socks_core::Identity;
use socks_core::wire::{DomainName, Host, Target};
use socks_policy::{BindPeerRule, Decision, ExpectedPeer, Fact, Operation, Permit, Query};

use crate::judgement::{Answer, NOT_ADMITTED, Said};

use super::Replay;

/// What a record tells of a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) listener: String,
    pub(super) client: SocketAddr,
    pub(super) identity: Identity,
    pub(super) wish: Wish,
    /// The addresses of the target's name.
    pub(super) addresses: Vec<IpAddr>,
    /// The one that was used.
    pub(super) judged: Option<IpAddr>,
    /// When it was made.
    pub(super) at: Timestamp,
    /// Its target was one of the gateway's own sockets then.
    pub(super) is_own: bool,
}

/// What was asked for.
#[derive(Debug)]
pub(super) enum Wish {
    Connect(Target),
    Bind {
        target: Target,
        /// Who came.
        peer: Option<SocketAddr>,
    },
    Associate,
}

/// The permits for the addresses of a request, or why there is none.
type Judged = Result<Vec<Permit>, Vec<Said>>;

impl Request {
    pub(super) fn is_association(&self) -> bool {
        matches!(self.wish, Wish::Associate)
    }

    /// The addresses that are known of the host; the one that was used comes first.
    fn addresses(&self, host: &Host) -> Vec<IpAddr> {
        let Host::Name(_) = host else { return Vec::new() };
        let mut all: Vec<IpAddr> = self.judged.into_iter().collect();
        all.extend(self.addresses.iter().filter(|ip| Some(**ip) != self.judged));
        all
    }

    /// The gateway's own sockets, as far as the record tells.
    fn own(&self, known: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut own = known.to_vec();
        if let (true, Wish::Connect(target)) = (self.is_own, &self.wish) {
            let literal = match target.host {
                Host::Ip(ip) => Some(ip),
                Host::Name(_) => None,
            };
            let all = literal.into_iter().chain(self.addresses.iter().copied());
            own.extend(all.map(|ip| SocketAddr::new(ip.to_canonical(), target.port)));
        }
        own
    }
}

impl Replay {
    /// What the policy says to a request of which another one said that.
    pub(super) fn judge_request(&self, request: &Request, then: &Said) -> Said {
        let own = request.own(&self.own);
        let query = |operation, address| Query {
            listener: &request.listener,
            client: request.client,
            identity: Some(&request.identity),
            operation: Some(operation),
            address,
            gateway: &own,
            now: self.now.unwrap_or(request.at),
        };
        if !self.policy.admits(&query(Operation::Associate, None), &request.identity) {
            return Said::no(NOT_ADMITTED);
        }
        let judged = match &request.wish {
            Wish::Associate => self.decide(&query(Operation::Associate, None)).map(|permit| vec![permit]),
            Wish::Connect(target) => {
                let addresses = request.addresses(&target.host);
                self.permits(&addresses, |address| query(Operation::Connect(target), address))
            }
            Wish::Bind { target, peer } => {
                let addresses = request.addresses(&target.host);
                let operation = Operation::BindListen(ExpectedPeer::from(target));
                let listen = self.permits(&addresses, |address| query(operation, address));
                match (listen, peer) {
                    (Ok(listen), Some(peer)) => {
                        self.peer(&listen, (*peer, target), |operation| query(operation, None))
                    }
                    (listen, _) => listen,
                }
            }
        };
        told(judged, then)
    }

    /// The permits for each address of a target, as the gateway asks for them.
    fn permits<'a>(&self, addresses: &[IpAddr], query: impl Fn(Option<IpAddr>) -> Query<'a>) -> Judged {
        // What the name alone forbids, or permits through an upstream, needs no address.
        match self.decide(&query(None)) {
            Ok(permit) => return Ok(vec![permit]),
            Err(said) if said.iter().all(Said::is_decided) || addresses.is_empty() => return Err(said),
            Err(_) => {}
        }
        let (mut permits, mut refused) = (Vec::new(), Vec::new());
        for address in addresses {
            match self.decide(&query(Some(*address))) {
                Ok(permit) => permits.push(permit),
                Err(said) => refused.extend(said),
            }
        }
        if permits.is_empty() { Err(refused) } else { Ok(permits) }
    }

    /// The permit for the peer of a BIND for which the gateway was let listen.
    fn peer<'a>(
        &self,
        listen: &[Permit],
        (peer, target): (SocketAddr, &'a Target),
        query: impl Fn(Operation<'a>) -> Query<'a>,
    ) -> Judged {
        let expected: Vec<IpAddr> = listen.iter().filter_map(|permit| Some(permit.address()?.ip())).collect();
        let is_named = expected.contains(&peer.ip().to_canonical());
        let name: Option<&DomainName> = match &target.host {
            Host::Name(name) if is_named => Some(name),
            _ => None,
        };
        let permit = self.decide(&query(Operation::BindPeer { peer, name }))?;
        let wants_named = |permit: &Permit| permit.terms().bind.peer == BindPeerRule::Named;
        let is_other = !is_named && !expected.is_empty();
        if is_other && (wants_named(&permit) || listen.first().is_some_and(wants_named)) {
            return Err(vec![Said::no("other-peer")]);
        }
        Ok(vec![permit])
    }

    fn decide(&self, query: &Query<'_>) -> Result<Permit, Vec<Said>> {
        match self.policy.ruleset.decide(query) {
            Decision::Permit(permit) => Ok(permit),
            Decision::Needs(fact @ Fact::Address) => Err(vec![Said::undecided(fact.as_str())]),
            decision => Err(vec![Said::from(&decision)]),
        }
    }
}

/// One answer for all addresses: what was said then, if it is said of one of them again, or the first.
fn told(judged: Judged, then: &Said) -> Said {
    let all: Vec<Said> = match judged {
        Ok(permits) => {
            let permit = |permit: &Permit| Said {
                answer: Answer::Permit,
                rule: Some(permit.rule().clone()),
                reason: None,
            };
            permits.iter().map(permit).collect()
        }
        Err(refused) => refused,
    };
    let again = all.iter().find(|said| is_same(said, then)).cloned();
    again.or_else(|| all.into_iter().next()).unwrap_or_else(|| Said::undecided(Fact::Address.as_str()))
}

/// Tells whether the answer is the recorded one. A record does not tell whether groups that could not be learned made
/// a rule deny.
pub(super) fn is_same(now: &Said, then: &Said) -> bool {
    let reason = if now.reason == Some("groups-missing") { Some("rule") } else { now.reason };
    (now.answer, &now.rule, reason) == (then.answer, &then.rule, then.reason)
}
