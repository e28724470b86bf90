//! From the client to its destinations: who sent it, what is in it, and where it may go.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::batch::{Batch, HEAD, Outgoing, Received, STRIDE, is_passing};
use super::carrier::Carrier;
use super::fragments::Fragment;
use super::gate::{Gate, Verdict};
use super::sink::{Sink, cause_of, send_one};
use super::tally::DropCause;
use crate::relay::Way;
use crate::wire::{Host, Target, UdpHeader};
use crate::{OpenError, Protection};

/// What the way up remembers from one datagram to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The address octets of the last datagram to a name, so that they are not read again for the next one.
    encoded: Vec<u8>,
    target: Option<Target>,
}

/// A datagram in its place in a batch.
struct Place<'a> {
    /// Where the place begins among the batch's octets.
    start: usize,
    octets: &'a mut [u8],
    received: Received,
    now: Instant,
}

/// The header of a datagram of the client, but for the target, which is remembered.
struct Read {
    /// Its FRAG octet.
    fragment: u8,
    /// Where in the place the user data lies.
    data: Range<usize>,
}

impl<G: Gate> Carrier<G> {
    /// Receives one batch from the client and sends it on; tells how many octets came, headers and all.
    pub(super) fn poll_up(&mut self, batch: &mut Batch, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let most = self.pace_up.most(self.terms.batch);
        match ready!(batch.poll_receive((&self.client, self.client_is_v6), most, cx)) {
            Ok(()) => {}
            Err(error) if is_passing(&error) => return Poll::Ready(Ok(0)),
            Err(error) => return Poll::Ready(Err(error)),
        }
        let ours = batch.received().iter().filter(|one| self.lock.admits(one.source)).count();
        let mut granted = self.gate.take(Way::Up, ours);
        let now = Instant::now();
        self.expire_fragments(now);
        let (mut received, mut sum) = (0, 0);
        while let Some(one) = batch.received().get(received).copied() {
            let (start, octets) = (received * STRIDE, batch.place_mut(received));
            let accepted = match (self.lock.admits(one.source), granted) {
                (false, _) => Err(DropCause::NotTheClient),
                (true, 0) => Err(DropCause::RateLimited),
                (true, left) => {
                    granted = left - 1;
                    self.accept(Place { start, octets, received: one, now })
                }
            };
            if let Err(cause) = accepted {
                self.terms.tally.drop_one(cause);
            }
            (received, sum) = (received + 1, sum + one.len);
        }
        self.pace_up.note(received, sum);
        self.send_up(batch);
        Poll::Ready(Ok(sum))
    }

    /// Takes a datagram that may be the client's, and lists it for sending if it may be sent.
    fn accept(&mut self, mut place: Place<'_>) -> Result<(), DropCause> {
        let Received { source, len } = place.received;
        let datagram = place.octets.get_mut(HEAD..HEAD + len).unwrap_or_default();
        let plain = open(self.protection.as_mut(), datagram)?;
        let read = self.memory.read(place.octets, HEAD + plain.start..HEAD + plain.end)?;
        if self.lock.lock(source) {
            connect(&self.client, source);
        }
        match self.reassemble(read, &mut place)? {
            Some(data) => self.judge(data, &place),
            None => Ok(()),
        }
    }

    /// Makes fragments a datagram, in the place of the last one; tells where the user data lies once it is whole.
    fn reassemble(&mut self, read: Read, place: &mut Place<'_>) -> Result<Option<Range<usize>>, DropCause> {
        let Read { fragment: octet, data } = read;
        let Some(queue) = &mut self.reassembly else {
            return if octet == 0 { Ok(Some(data)) } else { Err(DropCause::Fragment) };
        };
        if octet == 0 {
            self.terms.tally.drop_many(DropCause::Fragment, queue.abandon());
            return Ok(Some(data));
        }
        let data = place.octets.get(data).unwrap_or_default();
        let taken = queue.take(Fragment { octet, target: self.memory.target()?, data }, place.now);
        self.terms.tally.drop_many(DropCause::Fragment, taken.lost);
        if !taken.is_whole {
            return Ok(None);
        }
        let whole = HEAD..HEAD + queue.whole().len();
        place.octets.get_mut(whole.clone()).ok_or(DropCause::TooLarge)?.copy_from_slice(queue.whole());
        Ok(Some(whole))
    }

    /// Lists a whole datagram to where the gate sends it.
    fn judge(&mut self, data: Range<usize>, place: &Place<'_>) -> Result<(), DropCause> {
        let target = self.memory.target()?;
        let to = match self.gate.judge(target) {
            Verdict::Send(to) => to,
            Verdict::Drop(cause) => return Err(cause),
            Verdict::Forward => {
                let octets = place.octets.get(data).unwrap_or_default();
                if !self.terms.meter.admits(Way::Up, octets.len()) {
                    return Err(DropCause::RateLimited);
                }
                self.gate.forward(target, octets)?;
                self.terms.tally.carried(Way::Up, 1, octets.len() as u64);
                return Ok(());
            }
            Verdict::Resolve => {
                let octets = place.octets.get(data).unwrap_or_default();
                return self.waiting.push(target, octets).then_some(()).ok_or(DropCause::Full);
            }
        };
        if !self.terms.meter.admits(Way::Up, data.len()) {
            return Err(DropCause::RateLimited);
        }
        let range = place.start + data.start..place.start + data.end;
        let outgoing = Outgoing { to: Some(to), user_data: data.len(), range };
        let list = if to.is_ipv6() { &mut self.to_v6 } else { &mut self.to_v4 };
        list.push(outgoing);
        Ok(())
    }

