//! The ways of one association through upstream gateways: each is an association there, opened when a datagram first
//! needs it, and closed with the client's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use socks_client::{Association, DatagramError};
use socks_core::udp::{DropCause, Verdict};
use socks_core::wire::{Host, Target};
use tokio::time::Instant;

use crate::admission::Ticket;
use crate::upstream::UpstreamError;

/// The most upstreams that the datagrams of one association go through.
const MOST: usize = 16;
/// How long a way that has failed is not tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// An association at an upstream, with its place among the sessions.
pub(super) type Opened = (Association, Ticket);
/// One that is on its way.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Opened, UpstreamError>> + Send>>;

/// The ways of one association, by the names of the upstreams.
#[derive(Default)]
pub(super) struct Upstreams {
    ways: Vec<Way>,
    /// Whose turn it is to be heard first.
    turn: usize,
    received: BytesMut,
}

struct Way {
    name: Arc<str>,
    /// The upstream that it leads to, as the configuration had it when it was opened last.
    entry: Option<Arc<str>>,
    state: State,
}

enum State {
    Closed,
    Opening(Opening),
    Open(Box<Opened>),
    /// It has failed, and is not tried again until then.
    Failed(Instant),
}

impl Upstreams {
    /// The number of the way through that upstream; `None`: there are too many.
    pub(super) fn number(&mut self, name: &Arc<str>) -> Option<usize> {
        let known = self.ways.iter().position(|way| way.name == *name);
        if known.is_none() && self.ways.len() < MOST {
            self.ways.push(Way { name: name.clone(), entry: None, state: State::Closed });
            return Some(self.ways.len() - 1);
        }
        known
    }

    /// The upstream of a way.
    pub(super) fn name(&self, number: usize) -> Option<&Arc<str>> {
        self.ways.get(number).map(|way| &way.name)
    }

    /// Closes the ways that lead to upstreams which `entry` has no more, or has otherwise: the next datagram opens the
    /// new way, if there is one.
    pub(super) fn follow<'a>(&mut self, entry: impl Fn(&str) -> Option<&'a Arc<str>>) {
        for way in &mut self.ways {
            if way.entry.is_some() && way.entry.as_ref() != entry(&way.name) {
                (way.entry, way.state) = (None, State::Closed);
            }
        }
    }

    /// What becomes of a datagram that goes this way. One that is closed is opened by `begin`, to the upstream of the
    /// entry that this gives.
    pub(super) fn verdict(
        &mut self,
        number: usize,
        now: Instant,
        begin: impl FnOnce() -> Result<(Arc<str>, Opening), DropCause>,
    ) -> Verdict {
        let Some(way) = self.ways.get_mut(number) else { return Verdict::Drop(DropCause::Upstream) };
        match &way.state {
            State::Open(_) => return Verdict::Forward,
            State::Opening(_) => return Verdict::Resolve,
            State::Failed(until) if now < *until => return Verdict::Drop(DropCause::Upstream),
            State::Failed(_) | State::Closed => {}
        }
        match begin() {
            Ok((entry, opening)) => {
                (way.entry, way.state) = (Some(entry), State::Opening(opening));
                Verdict::Resolve
            }
            Err(cause) => {
                way.state = State::Failed(now + PAUSE);
                Verdict::Drop(cause)
            }
        }
    }

    /// Ready when a way is open or has failed, which `told` hears.
    pub(super) fn poll_opened(
        &mut self,
        cx: &mut Context<'_>,
        mut told: impl FnMut(&Arc<str>, Result<(), UpstreamError>),
    ) -> Poll<()> {
        let mut any = Poll::Pending;
        for way in &mut self.ways {
            let State::Opening(opening) = &mut way.state else { continue };
            let Poll::Ready(opened) = opening.as_mut().poll(cx) else { continue };
            any = Poll::Ready(());
            way.state = match opened {
                Ok(opened) => {
                    told(&way.name, Ok(()));
                    State::Open(Box::new(opened))
                }
                Err(error) => {
                    told(&way.name, Err(error));
                    State::Failed(Instant::now() + PAUSE)
                }
            };
        }
        any
    }

    /// Sends a datagram by a way that is open.
    pub(super) fn send(&mut self, number: usize, target: &Target, octets: &[u8]) -> Result<(), DropCause> {
        let way = self.ways.get_mut(number).ok_or(DropCause::Upstream)?;
        let State::Open(opened) = &way.state else { return Err(DropCause::Upstream) };
        opened.0.try_send_to(target, octets).map_err(|error| match error {
            DatagramError::TooLong => DropCause::TooLarge,
            DatagramError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => DropCause::Full,
            DatagramError::Io(_) => DropCause::Upstream,
            // The way is of no more use.
            _ => {
                way.state = State::Failed(Instant::now() + PAUSE);
                DropCause::Upstream
            }
        })
    }

    /// The next datagram that comes back by any way that is open: by which, and from where; `None` where the upstream
    /// names no address. Its user data is put into `room`.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<Received> {
        let count = self.ways.len();
        for step in 0..count {
            let number = (self.turn + step) % count;
            let Some(way) = self.ways.get_mut(number) else { continue };
            let State::Open(opened) = &way.state else { continue };
            match opened.0.poll_recv_from(cx, &mut self.received) {
                Poll::Pending => {}
                Poll::Ready(Err(_)) => way.state = State::Failed(Instant::now() + PAUSE),
                Poll::Ready(Ok(origin)) => {
                    self.turn = (number + 1) % count;
                    let len = self.received.len().min(room.len());
                    if let (Some(room), Some(octets)) = (room.get_mut(..len), self.received.get(..len)) {
                        room.copy_from_slice(octets);
                    }
                    return Poll::Ready(Received { number, origin: address(&origin), len });
                }
            }
        }
        // While nothing comes no buffer is held.
        self.received = BytesMut::new();
        Poll::Pending
    }
}

