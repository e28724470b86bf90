//! The audit file: JSON lines, one per session, written by a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SendError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tracing::error;

use crate::log::GATHER;

/// Records that may wait for the disk.
const QUEUE: usize = 65_536;
/// Waiting records from which on no new session is taken, so that those that run still find room.
const FULL_ENOUGH: usize = QUEUE / 2;
/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Tries for what is still waiting when the gateway stops.
const LAST_TRIES: u32 = 4;

/// Where records go. Without a file they stand in the log only.
#[derive(Debug)]
pub(crate) struct Audit {
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    queue: Mutex<Option<SyncSender<Vec<u8>>>>,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    failing: AtomicBool,
    closing: AtomicBool,
    patient: AtomicBool,
}

impl Audit {
    /// No audit file.
    pub(crate) fn off() -> Self {
        Self { writer: None }
    }

    /// Opens the file for appending (mode 0640 when it is new) and starts the writer.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = Output::open(path)?;
        let (queue, records) = sync_channel(QUEUE);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(&mut file, &records, &shared))?;
        Ok(Self {
            writer: Some(Writer { queue: Mutex::new(Some(queue)), state, thread: Mutex::new(Some(thread)) }),
        })
    }

    /// Appends one record. It waits for nothing; what finds no room goes to the log instead.
    pub(crate) fn write(&self, record: &impl Serialize) {
        let Some(writer) = &self.writer else { return };
        let Ok(mut line) = serde_json::to_vec(record) else { return };
        line.push(b'\n');
        writer.state.waiting.fetch_add(1, Ordering::Relaxed);
        let queue = writer.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = queue.as_ref().map(|queue| match writer.state.patient.load(Ordering::Relaxed) {
            true => queue.send(line).map_err(|SendError(line)| TrySendError::Disconnected(line)),
            false => queue.try_send(line),
        });
        let lost = match sent {
            Some(Ok(())) => return,
            Some(Err(TrySendError::Full(line) | TrySendError::Disconnected(line))) => line,
            None => return,
        };
        writer.state.waiting.fetch_sub(1, Ordering::Relaxed);
        error!(record = %String::from_utf8_lossy(&lost).trim_end(), "audit queue is full; the record stands here only");
    }

    /// Tells whether new sessions must wait: the last write failed, or too many records are waiting.
    pub(crate) fn is_failing(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| {
            writer.state.failing.load(Ordering::Relaxed)
                || writer.state.waiting.load(Ordering::Relaxed) > FULL_ENOUGH
        })
    }

    /// From now on a record waits for room: the gateway stops, and all sessions end at once.
    pub(crate) fn be_patient(&self) {
        if let Some(writer) = &self.writer {
            writer.state.patient.store(true, Ordering::Relaxed);
        }
    }

    /// Writes what is waiting and ends the writer.
    pub(crate) fn close(&self) {
        let Some(writer) = &self.writer else { return };
        writer.state.closing.store(true, Ordering::Relaxed);
        drop(writer.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = writer.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

/// The open file, opened anew when somebody moved it away (log rotation).
#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends what `rest` still holds, and takes from it what was written.
    fn append(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        if self.was_moved() {
            *self = Self::open(&self.path)?;
        }
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn was_moved(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) => (open.dev(), open.ino()) != (named.dev(), named.ino()),
            (_, named) => named.is_err(),
        }
    }
}

/// The most octets that go to the file with one write.
const BATCH: usize = 256 * 1024;

fn write_all(output: &mut Output, records: &Receiver<Vec<u8>>, state: &State) {
    let mut batch = Vec::new();
    while let Ok(first) = records.recv() {
        batch.extend_from_slice(&first);
        // What comes within a moment goes out with one write; waking this thread for each would cost more.
        if !state.closing.load(Ordering::Relaxed) {
            std::thread::sleep(GATHER);
        }
        let mut count = 1;
        while batch.len() < BATCH
            && let Ok(next) = records.try_recv()
        {
            batch.extend_from_slice(&next);
            count += 1;
        }
        write_batch(output, &batch, state);
        batch.clear();
        state.waiting.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Tries until it is written; when the gateway stops, a few times more and then into the log.
fn write_batch(output: &mut Output, batch: &[u8], state: &State) {
    let mut last_tries = 0;
    let mut rest = batch;
    while let Err(error) = output.append(&mut rest) {
        if !state.failing.swap(true, Ordering::Relaxed) {
            error!(path = %output.path.display(), %error, "audit file cannot be written; new sessions are refused");
        }
        if state.closing.load(Ordering::Relaxed) {
            last_tries += 1;
            if last_tries > LAST_TRIES {
                error!(records = %String::from_utf8_lossy(rest), "audit records that could not be written");
                return;
            }
        }
        std::thread::sleep(RETRY);
    }
    state.failing.store(false, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_stands_in_the_file_after_close() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path).unwrap();
        for number in 0..1000 {
            audit.write(&number);
        }
        audit.close();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert_eq!(text.lines().last(), Some("999"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut output = Output::open(&path).unwrap();
        output.append(&mut &b"old\n"[..]).unwrap();
        std::fs::rename(&path, folder.path().join("audit.1")).unwrap();
        output.append(&mut &b"new\n"[..]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Audit::open(&folder.path().join("missing/audit.jsonl")).is_err());
    }
}
