//! Where contexts are accepted: a few steps at a time, each with a credential of its own, and a bounded queue
//! before them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::acceptor::{AcceptError, Accepted, Acceptor, Pending};
use crate::diagnosis::Diagnosis;
use crate::rules::Rules;

/// Accepts contexts on the blocking pool, so that slow disks neither block nor starve the relays.
#[derive(Debug)]
pub struct Pool {
    size: PoolSize,
    rules: Arc<Rules>,
    /// One for each step that is on its way.
    threads: Arc<Semaphore>,
    /// One for each step that is on its way or waits.
    places: Arc<Semaphore>,
    /// Credentials that nobody uses now; never more than steps were on their way at a time.
    spare: Arc<Mutex<Vec<Acceptor>>>,
}

/// How many steps may be on their way, and how many more may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// Steps at a time; as many as there are processors is right.
    pub threads: usize,
    /// Steps that may wait for their turn.
    pub queue: usize,
}

/// Why a step gave no context.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// Too many handshakes at a time.
    #[error("too many handshakes at a time: the queue for contexts is full")]
    Full,
    /// The thread has ended on the way.
    #[error("accepting a context failed")]
    Failed,
    /// The step itself has failed.
    #[error(transparent)]
    Step(#[from] AcceptError),
}

impl Pool {
    /// A pool that has done nothing yet.
    pub fn new(rules: Arc<Rules>, size: PoolSize) -> Self {
        let places = size.threads.saturating_add(size.queue).min(Semaphore::MAX_PERMITS);
        Self {
            size,
            rules,
            threads: Arc::new(Semaphore::new(size.threads)),
            places: Arc::new(Semaphore::new(places)),
            spare: Arc::default(),
        }
    }

    /// Acquires a first credential, and so tells whether the keytab is there.
    ///
    /// # Errors
    /// [`Diagnosis`] of what the operator must mend.
    pub fn check(&self) -> Result<(), Diagnosis> {
        let acceptor = Acceptor::acquire(Arc::clone(&self.rules))?;
        put(&self.spare, acceptor);
        Ok(())
    }

    /// Runs one step as soon as it is its turn. Dropping the future gives up the place in the queue; a step on
    /// its way goes on, and holds its thread until it is done.
    ///
    /// # Errors
    /// [`PoolError`]; the context is gone then.
    pub async fn step(&self, pending: Option<Pending>, token: Vec<u8>) -> Result<Accepted, PoolError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PoolError::Full)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| PoolError::Failed)?;
        let (spare, rules) = (Arc::clone(&self.spare), Arc::clone(&self.rules));
        let task = tokio::task::spawn_blocking(move || {
            // Both go with the work: they come back when it is done, not when nobody waits for it any more.
            let _held = (place, thread);
            let mut acceptor = match take(&spare) {
                Some(acceptor) => acceptor,
                None => Acceptor::acquire(rules).map_err(AcceptError::from)?,
            };
            let accepted = acceptor.step(pending, &token);
            put(&spare, acceptor);
            accepted
        });
        Ok(task.await.map_err(|_| PoolError::Failed)??)
    }

    /// How many steps it runs, and how many may wait.
    pub fn size(&self) -> PoolSize {
        self.size
    }

    /// How it accepts.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

fn take(spare: &Mutex<Vec<Acceptor>>) -> Option<Acceptor> {
    spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn put(spare: &Mutex<Vec<Acceptor>>, acceptor: Acceptor) {
    spare.lock().unwrap_or_else(PoisonError::into_inner).push(acceptor);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls a step once; `None`: it waits.
    async fn poll(step: &mut (impl Future<Output = Result<Accepted, PoolError>> + Unpin)) -> Option<String> {
        tokio::select! {
            biased;
            result = step => Some(result.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())),
            () = async {} => None,
        }
    }

    #[tokio::test]
    async fn one_more_than_fit_the_queue_is_refused_and_a_place_comes_back() {
        // Without threads, whoever has a place waits.
        let pool = Pool::new(Arc::new(Rules::new("nowhere")), PoolSize { threads: 0, queue: 1 });
        let mut waiting = Box::pin(pool.step(None, vec![]));
        assert_eq!(poll(&mut waiting).await, None);
        let full = poll(&mut Box::pin(pool.step(None, vec![]))).await;
        assert_eq!(full.as_deref(), Some("too many handshakes at a time: the queue for contexts is full"));
        drop(waiting);
        assert_eq!(poll(&mut Box::pin(pool.step(None, vec![]))).await, None);
    }
}
