//! The log on standard error: lines are gathered in memory and written by a thread of their own.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::error;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{LogConfig, LogFormat};

/// Octets that may wait for standard error; beyond that lines are dropped rather than sessions stopped.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// Lines that come within this time go out with one write: waking a thread for each would cost more than the
/// line itself.
pub(crate) const GATHER: Duration = Duration::from_millis(10);

/// The running log; when it is dropped, all lines that wait are written.
pub(crate) struct Log {
    lines: Arc<Lines>,
    writer: Mutex<Option<JoinHandle<()>>>,
    level: reload::Handle<LevelFilter, Registry>,
    format: reload::Handle<Format, Leveled>,
}

/// All events that the level lets through.
type Leveled = Layered<reload::Layer<LevelFilter, Registry>, Registry>;
/// How they look.
type Format = Box<dyn Layer<Leveled> + Send + Sync>;

impl Log {
    pub(crate) fn start(config: &LogConfig) -> io::Result<Self> {
        let lines = Arc::new(Lines::default());
        let shared = Arc::clone(&lines);
        let write = move || shared.write_all(io::stderr());
        let writer = std::thread::Builder::new().name("log".into()).spawn(write)?;
        let (leveled, level) = reload::Layer::new(config.level);
        let (formatted, format) = reload::Layer::new(lines.format(config.format));
        // A second gateway in one process (a test) keeps the first one's log.
        let _ = tracing_subscriber::registry().with(leveled).with(formatted).try_init();
        Ok(Self { lines, writer: Mutex::new(Some(writer)), level, format })
    }

    /// Writes by another configuration from now on.
    pub(crate) fn change(&self, config: &LogConfig) {
        // Where this fails the log is not ours, see above.
        let _ = self.level.reload(config.level);
        let _ = self.format.reload(self.lines.format(config.format));
    }

    /// Writes what waits; what comes behind that is lost. Threads that end with the process may have the log still.
    pub(crate) fn close(&self) {
        self.lines.lock().closing = true;
        self.lines.some.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }

    /// Says how many lines are missing, if some are that were not told of yet.
    pub(crate) fn tell_of_losses(&self) {
        let lost = std::mem::take(&mut self.lines.lock().lost);
        if lost > 0 {
            error!(lines = lost, "log lines are lost: standard error is not read fast enough");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

/// Lines on their way to standard error.
#[derive(Debug, Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    some: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    octets: Vec<u8>,
    lost: u64,
    closing: bool,
}

impl Lines {
    /// What writes events here.
    fn format(self: &Arc<Self>, format: LogFormat) -> Format {
        let lines = Arc::clone(self);
        let layer = fmt::layer().with_writer(move || Line(Arc::clone(&lines))).with_target(false);
        match format {
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
            LogFormat::Text => layer.with_ansi(false).boxed(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.octets.len() + line.len() > MOST_WAITING {
            waiting.lost += 1;
            return;
        }
        let first = waiting.octets.is_empty();
        waiting.octets.extend_from_slice(line);
        drop(waiting);
        if first {
            self.some.notify_one();
        }
    }

    fn write_all(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let waiting = self.lock();
            let nothing = |waiting: &mut Waiting| waiting.octets.is_empty() && !waiting.closing;
            let waiting = self.some.wait_while(waiting, nothing).unwrap_or_else(PoisonError::into_inner);
            let closing = waiting.closing;
            drop(waiting);
            if !closing {
                std::thread::sleep(GATHER);
            }
            std::mem::swap(&mut self.lock().octets, &mut batch);
            // There is nowhere else to say that standard error is closed.
            let _ = output.write_all(&batch);
            batch.clear();
            if closing {
                return;
            }
        }
    }
}

/// One line that is being written; the formatter gives it whole.
struct Line(Arc<Lines>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_find_no_room_are_counted_and_the_others_are_written_at_the_end() {
        let lines = Lines::default();
        let line = [b'x'; 1024];
        for _ in 0..MOST_WAITING / line.len() + 3 {
            lines.add(&line);
        }
        assert_eq!(lines.lock().lost, 3);
        lines.lock().closing = true;
        let mut written = Vec::new();
        lines.write_all(&mut written);
        assert_eq!(written.len(), MOST_WAITING);
    }
}
