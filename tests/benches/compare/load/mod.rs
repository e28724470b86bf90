//! The load generator: few threads, each with an event loop, and as little work for each octet as can be.

mod poll;
mod run;
mod tunnels;

pub(crate) use poll::{Poll, READ, READ_AT_EDGES, WRITE};
pub(crate) use run::Run;
pub(crate) use tunnels::Tunnels;
