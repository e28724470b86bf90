//! One measurement under way: when it counts, how much was done, and when it is over.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::bench::{Contender, Window};

const COUNTS: u8 = 1;
const OVER: u8 = 2;

/// What the threads of a load and the clock share.
#[derive(Debug, Default)]
pub(crate) struct Run {
    phase: AtomicU8,
    done: AtomicU64,
}

impl Run {
    /// Adds work that was done.
    pub(crate) fn add(&self, work: u64) {
        self.done.fetch_add(work, Ordering::Relaxed);
    }

    /// Tells whether times are to be kept now.
    pub(crate) fn counts(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == COUNTS
    }

    /// Tells whether the load is to end.
    pub(crate) fn is_over(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == OVER
    }

    /// Keeps the time since a moment in nanoseconds, if it counts.
    pub(crate) fn keep(&self, times: &mut Vec<u32>, since: Instant) {
        if self.counts() {
            times.push(u32::try_from(since.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }

    /// Lets the load come up, watches it for a time and ends it; the window, and the work that was done in it.
    pub(crate) fn watch(&self, contender: &Contender, time: Duration) -> (Window, f64) {
        thread::sleep(time / 4);
        self.phase.store(COUNTS, Ordering::Relaxed);
        let before = self.done.load(Ordering::Relaxed);
        let window = Window::watch(contender, time);
        let done = self.done.load(Ordering::Relaxed) - before;
        self.phase.store(OVER, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let done = done as f64;
        (window, done)
    }
}
