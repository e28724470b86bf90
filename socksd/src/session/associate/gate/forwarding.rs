//! Datagrams that a rule sends through an upstream gateway: which way they take, and what may come back by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socks_core::udp::{DropCause, Forwarded, Verdict};
use socks_core::wire::{Host, Target};
use socks_policy::{Permit, UdpReplies};
use tokio::time::Instant;

use super::{Asked, FRESH, Judge, Judged};
use crate::session::associate::upstreams::{Opening, Received};

/// By what an answer is known that comes through an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum From {
    /// The address that was sent to.
    Address(usize, SocketAddr),
    /// The port of a name, of which only the upstream knows the address.
    Port(usize, u16),
}

impl From {
    fn of(number: usize, target: &Target, address: Option<SocketAddr>) -> Self {
        match (address, &target.host) {
            (Some(address), _) => Self::Address(number, address),
            (None, Host::Ip(ip)) => Self::Address(number, SocketAddr::new(*ip, target.port)),
            (None, Host::Name(_)) => Self::Port(number, target.port),
        }
    }
}

impl Judge {
    /// The way of a permit that goes through an upstream.
    pub(super) fn through(&mut self, permit: &Permit, changes: u64) -> Option<Judged> {
        let upstream = permit.terms().upstream.as_ref()?;
        let (verdict, via) = match self.upstreams.number(upstream) {
            Some(number) => (Verdict::Forward, Some((number, permit.terms().connect_timeout))),
            None => (Verdict::Drop(DropCause::Full), None),
        };
        Some(Judged { verdict, address: permit.address(), via, until: Instant::now() + FRESH, changes })
    }

    /// What becomes of a datagram that goes by a way: it is sent, or waits until the way is open, or is dropped.
    pub(super) fn by_way(
        &mut self,
        (number, most): (usize, Option<Duration>),
        target: &Target,
        judged: &Judged,
    ) -> Verdict {
        let snapshot = Arc::clone(self.snapshot.load());
        let Some(name) = self.upstreams.name(number).cloned() else {
            return Verdict::Drop(DropCause::Upstream);
        };
        let room = &self.room;
        let begin = || {
            let upstream = snapshot.upstream(&name).ok_or(DropCause::Upstream)?.clone();
            let ticket = room.take().map_err(|_| DropCause::Full)?;
            let most = most.unwrap_or(snapshot.settings.limits.connect_timeout);
            let entry = upstream.entry.clone();
            let opening = async move { Ok((upstream.associate(most).await?, ticket)) };
            Ok((entry, Box::pin(opening) as Opening))
        };
        let verdict = self.upstreams.verdict(number, Instant::now(), begin);
        if verdict == Verdict::Forward {
            self.note_sent(number, target, judged);
        }
        verdict
    }

    /// Remembers what was asked through an upstream.
    fn note_sent(&mut self, number: usize, target: &Target, judged: &Judged) {
        let key = From::of(number, target, judged.address);
        let (generation, until) = (self.generation, judged.until);
        match self.sent.get(&key) {
            Some(asked) if asked.generation == generation && asked.until >= until => return,
            Some(_) => {}
            None => self.tally.count_destination(),
        }
        let asked = Asked { target: target.clone(), judged: judged.address, generation, until };
        self.sent.insert(key, asked);
    }

    /// Sends a datagram by the way that was chosen for it.
    pub(super) fn send(&mut self, target: &Target, octets: &[u8]) -> Result<(), DropCause> {
        let judged = self.verdicts.get(target).copied().ok_or(DropCause::Upstream)?;
        let (number, _) = judged.via.ok_or(DropCause::Upstream)?;
        match judged.address {
            Some(address) => self.upstreams.send(number, &address.into(), octets),
            None => self.upstreams.send(number, target, octets),
        }
    }

    /// The next datagram that comes back through an upstream.
    pub(super) fn poll_back(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<Forwarded> {
        // What comes from an upstream that is one no longer is not taken.
        self.follow_reload();
        let Poll::Ready(Received { number, origin, len }) = self.upstreams.poll_receive(cx, room) else {
            return Poll::Pending;
        };
        let origin = match origin {
            Some(origin) => self.admit_through(number, origin).map(|()| origin),
            None => Err(DropCause::Malformed),
        };
        Poll::Ready(Forwarded { len, origin })
    }

    /// Tells whether an answer through an upstream may go to the client: by the same rule as one that comes here.
    fn admit_through(&mut self, number: usize, origin: SocketAddr) -> Result<(), DropCause> {
        let now = Instant::now();
        if self.replies_at(now) == UdpReplies::Any {
            return Ok(());
        }
        let keys = [From::Address(number, origin), From::Port(number, origin.port())];
        let Some(key) = keys.into_iter().find(|key| self.sent.get(key).is_some()) else {
            return Err(DropCause::NotAskedFor);
        };
        let Some(asked) = self.sent.get(&key) else { return Err(DropCause::NotAskedFor) };
        if asked.generation == self.generation && now < asked.until {
            return Ok(());
        }
        // A policy that has come since then may forbid it, and time may; and it must go the same way still.
        let (target, judged) = (asked.target.clone(), asked.judged);
        let permit = self.facts.permit(self.snapshot.load(), &target, judged.map(|judged| judged.ip()));
        let is_same_way =
            permit.is_ok_and(|permit| permit.terms().upstream.as_ref() == self.upstreams.name(number));
        if !is_same_way {
            self.sent.remove(&key);
            return Err(DropCause::Denied);
        }
        let until = now + FRESH;
        self.sent.insert(key, Asked { target, judged, generation: self.generation, until });
        Ok(())
    }
}
