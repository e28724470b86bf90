//! The terms by which an open session goes on: those of the rule that permits it, and of the gateway.
//!
//! They are set when octets begin to flow, and again whenever the session is judged by a later policy.

use socks_core::wire::Command;
use socks_policy::Permit;

use crate::account::{Accounts, Claim};
use crate::config::Limits;
use crate::gateway::Gateway;
use crate::places::Held;
use crate::record::Holder;
use crate::roster::Live;

/// Puts the terms of a permit in force, unless a later policy has had its say.
///
/// The places where sessions are counted are the caller's to take: a new session may find none, an open one moves.
pub(crate) fn apply(live: &Live, permit: &Permit, limits: &Limits, accounts: &Accounts) {
    // Held to the end: two policies that come one after the other are applied in that order.
    let facts = live.facts();
    let Some(identity) = facts.identity.as_deref().filter(|_| permit.generation() >= facts.generation) else {
        return;
    };
    let usual = match facts.command {
        Some(Command::UdpAssociate) => limits.udp_idle_timeout,
        _ => limits.idle_timeout,
    };
    let claims = Claim::all(limits, live.client(), identity, permit).filter(Claim::limits_octets);
    let accounts = claims.map(|claim| accounts.open(claim)).collect();
    live.meter.change(permit.terms().idle_timeout.unwrap_or(usual), accounts);
}

/// Lets an open session go on under another permit: under its terms, and counted where it says.
pub(crate) fn move_to(gateway: &Gateway, live: &Live, permit: &Permit, limits: &Limits) {
    apply(live, permit, limits, &gateway.accounts);
    let Some(identity) = live.facts().identity.clone() else { return };
    let holder = Holder::of(&identity, live.client());
    live.change_places(Held::keep(permit, holder, limits, &gateway.rule_sessions));
}
