//! One line on standard error that says what takes so long: only where a person watches, and only after a moment.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is done by then needs no line.
const MOMENT: Duration = Duration::from_secs(1);
/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(250);
/// To the line's begin, and nothing left of what stood there.
const CLEAR: &str = "\r\x1b[K";
/// A longer line would wrap, and could not be cleared.
const WIDTH: usize = 78;

/// The line; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    /// Its end tells the thread; none: nobody watches.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows what `text` says, from time to time.
    pub(super) fn show(text: impl Fn() -> String + Send + 'static) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if is_dumb || !io::stderr().is_terminal() {
            return Self { end: None, thread: None };
        }
        let (end, ended) = channel::<()>();
        let write = move || {
            let mut wait = MOMENT;
            let mut shown = false;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let text: String = text().chars().filter(|letter| !letter.is_control()).take(WIDTH).collect();
                // Nobody is harmed where it cannot be shown.
                let _ = write!(io::stderr(), "{CLEAR}{text}");
                (wait, shown) = (EVERY, true);
            }
            if shown {
                let _ = write!(io::stderr(), "{CLEAR}");
            }
        };
        // Without a thread there is no line, and everything else all the same.
        let thread = thread::Builder::new().name("progress".into()).spawn(write).ok();
        Self { end: Some(end), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
