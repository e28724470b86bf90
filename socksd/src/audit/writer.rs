//! The thread that writes one target's records.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info};

use crate::config::{Fsync, OnAuditFailure};

use super::event::Event;
use super::queue::{Lost, Queue};

/// Where lines go.
pub(super) trait Sink: Send {
    /// Writes the whole lines of `rest`, and takes from its front those that were written.
    ///
    /// # Errors
    /// The system's; what is left in `rest` is tried again.
    fn append(&mut self, rest: &mut &[u8]) -> io::Result<()>;

    /// Opens the target anew; what is there stays when that fails.
    ///
    /// # Errors
    /// The system's.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Makes sure that a crash of the machine loses nothing of what was written.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a target does, for everybody to see.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) failing: AtomicBool,
    /// Times that the target began to fail.
    pub(super) failures: AtomicU64,
    /// Records written.
    pub(super) written: AtomicU64,
}

/// What the thread works on.
pub(super) struct Writer {
    pub(super) place: String,
    pub(super) sink: Box<dyn Sink>,
    pub(super) queue: Arc<Queue>,
    pub(super) state: Arc<State>,
    pub(super) fsync: Fsync,
    pub(super) on_failure: OnAuditFailure,
    /// When what was written has to be made to last.
    pub(super) sync_at: Option<Instant>,
    /// It was tried, and failed.
    pub(super) sync_failed: bool,
}

/// The most octets that go out with one write.
const BATCH: usize = 256 * 1024;
/// What a buffer for lines may keep when it is empty.
const KEPT: usize = 4 * BATCH;
/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Tries for what is still waiting when nothing will come any more.
const LAST_TRIES: u32 = 4;

impl Writer {
    /// Writes until the queue has ended.
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let work = self.queue.take(&mut batch, self.sync_at);
            if work.reopen {
                self.reopen();
            }
            if let Some(lost) = work.lost {
                self.tell_of(lost, &mut batch);
            }
            self.write(&batch);
            batch.clear();
            batch.shrink_to(KEPT);
            if self.sync_at.is_some_and(|at| work.is_last || at <= Instant::now()) {
                self.sync();
            }
            if work.is_last {
                return;
            }
        }
    }

    fn tell_of(&self, lost: Lost, batch: &mut Vec<u8>) {
        let Lost { count, since } = lost;
        error!(place = self.place, records = count, %since, "audit records are lost: they came faster than the target takes them");
        let event = Event::AuditLost { place: &self.place, count, since };
        if serde_json::to_writer(&mut *batch, &event.now()).is_ok() {
            batch.push(b'\n');
            self.queue.add_own();
        }
    }

    /// Tries until everything is written; when nothing will come any more, a few times and then into the log.
    fn write(&mut self, mut rest: &[u8]) {
        let mut last_tries = 0;
        while !rest.is_empty() {
            let (part, _) = split_lines(rest, BATCH);
            let mut left = part;
            let result = self.sink.append(&mut left);
            let (done, later) = rest.split_at(part.len() - left.len());
            rest = later;
            self.count(done);
            let Err(error) = result else { continue };
            self.fail(&error);
            last_tries += u32::from(self.queue.is_finishing());
            if last_tries > LAST_TRIES {
                error!(place = self.place, records = %String::from_utf8_lossy(rest), "audit records that could not be written");
                self.queue.give_up(count_lines(rest));
                return;
            }
            if self.queue.pause(RETRY) {
                self.reopen();
            }
        }
    }

    fn count(&mut self, done: &[u8]) {
        let records = count_lines(done);
        if records == 0 {
            return;
        }
        match self.fsync {
            Fsync::Never => {}
            Fsync::Always => self.sync(),
            Fsync::Every(time) => self.sync_at = self.sync_at.or_else(|| Instant::now().checked_add(time)),
        }
        // A write does not make good that an earlier one did not reach the disk.
        if !self.sync_failed {
            self.recover();
        }
        self.state.written.fetch_add(u64::try_from(records).unwrap_or(0), Ordering::Relaxed);
        self.queue.free(records);
    }

    fn sync(&mut self) {
        match self.sink.sync() {
            Ok(()) => {
                (self.sync_at, self.sync_failed) = (None, false);
                self.recover();
            }
            Err(error) => {
                self.sync_failed = true;
                self.sync_at = Instant::now().checked_add(RETRY);
                self.fail(&error);
            }
        }
    }

    fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(()) => info!(place = self.place, "audit target opened anew"),
            Err(error) => error!(place = self.place, %error, "audit target cannot be opened anew"),
        }
    }

    fn fail(&self, error: &io::Error) {
        if self.state.failing.swap(true, Ordering::Relaxed) {
            return;
        }
        self.state.failures.fetch_add(1, Ordering::Relaxed);
        let consequence = match self.on_failure {
            OnAuditFailure::Refuse => "new sessions are refused",
            OnAuditFailure::Continue => "records wait",
        };
        error!(place = self.place, %error, "audit target cannot be written; {consequence}");
    }

    fn recover(&self) {
        if self.state.failing.swap(false, Ordering::Relaxed) {
            info!(place = self.place, "audit target is written again");
        }
    }
}

/// Splits after the last whole line that ends within `most` octets; a longer first line stays whole.
pub(super) fn split_lines(lines: &[u8], most: usize) -> (&[u8], &[u8]) {
    let ends = |part: &[u8]| part.iter().rposition(|octet| *octet == b'\n');
    let end = match lines.get(..most) {
        None => Some(lines.len()),
        Some(part) => ends(part).or_else(|| lines.iter().position(|octet| *octet == b'\n')).map(|at| at + 1),
    };
    lines.split_at_checked(end.unwrap_or(lines.len())).unwrap_or((lines, &[]))
}

fn count_lines(lines: &[u8]) -> usize {
    lines.iter().filter(|octet| **octet == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_where_one_ends() {
        let table: [(&str, usize, &str); 6] = [
            ("", 4, ""),
            ("a\nb\n", 100, "a\nb\n"),
            ("a\nb\nc\n", 4, "a\nb\n"),
            ("a\nb\nc\n", 5, "a\nb\n"),
            ("long line\nb\n", 4, "long line\n"),
            ("no end", 2, "no end"),
        ];
        for (lines, most, first) in table {
            let (part, rest) = split_lines(lines.as_bytes(), most);
            assert_eq!(part, first.as_bytes(), "{lines:?} {most}");
            assert_eq!([part, rest].concat(), lines.as_bytes());
        }
    }
}
