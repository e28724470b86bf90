//! One place that records go to: its queue, its writer, and how it does.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::error;

use crate::config::{Fsync, OnAuditFailure, SyslogAddress, TargetConfig, TargetKind};

use super::OpenError;
use super::file::LineFile;
use super::journal::Journal;
use super::queue::Queue;
use super::stdout::Stdout;
use super::syslog::Syslog;
use super::writer::{Sink, State, Writer};

/// How long a writer may take for its last records.
const LAST_RECORDS: Duration = Duration::from_secs(10);
/// A target that has written nothing for so long takes nothing, for whatever reason.
const STUCK: Duration = Duration::from_secs(1);

/// An open target.
#[derive(Debug)]
pub(super) struct Target {
    config: TargetConfig,
    place: String,
    queue: Arc<Queue>,
    state: Arc<State>,
    progress: Progress,
    /// Ends when the writer does.
    end: Mutex<Receiver<()>>,
}

/// How a target does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The file's path, `stdout`, `journald`, or the syslog server's address.
    pub(crate) place: String,
    /// Records that wait to be written.
    pub(crate) waiting: usize,
    /// Records that may wait.
    pub(crate) room: usize,
    /// Records written since the target was opened.
    pub(crate) written: u64,
    /// Records dropped since then, because there was no room.
    pub(crate) lost: u64,
    /// Times that it began to fail.
    pub(crate) failures: u64,
    /// Whether the last attempt to write failed.
    pub(crate) failing: bool,
}

/// When somebody last saw that the target had nothing to catch up with, or had written something more.
#[derive(Debug)]
struct Progress {
    began: Instant,
    written: AtomicU64,
    millis: AtomicU64,
}

impl Target {
    /// Opens it and starts its writer.
    pub(super) fn open(config: &TargetConfig) -> Result<Self, OpenError> {
        let place = place(&config.kind);
        Self::start(config, place.clone()).map_err(|error| OpenError { place, error })
    }

    fn start(config: &TargetConfig, place: String) -> io::Result<Self> {
        let TargetConfig { kind, terms } = config;
        let queue = Arc::new(Queue::new(terms.queue, terms.on_overflow));
        let state = Arc::new(State::default());
        let fsync = match kind {
            TargetKind::File { fsync, .. } => *fsync,
            _ => Fsync::Never,
        };
        let writer = Writer {
            place: place.clone(),
            sink: sink(kind)?,
            queue: queue.clone(),
            state: state.clone(),
            fsync,
            on_failure: terms.on_failure,
            sync_at: None,
            sync_failed: false,
        };
        let (ended, end) = channel::<()>();
        std::thread::Builder::new().name("audit".into()).spawn(move || {
            writer.run();
            drop(ended);
        })?;
        Ok(Self {
            config: config.clone(),
            place,
            queue,
            state,
            progress: Progress::new(),
            end: Mutex::new(end),
        })
    }

    pub(super) fn push(&self, line: &[u8]) {
        self.queue.push(line);
    }

    pub(super) fn refuses(&self) -> bool {
        let fails = self.config.terms.on_failure == OnAuditFailure::Refuse && self.is_failing();
        fails || self.queue.is_crowded()
    }

    /// Tells whether it takes records, but less fast than they come.
    pub(super) fn is_behind(&self) -> bool {
        if !self.queue.is_crowded() {
            self.progress.touch();
            return false;
        }
        !self.is_failing() && self.progress.moved_within(STUCK, self.state.written.load(Ordering::Relaxed))
    }

    pub(super) fn reopen(&self) {
        self.queue.reopen();
    }

    pub(super) fn be_patient(&self) {
        self.queue.be_patient();
    }

    /// Says that no record will come any more.
    pub(super) fn finish(&self) {
        self.queue.finish();
    }

    /// Waits for the writer's last records, for a while.
    pub(super) fn wait_for_end(&self) {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.recv_timeout(LAST_RECORDS) == Err(RecvTimeoutError::Timeout) {
            let records = self.queue.len();
            error!(
                place = self.place,
                records, "audit target took its last records too slowly; they are lost"
            );
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected)
    }

    pub(super) fn config(&self) -> &TargetConfig {
        &self.config
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            place: self.place.clone(),
            waiting: self.queue.len(),
            room: self.config.terms.queue,
            written: self.state.written.load(Ordering::Relaxed),
            lost: self.queue.lost(),
            failures: self.state.failures.load(Ordering::Relaxed),
            failing: self.is_failing(),
        }
    }

    fn is_failing(&self) -> bool {
        self.state.failing.load(Ordering::Relaxed)
    }
}

impl Progress {
    fn new() -> Self {
        Self { began: Instant::now(), written: AtomicU64::new(0), millis: AtomicU64::new(0) }
    }

    fn touch(&self) {
        self.millis.store(self.now(), Ordering::Relaxed);
    }

    /// Tells whether that was within this time.
    fn moved_within(&self, time: Duration, written: u64) -> bool {
        if self.written.swap(written, Ordering::Relaxed) != written {
            self.touch();
        }
        let since = self.now().saturating_sub(self.millis.load(Ordering::Relaxed));
        Duration::from_millis(since) < time
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn sink(kind: &TargetKind) -> io::Result<Box<dyn Sink>> {
    Ok(match kind {
        TargetKind::File { path, fsync } => Box::new(LineFile::open(path, *fsync != Fsync::Never)?),
        TargetKind::Stdout => Box::new(Stdout),
        TargetKind::Journald { socket } => Box::new(Journal::open(socket)?),
        TargetKind::Syslog(config) => Box::new(Syslog::new(config)),
    })
}

fn place(kind: &TargetKind) -> String {
    let shown = |path: &Path| path.display().to_string();
    match kind {
        TargetKind::File { path, .. } => shown(path),
        TargetKind::Stdout => "stdout".into(),
        TargetKind::Journald { .. } => "journald".into(),
        TargetKind::Syslog(config) => match &config.address {
            SyslogAddress::Unix(path) => format!("unix:{}", shown(path)),
            SyslogAddress::Udp(server) => format!("udp:{server}"),
            SyslogAddress::Tcp(server) => format!("tcp:{server}"),
        },
    }
}
