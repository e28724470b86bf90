//! Open sessions under a policy that came after them: each is judged again by what its record holds.
//!
//! A reload does so, and the moment at which a rule expires or its hours begin or end.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use socks_core::wire::{Command, Host};
use socks_core::{Identity, Level};
use socks_policy::{Decision, OnRevoke, Operation, Permit, Query};
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::gateway::Gateway;
use crate::roster::{Asked, Ending, Facts, Live};
use crate::shadow::{Found, Seen};
use crate::snapshot::Snapshot;
use crate::terms;

/// What has become of the open sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Swept {
    /// Another rule permits them now.
    pub(crate) moved: usize,
    /// They have lost their permit, and go on as their rule's `on-revoke` says.
    pub(crate) kept: usize,
    /// They have lost it, and may go on for a while.
    pub(crate) draining: usize,
    /// They have lost it, and have ended.
    pub(crate) ended: usize,
}

/// What the policy in force says to an open session.
enum Standing {
    Holds(Permit),
    /// Why not, in words.
    Lost(String),
}

/// Why a session that has just opened is permitted no longer: open sessions were judged while it was on its way.
pub(crate) fn lost(gateway: &Gateway, live: &Live) -> Option<String> {
    match standing(gateway, &gateway.snapshot.load_full(), live) {
        Standing::Holds(_) => None,
        Standing::Lost(why) => Some(why),
    }
}

/// Judges all open sessions. It runs within a reactor, whose timers end those that are to drain.
pub(crate) fn sweep(gateway: &Arc<Gateway>) -> Swept {
    let mut swept = Swept::default();
    // Before the list is taken: who opens later than that sees it, and judges himself.
    gateway.sweeps.fetch_add(1, Ordering::SeqCst);
    let open = gateway.roster.list();
    for live in open.iter().filter(|live| live.facts().is_open()) {
        check(gateway, live, &mut swept);
    }
    if swept != Swept::default() {
        let Swept { moved, kept, draining, ended } = swept;
        info!(moved, kept, draining, ended, "open sessions under the policy in force");
    }
    swept
}

/// What would become of an open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on as it does.
    Stays,
    /// It goes on under this rule.
    Moves(Arc<str>),
    /// It loses its permit for that reason, and this becomes of it.
    Loses(String, OnRevoke),
}

/// What would become of a session under a policy that is not in force; nothing is noted anywhere. `None`: it is not
/// open.
pub(crate) fn foresee(gateway: &Gateway, snapshot: &Snapshot, live: &Live) -> Option<Fate> {
    let facts = live.facts();
    if !facts.is_open() || facts.identity.is_none() {
        return None;
    }
    Some(match judge(gateway, snapshot, live, &facts).0 {
        Standing::Holds(permit) if facts.rule.as_ref() == Some(permit.rule()) => Fate::Stays,
        Standing::Holds(permit) => Fate::Moves(permit.rule().clone()),
        Standing::Lost(why) => Fate::Loses(why, facts.on_revoke),
    })
}

/// Judges one session that was permitted by a policy which is perhaps no longer in force.
fn check(gateway: &Arc<Gateway>, live: &Arc<Live>, swept: &mut Swept) {
    let snapshot = gateway.snapshot.load_full();
    let why = match standing(gateway, &snapshot, live) {
        Standing::Holds(permit) => {
            swept.moved += usize::from(live.facts().go_on(&permit));
            terms::move_to(gateway, live, &permit, &snapshot.settings.limits);
            return;
        }
        Standing::Lost(why) => why,
    };
    let mut facts = live.facts();
    match facts.on_revoke {
        // It has ended by itself meanwhile.
        _ if facts.identity.is_none() => {}
        OnRevoke::Keep => swept.kept += 1,
        OnRevoke::Close => {
            drop(facts);
            swept.ended += usize::from(live.end(Ending::Revoked(why.into())));
        }
        OnRevoke::Drain(time) => {
            swept.draining += 1;
            if facts.rare().drains_until.is_none() {
                facts.rare_mut().drains_until = Instant::now().checked_add(time);
                tokio::spawn(end_later(gateway.clone(), Arc::downgrade(live), time));
            }
        }
    }
}

