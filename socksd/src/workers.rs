//! The threads that serve sessions, each with a reactor of its own.
//!
//! A session stays on one thread from its first octet to its last. A runtime that shares its tasks among
//! threads hands a busy tunnel to another one at each of its turns, and waking that thread costs more than
//! moving the octets does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tracing::error;

/// How long a thread may take to end, beside the work that blocks.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// The threads that were started to serve sessions beside the one that accepts connections.
pub(crate) struct Workers {
    stops: Vec<oneshot::Sender<()>>,
    /// Ends when all of them do.
    end: Receiver<()>,
    /// For work that blocks.
    last_tasks: Duration,
    seats: Seats,
}

/// Where sessions can be given to threads; the one of `own` is that of the thread which accepts connections.
#[derive(Clone)]
pub(crate) struct Seats {
    own: Seat,
    others: Arc<[Seat]>,
}

/// Where sessions can be given to one thread.
#[derive(Clone)]
pub(crate) struct Seat {
    handle: Handle,
    sessions: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts threads beside the one that drives `own`, so that there are `count` in all.
    ///
    /// When they stop, work that blocks has `last_tasks` to end.
    ///
    /// # Errors
    /// The system's, when there is no thread or no descriptor for a reactor left.
    pub(crate) fn start(own: &Runtime, count: usize, last_tasks: Duration) -> io::Result<Self> {
        let (mut stops, mut others) = (Vec::new(), Vec::new());
        let (ended, end) = channel();
        for number in 1..count {
            let runtime = runtime()?;
            others.push(Seat::new(runtime.handle()));
            stops.push(start(runtime, number, last_tasks, ended.clone())?);
        }
        let seats = Seats { own: Seat::new(own.handle()), others: others.into() };
        Ok(Self { stops, end, last_tasks, seats })
    }

    pub(crate) fn seats(&self) -> Seats {
        self.seats.clone()
    }

    /// Drops the sessions of these threads, and waits for the threads; not for one that hangs.
    pub(crate) fn stop(self) {
        let Self { stops, end, last_tasks, .. } = self;
        drop(stops);
        // A session's panic is caught with its task, and reported by the panic hook.
        if end.recv_timeout(last_tasks + LAST_MOMENT) == Err(RecvTimeoutError::Timeout) {
            error!("a thread that serves sessions hangs; its sessions have no end record");
        }
    }
}

impl Seats {
    /// The one with the fewest sessions; among equals the first, whose sessions need not be handed over.
    pub(crate) fn idlest(&self) -> &Seat {
        let fewer = |best, seat| if Seat::sessions(seat) < Seat::sessions(best) { seat } else { best };
        self.others.iter().fold(&self.own, fewer)
    }

    /// Waits until each thread has done something that was given to it now.
    pub(crate) async fn answer(&self) {
        let asked: Vec<_> =
            [&self.own].into_iter().chain(&*self.others).map(|seat| seat.handle.spawn(async {})).collect();
        for answer in asked {
            // A thread that has been told to end has no more to answer.
            drop(answer.await);
        }
    }
}

/// Starts a thread; it ends when the sender that it gives is dropped, and drops `ended` last.
fn start(
    runtime: Runtime,
    number: usize,
    last_tasks: Duration,
    ended: Sender<()>,
) -> io::Result<oneshot::Sender<()>> {
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        // An error says that the sender is gone, which is the sign.
        drop(runtime.block_on(stopped));
        runtime.shutdown_timeout(last_tasks);
        drop(ended);
    })?;
    Ok(stop)
}

impl Seat {
    fn new(handle: &Handle) -> Self {
        Self { handle: handle.clone(), sessions: Arc::default() }
    }

    fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Lets this thread's reactor watch a socket that was accepted.
    ///
    /// # Errors
    /// The system's, when the reactor cannot watch another socket.
    pub(crate) fn adopt(&self, socket: std::net::TcpStream) -> io::Result<TcpStream> {
        let _entered = self.handle.enter();
        TcpStream::from_std(socket)
    }

    /// A place on the thread, which the session is to keep for as long as it lasts.
    pub(crate) fn place(&self) -> Place {
        Place::taken(self.sessions.clone())
    }

    /// Gives the thread a session, which whoever has the handle can end.
    pub(crate) fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(session).abort_handle()
    }
}

/// A session's count on its thread, however it ends.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    fn taken(sessions: Arc<AtomicUsize>) -> Self {
        sessions.fetch_add(1, Ordering::Relaxed);
        Self(sessions)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A reactor with its clock, for one thread.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn counts(seats: &Seats) -> Vec<usize> {
        [&seats.own].into_iter().chain(&*seats.others).map(Seat::sessions).collect()
    }

    async fn stay(_place: Place) {
        pending::<()>().await;
    }

    #[test]
    fn sessions_are_spread_over_the_threads_and_dropped_when_they_stop() {
        let own = runtime().unwrap();
        let workers = Workers::start(&own, 3, PATIENCE).unwrap();
        let seats = workers.seats();
        for _ in 0..6 {
            let seat = seats.idlest();
            seat.spawn(stay(seat.place()));
        }
        assert_eq!(counts(&seats), [2, 2, 2]);
        workers.stop();
        assert_eq!(counts(&seats), [2, 0, 0], "only the first thread's are left");
        drop(own);
        assert_eq!(counts(&seats), [0, 0, 0]);
    }

    #[test]
    fn all_threads_answer_unless_one_hangs() {
        let own = runtime().unwrap();
        let workers = Workers::start(&own, 3, PATIENCE).unwrap();
        let seats = workers.seats();
        own.block_on(seats.answer());
        let (go_on, told) = channel::<()>();
        let (hangs, is_hanging) = channel();
        seats.others.last().unwrap().spawn(async move {
            hangs.send(()).unwrap();
            let _ = told.recv();
        });
        is_hanging.recv().unwrap();
        own.block_on(async {
            let mut answer = std::pin::pin!(seats.answer());
            let soon = tokio::time::timeout(Duration::from_millis(50), &mut answer).await;
            assert!(soon.is_err(), "two answers of three are not all");
            drop(go_on);
            answer.await;
        });
        workers.stop();
    }

    #[test]
    fn a_session_that_panics_ends_alone_and_gives_its_place_back() {
        let own = runtime().unwrap();
        let workers = Workers::start(&own, 2, PATIENCE).unwrap();
        let seats = workers.seats();
        let seat = seats.others.last().unwrap();
        let (told, ends) = channel();
        let place = seat.place();
        seat.spawn(async move {
            let _place = place;
            panic!("a bug")
        });
        seat.spawn(async move { told.send(thread::current().name().map(str::to_owned)).unwrap() });
        assert_eq!(ends.recv().unwrap().as_deref(), Some("worker-1"));
        workers.stop();
        assert_eq!(counts(&seats), [0, 0]);
    }
}
