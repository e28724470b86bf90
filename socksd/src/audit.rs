//! The audit stream: JSON lines, one per session and per event, for each target through a queue and a thread
//! of its own.

mod event;
mod fields;
mod file;
mod journal;
mod queue;
mod stdout;
mod syslog;
mod target;
mod writer;

use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use serde::Serialize;

use crate::config::{AuditConfig, TargetConfig};

pub(crate) use event::{Agent, Event, ReloadResult};
use target::{Counts, Target};

/// The version of the records' shape; it grows when a field changes its meaning or goes away.
pub(crate) const VERSION: u8 = 1;
/// What most records have room in.
const USUAL_LINE: usize = 1024;

/// Where records go. Without a target they stand in the log only.
#[derive(Debug)]
pub(crate) struct Audit {
    targets: RwLock<Vec<Target>>,
    /// Those that a reload has taken out, and that may still have something to write.
    retired: RwLock<Vec<Target>>,
}

/// The targets of another configuration, open and ready to be written to.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// In the order of the configuration; `None`: the one that is there stays.
    targets: Vec<(TargetConfig, Option<Target>)>,
}

/// A target that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("audit target `{place}`: {error}")]
pub(crate) struct OpenError {
    place: String,
    error: io::Error,
}

impl Audit {
    /// Opens all targets (files are created with mode 0640) and starts their writers.
    ///
    /// # Errors
    /// The system's, for a file that cannot be opened. Servers need not be there yet.
    pub(crate) fn open(config: &AuditConfig) -> Result<Self, OpenError> {
        let targets = config.targets.iter().map(Target::open).collect::<Result<_, _>>()?;
        Ok(Self { targets: RwLock::new(targets), retired: RwLock::default() })
    }

    /// Opens what another configuration has more, and changes nothing yet.
    ///
    /// # Errors
    /// Those of [`Audit::open`].
    pub(crate) fn prepare(&self, config: &AuditConfig) -> Result<Prepared, OpenError> {
        let now = self.targets();
        let is_there = |target: &TargetConfig| now.iter().any(|open| open.config() == target);
        let open = |target: &TargetConfig| {
            let opened = if is_there(target) { None } else { Some(Target::open(target)?) };
            Ok((target.clone(), opened))
        };
        let targets = config.targets.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Prepared { targets })
    }

    /// Writes to these targets from now on. The others write what they have, and end.
    pub(crate) fn change(&self, prepared: Prepared) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *targets);
        for (config, opened) in prepared.targets {
            let place = before.iter().position(|target| *target.config() == config);
            targets.extend(opened.or_else(|| place.map(|place| before.swap_remove(place))));
        }
        // Nobody holds this list, so no record can come to those any more.
        drop(targets);
        for target in &before {
            target.finish();
        }
        let mut retired = self.retired.write().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|target| !target.has_ended());
        retired.append(&mut before);
    }

    /// Appends one record. It waits for nothing.
    pub(crate) fn write(&self, record: &impl Serialize) {
        let targets = self.targets();
        if targets.is_empty() {
            return;
        }
        let mut line = Vec::with_capacity(USUAL_LINE);
        if serde_json::to_writer(&mut line, record).is_err() {
            return;
        }
        line.push(b'\n');
        for target in &*targets {
            target.push(&line);
        }
    }

    /// Appends the record of something that is no session.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.write(&event.now());
    }

    /// Tells whether a new session must be refused: a target fails that may not, or too many records wait.
    pub(crate) fn refuses(&self) -> bool {
        self.targets().iter().any(Target::refuses)
    }

    /// Tells whether a new session had better wait a moment: records are written, but others come faster.
    pub(crate) fn is_behind(&self) -> bool {
        self.targets().iter().any(Target::is_behind)
    }

    /// Opens files anew, because somebody has moved them away.
    pub(crate) fn reopen(&self) {
        self.targets().iter().for_each(Target::reopen);
    }

    /// From now on every record finds room: the gateway stops, and all sessions end at once.
    pub(crate) fn be_patient(&self) {
        self.targets().iter().for_each(Target::be_patient);
    }

    /// Writes what is waiting and ends the writers.
    pub(crate) fn close(&self) {
        let retired = self.retired.read().unwrap_or_else(PoisonError::into_inner);
        let targets = self.targets();
        targets.iter().for_each(Target::finish);
        targets.iter().chain(&*retired).for_each(Target::wait_for_end);
    }

    /// How each target does, in the order of the configuration.
    pub(crate) fn counts(&self) -> Vec<Counts> {
        self.targets().iter().map(Target::counts).collect()
    }

    fn targets(&self) -> RwLockReadGuard<'_, Vec<Target>> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
