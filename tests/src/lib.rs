//! What the whole-program tests stand on: the real gateway as a child process, targets for it to reach, and
//! clients that say exactly what a test wants said.
//!
//! Everything panics with a plain sentence when it does not happen in time: a test has nothing better to do.
//! No port is fixed and nothing waits by sleeping for a while and hoping.

pub mod audit;
pub mod baseline;
pub mod bench;
pub mod browser;
pub mod client;
pub mod command;
pub mod dante;
pub mod decisions;
pub mod engine;
pub mod folder;
pub mod forwarder;
pub mod ftp;
pub mod gateway;
pub mod instructions;
pub mod kerberos;
pub mod lines;
pub mod namespace;
pub mod pattern;
pub mod process;
pub mod program;
pub mod rivals;
pub mod sealed;
pub mod setup;
pub mod site;
pub mod successor;
pub mod tap;
pub mod targets;
pub mod udp;
pub mod web;

pub use audit::Record;
pub use browser::Browser;
pub use client::Client;
pub use folder::Folder;
pub use gateway::Gateway;
pub use setup::Setup;
pub use successor::Successor;

use std::time::Duration;

/// How long anything may take that should be done at once; long, for machines that are busy.
pub const DEADLINE: Duration = Duration::from_secs(30);
