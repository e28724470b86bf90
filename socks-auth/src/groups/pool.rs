//! Where sources wait for the system: a few threads at a time, and a bounded queue before them.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::GroupError;

/// How many lookups may be on their way.
const THREADS: usize = 4;
/// How many more may wait; each gives up when its time is over.
const QUEUE: usize = 1020;

/// Runs lookups that may hang on the blocking pool: a directory that is down holds four threads and no more.
#[derive(Debug)]
pub struct LookupPool {
    /// One for each lookup that is on its way.
    threads: Arc<Semaphore>,
    /// One for each lookup that is on its way or waits.
    places: Arc<Semaphore>,
}

impl LookupPool {
    /// A pool of 4 threads, for which 1,020 lookups may wait.
    pub fn new() -> Self {
        Self::of(THREADS, QUEUE)
    }

    pub(super) fn of(threads: usize, queue: usize) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(threads.saturating_add(queue))),
        }
    }

    /// Runs a lookup as soon as it is its turn. Dropping the future gives up the place in the queue; what is on
    /// its way goes on, and holds its thread until it is done.
    ///
    /// # Errors
    /// [`GroupError`] when the queue is full, when the lookup panics, or its own.
    pub async fn run<T, F>(&self, lookup: F) -> Result<T, GroupError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, GroupError> + Send + 'static,
    {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place =
            place.map_err(|_| GroupError::new("too many lookups at a time: see why they take long"))?;
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let thread = thread.map_err(|_| broken())?;
        let task = tokio::task::spawn_blocking(move || {
            // Both go with the work: they come back when it is done, not when nobody waits for it any more.
            let _held = (place, thread);
            lookup()
        });
        task.await.map_err(|_| broken())?
    }
}

fn broken() -> GroupError {
    GroupError::new("the lookup broke off: see the log")
}

impl Default for LookupPool {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Polls once: the result, or `None` if it has to wait.
    async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        tokio::select! { biased; result = &mut future => Some(result), () = async {} => None }
    }

    #[tokio::test]
    async fn a_lookup_that_hangs_holds_its_thread_and_fills_the_queue() {
        let pool = Arc::new(LookupPool::of(1, 1));
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = tokio::sync::oneshot::channel();
        let hanging = {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                let hang = move || {
                    let _ = started.send(());
                    let _ = held.recv();
                    Ok(1)
                };
                pool.run(hang).await
            })
        };
        start.await.unwrap();
        let mut waiting = Box::pin(pool.run(|| Ok(2)));
        assert_eq!(poll_once(&mut waiting).await, None);
        let full = pool.run(|| Ok(3)).await.unwrap_err();
        assert!(full.to_string().starts_with("too many lookups"), "{full}");
        drop(waiting);
        let mut waiting = Box::pin(pool.run(|| Ok(4)));
        assert_eq!(poll_once(&mut waiting).await, None, "who gives up leaves its place");
        drop(release);
        assert_eq!((hanging.await.unwrap(), waiting.await), (Ok(1), Ok(4)));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_thread_back() {
        let pool = LookupPool::of(1, 0);
        assert_eq!(pool.run::<(), _>(|| panic!("on purpose")).await, Err(broken()));
        assert_eq!(pool.run(|| Ok(1)).await, Ok(1));
    }
}
