//! Runs the two directions of a tunnel until both have ended, one end has failed, or nothing moves any more.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::time::{Instant, Sleep, sleep_until};

use super::meter::Way;
use super::path::{Duplex, Fault, Path};
use super::socket::Socket;
use super::{Cutoff, RelayEnd, Terms};

/// Stands for "never" where an idle timeout is longer than the clock can count.
const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Drives a tunnel to its end, and decides how its sockets are to be closed.
pub(super) fn drive<'a, D: Duplex + 'a>(
    duplex: D,
    up: Path<'a>,
    reset_grace: Duration,
) -> impl Future<Output = RelayEnd> + use<'a, D> {
    let (client, target, terms) = (up.source, up.sink, up.terms);
    let mut tunnel = Tunnel {
        duplex,
        client,
        target,
        terms,
        reset_grace,
        last: Instant::now(),
        up_done: false,
        down_done: false,
        failed: None,
        watch: None,
    };
    async move {
        let mut alarm = pin!(sleep_until(tunnel.deadline()));
        std::future::poll_fn(|cx| {
            terms.meter.attach(cx.waker());
            Poll::Ready(())
        })
        .await;
        let end = std::future::poll_fn(|cx| {
            if let Poll::Ready(end) = tunnel.poll_ways(cx) {
                return Poll::Ready(end);
            }
            tunnel.poll_watch(cx);
            tunnel.poll_alarm(alarm.as_mut(), cx)
        })
        .await;
        tunnel.close(&end);
        end
    }
}

/// Waits until one end has failed, and names the way that reads from it.
async fn watch(client: Socket<'_>, target: Socket<'_>) -> Way {
    let mut client = pin!(client.0.ready(Interest::ERROR));
    let mut target = pin!(target.0.ready(Interest::ERROR));
    std::future::poll_fn(|cx| {
        if client.as_mut().poll(cx).is_ready() {
            Poll::Ready(Way::Up)
        } else {
            target.as_mut().poll(cx).map(|_| Way::Down)
        }
    })
    .await
}

/// A tunnel with its clock.
struct Tunnel<'a, D> {
    duplex: D,
    client: Socket<'a>,
    target: Socket<'a>,
    terms: &'a Terms,
    /// How long an end that has failed is still served when nothing moves.
    reset_grace: Duration,
    /// When octets were last delivered.
    last: Instant,
    up_done: bool,
    down_done: bool,
    failed: Option<Failed>,
    /// Watches for errors of an end that nobody reads from at the moment.
    watch: Option<Pin<Box<dyn Future<Output = Way> + Send + 'a>>>,
}

/// An end that has failed.
struct Failed {
    /// The way that reads from it.
    way: Way,
    error: Option<io::Error>,
    since: Instant,
}

impl<'a, D: Duplex> Tunnel<'a, D> {
    fn poll_ways(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let before = self.terms.progress.total();
        let polled = self.poll_both(cx);
        if self.terms.progress.total() != before {
            self.last = Instant::now();
        }
        polled
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        loop {
            let had_failed = self.failed.is_some();
            for way in [Way::Up, Way::Down] {
                if let Some(end) = self.poll_one(way, cx) {
                    return Poll::Ready(end);
                }
            }
            if self.up_done && self.down_done {
                return Poll::Ready(self.conclude());
            }
            // The end that failed under one way still has to be read empty by the other.
            if had_failed == self.failed.is_some() {
                return Poll::Pending;
            }
        }
    }

    fn poll_one(&mut self, way: Way, cx: &mut Context<'_>) -> Option<RelayEnd> {
        if *self.done(way) {
            return None;
        }
        let Poll::Ready(stopped) = self.duplex.poll_way(way, cx) else { return None };
        *self.done(way) = true;
        match stopped {
            Ok(()) => None,
            Err(Fault::Sink(error)) => {
                self.fail(way.back(), Some(error));
                None
            }
            Err(Fault::Source(error)) => {
                self.fail(way, Some(error));
                Some(self.conclude())
            }
            Err(Fault::CutFrame) if way == Way::Down => {
                let cut = "it hung up inside a protected frame";
                Some(RelayEnd::TargetFailed(io::Error::new(io::ErrorKind::UnexpectedEof, cut)))
            }
            Err(Fault::Open(error)) if way == Way::Down => {
                Some(RelayEnd::TargetFailed(io::Error::new(io::ErrorKind::InvalidData, error)))
            }
            Err(Fault::CutFrame) => Some(RelayEnd::CutFrame),
            Err(Fault::Open(error)) => Some(RelayEnd::Open(error)),
            Err(Fault::Seal(error)) => Some(RelayEnd::Seal(error)),
        }
    }

