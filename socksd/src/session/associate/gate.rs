//! What the policy says of each datagram of an association.

mod forwarding;

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use socks_core::relay::Way;
use socks_core::udp::{DropCause, Forwarded, Gate, Tally, Verdict};
use socks_core::wire::{DomainName, Host, Target};
use socks_policy::{Permit, UdpReplies};
use tokio::time::Instant;

use crate::admission::Room;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

use super::bucket::Bucket;
use super::facts::{Facts, Refusal};
use super::names::{Answer, Names};
use super::reach::Reach;
use super::recent::Recent;
use super::route::Routes;
use super::upstreams::Upstreams;
use forwarding::From;

/// How long a verdict is good: rules expire, and names get other addresses.
const FRESH: Duration = Duration::from_secs(30);

/// The verdicts on one association's datagrams.
///
/// The policy is asked once for a destination and then again after half a minute, after a reload, and when
/// too many other destinations were in between.
pub(super) struct Judge {
    facts: Facts,
    snapshot: arc_swap::Cache<Current, Arc<Snapshot>>,
    generation: u64,
    routes: Routes,
    reach: Reach,
    replies: UdpReplies,
    /// How long that is good.
    replies_until: Instant,
    verdicts: Recent<Target, Judged>,
    /// The addresses that datagrams went to.
    asked: Recent<SocketAddr, Asked>,
    /// The one that the last datagram went to.
    last: Option<Last>,
    names: Names,
    /// The ways through upstream gateways.
    upstreams: Upstreams,
    /// What datagrams that went through them have asked.
    sent: Recent<From, Asked>,
    /// Where the places for more sockets come from.
    room: Room,
    bucket: Option<Bucket>,
    tally: Arc<Tally>,
}

/// What was decided for a target.
#[derive(Debug, Clone, Copy)]
struct Judged {
    verdict: Verdict,
    /// The address that was judged; a translator may have another one for it, which is sent to.
    address: Option<SocketAddr>,
    /// The way through an upstream gateway, and how long it may take to open it.
    via: Option<(usize, Option<Duration>)>,
    until: Instant,
    /// How often the gateway's own sockets at that port had changed.
    changes: u64,
}

/// Why an address was sent to.
struct Asked {
    target: Target,
    /// The address that was judged; `None`: only an upstream gateway knows it.
    judged: Option<SocketAddr>,
    /// The generation of the policy that permitted it.
    generation: u64,
    /// Until when its answers are let in without asking again: rules expire, and tickets end.
    until: Instant,
}

/// What need not be noted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    address: SocketAddr,
    judged: SocketAddr,
    /// Until when it need not be judged again.
    until: Instant,
}

/// Why there are no addresses of a name.
enum Unknown {
    Denied,
    /// They are an upstream gateway's business.
    Upstream(Box<Permit>),
    /// What becomes of a datagram as long as they are not known.
    Yet(Verdict),
}

/// The terms of one association's verdicts.
pub(super) struct Terms {
    pub(super) routes: Routes,
    pub(super) replies: UdpReplies,
    pub(super) bucket: Option<Bucket>,
    pub(super) room: Room,
    pub(super) tally: Arc<Tally>,
}

/// Gives the snapshot in force.
struct Current(Arc<Gateway>);

impl Deref for Current {
    type Target = ArcSwap<Snapshot>;

    fn deref(&self) -> &Self::Target {
        &self.0.snapshot
    }
}

impl Judge {
    pub(super) fn new(facts: Facts, terms: Terms) -> Self {
        let mut snapshot = arc_swap::Cache::new(Current(facts.gateway.clone()));
        let current = snapshot.load();
        let (generation, most) =
            (current.ruleset.generation(), current.settings.limits.destinations_per_association);
        Self {
            facts,
            snapshot,
            generation,
            routes: terms.routes,
            reach: Reach::by(terms.routes.egress),
            replies: terms.replies,
            replies_until: Instant::now() + FRESH,
            verdicts: Recent::new(most),
            asked: Recent::new(most),
            last: None,
            names: Names::new(),
            upstreams: Upstreams::default(),
            sent: Recent::new(most),
            room: terms.room,
            bucket: terms.bucket,
            tally: terms.tally,
        }
    }

