//! RFC 1961 for a SOCKS5 gateway: Kerberos as an authentication method, and the protection of everything behind it.
//!
//! Contexts are established by MIT's library, on the server's side by an [`Acceptor`], on the client's by an
//! [`Initiator`]; messages are protected by an engine of our own ([`cfx`]), and by the library where that does
//! not know the encryption type. The [`negotiation`] between the two is a pair of state machines without I/O.
//! [`Gssapi`] puts the server's parts together as an authentication method, [`GssapiFactory`] makes it from
//! its configuration, and a [`Diagnosis`] tells an operator what has gone wrong and what to do about it.
//!
//! This crate knows no policy. It changes no environment, and reads only what MIT's library reads there:
//! `KRB5_CONFIG` and what that names.
//!
//! ```
//! let mut registry = socks_auth::Registry::shipped();
//! registry.register(socks_gssapi::GssapiFactory).expect("no other method is of that kind");
//! assert!(registry.kinds().contains(&"gssapi"));
//! ```

#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests make octets of small numbers"))]

mod acceptor;
mod attributes;
mod authenticator;
pub mod cfx;
mod checkup;
mod der;
mod diagnosis;
mod established;
mod factory;
mod frame;
mod groups;
mod gss;
mod initiator;
mod keytab;
mod lucid;
mod message;
mod mit;
pub mod negotiation;
mod pac;
mod pool;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod property;
mod protect;
mod rules;
mod skew;
mod sys;
mod ticket;
mod tickets;

pub use acceptor::{AcceptError, Accepted, Acceptor, Pending};
pub use authenticator::Gssapi;
pub use checkup::{CentreAnswer, EnctypeInfo, Strength, clock_answer, clock_request};
pub use diagnosis::{Cause, Diagnosis, Fault};
pub use established::Established;
pub use factory::{EngineOption, GssapiFactory, Options};
pub use groups::{GroupRules, GroupsFrom, TicketGroups};
#[doc(hidden)]
pub use initiator::Oddity;
pub use initiator::{ClientRules, Initiated, Initiator, TargetName, Traffic};
pub use keytab::{KeytabEntry, KeytabError};
pub use message::{Message, MessageError, Start, TokenKind};
pub use pool::{Pool, PoolError, PoolSize};
pub use protect::Halves;
pub use rules::{Engine, ReplayCache, Rules, Spnego, Unfit, WeakEnctypes};
pub use ticket::Ticket;
