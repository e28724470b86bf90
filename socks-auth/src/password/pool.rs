//! Where hashes are computed: a few threads at a time, a bounded queue before them, a share of it for each source.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::share::{Shares, Source};

/// Computes on the blocking pool, so that logins neither block nor starve the relays.
#[derive(Debug)]
pub(super) struct Pool {
    size: PoolSize,
    /// One for each login that computes.
    threads: Arc<Semaphore>,
    /// One for each login that computes or waits.
    places: Arc<Semaphore>,
    /// How many of those places each source holds.
    shares: Arc<Shares>,
    computed: Arc<AtomicU64>,
    /// How long a login has taken of late, its wait for a turn included, in nanoseconds.
    usual: AtomicU64,
}

/// How many logins may compute, and how many more may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolSize {
    pub(super) threads: usize,
    pub(super) queue: usize,
}

/// Why nothing was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PoolError {
    #[error("too many logins at a time: the queue for password hashing is full")]
    Full,
    #[error("too many logins at a time from one source: its share of the queue for password hashing is full")]
    SourceFull,
    #[error("password hashing failed")]
    Failed,
}

impl Pool {
    pub(super) fn new(size: PoolSize) -> Self {
        let places = size.threads.saturating_add(size.queue);
        Self {
            size,
            threads: Arc::new(Semaphore::new(size.threads)),
            places: Arc::new(Semaphore::new(places)),
            shares: Shares::of(places),
            computed: Arc::default(),
            usual: AtomicU64::new(0),
        }
    }

