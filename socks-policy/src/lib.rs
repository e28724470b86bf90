//! The ruleset of a SOCKS5 gateway: who may come in by which method, and who may reach what.
//!
//! A policy is a YAML file: named sets, the `clients` that are let in, the `rules` of which the first that
//! matches decides, and `tests` that the policy itself must pass. [`Ruleset::load`] reads and compiles one,
//! or tells all its mistakes with their places. [`Ruleset::decide`] then answers a [`Query`]: it is a pure
//! function of what is known of a session so far, and the only maker of a [`Permit`].
//!
//! This crate opens no socket, looks up no name, reads no clock and never waits. Loading a policy that names a time
//! zone reads the host's time zone database, and loading one whose sets include files reads these.
//!
//! ```
//! use socks_config::Document;
//! use socks_core::{Identity, Timestamp};
//! use socks_policy::{Context, Decision, Fact, Operation, Query, Ruleset};
//!
//! let text = "
//! version: 1
//! clients:
//!   - methods: [password]
//! rules:
//!   - { name: no-mail, action: deny, port: 25 }
//!   - { name: alice-to-corp, action: permit, identity: 'password:alice', destination: '*.corp.example' }
//! ";
//! let document = Document::parse("policy.yaml", text.to_owned())?;
//! let ruleset = Ruleset::load(&document, &Context::default())?.ruleset;
//!
//! let alice = Identity::user("alice").by("password".into());
//! let target = "git.corp.example:443".parse()?;
//! let mut query = Query {
//!     listener: "127.0.0.1:1080",
//!     client: "10.0.0.7:50000".parse()?,
//!     identity: Some(&alice),
//!     operation: Some(Operation::Connect(&target)),
//!     address: None,
//!     gateway: &[],
//!     now: Timestamp::UNIX_EPOCH,
//! };
//! assert!(matches!(ruleset.decide(&query), Decision::Needs(Fact::Address)));
//! query.address = Some("192.0.2.10".parse()?);
//! match ruleset.decide(&query) {
//!     Decision::Permit(permit) => assert_eq!(&**permit.rule(), "alice-to-corp"),
//!     other => panic!("{other:?}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod changes;
mod clients;
mod commands;
mod decision;
mod explain;
mod index;
mod load;
mod nat64;
mod pattern;
mod query;
mod rule;
mod ruleset;
mod set;
mod special;
mod terms;
#[cfg(test)]
mod testing;
mod times;
mod trial;
mod view;

pub use changes::PolicyChanges;
pub use clients::{Door, Doors};
pub use decision::{Decision, Denial, DenyReason, Permit};
pub use explain::{Considered, Explanation, Outcome, Verdict};
pub use load::{Context, Loaded, plain_network};
pub use nat64::Nat64;
pub use pattern::PortRange;
pub use query::{ExpectedPeer, Fact, Operation, OperationKind, Query};
pub use rule::Action;
pub use ruleset::Ruleset;
pub use special::SpecialUse;
pub use terms::{
    Allowance, BindPeerRule, BindTerms, Egress, Family, Fragments, Interface, OnRevoke, Terms, TicketEnd,
    UdpReplies, UdpTerms,
};
pub use trial::TestResult;
