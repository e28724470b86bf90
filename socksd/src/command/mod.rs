//! The command line.

mod admin;
mod check;
mod doctor;
mod exit;
mod explain;
mod policy;
mod preview;
mod progress;
mod replay;
mod run;
mod schema;
mod screen;
mod secret;
mod shadow;
mod table;
mod user;

use clap::{Parser, Subcommand};
use socks_auth::Registry;

pub(crate) use self::check::ConfigArgument;
use self::check::{load, load_again};
pub(crate) use self::exit::Exit;
pub(crate) use self::screen::{fail, say};

/// A SOCKS5 firewall gateway: every relayed octet belongs to a proven identity and a named rule.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// When to colour what a person reads; auto: on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value = "auto")]
    color: screen::Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT; SIGHUP reloads its files
    Run(run::Run),
    /// Read and check all files, open nothing, and show every mistake and warning
    Check(check::Check),
    /// Check what Kerberos needs here: keytab, names, clock, replay cache; each finding with its remedy
    Doctor(doctor::Doctor),
    /// List the open sessions of the running gateway
    Sessions(admin::Sessions),
    /// End open sessions of the running gateway
    Kill(admin::Kill),
    /// List who is locked out of the running gateway after failed logins, and from where
    Locks(admin::Ask),
    /// Forget failed logins of a name or a source in the running gateway, which lifts its locks
    Unlock(admin::Unlock),
    /// Let the running gateway read its files anew; a file with a mistake changes nothing
    Reload(admin::Reload),
    /// Tell how the running gateway is doing
    Status(admin::Ask),
    /// Tell how the shadow policy would have decided otherwise than the one in force
    Shadow(shadow::Shadow),
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
    Test(policy::Test),
    /// Show what the policy says to one client's request, rule by rule, and why
    Explain(Box<explain::Explain>),
    /// Judge the requests that audit files record by another policy, and show what would change
    Replay(replay::Replay),
}

impl Arguments {
    pub(crate) fn run(self, registry: Registry) -> Exit {
        self.color.choose();
        let done = match self.command {
            Command::Run(run) => run::run(run, registry),
            Command::Check(check) => check.run(&registry),
            Command::Doctor(doctor) => doctor.run(),
            Command::Sessions(sessions) => sessions.run(),
            Command::Kill(kill) => kill.run(),
            Command::Locks(ask) => ask.locks(),
            Command::Unlock(unlock) => unlock.run(),
            Command::Reload(reload) => reload.run(),
            Command::Status(ask) => ask.status(),
            Command::Shadow(shadow) => shadow.run(),
            Command::Policy(PolicyCommand::Test(test)) => test.run(&registry),
            Command::Policy(PolicyCommand::Explain(explain)) => explain.run(&registry),
            Command::Policy(PolicyCommand::Replay(replay)) => replay.run(&registry),
            Command::Schema(schema) => Ok(schema.run()),
            Command::User(command) => command.run(),
        };
        done.unwrap_or_else(|exit| exit)
    }
}