    /// Forgets the verdicts of a policy that is no longer in force.
    fn follow_reload(&mut self) {
        let generation = self.snapshot.load().ruleset.generation();
        if generation != self.generation {
            self.generation = generation;
            self.verdicts.clear();
            self.names.clear();
            // Whether it may still be heard is judged when it is.
            self.last = None;
            let snapshot = self.snapshot.load();
            self.replies = self.facts.replies(snapshot);
            self.upstreams.follow(|name| snapshot.upstream(name).map(|upstream| &upstream.entry));
        }
    }

    fn judge_anew(&mut self, target: &Target, now: Instant) -> Judged {
        // Asked for first: a socket that comes while this is judged is one that has come since then.
        let changes = self.own_changes(target);
        let no = |cause| Judged {
            verdict: Verdict::Drop(cause),
            address: None,
            via: None,
            until: now + FRESH,
            changes,
        };
        let judged = match &target.host {
            // Nothing can be sent there.
            _ if target.port == 0 => no(DropCause::Unreachable),
            Host::Ip(ip) => self.choose(target, &[*ip], changes).unwrap_or_else(no),
            Host::Name(name) => match self.addresses(target, name, now) {
                Err(Unknown::Upstream(permit)) => {
                    self.through(&permit, changes).unwrap_or_else(|| no(DropCause::Denied))
                }
                Ok(addresses) => self.choose(target, &addresses, changes).unwrap_or_else(no),
                Err(Unknown::Denied) => no(DropCause::Denied),
                // Not to be remembered: it may be known the next time.
                Err(Unknown::Yet(verdict)) => {
                    return Judged { verdict, address: None, via: None, until: now, changes };
                }
            },
        };
        self.verdicts.insert(target.clone(), judged);
        judged
    }

    /// The addresses of a name that is not forbidden; at least one.
    fn addresses(
        &mut self,
        target: &Target,
        name: &DomainName,
        now: Instant,
    ) -> Result<Arc<[IpAddr]>, Unknown> {
        let snapshot = Arc::clone(self.snapshot.load());
        // What the name alone forbids is not even looked up.
        match self.facts.permit(&snapshot, target, None) {
            Err(Refusal::Denied) => return Err(Unknown::Denied),
            // An upstream gateway looks it up.
            Ok(permit) if permit.terms().upstream.is_some() => {
                return Err(Unknown::Upstream(Box::new(permit)));
            }
            Ok(_) | Err(Refusal::Open) => {}
        }
        let answer = self.names.ask(name, now, |name| async move {
            snapshot.resolver.lookup(&name, snapshot.settings.limits.resolve_timeout).await
        });
        match answer {
            Answer::Known(addresses) if addresses.is_empty() => {
                Err(Unknown::Yet(Verdict::Drop(DropCause::Unresolved)))
            }
            Answer::Known(addresses) => Ok(addresses),
            Answer::Asking => Err(Unknown::Yet(Verdict::Resolve)),
            Answer::Busy => Err(Unknown::Yet(Verdict::Drop(DropCause::Full))),
        }
    }

    /// The address to send to, of those that are permitted.
    fn choose(&mut self, target: &Target, addresses: &[IpAddr], changes: u64) -> Result<Judged, DropCause> {
        let snapshot = self.snapshot.load();
        let mut permits: Vec<Permit> =
            addresses.iter().filter_map(|ip| self.facts.permit(snapshot, target, Some(*ip)).ok()).collect();
        // All go the way of the first one: through its upstream gateway, or through none.
        let first = permits.first().ok_or(DropCause::Denied)?;
        if let Some(judged) = self.through(first, changes) {
            return Ok(judged);
        }
        permits.retain(|permit| permit.terms().upstream.is_none());
        let snapshot = self.snapshot.load();
        let nat64 = snapshot.settings.nat64.as_ref();
        let way = self.routes.choose(&permits, nat64, &mut self.reach).ok_or(DropCause::Unreachable)?;
        let (verdict, address) = (Verdict::Send(way.destination), Some(way.judged));
        Ok(Judged { verdict, address, via: None, until: Instant::now() + FRESH, changes })
    }