    fn send_up(&mut self, batch: &Batch) {
        let tally = &self.terms.tally;
        for (socket, outgoing) in [(&self.outer.v4, &mut self.to_v4), (&self.outer.v6, &mut self.to_v6)] {
            match socket {
                Some(socket) => {
                    Sink { socket, way: Way::Up, tally, cuts_runs: &mut self.cuts_runs }
                        .send(batch, outgoing);
                }
                None => tally.drop_many(DropCause::Unreachable, outgoing.len()),
            }
            outgoing.clear();
        }
    }

    /// Sends the datagrams whose names have become known.
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>) {
        if self.waiting.len() == 0 || self.gate.poll_resolved(cx).is_pending() {
            return;
        }
        let (outer, tally, meter) = (&self.outer, &self.terms.tally, &self.terms.meter);
        let mut forwarded = false;
        self.waiting.judge(&mut self.gate, |gate, datagram, verdict| {
            let sent = match verdict {
                Verdict::Send(_) | Verdict::Forward if !meter.admits(Way::Up, datagram.octets.len()) => {
                    Err(DropCause::RateLimited)
                }
                Verdict::Send(to) => outer.send(to, &datagram.octets),
                Verdict::Forward => {
                    forwarded = true;
                    gate.forward(&datagram.target, &datagram.octets)
                }
                Verdict::Drop(cause) => Err(cause),
                Verdict::Resolve => Ok(()),
            };
            match sent {
                Ok(()) => tally.carried(Way::Up, 1, datagram.octets.len() as u64),
                Err(cause) => tally.drop_one(cause),
            }
        });
        if self.waiting.len() > 0 || forwarded {
            // The gate has not seen this waker yet, or not for the way that the datagram went.
            cx.waker().wake_by_ref();
        }
    }

    /// Lets go of a datagram in fragments whose time has run out.
    pub(super) fn expire_fragments(&mut self, now: Instant) {
        if let Some(queue) = &mut self.reassembly {
            self.terms.tally.drop_many(DropCause::Fragment, queue.expire(now));
        }
    }
}

impl super::Outer {
    fn send(&self, to: SocketAddr, octets: &[u8]) -> Result<(), DropCause> {
        let socket = if to.is_ipv6() { &self.v6 } else { &self.v4 };
        let socket = socket.as_ref().ok_or(DropCause::Unreachable)?;
        send_one(socket, octets, Some(to)).map(|_| ()).map_err(cause_of)
    }
}

impl Memory {
    /// Reads the header at the beginning of `plain`; only a name that was not the last one costs an allocation.
    fn read(&mut self, place: &[u8], plain: Range<usize>) -> Result<Read, DropCause> {
        let datagram = place.get(plain.clone()).unwrap_or_default();
        let (fixed, rest) = datagram.split_first_chunk::<3>().ok_or(DropCause::Malformed)?;
        let is_last =
            matches!(fixed, [0, 0, _]) && !self.encoded.is_empty() && rest.starts_with(&self.encoded);
        let data = if is_last {
            plain.start + fixed.len() + self.encoded.len()..plain.end
        } else {
            let split = UdpHeader::split(datagram).ok().flatten();
            let (header, data) = split.ok_or(DropCause::Malformed)?;
            self.remember(header.target, rest, data.len());
            plain.end - data.len()..plain.end
        };
        Ok(Read { fragment: fixed[2], data })
    }

    /// The target of the datagram that was read last.
    fn target(&self) -> Result<&Target, DropCause> {
        self.target.as_ref().ok_or(DropCause::Malformed)
    }

    /// Keeps the target that was read from the front of `rest`, with its octets if it is a name.
    fn remember(&mut self, target: Target, rest: &[u8], data_len: usize) {
        self.encoded.clear();
        if matches!(target.host, Host::Name(_)) {
            let len = rest.len().saturating_sub(data_len);
            self.encoded.extend_from_slice(rest.get(..len).unwrap_or_default());
        }
        self.target = Some(target);
    }
}

/// Opens a datagram in place, if it is protected, and tells where its plaintext lies.
fn open(protection: Option<&mut Protection>, datagram: &mut [u8]) -> Result<Range<usize>, DropCause> {
    let Some(protection) = protection else { return Ok(0..datagram.len()) };
    // RFC 1961 section 5: each datagram is one frame, so LEN says its length.
    if !matches!(protection.frame_len(datagram), Ok(Some(len)) if len == datagram.len()) {
        return Err(DropCause::Malformed);
    }
    let opened = protection.open(datagram).map_err(|error| match error {
        OpenError::Duplicate | OpenError::Old | OpenError::OutOfOrder => DropCause::Replayed,
        OpenError::NotAFrame | OpenError::TooLong => DropCause::Malformed,
        _ => DropCause::Forged,
    })?;
    Ok(opened.plaintext)
}

/// Lets the kernel keep out everybody else, and find the way back only once.
fn connect(socket: &UdpSocket, client: SocketAddr) {
    // If it fails, every datagram's source is looked at all the same, and sending tells why.
    let _ = rustix::net::connect(socket, &client);
}
