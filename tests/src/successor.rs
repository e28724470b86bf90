//! A new process of the gateway, which takes over from the one that serves.

use std::process::{Child, Command, Stdio};

use crate::lines::Lines;
use crate::{DEADLINE, Folder, process, program};

/// A process that was started to take over; it is killed when this is dropped.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    log: Lines,
}

impl Successor {
    /// Starts one on the files of a gateway's folder.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(folder: &Folder) -> Self {
        let mut command = Command::new(program::built("socksd"));
        command.args(["run", "--take-over", "--config"]).arg(folder.file("socksd.yaml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        let log = Lines::collect(child.stderr.take().expect("a pipe"));
        Self { child, log }
    }

    /// The same, when it has taken over.
    ///
    /// # Panics
    /// When it has not in time.
    #[track_caller]
    pub fn taken_over(folder: &Folder) -> Self {
        let successor = Self::start(folder);
        successor.expect("\"taken over\"");
        successor
    }

    /// Waits until its log has this text.
    ///
    /// # Panics
    /// When it has not in time.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let told = |line: &str| line.contains(text).then_some(());
        assert!(self.log.find(DEADLINE, told).is_some(), "no `{text}` in\n{}", self.log.text());
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far, and what comes.
    pub fn log(&self) -> &Lines {
        &self.log
    }

    /// Waits for its end; `None`: a signal has ended it.
    ///
    /// # Panics
    /// When it is no child of ours.
    pub fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("a child of ours").code()
    }

    /// Tells whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if self.is_running() {
            process::kill(self.child.id());
        }
        drop(self.child.wait());
    }
}
