//! The command line.

mod admin;
mod doctor;
mod explain;
mod policy;
mod run;
mod schema;
mod secret;
mod table;
mod user;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use socks_auth::Registry;
use socks_config::Findings;

use crate::snapshot::{Checked, Snapshot};

/// A SOCKS5 firewall gateway: every relayed octet belongs to a proven identity and a named rule.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT; SIGHUP reloads its files
    Run(ConfigArgument),
    /// Read and check all files, open nothing, and show every mistake and warning
    Check(ConfigArgument),
    /// Check what Kerberos needs here: keytab, names, clock, replay cache; each finding with its remedy
    Doctor(doctor::Doctor),
    /// List the open sessions of the running gateway
    Sessions(admin::Sessions),
    /// End open sessions of the running gateway
    Kill(admin::Kill),
    /// Let the running gateway read its files anew; a file with a mistake changes nothing
    Reload(admin::Reload),
    /// Tell how the running gateway is doing
    Status(admin::Ask),
    /// Test and explain the policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the JSON Schema of a file, by which editors complete and check it
    Schema(schema::Schema),
    /// Manage a users file of the password method
    #[command(subcommand)]
    User(user::UserCommand),
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Run the tests that stand in the policy
    Test(ConfigArgument),
    /// Show what the policy says to one client's request, rule by rule, and why
    Explain(Box<explain::Explain>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgument {
    /// The configuration file; paths in it are relative to it
    #[arg(long, short, value_name = "FILE", default_value = "/etc/socksd/socksd.yaml")]
    pub(crate) config: PathBuf,
}

/// How a command ended, in the numbers of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it should.
    Done = 0,
    /// It did, and the answer is no.
    No = 1,
    /// The command line is wrong.
    Usage = 64,
    /// An address cannot be opened.
    Unavailable = 69,
    /// The program itself is wrong.
    Software = 70,
    /// The system refuses something.
    System = 71,
    /// The caller may not do that.
    Denied = 77,
    /// A file has a mistake.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Arguments {
    pub(crate) fn run(self, registry: Registry) -> Exit {
        let done = match self.command {
            Command::Run(arguments) => run::run(arguments.config, registry),
            Command::Check(arguments) => check(&arguments, &registry),
            Command::Doctor(doctor) => doctor.run(),
            Command::Sessions(sessions) => sessions.run(),
            Command::Kill(kill) => kill.run(),
            Command::Reload(reload) => reload.run(),
            Command::Status(ask) => ask.status(),
            Command::Policy(PolicyCommand::Test(arguments)) => policy::test(&arguments, &registry),
            Command::Policy(PolicyCommand::Explain(explain)) => explain.run(&registry),
            Command::Schema(schema) => Ok(schema.run()),
            Command::User(command) => command.run(),
        };
        done.unwrap_or_else(|exit| exit)
    }
}

fn check(arguments: &ConfigArgument, registry: &Registry) -> Result<Exit, Exit> {
    let checked = load(arguments, registry)?;
    say(format_args!("{}: no mistakes, {}", arguments.config.display(), count(&checked.warnings)));
    Ok(Exit::Done)
}

fn count(warnings: &Findings) -> String {
    match warnings.len() {
        0 => "no warnings".into(),
        1 => "1 warning".into(),
        many => format!("{many} warnings"),
    }
}

/// Loads all files, shows warnings on standard error, and mistakes with exit code 78.
fn load(arguments: &ConfigArgument, registry: &Registry) -> Result<Checked, Exit> {
    match Snapshot::load(&arguments.config, registry, None) {
        Ok(checked) => {
            if !checked.warnings.is_empty() {
                eprintln!("{}", checked.warnings);
            }
            Ok(checked)
        }
        Err(findings) => {
            eprintln!("{findings}");
            Err(Exit::Config)
        }
    }
}

/// Prints a line to standard output; a closed pipe (`| head`) is nobody's mistake.
pub(crate) fn say(text: impl Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Shows why something failed, and gives the exit code for it.
pub(crate) fn fail(exit: Exit, text: impl Display) -> Exit {
    eprintln!("{text}");
    exit
}
