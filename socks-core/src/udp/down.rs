//! From the destinations to the client: only what was asked for, with its true origin in front.

use std::array;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use super::MOST_BATCHED;
use super::batch::{BODY, Batch, HEAD, Outgoing, STRIDE, is_passing};
use super::carrier::Carrier;
use super::gate::{Forwarded, Gate};
use super::sink::Sink;
use super::tally::DropCause;
use crate::relay::Way;
use crate::wire::UdpHeader;
use crate::{Protection, SealError, Sealing};

/// Why the way down cannot go on.
pub(super) enum DownFault {
    Socket(io::Error),
    Seal(SealError),
}

impl<G: Gate> Carrier<G> {
    /// Receives one batch from the destinations of a family and sends it on; tells how many octets came.
    pub(super) fn poll_down(
        &mut self,
        is_v6: bool,
        batch: &mut Batch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, DownFault>> {
        let socket = if is_v6 { &self.outer.v6 } else { &self.outer.v4 };
        let Some(socket) = socket else { return Poll::Pending };
        let most = self.pace_down.most(self.terms.batch);
        match ready!(batch.poll_receive((socket, is_v6), most, cx)) {
            Ok(()) => {}
            Err(error) if is_passing(&error) => return Poll::Ready(Ok(0)),
            Err(error) => return Poll::Ready(Err(DownFault::Socket(error))),
        }
        let received = batch.received().len();
        let octets = batch.received().iter().map(|one| one.len).sum();
        self.pace_down.note(received, octets);
        let granted = self.gate.take(Way::Down, received).min(received);
        self.terms.tally.drop_many(DropCause::RateLimited, received - granted);
        for index in 0..granted {
            if let Err(cause) = self.admit(index, batch) {
                self.terms.tally.drop_one(cause);
            }
        }
        self.send_down(batch)?;
        Poll::Ready(Ok(octets))
    }

    /// Takes what has come back by the gate's own ways, and sends it on; tells how many octets came.
    pub(super) fn poll_forwarded(
        &mut self,
        batch: &mut Batch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, DownFault>> {
        let most = self.pace_down.most(self.terms.batch);
        let (mut received, mut octets) = (0, 0);
        while received < most {
            let room = batch.place_mut(received).get_mut(HEAD..HEAD + BODY).unwrap_or_default();
            let Poll::Ready(Forwarded { len, origin }) = self.gate.poll_forwarded(cx, room) else { break };
            let granted = self.gate.take(Way::Down, 1) > 0;
            let origin = if granted { origin } else { Err(DropCause::RateLimited) };
            if let Err(cause) = origin.and_then(|origin| self.head(received, (origin, len), batch)) {
                self.terms.tally.drop_one(cause);
            }
            (received, octets) = (received + 1, octets + len);
        }
        if received == 0 {
            return Poll::Pending;
        }
        self.pace_down.note(received, octets);
        self.send_down(batch)?;
        Poll::Ready(Ok(octets))
    }

    /// Sends what is listed to the client.
    fn send_down(&mut self, batch: &mut Batch) -> Result<(), DownFault> {
        if let Some(protection) = &mut self.protection {
            seal(protection, batch, &mut self.to_client).map_err(DownFault::Seal)?;
        }
        let (socket, tally, cuts_runs) = (&self.client, &*self.terms.tally, &mut self.cuts_runs);
        Sink { socket, way: Way::Down, tally, cuts_runs }.send(batch, &self.to_client);
        self.to_client.clear();
        Ok(())
    }

    /// Lists one reply for sending, if it may be sent.
    fn admit(&mut self, index: usize, batch: &mut Batch) -> Result<(), DropCause> {
        let received = batch.received().get(index).copied().ok_or(DropCause::Malformed)?;
        if self.lock.client().is_none() {
            return Err(DropCause::NotAskedFor);
        }
        let mut origin = received.source;
        origin.set_ip(origin.ip().to_canonical());
        self.gate.admit(origin)?;
        let origin = self.gate.shown(origin);
        self.head(index, (origin, received.len), batch)
    }

    /// Puts the header in front of one datagram of so many octets, and lists it for sending.
    fn head(
        &mut self,
        index: usize,
        (origin, len): (SocketAddr, usize),
        batch: &mut Batch,
    ) -> Result<(), DropCause> {
        let room = batch.place_mut(index).get_mut(..HEAD).unwrap_or_default();
        let header = UdpHeader::write_before(origin, room).ok_or(DropCause::TooLarge)?;
        let largest =
            self.protection.as_ref().map_or(usize::MAX, |protection| protection.seal.max_plaintext());
        if header + len > largest {
            return Err(DropCause::TooLarge);
        }
        if !self.terms.meter.admits(Way::Down, len) {
            return Err(DropCause::RateLimited);
        }
        let data = index * STRIDE + HEAD;
        let range = data - header..data + len;
        self.to_client.push(Outgoing { to: None, range, user_data: len });
        Ok(())
    }
}

/// Makes frames of all listed datagrams, in place and together.
fn seal(protection: &mut Protection, batch: &mut Batch, outgoing: &mut [Outgoing]) -> Result<(), SealError> {
    let mut places = batch.octets_mut().chunks_exact_mut(STRIDE).enumerate();
    let mut datagrams = outgoing.iter();
    let mut messages: [Sealing<'_>; MOST_BATCHED] = array::from_fn(|_| {
        let Some(one) = datagrams.next() else { return Sealing { buffer: &mut [], range: 0..0 } };
        let place = one.range.start / STRIDE;
        let buffer = places.find(|(index, _)| *index == place).map(|(_, place)| place).unwrap_or_default();
        Sealing { buffer, range: one.range.start - place * STRIDE..one.range.end - place * STRIDE }
    });
    protection.seal_all(messages.get_mut(..outgoing.len()).ok_or(SealError::Room)?)?;
    for (one, message) in outgoing.iter_mut().zip(messages) {
        let start = one.range.start / STRIDE * STRIDE;
        one.range = start + message.range.start..start + message.range.end;
    }
    Ok(())
}
