//! RFC 1961 for a SOCKS5 gateway: Kerberos contexts, and the protection of everything behind them.
//!
//! Contexts are established by MIT's library; the messages are protected by an engine of our own ([`cfx`]).
//! This crate knows no policy.

#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests make octets of small numbers"))]

mod acceptor;
mod authenticator;
pub mod cfx;
mod checkup;
mod der;
mod diagnosis;
mod established;
mod factory;
mod frame;
mod gss;
mod initiator;
mod keytab;
mod lucid;
mod message;
mod mit;
pub mod negotiation;
mod pool;
mod protect;
mod rules;
mod skew;
mod sys;

pub use acceptor::{AcceptError, Accepted, Acceptor, Pending};
pub use authenticator::Gssapi;
pub use checkup::{CentreAnswer, EnctypeInfo, Strength, clock_answer, clock_request};
pub use diagnosis::{Cause, Diagnosis, Fault};
pub use established::Established;
pub use factory::{EngineOption, GssapiFactory, Options};
pub use initiator::{ClientRules, Initiated, Initiator, TargetName, Traffic};
pub use keytab::{KeytabEntry, KeytabError};
pub use message::{Message, MessageError, Start, TokenKind};
pub use pool::{Pool, PoolError, PoolSize};
pub use protect::Halves;
pub use rules::{Engine, ReplayCache, Rules, Spnego, Unfit, WeakEnctypes};
