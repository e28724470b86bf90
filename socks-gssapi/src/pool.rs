//! Where contexts are accepted: a few steps at a time, each with a credential of its own, and a bounded queue
//! before them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::acceptor::{AcceptError, Accepted, Acceptor, Pending};
use crate::diagnosis::Diagnosis;
use crate::rules::Rules;

/// Accepts contexts on the blocking pool, so that slow disks neither block nor starve the relays.
///
/// Steps wait in one queue. A thread takes step after step until none is left, and another is started when there
/// are more than two steps for each at work, or one takes long: under load nobody has to be woken to hand over the
/// next.
#[derive(Debug)]
pub struct Pool {
    size: PoolSize,
    shared: Arc<Shared>,
}

/// How many steps there may be for each thread at work before another is started: one in hand, and one that it will
/// have taken before another thread is awake.
const STEPS_PER_THREAD: usize = 2;

/// From when on nobody waits for a thread at work: its step hangs in a file.
const SLOW: Duration = Duration::from_millis(5);

/// What the pool and its threads have in common.
#[derive(Debug)]
struct Shared {
    rules: Arc<Rules>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Step>,
    /// Threads that take steps.
    working: usize,
    /// Steps that they have in hand.
    taken: usize,
    /// When one of them has last taken a step.
    taken_at: Option<Instant>,
    /// Credentials that nobody uses now; never more than threads were at work at a time.
    spare: Vec<Acceptor>,
}

/// A step that waits for its turn.
#[derive(Debug)]
struct Step {
    pending: Option<Pending>,
    token: Vec<u8>,
    /// Closed when nobody waits for the step any more.
    answer: oneshot::Sender<Result<Accepted, PoolError>>,
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
        Self { size, shared: Arc::new(Shared { rules, state: Mutex::default() }) }
    }

    /// Acquires a first credential, and so tells whether the keytab is there.
    ///
    /// # Errors
    /// [`Diagnosis`] of what the operator must mend.
    pub fn check(&self) -> Result<(), Diagnosis> {
        let acceptor = Acceptor::acquire(Arc::clone(&self.shared.rules))?;
        self.shared.lock().spare.push(acceptor);
        Ok(())
    }

    /// Runs one step as soon as it is its turn. Dropping the future gives up the place in the queue; a step on
    /// its way goes on, and holds its thread until it is done.
    ///
    /// # Errors
    /// [`PoolError`]; the context is gone then.
    pub async fn step(&self, pending: Option<Pending>, token: Vec<u8>) -> Result<Accepted, PoolError> {
        let (answer, answered) = oneshot::channel();
        if let Some(worker) = self.enter(Step { pending, token, answer })? {
            tokio::task::spawn_blocking(move || worker.run());
        }
        answered.await.map_err(|_| PoolError::Failed)?
    }

    /// Puts a step into the queue, and gives a thread to start if there may be one more.
    fn enter(&self, step: Step) -> Result<Option<Worker>, PoolError> {
        let mut state = self.shared.lock();
        let most = self.size.threads.saturating_add(self.size.queue);
        if state.taken + state.waiting.len() >= most {
            // A step that nobody waits for any more has given up its place.
            state.waiting.retain(|step| !step.answer.is_closed());
        }
        if state.taken + state.waiting.len() >= most {
            return Err(PoolError::Full);
        }
        state.waiting.push_back(step);
        if state.working >= self.size.threads || state.keeps_up() {
            return Ok(None);
        }
        state.working += 1;
        Ok(Some(Worker {
            shared: Arc::clone(&self.shared),
            acceptor: None,
            has_step: false,
            has_ended: false,
        }))
    }

    /// How many steps it runs, and how many may wait.
    pub fn size(&self) -> PoolSize {
        self.size
    }

    /// How it accepts.
    pub fn rules(&self) -> &Rules {
        &self.shared.rules
    }
}

