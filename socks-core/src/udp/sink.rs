//! Sends a batch: equal datagrams to one address as one that the kernel cuts, others with one call for many.

use std::array;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags};
use tokio::net::UdpSocket;

use super::MOST_BATCHED;
use super::batch::{Batch, Outgoing};
use super::tally::{DropCause, Tally};
use crate::relay::Way;

/// How many equal datagrams are worth one call of their own: two cost a quarter less than if they go apart, and each
/// more costs a tenth of what it costs apart.
const LEAST_RUN: usize = 2;
/// The most octets that the kernel cuts into datagrams; it knows lengths of 16 bits, with all headers.
const MOST_IN_RUN: usize = 65_000;

/// Where a batch is sent, and who counts.
pub(super) struct Sink<'a> {
    pub(super) socket: &'a UdpSocket,
    pub(super) way: Way,
    pub(super) tally: &'a Tally,
    /// Whether the kernel is asked to cut runs (`UDP_SEGMENT`); false once it has refused: the way to there is
    /// too narrow, or the device cannot do it.
    pub(super) cuts_runs: &'a mut bool,
}

impl Sink<'_> {
    /// Sends datagrams that lie in a batch, and counts those that were sent or dropped.
    pub(super) fn send(&mut self, batch: &Batch, mut outgoing: &[Outgoing]) {
        while !outgoing.is_empty() {
            let done = match self.send_first(&batch.octets, outgoing) {
                Ok(count) => self.count(outgoing.get(..count).unwrap_or_default()),
                Err(Errno::INTR) => 0,
                Err(Errno::AGAIN) => {
                    self.tally.drop_many(DropCause::Full, outgoing.len());
                    return;
                }
                Err(error) => {
                    self.tally.drop_one(cause_of(error));
                    1
                }
            };
            outgoing = outgoing.get(done..).unwrap_or_default();
        }
    }

    /// Sends some datagrams from the first on with one call, and tells how many went.
    fn send_first(&mut self, octets: &[u8], outgoing: &[Outgoing]) -> Result<usize, Errno> {
        let run = if *self.cuts_runs { run_len(outgoing) } else { 1 };
        if run >= LEAST_RUN {
            match send_run(self.socket, octets, outgoing.get(..run).unwrap_or_default()) {
                Err(Errno::INVAL | Errno::IO | Errno::MSGSIZE | Errno::OPNOTSUPP) => *self.cuts_runs = false,
                sent => return sent,
            }
        }
        let count = if *self.cuts_runs { until_run(outgoing) } else { outgoing.len() };
        let outgoing = outgoing.get(..count).unwrap_or_default();
        match outgoing {
            [one] => send_one(self.socket, octets.get(one.range.clone()).unwrap_or_default(), one.to),
            few if few.len() <= 4 => send_many::<4>(self.socket, octets, few),
            some if some.len() <= 12 => send_many::<12>(self.socket, octets, some),
            many => send_many::<MOST_BATCHED>(self.socket, octets, many),
        }
    }

    fn count(&self, sent: &[Outgoing]) -> usize {
        let octets = sent.iter().map(|one| one.user_data as u64).sum();
        self.tally.carried(self.way, sent.len() as u64, octets);
        sent.len()
    }
}

/// How many datagrams from the first on go to one address and are equally long, but for the last, which may be
/// shorter.
fn run_len(outgoing: &[Outgoing]) -> usize {
    let Some(first) = outgoing.first().filter(|first| !first.range.is_empty()) else { return 1 };
    let (len, mut sum, mut count) = (first.range.len(), 0, 0);
    for one in outgoing.iter().take_while(|one| one.to == first.to && !one.range.is_empty()) {
        sum += one.range.len();
        if one.range.len() > len || sum > MOST_IN_RUN {
            break;
        }
        count += 1;
        if one.range.len() < len {
            break;
        }
    }
    count.max(1)
}

/// How many datagrams from the first on come before a run that is worth a call of its own; 1 at least.
fn until_run(outgoing: &[Outgoing]) -> usize {
    let is_run = |index: &usize| run_len(outgoing.get(*index..).unwrap_or_default()) >= LEAST_RUN;
    (1..outgoing.len()).find(is_run).unwrap_or(outgoing.len())
}

