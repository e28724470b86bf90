//! Where hashes are computed: a few threads at a time, a bounded queue before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

/// Computes on the blocking pool, so that logins neither block nor starve the relays.
#[derive(Debug)]
pub(super) struct Pool {
    size: PoolSize,
    /// One for each login that computes.
    threads: Arc<Semaphore>,
    /// One for each login that computes or waits.
    places: Arc<Semaphore>,
    computed: Arc<AtomicU64>,
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
    #[error("password hashing failed")]
    Failed,
}

impl Pool {
    pub(super) fn new(size: PoolSize) -> Self {
        Self {
            size,
            threads: Arc::new(Semaphore::new(size.threads)),
            places: Arc::new(Semaphore::new(size.threads.saturating_add(size.queue))),
            computed: Arc::default(),
        }
    }

    /// Computes as soon as it is its turn. Dropping the future gives up the place in the queue; what already
    /// computes goes on, and holds its thread until it is done.
    pub(super) async fn compute<T, F>(&self, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PoolError::Full)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| PoolError::Failed)?;
        let computed = Arc::clone(&self.computed);
        let task = tokio::task::spawn_blocking(move || {
            // Both go with the work: they come back when it is done, not when nobody waits for it any more.
            let _held = (place, thread);
            let result = work();
            computed.fetch_add(1, Ordering::Relaxed);
            result
        });
        task.await.map_err(|_| PoolError::Failed)
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
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_refused_at_once() {
        let pool = Arc::new(Pool::new(PoolSize { threads: 1, queue: 1 }));
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = tokio::sync::oneshot::channel();
        let computing = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                let work = move || {
                    let _ = started.send(());
                    let _ = held.recv();
                };
                pool.compute(work).await
            }
        });
        start.await.unwrap();
        let mut waiting = Box::pin(pool.compute(|| 7));
        let polled = tokio::select! { biased; result = &mut waiting => Some(result), () = async {} => None };
        assert_eq!(polled, None);
        assert_eq!(pool.compute(|| 8).await, Err(PoolError::Full));
        release.send(()).unwrap();
        assert_eq!(waiting.await, Ok(7));
        assert_eq!(computing.await.unwrap(), Ok(()));
        assert_eq!(pool.compute(|| 9).await, Ok(9));
        assert_eq!(pool.computed(), 3);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_thread_until_it_is_done() {
        let pool = Pool::new(PoolSize { threads: 1, queue: 0 });
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = tokio::sync::oneshot::channel();
        let (done, end) = tokio::sync::oneshot::channel::<()>();
        let mut dropped = Box::pin(pool.compute(move || {
            let _ = started.send(());
            let _ = held.recv();
            done
        }));
        tokio::select! { biased; _ = &mut dropped => panic!("still held"), result = start => result.unwrap() };
        drop(dropped);
        assert_eq!(pool.compute(|| ()).await, Err(PoolError::Full));
        release.send(()).unwrap();
        // The channel's end is dropped with the result, just before the thread is given back.
        let _ = end.await;
        let thread = Arc::clone(&pool.threads).acquire_owned().await;
        assert!(thread.is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_thread_back() {
        let pool = Pool::new(PoolSize { threads: 1, queue: 0 });
        assert_eq!(pool.compute(|| panic!("on purpose")).await, Err::<(), _>(PoolError::Failed));
        assert_eq!(pool.compute(|| 1).await, Ok(1));
    }
}
