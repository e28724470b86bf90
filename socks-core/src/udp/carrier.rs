//! A running association: its sockets, what it remembers, and the loop that polls them.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, Sleep, sleep_until};

use super::batch::{Batch, Outgoing};
use super::down::DownFault;
use super::fragments::Reassembly;
use super::gate::Gate;
use super::lock::ClientLock;
use super::tally::DropCause;
use super::up::Memory;
use super::waiting::Waiting;
use super::{Association, AssociationEnd, AssociationTerms, MOST_BATCHED, Outer};
use crate::relay::{Cutoff, Way};
use crate::{ClientStream, Protection};

/// How much an association moves before it lets other tasks run, in octets: about 100 µs of work.
const QUANTUM: usize = 128 * 1024;
/// What a datagram costs beside its octets, in octets.
const DATAGRAM_COST: usize = 1024;
/// The most octets that a client may send on its control connection, which has nothing more to say.
const MOST_CHATTER: usize = 64 * 1024;
/// The room that is asked for in front of each socket, in octets; the kernel may give less.
const SOCKET_BUFFER: usize = 1024 * 1024;
/// Stands for "never" where an idle timeout is longer than the clock can count.
const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// An association that runs.
pub(super) struct Carrier<G> {
    control: TcpStream,
    /// Octets that the client has sent on the control connection since.
    chatter: usize,
    pub(super) protection: Option<Protection>,
    pub(super) client: UdpSocket,
    pub(super) client_is_v6: bool,
    pub(super) outer: Outer,
    pub(super) lock: ClientLock,
    pub(super) gate: G,
    pub(super) terms: AssociationTerms,
    pub(super) reassembly: Option<Reassembly>,
    pub(super) waiting: Waiting,
    pub(super) memory: Memory,
    pub(super) pace_up: Pace,
    pub(super) pace_down: Pace,
    /// Whether the kernel cuts runs of equal datagrams.
    pub(super) cuts_runs: bool,
    /// Lists that are empty between two batches.
    pub(super) to_v4: Vec<Outgoing>,
    pub(super) to_v6: Vec<Outgoing>,
    pub(super) to_client: Vec<Outgoing>,
    /// When a datagram was last carried.
    last: Instant,
}

/// How many datagrams one batch may have, so that opening or sealing them does not take too long.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The mean size of those in the last batch, in octets.
    mean: usize,
}

impl Pace {
    pub(super) fn most(&self, wanted: usize) -> usize {
        (QUANTUM / (self.mean + DATAGRAM_COST)).min(wanted).clamp(1, MOST_BATCHED)
    }

    pub(super) fn note(&mut self, datagrams: usize, octets: usize) {
        self.mean = octets / datagrams.max(1);
    }
}

/// Where replies come from.
enum Source {
    V4,
    V6,
    /// A way of the gate's own.
    Gate,
}

impl<G: Gate> Association<G> {
    /// Carries datagrams until the association ends. Dropping the future at any time ends it too.
    ///
    /// The idle timeout also ends the association of a client that has vanished without a word.
    pub async fn run(self) -> AssociationEnd {
        let mut carrier = match Carrier::new(self) {
            Ok(carrier) => carrier,
            Err(error) => return AssociationEnd::SocketFailed(Way::Up, error),
        };
        let mut alarm = pin!(sleep_until(carrier.deadline()));
        std::future::poll_fn(|cx| {
            carrier.terms.meter.attach(cx.waker());
            Poll::Ready(())
        })
        .await;
        let end = std::future::poll_fn(|cx| {
            if let Poll::Ready(end) = carrier.poll(cx) {
                return Poll::Ready(end);
            }
            carrier.poll_alarm(alarm.as_mut(), cx)
        })
        .await;
        carrier.terms.tally.drop_many(DropCause::Unresolved, carrier.waiting.len());
        end
    }
}