/// Sends a run as one datagram that the kernel cuts at the end of its way, and tells how many it makes.
fn send_run(socket: &UdpSocket, octets: &[u8], run: &[Outgoing]) -> Result<usize, Errno> {
    let pieces: [_; MOST_BATCHED] = array::from_fn(|index| {
        let octets = run.get(index).and_then(|one| octets.get(one.range.clone()));
        IoSlice::new(octets.unwrap_or_default())
    });
    let pieces = pieces.get(..run.len()).ok_or(Errno::INVAL)?;
    let len = run.first().map_or(0, |first| first.range.len());
    let len = u16::try_from(len).map_err(|_| Errno::MSGSIZE)?;
    let to = run.first().and_then(|first| first.to).map(SockaddrStorage::from);
    let control = [ControlMessage::UdpGsoSegments(&len)];
    match sendmsg(socket.as_raw_fd(), pieces, &control, MsgFlags::MSG_DONTWAIT, to.as_ref()) {
        Ok(_) => Ok(run.len()),
        Err(error) => Err(Errno::from_raw_os_error(error as i32)),
    }
}

/// Sends one datagram outside of any batch.
pub(super) fn send_one(socket: &UdpSocket, octets: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
    match to {
        Some(to) => rustix::net::sendto(socket, octets, SendFlags::DONTWAIT, &to)?,
        None => rustix::net::send(socket, octets, SendFlags::DONTWAIT)?,
    };
    Ok(1)
}

/// Sends the first `N` datagrams with one call, and tells how many went.
fn send_many<const N: usize>(
    socket: &UdpSocket,
    octets: &[u8],
    outgoing: &[Outgoing],
) -> Result<usize, Errno> {
    const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let one = |index: usize| outgoing.get(index);
    let pieces: [_; N] = array::from_fn(|index| {
        let octets = one(index).and_then(|one| octets.get(one.range.clone()));
        [IoSlice::new(octets.unwrap_or_default())]
    });
    let addresses: [_; N] =
        array::from_fn(|index| one(index).and_then(|one| one.to).unwrap_or(NOBODY).as_any());
    let mut controls: [_; N] = array::from_fn(|_| SendAncillaryBuffer::default());
    let mut parts = pieces.iter().zip(&addresses).zip(&mut controls).enumerate();
    let mut messages: [MMsgHdr<'_>; N] = array::from_fn(|_| {
        let (index, ((piece, address), control)) = parts.next().expect("all have the same length");
        match one(index).and_then(|one| one.to) {
            Some(_) => MMsgHdr::new_with_addr(address, piece, control),
            None => MMsgHdr::new(piece, control),
        }
    });
    let count = outgoing.len().min(N);
    rustix::net::sendmmsg(socket, messages.get_mut(..count).unwrap_or_default(), SendFlags::DONTWAIT)
}

/// Why a datagram could not be sent.
pub(super) fn cause_of(error: Errno) -> DropCause {
    match error {
        Errno::MSGSIZE => DropCause::TooLarge,
        Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => DropCause::Full,
        _ => DropCause::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Port and length of each datagram; how long the first run is, and how many come before a run.
    type Row = (&'static [(u16, usize)], usize, usize);

    fn listed(sizes: &[(u16, usize)]) -> Vec<Outgoing> {
        let one = |(port, len): &(u16, usize)| Outgoing {
            to: Some(SocketAddr::from(([127, 0, 0, 1], *port))),
            range: 0..*len,
            user_data: *len,
        };
        sizes.iter().map(one).collect()
    }

    #[test]
    fn a_run_is_of_one_address_and_one_length_but_for_its_last() {
        let table: [Row; 9] = [
            (&[(1, 5), (1, 5), (1, 5)], 3, 1),
            (&[(1, 5), (1, 5), (1, 4), (1, 4), (1, 4)], 3, 1),
            (&[(1, 5), (1, 6), (1, 6), (1, 6)], 1, 1),
            (&[(1, 5), (2, 5), (1, 5)], 1, 3),
            (&[(1, 5), (2, 5), (3, 5), (3, 4)], 1, 2),
            (&[(1, 0), (1, 0), (1, 0)], 1, 3),
            (&[(1, 5), (1, 5), (1, 0)], 2, 3),
            (&[(1, 30_000), (1, 30_000), (1, 30_000)], 2, 1),
            (&[(1, 9)], 1, 1),
        ];
        for (sizes, run, until) in table {
            assert_eq!((run_len(&listed(sizes)), until_run(&listed(sizes))), (run, until), "{sizes:?}");
        }
    }
}
