//! `socks-forward`: carries any program's connections through a gateway, with Kerberos and encryption.
//!
//! Programs speak SOCKS 5 without authentication, or HTTP CONNECT, to a port of this machine's; or one
//! connection is carried over standard input and output, for ssh's `ProxyCommand`. Programs that look names up
//! before they ask can be given fake addresses for them.

mod answer;
mod arguments;
mod binding;
mod datagrams;
mod entrance;
mod forwarder;
mod http;
mod login;
mod names;
mod secret;
mod server;
mod stdio;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use manual::{Manual, Section};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use crate::arguments::Arguments;

/// Lines that may wait for standard error; beyond that lines are dropped rather than connections stopped.
const LOG_LINES: usize = 4096;
/// The numbers of [`Exit`], for the manual.
const EXIT_STATUS: &str = "\
0: done
64: the command line is wrong
69: the address cannot be opened, or with --stdio the connection did not come about or broke
71: the system refuses something
78: a mistake in the password file";

/// How the command ended, in the numbers of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// It did what it should.
    Done = 0,
    /// The command line is wrong.
    Usage = 64,
    /// The address cannot be opened, or the gateway does not give the connection.
    Unavailable = 69,
    /// The system refuses something.
    System = 71,
    /// A file has a mistake.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn main() -> ExitCode {
    if let Some(folder) = manual::asked_for() {
        return write_manual(&folder).unwrap_or_else(|exit| exit).into();
    }
    match Arguments::try_parse() {
        Ok(arguments) => run(&arguments).unwrap_or_else(|exit| exit).into(),
        Err(error) => {
            // Help and version go to standard output and are no failure. A closed pipe is none of ours.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
        }
    }
}

/// Writes the manual page and completions for a package.
fn write_manual(folder: &Path) -> Result<Exit, Exit> {
    let manual = Manual::new(Arguments::command(), 1)
        .section(Section { heading: "EXIT STATUS", text: EXIT_STATUS })
        .section(Section { heading: "SEE ALSO", text: "kinit(1), ssh_config(5), curl(1), socksd(8)" });
    manual
        .write(folder)
        .map_err(|error| fail(Exit::System, format_args!("manual in `{}`: {error}", folder.display())))?;
    Ok(Exit::Done)
}

fn run(arguments: &Arguments) -> Result<Exit, Exit> {
    let _log = start_log(arguments);
    let client = login::client(arguments)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| fail(Exit::System, format_args!("no runtime: {error}")))?;
    let done = match &arguments.stdio {
        Some(target) => runtime.block_on(stdio::run(&client, target.clone())),
        None => runtime.block_on(server::run(arguments, client)),
    };
    // A thread may still wait for standard input, or for a key distribution centre: nobody waits for it.
    runtime.shutdown_background();
    done
}

/// Begins to log on standard error: one line for each connection, or what went wrong with the only one.
///
/// It ends, with all lines written, when the guard is dropped.
fn start_log(arguments: &Arguments) -> WorkerGuard {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LOG_LINES);
    let (writer, guard) = builder.finish(std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(arguments.log_filter()))
        .with_writer(writer)
        .with_target(false)
        .with_ansi(false)
        .init();
    guard
}

/// Shows why something failed, and gives the exit code for it.
fn fail(exit: Exit, text: impl std::fmt::Display) -> Exit {
    eprintln!("socks-forward: {text}");
    exit
}