    /// Computes as soon as it is its turn: sources with waiting logins take turns, each source's logins are served
    /// in the order in which they came. Dropping the future gives up the place in the queue; what already computes
    /// goes on, and holds its thread until it is done.
    pub(super) async fn compute<T, F>(&self, source: Source, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let begun = Instant::now();
        let share = self.shares.take(source).ok_or(PoolError::SourceFull)?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PoolError::Full)?;
        let thread = {
            // Threads go to whoever asked first: a source that asks once at a time keeps nobody behind all its logins.
            let turn = share.turn();
            let _turn = turn.acquire().await.map_err(|_| PoolError::Failed)?;
            Arc::clone(&self.threads).acquire_owned().await.map_err(|_| PoolError::Failed)?
        };
        let computed = Arc::clone(&self.computed);
        let task = tokio::task::spawn_blocking(move || {
            // They go with the work: they come back when it is done, not when nobody waits for it any more.
            let _held = (share, place, thread);
            let result = work();
            computed.fetch_add(1, Ordering::Relaxed);
            result
        });
        let result = task.await.map_err(|_| PoolError::Failed);
        self.learn(begun.elapsed());
        result
    }

    /// How long a login usually takes, by those before it.
    pub(super) fn usual(&self) -> Duration {
        Duration::from_nanos(self.usual.load(Ordering::Relaxed))
    }

    /// One of eight parts is the newest. Two at the same moment may lose one of them, which does not matter.
    fn learn(&self, took: Duration) {
        let (took, usual) =
            (u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), self.usual.load(Ordering::Relaxed));
        let mean = if usual == 0 { took } else { usual - usual / 8 + took / 8 };
        self.usual.store(mean, Ordering::Relaxed);
    }

    pub(super) fn size(&self) -> PoolSize {
        self.size
    }

    /// How many hashes were computed so far.
    #[cfg(test)]
    pub(super) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Another source for each number.
    fn source(number: u8) -> Source {
        IpAddr::from([127, 0, 0, number]).into()
    }

    /// Polls once: the result, or `None` if it has to wait.
    async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        tokio::select! { biased; result = &mut future => Some(result), () = async {} => None }
    }

    /// A login of that source that computes until the sender is dropped, and its task.
    async fn busy(
        pool: &Arc<Pool>,
        number: u8,
    ) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), PoolError>>) {
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = tokio::sync::oneshot::channel();
        let pool = Arc::clone(pool);
        let work = move || {
            let _ = started.send(());
            let _ = held.recv();
        };
        let computing = tokio::spawn(async move { pool.compute(source(number), work).await });
        start.await.unwrap();
        (release, computing)
    }

    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_refused_at_once() {
        let pool = Arc::new(Pool::new(PoolSize { threads: 1, queue: 1 }));
        let (release, computing) = busy(&pool, 1).await;
        let mut waiting = Box::pin(pool.compute(source(2), || 7));
        assert_eq!(poll_once(&mut waiting).await, None);
        assert_eq!(pool.compute(source(3), || 8).await, Err(PoolError::Full));
        drop(release);
        assert_eq!(waiting.await, Ok(7));
        assert_eq!(computing.await.unwrap(), Ok(()));
        assert_eq!(pool.compute(source(3), || 9).await, Ok(9));
        assert_eq!(pool.computed(), 3);
    }

    #[tokio::test]
    async fn a_flood_from_one_source_leaves_places_to_the_others() {
        let pool = Arc::new(Pool::new(PoolSize { threads: 1, queue: 7 }));
        let (release, computing) = busy(&pool, 9).await;
        let mut waiting = Box::pin(pool.compute(source(9), || 1));
        assert_eq!(poll_once(&mut waiting).await, None);
        for _ in 0..100 {
            assert_eq!(pool.compute(source(9), || 2).await, Err(PoolError::SourceFull));
        }
        let mut other = Box::pin(pool.compute(source(1), || 3));
        assert_eq!(poll_once(&mut other).await, None);
        assert_eq!(pool.shares.sources(), 2);
        drop(release);
        assert_eq!(tokio::join!(waiting, other), (Ok(1), Ok(3)));
        assert_eq!(computing.await.unwrap(), Ok(()));
        assert_eq!(pool.shares.sources(), 0);
    }

    #[tokio::test]
    async fn sources_that_wait_take_turns() {
        let pool = Arc::new(Pool::new(PoolSize { threads: 1, queue: 15 }));
        let (release, computing) = busy(&pool, 9).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let login = |number: u8, name: &'static str| {
            let order = Arc::clone(&order);
            Box::pin(pool.compute(source(number), move || order.lock().unwrap().push(name)))
        };
        let mut logins = [
            login(9, "first"),
            login(9, "second"),
            login(9, "third"),
            login(1, "other"),
            login(2, "another"),
        ];
        for login in &mut logins {
            assert_eq!(poll_once(login).await, None);
        }
        drop(release);
        let [first, second, third, other, another] = logins;
        let _ = tokio::join!(first, second, third, other, another);
        assert_eq!(computing.await.unwrap(), Ok(()));
        assert_eq!(*order.lock().unwrap(), ["first", "other", "another", "second", "third"]);
    }

    #[tokio::test]
    async fn a_login_that_gives_up_gives_its_place_and_its_turn_back() {
        let pool = Arc::new(Pool::new(PoolSize { threads: 1, queue: 15 }));
        let (release, computing) = busy(&pool, 1).await;
        let mut gone = Box::pin(pool.compute(source(9), || 1));
        let mut next = Box::pin(pool.compute(source(9), || 2));
        assert_eq!(poll_once(&mut gone).await, None);
        assert_eq!(poll_once(&mut next).await, None);
        drop(gone);
        drop(release);
        assert_eq!(next.await, Ok(2));
        assert_eq!(computing.await.unwrap(), Ok(()));
        assert_eq!(pool.shares.sources(), 0);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_thread_until_it_is_done() {
        let pool = Pool::new(PoolSize { threads: 1, queue: 0 });
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = tokio::sync::oneshot::channel();
        let (done, end) = tokio::sync::oneshot::channel::<()>();
        let mut dropped = Box::pin(pool.compute(source(1), move || {
            let _ = started.send(());
            let _ = held.recv();
            done
        }));
        tokio::select! { biased; _ = &mut dropped => panic!("still held"), result = start => result.unwrap() };
        drop(dropped);
        assert_eq!(pool.compute(source(2), || ()).await, Err(PoolError::Full));
        release.send(()).unwrap();
        // The channel's end is dropped with the result, just before the thread is given back.
        let _ = end.await;
        let thread = Arc::clone(&pool.threads).acquire_owned().await;
        assert!(thread.is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_thread_back() {
        let pool = Pool::new(PoolSize { threads: 1, queue: 0 });
        assert_eq!(pool.compute(source(1), || panic!("on purpose")).await, Err::<(), _>(PoolError::Failed));
        assert_eq!(pool.compute(source(1), || 1).await, Ok(1));
    }
}
