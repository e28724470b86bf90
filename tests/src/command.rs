//! Clients and tools as child processes that end in time.

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::process;

/// What a command did.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Panics with all that is known unless the exit code is 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "the command failed: {self}");
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.text();
        let shown = shown.get(..2000).unwrap_or(&shown);
        write!(f, "exit code {:?}\n-- stdout\n{shown}\n-- stderr\n{}", self.code, self.stderr)
    }
}

/// Runs a command to its end with nothing on its standard input.
///
/// # Panics
/// When it cannot be started, or has not ended within the time.
#[track_caller]
pub fn run(command: &mut Command, within: Duration) -> Finished {
    run_with_input(command, b"", within)
}

/// Runs a command to its end; `input` is what it may read.
///
/// # Panics
/// When it cannot be started, or has not ended within the time.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8], within: Duration) -> Finished {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
    feed(&mut child, input);
    let pid = child.id();
    let (done, finished) = mpsc::channel();
    thread::spawn(move || done.send(finish(child)));
    finished.recv_timeout(within).unwrap_or_else(|_| {
        process::kill(pid);
        panic!("{shown} has not ended within {within:?}")
    })
}

fn feed(child: &mut Child, input: &[u8]) {
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    let input = input.to_vec();
    // A command that does not read its input to the end has its reasons.
    thread::spawn(move || drop(pipe.write_all(&input)));
}

fn finish(mut child: Child) -> Finished {
    let mut errors = child.stderr.take().expect("standard error is a pipe");
    let stderr = thread::spawn(move || {
        let mut text = Vec::new();
        drop(errors.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut stdout = Vec::new();
    drop(child.stdout.take().expect("standard output is a pipe").read_to_end(&mut stdout));
    let status = child.wait().expect("a child of ours can be waited for");
    Finished { code: status.code(), stdout, stderr: stderr.join().unwrap_or_default() }
}

/// The path of a tool of the system, wherever an ordinary `PATH` does not look.
///
/// # Panics
/// When it is not installed: a test that cannot run says so.
#[track_caller]
pub fn tool(name: &str) -> PathBuf {
    find(name)
        .unwrap_or_else(|| panic!("`{name}` is not installed: `make test` installs what the tests need"))
}

/// As [`tool`], for one that may be missing.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into);
    let folders = std::env::split_paths(&path).chain(extra);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