impl<G: Gate> Carrier<G> {
    fn new(association: Association<G>) -> io::Result<Self> {
        let Association { control, client, outer, lock, gate, terms } = association;
        let (control, mut protection) = match control {
            ClientStream::Plain(io) => (io.socket, None),
            ClientStream::Protected(stream) => (stream.io.socket, Some(stream.protection)),
        };
        if let Some(protection) = &mut protection {
            // RFC 1961 section 5: datagrams share the keys, and the count of messages, with the control connection.
            protection.open.accept_any_order();
        }
        for socket in [Some(&client), outer.v4.as_ref(), outer.v6.as_ref()].into_iter().flatten() {
            enlarge(socket);
        }
        Ok(Self {
            control,
            chatter: 0,
            protection,
            client_is_v6: client.local_addr()?.is_ipv6(),
            client,
            outer,
            lock,
            gate,
            reassembly: terms.reassembly.map(Reassembly::new),
            terms,
            waiting: Waiting::default(),
            memory: Memory::default(),
            pace_up: Pace::default(),
            pace_down: Pace::default(),
            cuts_runs: true,
            to_v4: Vec::new(),
            to_v6: Vec::new(),
            to_client: Vec::new(),
            last: Instant::now(),
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<AssociationEnd> {
        if let Poll::Ready(end) = self.poll_control(cx) {
            return Poll::Ready(end);
        }
        let before = self.carried();
        let polled = Batch::lend(|batch| self.poll_datagrams(batch, cx));
        self.poll_waiting(cx);
        if self.carried() != before {
            self.last = Instant::now();
        }
        polled
    }

    /// Carries what is there, all ways in turn.
    fn poll_datagrams(&mut self, batch: &mut Batch, cx: &mut Context<'_>) -> Poll<AssociationEnd> {
        let mut quantum = QUANTUM;
        loop {
            let before = quantum;
            let mut spend = |octets: usize, datagrams: usize| {
                quantum = quantum.saturating_sub(octets + datagrams.max(1) * DATAGRAM_COST);
            };
            if let Poll::Ready(moved) = self.poll_up(batch, cx) {
                match moved {
                    Ok(octets) => spend(octets, batch.received().len()),
                    Err(error) => return Poll::Ready(AssociationEnd::SocketFailed(Way::Up, error)),
                }
            }
            for source in [Source::V4, Source::V6, Source::Gate] {
                let polled = match source {
                    Source::V4 => self.poll_down(false, batch, cx),
                    Source::V6 => self.poll_down(true, batch, cx),
                    Source::Gate => self.poll_forwarded(batch, cx),
                };
                let Poll::Ready(moved) = polled else { continue };
                match moved {
                    Ok(octets) => spend(octets, batch.received().len()),
                    Err(DownFault::Socket(error)) => {
                        return Poll::Ready(AssociationEnd::SocketFailed(Way::Down, error));
                    }
                    Err(DownFault::Seal(error)) => return Poll::Ready(AssociationEnd::Seal(error)),
                }
            }
            if quantum == before {
                return Poll::Pending;
            }
            if quantum == 0 {
                // Behind all that is ready, and behind a look at the sockets.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                return Poll::Pending;
            }
        }
    }

    /// Reads the control connection empty, and sees its end.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<AssociationEnd> {
        loop {
            let read = match ready!(self.control.poll_read_ready(cx)) {
                Ok(()) => self.control.try_read(&mut [0; 1024]),
                Err(error) => Err(error),
            };
            match read {
                // RFC 1928 section 7: the association terminates when its TCP connection does.
                Ok(0) => return Poll::Ready(AssociationEnd::Closed),
                Ok(count) => self.chatter += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(AssociationEnd::ClientFailed(error)),
            }
            if self.chatter > MOST_CHATTER {
                return Poll::Ready(AssociationEnd::Talkative);
            }
        }
    }

    fn carried(&self) -> u64 {
        let tally = &self.terms.tally;
        tally.datagrams(Way::Up).wrapping_add(tally.datagrams(Way::Down))
    }

    /// When the association is no longer wanted if nothing is carried until then.
    fn cutoff(&self) -> Option<Instant> {
        let Cutoff { at, quiet } = self.terms.cutoff?;
        if quiet.is_zero() { Some(at) } else { at.max(self.last).checked_add(quiet) }
    }

    /// When to look at the clock again.
    fn deadline(&self) -> Instant {
        let idle = self.idle();
        let fragments = self.reassembly.as_ref().and_then(Reassembly::deadline);
        [self.cutoff(), fragments].into_iter().flatten().fold(idle, Instant::min)
    }

    fn idle(&self) -> Instant {
        let most = self.terms.meter.idle_timeout().unwrap_or(self.terms.idle_timeout);
        self.last.checked_add(most).unwrap_or_else(|| self.last + THIRTY_YEARS)
    }

    /// Gives up when its time has come; the timer is set anew only when it fires, not for each datagram.
    fn poll_alarm(&mut self, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<AssociationEnd> {
        loop {
            // An association that is busy all the time may leave its timer no turn.
            if self.cutoff().is_some_and(|cutoff| Instant::now() >= cutoff) {
                return Poll::Ready(AssociationEnd::Cutoff);
            }
            let deadline = self.deadline();
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(cx));
            let now = Instant::now();
            if now >= self.idle() {
                return Poll::Ready(AssociationEnd::Idle);
            }
            self.expire_fragments(now);
            alarm.as_mut().reset(self.deadline());
        }
    }
}

/// Makes room for what comes while the association waits for its turn.
fn enlarge(socket: &UdpSocket) {
    // The kernel may refuse; then the room is what it was.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER);
}
