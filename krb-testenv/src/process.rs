//! MIT's programs as child processes: found, fed, bounded in time, their words kept.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::environment::Environment;
use crate::error::{Error, Result};

/// A program and the package that brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

pub(crate) const KRB5KDC: Program = Program { name: "krb5kdc", package: "krb5-kdc" };
pub(crate) const KDB5_UTIL: Program = Program { name: "kdb5_util", package: "krb5-kdc" };
pub(crate) const KADMIN_LOCAL: Program = Program { name: "kadmin.local", package: "krb5-admin-server" };
pub(crate) const KINIT: Program = Program { name: "kinit", package: "krb5-user" };
pub(crate) const KVNO: Program = Program { name: "kvno", package: "krb5-user" };
pub(crate) const SHELL: Program = Program { name: "sh", package: "dash" };

/// Where distributions keep daemons, beside `PATH`: an ordinary user's does not name them.
const MORE_FOLDERS: [&str; 5] =
    ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/lib/mit/sbin", "/usr/lib/mit/bin"];

impl Program {
    /// The program's file.
    pub(crate) fn find(self) -> Result<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(MORE_FOLDERS.map(PathBuf::from))
            .map(|folder| folder.join(self.name))
            .find(|file| file.is_file())
            .ok_or(Error::Missing { program: self.name, package: self.package })
    }

    /// A call of the program in that environment and a neutral locale.
    pub(crate) fn call(self, environment: &Environment, deadline: Deadline) -> Result<Call> {
        let mut command = Command::new(self.find()?);
        environment.apply(&mut command);
        command.env("LC_ALL", "C").env("TZ", "UTC");
        Ok(Call { program: self, command, input: Vec::new(), deadline })
    }
}

/// A moment until which something has to be done, and the span that led to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// Waits until the descriptor can be read or is closed at the other end.
    pub(crate) fn wait(self, fd: BorrowedFd<'_>, program: &'static str) -> Result<()> {
        loop {
            let left = self.at.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(Error::Late { program, limit: self.limit }),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Error::io("wait for", program)(error.into())),
            }
        }
    }

    /// Waits until the child has ended; one that is late is killed.
    pub(crate) fn wait_for(self, child: &mut Child, program: &'static str) -> Result<ExitStatus> {
        let waited = self.wait_for_exit(child, program);
        if waited.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(Error::io("wait for", program))?;
        waited.map(|()| status)
    }

    fn wait_for_exit(self, child: &Child, program: &'static str) -> Result<()> {
        let Some(pid) = pid(child) else { return Ok(()) };
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| Error::io("watch", program)(error.into()))?;
        self.wait(fd.as_fd(), program)
    }
}

/// One run of a program.
pub(crate) struct Call {
    program: Program,
    command: Command,
    input: Vec<u8>,
    deadline: Deadline,
}

/// What a program wrote before it ended well.
pub(crate) struct Answer {
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Call {
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<T: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.command.args(args);
        self
    }

    /// What the program reads from its standard input.
    pub(crate) fn input(mut self, text: &str) -> Self {
        self.input = text.as_bytes().to_vec();
        self
    }

    /// Runs the program; one that ends badly or too late is an error with its own words.
    pub(crate) fn run(mut self) -> Result<Answer> {
        let name = self.program.name;
        let io = |action| Error::io(action, name);
        // Files rather than pipes: nothing has to be drained while the program runs, and it cannot block.
        let mut input = tempfile::tempfile().map_err(io("feed"))?;
        let mut output = tempfile::tempfile().map_err(io("hear"))?;
        let mut errors = tempfile::tempfile().map_err(io("hear"))?;
        input.write_all(&self.input).and_then(|()| input.rewind()).map_err(io("feed"))?;
        let mut child = self
            .command
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output.try_clone().map_err(io("hear"))?))
            .stderr(Stdio::from(errors.try_clone().map_err(io("hear"))?))
            .spawn()
            .map_err(io("start"))?;
        let status = self.deadline.wait_for(&mut child, name)?;
        let output = text(&mut output).map_err(io("hear"))?;
        let errors = text(&mut errors).map_err(io("hear"))?;
        if status.success() {
            return Ok(Answer { output, errors });
        }
        let words = if errors.trim().is_empty() { format!("{status}: {}", output.trim()) } else { errors };
        Err(Error::Failed { program: name, text: words.trim().to_owned() })
    }
}

/// All that was written to a file whose position the writer has moved.
fn text(file: &mut File) -> io::Result<String> {
    let mut octets = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// A child's number as rustix wants it.
fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// A shell that waits for the end of its standard input and then clears up.
///
/// The other end of that pipe is held by this process alone, so the kernel closes it however this process ends,
/// be it by SIGKILL. A group of its own keeps a terminal's Ctrl-C from the shell and what it runs.
#[derive(Debug)]
pub(crate) struct Watcher {
    child: Child,
}

/// How long a watcher may take to clear up after it was told to.
const CLEAR_UP_LIMIT: Duration = Duration::from_secs(10);

impl Watcher {
    /// Starts the script with these arguments as `$1` and on.
    pub(crate) fn start(
        script: &str,
        args: &[&OsStr],
        environment: &Environment,
        words: Words,
    ) -> Result<Self> {
        let shell = SHELL.find()?;
        let mut command = Command::new(&shell);
        environment.apply(&mut command);
        let mut path = env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/bin:/bin");
        command.env("PATH", path).arg("-c").arg(script).arg("krb-testenv").args(args);
        command.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(match words {
            Words::Dropped => Stdio::null(),
            Words::Kept => Stdio::piped(),
        });
        let child = command.spawn().map_err(Error::io("start", shell))?;
        Ok(Self { child })
    }

    /// What the script and its program write to their error output, when that is kept.
    pub(crate) fn words(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }
}

/// What becomes of a watcher's error output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Words {
    Dropped,
    Kept,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if Deadline::after(CLEAR_UP_LIMIT).wait_for_exit(&self.child, SHELL.name).is_err() {
            // The group holds the shell and what it started, nothing else.
            if let Some(pid) = pid(&self.child) {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// Writes a file that only its owner can read, in whole: readers see the old octets or the new ones.
pub(crate) fn write_file(path: &Path, octets: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let written = file.and_then(|mut file| file.write_all(octets));
    written.and_then(|()| fs::rename(&beside, path)).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Program = Program { name: "no-such-program", package: "no-such-package" };

    fn shell(script: &str, limit: Duration) -> Result<Answer> {
        SHELL.call(&Environment::default(), Deadline::after(limit))?.arg("-c").arg(script).run()
    }

    #[test]
    fn missing_program_is_named_with_its_package() {
        let error = NOWHERE.find().unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("no-such-package"), "{error}");
    }

    #[test]
    fn failing_program_is_quoted() {
        let error = shell("echo so it goes >&2; exit 3", Duration::from_secs(10)).err().unwrap();
        assert_eq!(error.to_string(), "`sh` failed: so it goes");
    }

    #[test]
    fn program_without_end_is_killed_at_the_deadline() {
        let error = shell("exec sleep 1000", Duration::from_millis(20)).err().unwrap();
        assert!(matches!(error, Error::Late { program: "sh", .. }), "{error}");
    }

    #[test]
    fn output_larger_than_a_pipe_is_kept_in_whole() {
        let answer = shell("yes | head -c 300000", Duration::from_secs(10)).unwrap();
        assert_eq!(answer.output.len(), 300_000);
    }
}
