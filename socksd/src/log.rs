//! The log on standard error.

use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::error;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogConfig, LogFormat};

/// Lines that may wait for standard error; beyond that lines are dropped rather than sessions stopped.
const LINES: usize = 16_384;

/// The running log; when it is dropped, all lines that wait are written.
pub(crate) struct Log {
    lost: ErrorCounter,
    told: AtomicUsize,
    _writer: WorkerGuard,
}

impl Log {
    pub(crate) fn start(config: &LogConfig) -> Self {
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).finish(std::io::stderr());
        let lost = writer.error_counter();
        let filter =
            EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(&config.level);
        let builder =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
        // A second gateway in one process (a test) keeps the first one's log.
        let _ = match config.format {
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
            LogFormat::Text => builder.with_ansi(false).try_init(),
        };
        Self { lost, told: AtomicUsize::new(0), _writer: guard }
    }

    /// Says how many lines are missing, if some are that were not told of yet.
    pub(crate) fn tell_of_losses(&self) {
        let lost = self.lost.dropped_lines();
        let told = self.told.swap(lost, Ordering::Relaxed);
        if lost > told {
            error!(lines = lost - told, "log lines are lost: standard error is not read fast enough");
        }
    }
}
