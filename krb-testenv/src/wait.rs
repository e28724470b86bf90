//! How long the realm lives: until a command, the input or a signal says so.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use krb_testenv::Environment;
use rustix::process::{Pid, Signal};
use tokio::runtime::Runtime;
use tokio::signal::unix::{self, SignalKind};

use crate::options::Until;

/// The signals that end the realm, taken from the moment this is made.
pub(crate) struct Wait {
    runtime: Runtime,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Wait {
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let _inside = runtime.enter();
        let interrupt = unix::signal(SignalKind::interrupt())?;
        let terminate = unix::signal(SignalKind::terminate())?;
        drop(_inside);
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Waits for the end of standard input, if that counts, or a signal.
    pub(crate) fn idle(mut self, until: Until) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
                () = end_of_input(), if until == Until::Eof => {}
            }
        });
        // A thread may still be reading the input; nobody waits for it.
        self.runtime.shutdown_background();
    }

    /// Runs a command and returns its exit code; SIGTERM is passed on to it.
    ///
    /// SIGINT comes from a terminal, which sends it to the command as well.
    pub(crate) fn run(
        self,
        program: &OsStr,
        arguments: &[OsString],
        environment: &Environment,
    ) -> io::Result<ExitCode> {
        let Self { runtime, interrupt: _taken, mut terminate } = self;
        let mut command = Command::new(program);
        environment.apply(&mut command);
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot start `{}`: {error}", program.display()))
        };
        let mut child = command.args(arguments).spawn().map_err(failed)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        runtime.spawn(async move {
            while let (Some(()), Some(pid)) = (terminate.recv().await, pid) {
                let _ = rustix::process::kill_process(pid, Signal::TERM);
            }
        });
        let status = child.wait()?;
        runtime.shutdown_background();
        Ok(code(status))
    }
}

async fn end_of_input() {
    let read = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    let _ = read.await;
}

/// The code as a shell gives it: a signal counts from 128.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| signal + 128));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