/// A datagram that has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// By which way.
    pub(super) number: usize,
    pub(super) origin: Option<SocketAddr>,
    pub(super) len: usize,
}

fn address(origin: &Target) -> Option<SocketAddr> {
    match origin.host {
        Host::Ip(ip) => Some(SocketAddr::new(ip.to_canonical(), origin.port)),
        Host::Name(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn never() -> Result<(Arc<str>, Opening), DropCause> {
        panic!("the way is being opened, or rests")
    }

    fn fails() -> Result<(Arc<str>, Opening), DropCause> {
        Ok(("hq:1080".into(), Box::pin(ready(Err(UpstreamError::Unknown("hq".into()))))))
    }

    async fn opened(upstreams: &mut Upstreams) -> Vec<String> {
        let mut told = Vec::new();
        std::future::poll_fn(|cx| {
            upstreams.poll_opened(cx, |name, opened| told.push(format!("{name} {}", opened.is_ok())))
        })
        .await;
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_way_that_has_failed_rests_before_it_is_tried_again() {
        let mut upstreams = Upstreams::default();
        let number = upstreams.number(&"hq".into()).unwrap();
        let start = Instant::now();
        assert_eq!(upstreams.verdict(number, start, fails), Verdict::Resolve);
        assert_eq!(upstreams.verdict(number, start, never), Verdict::Resolve, "one at a time");
        assert_eq!(opened(&mut upstreams).await, ["hq false"]);
        assert_eq!(upstreams.verdict(number, start, never), Verdict::Drop(DropCause::Upstream));
        assert_eq!(upstreams.verdict(number, start + PAUSE, fails), Verdict::Resolve);
    }

    #[tokio::test]
    async fn one_way_waits_for_no_other() {
        let mut upstreams = Upstreams::default();
        let [slow, quick] = ["slow", "quick"].map(|name| upstreams.number(&name.into()).unwrap());
        let now = Instant::now();
        assert_eq!(
            upstreams.verdict(slow, now, || Ok(("slow:1080".into(), Box::pin(pending())))),
            Verdict::Resolve
        );
        assert_eq!(upstreams.verdict(quick, now, fails), Verdict::Resolve);
        assert_eq!(opened(&mut upstreams).await, ["quick false"]);
        assert_eq!(upstreams.verdict(slow, now, never), Verdict::Resolve);
    }

    #[tokio::test]
    async fn a_way_to_an_upstream_that_has_moved_is_closed_and_all_others_stay() {
        let mut upstreams = Upstreams::default();
        let [hq, slow] = ["hq", "slow"].map(|name| upstreams.number(&name.into()).unwrap());
        let now = Instant::now();
        let begin = || Ok(("slow:1080".into(), Box::pin(pending()) as Opening));
        assert_eq!(upstreams.verdict(hq, now, fails), Verdict::Resolve);
        assert_eq!(upstreams.verdict(slow, now, begin), Verdict::Resolve);
        assert_eq!(opened(&mut upstreams).await, ["hq false"]);
        let [old, moved, stays] = ["hq:1080", "hq:1081", "slow:1080"].map(Arc::<str>::from);
        upstreams.follow(|name| Some(if name == "hq" { &old } else { &stays }));
        assert_eq!(upstreams.verdict(hq, now, never), Verdict::Drop(DropCause::Upstream), "it rests still");
        upstreams.follow(|name| Some(if name == "hq" { &moved } else { &stays }));
        assert_eq!(upstreams.verdict(hq, now, fails), Verdict::Resolve, "the new one may be there");
        assert_eq!(upstreams.verdict(slow, now, never), Verdict::Resolve, "it is on its way still");
        upstreams.follow(|_| None);
        assert_eq!(upstreams.verdict(slow, now, begin), Verdict::Resolve, "it was gone meanwhile");
    }

    #[test]
    fn ways_are_bounded_and_keep_their_numbers() {
        let mut upstreams = Upstreams::default();
        let numbers: Vec<_> =
            (0..100).map(|number| upstreams.number(&format!("gw-{number}").into())).collect();
        assert_eq!(numbers.iter().flatten().count(), MOST);
        assert_eq!(upstreams.number(&"gw-3".into()), Some(3));
        assert_eq!(upstreams.name(3).map(|name| &**name), Some("gw-3"));
        assert_eq!(upstreams.send(3, &"192.0.2.1:53".parse().unwrap(), b"x"), Err(DropCause::Upstream));
    }

    #[test]
    fn what_cannot_be_opened_for_want_of_room_rests_as_well() {
        let mut upstreams = Upstreams::default();
        let (number, now) = (upstreams.number(&"hq".into()).unwrap(), Instant::now());
        let full = || Err(DropCause::Full);
        assert_eq!(upstreams.verdict(number, now, full), Verdict::Drop(DropCause::Full));
        assert_eq!(upstreams.verdict(number, now, never), Verdict::Drop(DropCause::Upstream));
    }
}
