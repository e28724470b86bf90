//! A SOCKS5 firewall gateway: every relayed octet belongs to a proven identity and to a named rule.
//!
//! The crate is the daemon as a thin library, so that a third party can add authentication methods of its own
//! and build its own binary. What it does is in the crates around it: the wire and the relay in `socks-core`,
//! authentication in `socks-auth`, the ruleset in `socks-policy`. It adds configuration, listeners, the way of
//! one session, name resolution, dialling and the record.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     socksd::Program::new().main()
//! }
//! ```

mod account;
mod activation;
mod admin;
mod admission;
mod ask;
mod audit;
mod command;
mod config;
mod denials;
mod dial;
mod egress;
mod explain;
mod forwarded;
mod gateway;
mod identities;
mod judgement;
mod last_reload;
mod listen;
mod listeners;
mod log;
mod logins;
mod metrics;
mod outcome;
mod own;
mod places;
mod policy_file;
mod preview;
mod program;
mod quotas;
mod reception;
mod record;
mod refusals;
mod rejudge;
mod reload;
mod replay;
mod resolve;
mod roster;
mod rounds;
mod route;
mod server;
mod session;
mod shadow;
mod snapshot;
mod socket_file;
mod supervisor;
mod takeover;
mod tallies;
mod terms;
mod throttle;
mod upstream;
mod workers;

pub use program::Program;