impl State {
    /// Tells whether the threads at work will soon have taken all that waits.
    fn keeps_up(&self) -> bool {
        let few = self.taken + self.waiting.len() <= self.working.saturating_mul(STEPS_PER_THREAD);
        few && self.taken_at.is_none_or(|at| at.elapsed() < SLOW || self.taken == 0)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that takes steps; it is counted among those at work until it finds none, or is dropped.
struct Worker {
    shared: Arc<Shared>,
    acceptor: Option<Acceptor>,
    has_step: bool,
    has_ended: bool,
}

impl Worker {
    fn run(mut self) {
        while let Some(Step { pending, token, answer }) = self.next() {
            if answer.is_closed() {
                continue;
            }
            // A bug in one step must not cost the others their thread; who waits for this one sees the answer gone.
            let done = catch_unwind(AssertUnwindSafe(|| self.accept(pending, &token)));
            if let Ok(accepted) = done {
                // Nobody may be left to hear it.
                let _ = answer.send(accepted);
            }
        }
    }

    /// The step whose turn it is; without one this thread is no longer at work.
    fn next(&mut self) -> Option<Step> {
        let mut state = self.shared.lock();
        state.taken -= usize::from(std::mem::take(&mut self.has_step));
        let step = state.waiting.pop_front();
        if step.is_none() {
            // Under the same lock: whoever comes next must know that it has to start a thread.
            self.has_ended = true;
            state.working -= 1;
            state.spare.extend(self.acceptor.take());
            return None;
        }
        self.has_step = true;
        state.taken += 1;
        state.taken_at = Some(Instant::now());
        if self.acceptor.is_none() {
            self.acceptor = state.spare.pop();
        }
        step
    }

    fn accept(&mut self, pending: Option<Pending>, token: &[u8]) -> Result<Accepted, PoolError> {
        // It comes back only in order: one that was left in the middle of a step is not used again.
        let mut acceptor = match self.acceptor.take() {
            Some(acceptor) => acceptor,
            None => Acceptor::acquire(Arc::clone(&self.shared.rules)).map_err(AcceptError::from)?,
        };
        let accepted = acceptor.step(pending, token);
        self.acceptor = Some(acceptor);
        Ok(accepted?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut state = self.shared.lock();
            state.working -= 1;
            state.taken -= usize::from(self.has_step);
        }
    }
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
    #[tokio::test]
    async fn one_thread_takes_all_steps_that_wait_and_goes_when_none_is_left() {
        let pool = Arc::new(Pool::new(Arc::new(Rules::new("nowhere")), PoolSize { threads: 1, queue: 9 }));
        let mut steps = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let pool = Arc::clone(&pool);
            steps.spawn(async move { pool.step(None, vec![]).await });
        }
        for answer in steps.join_all().await {
            assert!(matches!(answer, Err(PoolError::Step(_))), "there is no keytab: {answer:?}");
        }
        assert_eq!(pool.shared.lock().waiting.len(), 0);
        // The last answer goes out before its thread looks for another step.
        while pool.shared.lock().working > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_not_counted() {
        let pool = Pool::new(Arc::new(Rules::new("nowhere")), PoolSize { threads: 1, queue: 0 });
        let (answer, _answered) = oneshot::channel();
        let worker = pool.enter(Step { pending: None, token: Vec::new(), answer }).unwrap();
        assert_eq!(pool.shared.lock().working, 1);
        drop(worker);
        assert_eq!(pool.shared.lock().working, 0);
    }

    #[test]
    fn another_thread_is_started_for_every_two_steps() {
        let pool = Pool::new(Arc::new(Rules::new("nowhere")), PoolSize { threads: 2, queue: 9 });
        let mut answers = Vec::new();
        let mut workers = Vec::new();
        let started = [(); 6].map(|()| {
            let (answer, answered) = oneshot::channel();
            answers.push(answered);
            let worker = pool.enter(Step { pending: None, token: Vec::new(), answer }).unwrap();
            let is_started = worker.is_some();
            workers.extend(worker);
            is_started
        });
        assert_eq!(started, [true, false, true, false, false, false]);
    }

    #[test]
    fn nobody_waits_for_a_step_that_hangs() {
        let waiting = |taken_at| {
            let (answer, _) = oneshot::channel();
            let waiting = VecDeque::from([Step { pending: None, token: Vec::new(), answer }]);
            State { waiting, working: 1, taken: 1, taken_at: Some(taken_at), spare: Vec::new() }
        };
        let now = Instant::now();
        assert!(waiting(now + SLOW).keeps_up(), "it has just begun");
        assert!(!waiting(now.checked_sub(SLOW).unwrap()).keeps_up());
    }
}
