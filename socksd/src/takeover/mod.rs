//! How a new process takes over from the one that serves, without a client that is refused.
//!
//! The new one loads and opens everything first. Then it asks for the listening sockets over a Unix socket, learns how
//! many sessions there are, and accepts; only when it does, the other one stops accepting. Whatever fails on the way
//! leaves the other one serving. It keeps its sessions to their end, or to `upgrade.timeout`, and tells how many
//! there still are, so that limits count those of both.

mod channel;
mod giving;
mod peer;
mod predecessor;
mod taking;

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use tracing::{info, warn};

pub(crate) use giving::Successors;
pub(crate) use peer::Peer;
pub(crate) use predecessor::Predecessor;
pub(crate) use taking::{Bond, Taking};

/// Starts the program that lies where this one was started from, so that it takes over.
///
/// # Errors
/// The system's.
pub(crate) fn start_anew(config: &Path) -> io::Result<()> {
    let program = std::env::args_os().next().unwrap_or_else(|| "socksd".into());
    let mut command = Command::new(program);
    command.arg("run").arg("--take-over").arg("--config").arg(config).stdin(Stdio::null());
    // They are for this process.
    for variable in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(variable);
    }
    let mut child = command.spawn()?;
    info!(process = child.id(), "started anew, to take over");
    thread::Builder::new().name("child".into()).spawn(move || match child.wait() {
        Ok(status) if !status.success() => warn!(process = child.id(), %status, "the new process has ended"),
        _ => {}
    })?;
    Ok(())
}
