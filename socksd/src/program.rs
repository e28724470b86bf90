//! The whole program: authentication methods, command line, exit code.

use std::process::ExitCode;

use clap::Parser;
use socks_auth::{AuthenticatorFactory, Registry};
use socks_gssapi::GssapiFactory;

use crate::command::{Arguments, Exit};

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
    /// 0: done; 1: the answer is no (a failed policy test, a wrong password); 64: wrong command line; 69: an
    /// address cannot be opened; 71: the system refuses something; 78: a mistake in a file.
    pub fn main(self) -> ExitCode {
        if let Some(mistake) = self.mistake {
            eprintln!("this program is built wrongly: {mistake}");
            return Exit::Software.into();
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

impl Default for Program {
    fn default() -> Self {
        Self::new()
    }
}
