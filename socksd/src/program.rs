//! The whole program: authentication methods, command line, exit code.

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use manual::{Manual, Section};
use socks_auth::{AuthenticatorFactory, Registry};
use socks_gssapi::GssapiFactory;

use crate::command::{Arguments, Exit, fail};

const SIGNALS: &str = "\
SIGHUP: reads all files anew; if there is any mistake, nothing changes
SIGUSR1: opens audit files anew
SIGUSR2: starts the program anew, which takes over by `upgrade.socket`
SIGTERM: takes no new clients and lets open sessions go on for `drain-timeout` at most; a second one ends them at once
SIGINT: as SIGTERM";
const FILES: &str = "\
/etc/socksd/socksd.yaml: how the gateway runs
/etc/socksd/policy.yaml: who may reach what, by the name that socksd.yaml gives
/etc/socksd/users.yaml: the accounts of the method `password`, by the name that socksd.yaml gives
/var/log/socksd/audit.jsonl: the records, by the name that socksd.yaml gives

The files are described in /usr/share/doc/socksd.";
const SEE_ALSO: &str = "socks-forward(1), kinit(1), systemctl(1)";

/// A gateway program: the methods that ship with it, those a third party adds, and the command line.
///
/// ```no_run
/// # use std::process::ExitCode;
/// # fn program() -> ExitCode {
/// socksd::Program::new().main()
/// # }
/// ```
#[derive(Debug)]
pub struct Program {
    registry: Registry,
    mistake: Option<String>,
}

impl Program {
    /// A program with the methods that ship: `none`, `password` and `gssapi`.
    pub fn new() -> Self {
        Self { registry: Registry::shipped(), mistake: None }.authenticator(GssapiFactory)
    }

    /// Adds an authentication method; an `auth` entry of its kind makes one.
    ///
    /// A kind that is there already is a mistake of the program; [`Program::main`] says so and ends.
    #[must_use]
    pub fn authenticator<F: AuthenticatorFactory>(mut self, factory: F) -> Self {
        if let Err(error) = self.registry.register(factory) {
            self.mistake = Some(error.to_string());
        }
        self
    }

    /// Reads the command line, does what it says, and gives the exit code.
    ///
    /// 0: done; 1: the answer is no (a wrong password, a finding of `doctor`); 64: wrong command line; 69: an
    /// address cannot be opened; 71: the system refuses something; 78: a mistake in a file, or a test of the policy
    /// that fails.
    pub fn main(self) -> ExitCode {
        if let Some(mistake) = self.mistake {
            eprintln!("this program is built wrongly: {mistake}");
            return Exit::Software.into();
        }
        if let Some(folder) = manual::asked_for() {
            return write_manual(&folder).into();
        }
        match Arguments::try_parse() {
            Ok(arguments) => arguments.run(self.registry).into(),
            Err(error) => {
                // Help and version go to standard output and are no failure. A closed pipe is none of ours.
                let _ = error.print();
                if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
            }
        }
    }
}

/// Writes manual pages and completions for a package.
fn write_manual(folder: &Path) -> Exit {
    let codes: Vec<_> =
        Exit::ALL.iter().map(|&exit| format!("{}: {}\n", exit as u8, exit.meaning())).collect();
    let codes = codes.concat();
    let sections = [("EXIT STATUS", &*codes), ("SIGNALS", SIGNALS), ("FILES", FILES), ("SEE ALSO", SEE_ALSO)];
    let manual = Manual::new(Arguments::command(), 8);
    let manual = sections
        .into_iter()
        .fold(manual, |manual, (heading, text)| manual.section(Section { heading, text }));
    match manual.write(folder) {
        Ok(()) => Exit::Done,
        Err(error) => fail(Exit::System, format_args!("manual in `{}`: {error}", folder.display())),
    }
}

impl Default for Program {
    fn default() -> Self {
        Self::new()
    }
}
