//! The lines that a child process writes, kept and awaited.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that arrive while the test goes on.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Collects everything from a pipe, in a thread that ends with it.
    pub fn collect(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                writer.lock().lines.push(text);
                writer.0.changed.notify_all();
                line.clear();
            }
            writer.lock().ended = true;
            writer.0.changed.notify_all();
        });
        lines
    }

    /// Waits for what `pick` finds in a line, looking at each line once, from the first on.
    ///
    /// `None` when the pipe ended or the time is over.
    pub fn find<T>(&self, within: Duration, mut pick: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let until = Instant::now() + within;
        let mut seen = 0;
        let mut state = self.lock();
        loop {
            if let Some(found) = state.lines.iter().skip(seen).find_map(|line| pick(line)) {
                return Some(found);
            }
            seen = state.lines.len();
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self.0.changed.wait_timeout(state, left).expect("no reader panics with the lock").0;
        }
    }

    /// Waits until the pipe has ended; `false` when it has not within the time.
    pub fn wait_for_end(&self, within: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .0
            .changed
            .wait_timeout_while(state, within, |state| !state.ended)
            .expect("no reader panics with the lock");
        state.ended
    }

    /// Everything so far, as one text.
    pub fn text(&self) -> String {
        self.lock().lines.join("\n")
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no reader panics with the lock")
    }
}