    /// The end that octets going that way come from.
    fn source_of(&self, way: Way) -> Socket<'a> {
        match way {
            Way::Up => self.client,
            Way::Down => self.target,
        }
    }

    fn done(&mut self, way: Way) -> &mut bool {
        match way {
            Way::Up => &mut self.up_done,
            Way::Down => &mut self.down_done,
        }
    }

    /// Watches both ends for errors while one of them is not read from: its way has ended, or waits for the
    /// other end. Otherwise reading tells.
    fn poll_watch(&mut self, cx: &mut Context<'_>) {
        if self.failed.is_some() || !(self.up_done || self.down_done || self.duplex.is_loaded()) {
            return;
        }
        let watch = self.watch.get_or_insert_with(|| Box::pin(watch(self.client, self.target)));
        if let Poll::Ready(way) = watch.as_mut().poll(cx) {
            self.watch = None;
            self.fail(way, None);
        }
    }

    /// Notes that the end has failed from which octets going that way come.
    ///
    /// What it sent before is still delivered, as it would be without a gateway between.
    fn fail(&mut self, way: Way, error: Option<io::Error>) {
        self.duplex.abandon(way);
        self.failed.get_or_insert_with(|| Failed { way, error, since: Instant::now() });
    }

    /// How a tunnel ends that cannot go on.
    fn conclude(&mut self) -> RelayEnd {
        let Some(Failed { way, error, .. }) = self.failed.take() else { return RelayEnd::Closed };
        let error = error.or_else(|| self.source_of(way).failure());
        let error = error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
        match way {
            Way::Up => RelayEnd::ClientFailed(error),
            Way::Down => RelayEnd::TargetFailed(error),
        }
    }

    /// When the tunnel is no longer wanted if nothing moves until then.
    fn cutoff(&self) -> Option<Instant> {
        let Cutoff { at, quiet } = **self.terms.cutoff.as_ref()?;
        if quiet.is_zero() { Some(at) } else { at.max(self.last).checked_add(quiet) }
    }

    /// When to give up if nothing moves until then.
    fn deadline(&self) -> Instant {
        let idle = self.last.checked_add(self.terms.idle_timeout());
        let idle = idle.unwrap_or_else(|| self.last + THIRTY_YEARS);
        let idle = self.cutoff().map_or(idle, |cutoff| idle.min(cutoff));
        match &self.failed {
            None => idle,
            Some(failed) => idle.min(self.last.max(failed.since) + self.reset_grace),
        }
    }

    /// Gives up when the deadline has passed; the timer is set anew only when it fires, not for each octet.
    fn poll_alarm(&mut self, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        loop {
            // A tunnel that moves all the time may leave its timer no turn.
            if self.cutoff().is_some_and(|cutoff| Instant::now() >= cutoff) {
                return Poll::Ready(RelayEnd::Cutoff);
            }
            let deadline = self.deadline();
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= deadline {
                let failed = self.failed.is_some();
                return Poll::Ready(if failed { self.conclude() } else { RelayEnd::Idle });
            }
            alarm.as_mut().reset(deadline);
        }
    }

    /// Lets an end know by a reset that the stream it sees is not whole: nobody ended it in order.
    fn close(&self, end: &RelayEnd) {
        if !matches!(end, RelayEnd::Closed | RelayEnd::ClientFailed(_)) {
            self.client.reset_on_drop();
        }
        if !matches!(end, RelayEnd::Closed | RelayEnd::TargetFailed(_)) {
            self.target.reset_on_drop();
        }
    }
}
