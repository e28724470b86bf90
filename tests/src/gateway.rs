//! The real gateway as a child process, on a configuration of the test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::Signal;

use crate::audit::{self, Record};
use crate::lines::Lines;
use crate::{DEADLINE, Folder, command, process, program};

/// A running gateway; it is killed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    address: SocketAddr,
    folder: Folder,
    log: Lines,
}

/// What a gateway left when it had ended.
#[derive(Debug)]
pub struct Stopped {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to its log.
    pub log: String,
    /// Everything in its audit file.
    pub records: Vec<Record>,
}

impl Gateway {
    pub(crate) fn new(child: Child, address: SocketAddr, folder: Folder, log: Lines) -> Self {
        Self { child, address, folder, log }
    }

    /// Where its first listener listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the listener of that name listens.
    ///
    /// # Panics
    /// When its log names no such listener.
    #[track_caller]
    pub fn listener(&self, name: &str) -> SocketAddr {
        let named = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            let fields = event.get("fields").unwrap_or(&event);
            let field = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
            (field("message") == Some("listening") && field("listener") == Some(name))
                .then(|| field("address")?.parse().ok())?
        };
        self.log.find(DEADLINE, named).unwrap_or_else(|| panic!("no listener `{name}`:\n{}", self.log.text()))
    }

    /// The URL of the proxy for curl: `scheme` is `socks5` or `socks5h`, `user` empty or `name:password@`.
    pub fn url(&self, scheme: &str, user: &str) -> String {
        format!("{scheme}://{user}{}", self.address)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder with its configuration.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Runs `socksd` with these words, about this gateway.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> command::Finished {
        let mut program = Command::new(program::built("socksd"));
        program.args(words).arg("--config").arg(self.folder.file("socksd.yaml"));
        command::run(&mut program, DEADLINE)
    }

    /// Changes a file of its folder, as an operator does with an editor.
    ///
    /// # Panics
    /// When the file does not hold what is to be replaced.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.folder.file(file)).expect("a file of the gateway's folder");
        assert!(text.contains(from), "`{from}` does not stand in {file}:\n{text}");
        self.folder.write(file, &text.replace(from, to));
    }

    /// Its log so far, and what comes.
    pub fn log(&self) -> &Lines {
        &self.log
    }

    /// The records so far.
    pub fn records(&self) -> Vec<Record> {
        audit::read(&self.audit_file())
    }

    /// Waits for a record.
    ///
    /// # Panics
    /// When there is none in time, with all that are there.
    #[track_caller]
    pub fn record(&self, wanted: impl Fn(&Record) -> bool) -> Record {
        self.record_within(DEADLINE, wanted)
    }

    /// Waits for a record for a time of the test's choice.
    ///
    /// # Panics
    /// When there is none in time, with all that are there.
    #[track_caller]
    pub fn record_within(&self, within: Duration, wanted: impl Fn(&Record) -> bool) -> Record {
        let found = audit::wait_for(&self.audit_file(), within, |records| {
            records.iter().find(|record| wanted(record)).cloned()
        });
        found.unwrap_or_else(|| panic!("no such record in {within:?}: {:#?}", self.records()))
    }

    /// Waits for the record of the one session that this gateway has had.
    ///
    /// # Panics
    /// When there is none in time.
    #[track_caller]
    pub fn session(&self) -> Record {
        self.record(Record::is_session)
    }

    /// Waits for the record of a client's session.
    ///
    /// # Panics
    /// When there is none in time.
    #[track_caller]
    pub fn session_of(&self, client: SocketAddr) -> Record {
        self.record(|record| record.is_of(client))
    }

    /// Waits until this many sessions have ended and gives their records.
    ///
    /// # Panics
    /// When they have not in time.
    #[track_caller]
    pub fn sessions(&self, count: usize) -> Vec<Record> {
        let found = audit::wait_for(&self.audit_file(), DEADLINE, |records| {
            let sessions: Vec<_> = records.iter().filter(|record| record.is_session()).cloned().collect();
            (sessions.len() >= count).then_some(sessions)
        });
        found.unwrap_or_else(|| panic!("not {count} sessions: {:#?}", self.records()))
    }

    /// Tells whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Ends it as an operator does who does not wait for sessions, and waits until it is gone.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn stop(mut self) -> Stopped {
        self.signal(Signal::TERM);
        // It lets sessions come to their end, unless it is told twice.
        self.log.find(DEADLINE, |line| line.contains("stopping").then_some(()));
        self.signal(Signal::TERM);
        assert!(self.log.wait_for_end(DEADLINE), "the gateway has not ended:\n{}", self.log.text());
        let code = self.child.wait().expect("a child of ours can be waited for").code();
        Stopped { code, log: self.log.text(), records: self.records() }
    }

    fn audit_file(&self) -> PathBuf {
        self.folder.file("audit.jsonl")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.is_running() {
            process::kill(self.pid());
            drop(self.child.wait());
        }
    }
}