    /// From whom datagrams are let in.
    fn replies_at(&mut self, now: Instant) -> UdpReplies {
        if now >= self.replies_until {
            // The rule may have expired, or its hours may be over.
            self.replies = self.facts.replies(self.snapshot.load());
            self.replies_until = now + FRESH;
        }
        self.replies
    }

    /// Changes when a socket of the gateway's own comes or goes at the target's port.
    fn own_changes(&self, target: &Target) -> u64 {
        self.facts.gateway.own_sockets.changes(target.port)
    }

    /// Remembers that a datagram goes there.
    fn note(&mut self, address: SocketAddr, target: &Target, decided: Judged) {
        let Judged { address: Some(judged), until, .. } = decided else { return };
        let last = Last { address, judged, until };
        if self.last.replace(last) == Some(last) {
            return;
        }
        match self.asked.get(&address) {
            // By a translator's address two may be meant, and what comes back is from the one that was asked last.
            Some(asked)
                if asked.generation == self.generation
                    && asked.until >= until
                    && asked.judged == Some(judged) =>
            {
                return;
            }
            Some(_) => {}
            None => self.tally.count_destination(),
        }
        let (judged, generation) = (Some(judged), self.generation);
        let asked = Asked { target: target.clone(), judged, generation, until };
        self.asked.insert(address, asked);
    }
}

impl Gate for Judge {
    fn judge(&mut self, target: &Target) -> Verdict {
        self.follow_reload();
        let now = Instant::now();
        let changes = self.own_changes(target);
        let is_good = |judged: &&Judged| now < judged.until && judged.changes == changes;
        let known = self.verdicts.get(target).filter(is_good).copied();
        let judged = known.unwrap_or_else(|| self.judge_anew(target, now));
        match (judged.verdict, judged.via) {
            (Verdict::Send(destination), _) => self.note(destination, target, judged),
            (Verdict::Forward, Some(via)) => return self.by_way(via, target, &judged),
            _ => {}
        }
        judged.verdict
    }

    fn poll_resolved(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let facts = &self.facts;
        let opened = self.upstreams.poll_opened(cx, |name, opened| facts.tell_upstream(name, opened));
        if self.names.poll_known(cx).is_ready() { Poll::Ready(()) } else { opened }
    }

    fn admit(&mut self, origin: SocketAddr) -> Result<(), DropCause> {
        self.follow_reload();
        let now = Instant::now();
        let replies = self.replies_at(now);
        let is_fresh = self.last.is_some_and(|last| last.address == origin && now < last.until);
        if is_fresh || replies == UdpReplies::Any {
            return Ok(());
        }
        let Some(asked) = self.asked.get(&origin) else { return Err(DropCause::NotAskedFor) };
        if asked.generation == self.generation && now < asked.until {
            return Ok(());
        }
        // A policy that has come since then may forbid it, and time may.
        let (target, judged) = (asked.target.clone(), asked.judged);
        let permit = self.facts.permit(self.snapshot.load(), &target, judged.map(|judged| judged.ip()));
        // Under a rule with an upstream it would go there, and answer from there.
        if !permit.is_ok_and(|permit| permit.terms().upstream.is_none()) {
            self.asked.remove(&origin);
            return Err(DropCause::Denied);
        }
        let until = now + FRESH;
        self.asked.insert(origin, Asked { target, judged, generation: self.generation, until });
        Ok(())
    }

    fn shown(&mut self, origin: SocketAddr) -> SocketAddr {
        // Without a translator the two are one, and nothing has to be looked for.
        if self.snapshot.load().settings.nat64.is_none() {
            return origin;
        }
        self.asked.get(&origin).and_then(|asked| asked.judged).unwrap_or(origin)
    }

    fn forward(&mut self, target: &Target, octets: &[u8]) -> Result<(), DropCause> {
        self.send(target, octets)
    }

    fn poll_forwarded(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<Forwarded> {
        self.poll_back(cx, room)
    }

    fn take(&mut self, way: Way, datagrams: usize) -> usize {
        match (&mut self.bucket, way) {
            (Some(bucket), Way::Up) => bucket.take(datagrams, Instant::now()),
            _ => datagrams,
        }
    }
}
