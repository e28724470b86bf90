//! The KDC as a process that cannot outlive this one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ChildStderr;

use crate::clock::Clock;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::port::Reservation;
use crate::process::{Deadline, KRB5KDC, Watcher, Words};

/// Runs the KDC until standard input ends. It only reads its database, so SIGKILL does no harm; what libfaketime
/// would remove on a gentler end is removed here.
const RUN: &str = r#"
"$@" </dev/null &
kdc=$!
exec 2>/dev/null
read -r line
kill -KILL "$kdc"
wait "$kdc"
rm -f "/dev/shm/faketime_shm_$kdc" "/dev/shm/sem.faketime_sem_$kdc"
"#;

/// What krb5kdc writes once its sockets are open.
const READY: &str = "starting...";

/// A running KDC, ended when dropped.
#[derive(Debug)]
pub(crate) struct Kdc {
    pid: u32,
    _watcher: Watcher,
    // Held so that the KDC never writes into a closed pipe.
    _words: ChildStderr,
}

impl Kdc {
    /// Starts krb5kdc on a port that is held for it and waits until it answers there.
    pub(crate) fn start(
        environment: &Environment,
        pid_file: &Path,
        clock: Option<Clock>,
        held: (Reservation, Deadline),
    ) -> Result<Self> {
        let (reservation, deadline) = held;
        let program = KRB5KDC.find()?;
        let mut args: Vec<OsString> = vec!["env".into()];
        args.extend(clock.map(Clock::variables).transpose()?.unwrap_or_default());
        args.extend([program.into(), "-n".into(), "-P".into(), pid_file.into()]);
        let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
        let mut watcher = Watcher::start(RUN, &args, environment, Words::Kept)?;
        let mut words = watcher.words().ok_or(Error::Strange { program: "sh", text: String::new() })?;
        wait_until_ready(&mut words, deadline)?;
        drop(reservation);
        let text = fs::read_to_string(pid_file).map_err(Error::io("read", pid_file))?;
        let pid = text.trim().parse().map_err(|_| Error::Strange { program: KRB5KDC.name, text })?;
        Ok(Self { pid, _watcher: watcher, _words: words })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }
}

/// Reads what the KDC says until it is ready; the end of its words is its own end.
fn wait_until_ready(words: &mut ChildStderr, deadline: Deadline) -> Result<()> {
    let mut heard = Vec::new();
    let mut chunk = [0; 512];
    loop {
        deadline.wait(words.as_fd(), KRB5KDC.name)?;
        let count = words.read(&mut chunk).map_err(Error::io("hear", KRB5KDC.name))?;
        heard.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let text = String::from_utf8_lossy(&heard);
        if text.contains(READY) {
            return Ok(());
        }
        if count == 0 {
            return Err(Error::Failed { program: KRB5KDC.name, text: text.trim().to_owned() });
        }
    }
}