/// Ends the session after a while, unless a policy has permitted it again by then.
async fn end_later(gateway: Arc<Gateway>, live: Weak<Live>, time: Duration) {
    sleep(time).await;
    let Some(live) = live.upgrade() else { return };
    let is_over = live.facts().rare().drains_until.is_some_and(|until| until <= Instant::now());
    if is_over && let Some(why) = lost(&gateway, &live) {
        live.end(Ending::Revoked(why.into()));
    }
}

fn standing(gateway: &Gateway, snapshot: &Snapshot, live: &Live) -> Standing {
    let mut facts = live.facts();
    let (standing, found) = judge(gateway, snapshot, live, &facts);
    if let (Some(shadow), Some(found)) = (&snapshot.shadow, found) {
        shadow.note(found, &mut facts, &gateway.metrics);
    }
    standing
}

fn judge(gateway: &Gateway, snapshot: &Snapshot, live: &Live, facts: &Facts) -> (Standing, Option<Found>) {
    let Some(identity) = facts.identity.clone() else {
        return (Standing::Lost("nobody is known".into()), None);
    };
    match admitted(snapshot, live, &identity, facts) {
        Ok(()) => permitted(gateway, snapshot, live, (&identity, facts)),
        Err(why) => (Standing::Lost(why), None),
    }
}

/// Tells why the client would not be let in any more.
fn admitted(snapshot: &Snapshot, live: &Live, identity: &Identity, facts: &Facts) -> Result<(), String> {
    let method = facts.method.as_deref().unwrap_or_default();
    let Some(authenticator) = snapshot.authenticator(method) else {
        return Err(format!("authenticator `{method}` is no longer configured"));
    };
    if !authenticator.still_knows(identity) {
        return Err(format!("`{identity}` has no account any more"));
    }
    let levels = snapshot.ruleset.levels(snapshot.listener_of(live), live.client().ip(), identity);
    let Some(levels) = levels else { return Err("no row of `clients` lets it in".into()) };
    let bare = identity.level == Level::None
        && authenticator.protects()
        && levels == socks_core::Levels::Unrestricted;
    if bare || !levels.allow(identity.level) {
        return Err(format!("`clients` no longer allow the protection `{}`", identity.level.as_str()));
    }
    Ok(())
}

/// What the rules say to what it does, and how the shadow policy differs in that.
fn permitted(
    gateway: &Gateway,
    snapshot: &Snapshot,
    live: &Live,
    (identity, facts): (&Identity, &Facts),
) -> (Standing, Option<Found>) {
    let Some(operation) = operation(facts) else {
        return (Standing::Lost("its request is not known".into()), None);
    };
    // What becomes of a session whose proof ends is the rule's `ticket-end`.
    let mut identity = identity.clone();
    identity.valid_until = None;
    let query = Query {
        listener: snapshot.listener_of(live),
        client: live.client(),
        identity: Some(&identity),
        operation: Some(operation),
        address: facts.judged,
        gateway: &gateway.own_for(Some(operation)),
        now: Timestamp::now(),
    };
    let decision = snapshot.ruleset.decide(&query);
    let shadow = snapshot.shadow.as_ref();
    let found = shadow.and_then(|shadow| shadow.compare(Seen::of(live, &query), &decision));
    let standing = match decision {
        // It cannot change its way; the datagrams of an association each have their own.
        Decision::Permit(permit)
            if operation != Operation::Associate && permit.terms().upstream != facts.rare().upstream =>
        {
            Standing::Lost(format!("rule `{}` permits it by another way", permit.rule()))
        }
        Decision::Permit(permit) => Standing::Holds(permit),
        Decision::Deny(denial) => Standing::Lost(denial.to_string()),
        Decision::Needs(fact) => Standing::Lost(format!("its {fact} is not known")),
    };
    (standing, found)
}

/// What the session does, as the ruleset knows it.
fn operation(facts: &Facts) -> Option<Operation<'_>> {
    let Some(Asked::For(target)) = &facts.asked else { return None };
    Some(match facts.command? {
        Command::Connect => Operation::Connect(target),
        Command::UdpAssociate => Operation::Associate,
        Command::Bind => {
            let name = match &target.host {
                Host::Name(name) if facts.peer_is_named => Some(name),
                _ => None,
            };
            Operation::BindPeer { peer: facts.rare().peer?, name }
        }
    })
}
