//! What a reload would change, told before anything does.

mod outline;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use socks_config::Change;
use socks_policy::{OnRevoke, PolicyChanges};

use crate::gateway::Gateway;
use crate::rejudge::{self, Fate, Swept};
use crate::roster::Live;
use crate::snapshot::Snapshot;

pub(crate) use outline::Outline;

/// Changes of one section, and sessions of one sort, that are listed; the others are counted.
const MOST: usize = 100;

/// What a reload would change. `docs/admin.md` describes each field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Preview {
    /// The generation of the policy in force, with which the files are compared.
    pub(crate) policy: u64,
    pub(crate) warnings: Vec<String>,
    /// Those in which something changes.
    pub(crate) sections: Vec<Section>,
    pub(crate) sessions: Sessions,
}

/// What changes in one part of the files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Section {
    pub(crate) section: String,
    /// How many changes there are.
    pub(crate) total: usize,
    /// The first of them.
    pub(crate) changes: Vec<Change>,
}

/// What would become of the open sessions.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Sessions {
    /// How many are open.
    pub(crate) open: usize,
    /// How many of them would be something else than they are.
    #[serde(flatten)]
    pub(crate) swept: Swept,
    /// The first that would lose their permit.
    pub(crate) lost: Vec<Foreseen>,
    /// The first that another rule would permit.
    pub(crate) under_another_rule: Vec<Foreseen>,
}

/// What would become of one session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Foreseen {
    pub(crate) session: String,
    pub(crate) client: SocketAddr,
    pub(crate) identity: Option<String>,
    pub(crate) target: Option<String>,
    /// The rule that permits it now.
    pub(crate) rule: Option<String>,
    /// The rule that would permit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Why nothing would permit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// What would become of it then: `keep`, `drain 30s` or `close`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_revoke: Option<String>,
}

impl Preview {
    /// Compares what could come into force with what is.
    pub(crate) fn of(gateway: &Gateway, before: &Snapshot, now: &Snapshot) -> Self {
        let PolicyChanges { rules, clients, sets } = before.ruleset.changes_to(&now.ruleset);
        let users = ("users", account_changes(before, now));
        let sections = [("rules", rules), ("clients", clients), ("sets", sets)];
        let sections = sections.into_iter().chain(before.outline.changes_to(&now.outline)).chain([users]);
        Self {
            policy: before.ruleset.generation(),
            warnings: now.warnings.clone(),
            sections: sections.filter_map(|(section, changes)| Section::of(section, changes)).collect(),
            sessions: Sessions::foresee(gateway, now),
        }
    }

    /// Tells whether an open session would lose its permit.
    pub(crate) fn takes_permits(&self) -> bool {
        let Swept { kept, draining, ended, .. } = self.sessions.swept;
        kept + draining + ended > 0
    }
}

impl Section {
    fn of(section: &str, mut changes: Vec<Change>) -> Option<Self> {
        let total = changes.len();
        changes.truncate(MOST);
        (total > 0).then(|| Self { section: section.to_owned(), total, changes })
    }
}

impl Sessions {
    fn foresee(gateway: &Gateway, now: &Snapshot) -> Self {
        let mut sessions = Self::default();
        for live in gateway.roster.list() {
            let Some(fate) = rejudge::foresee(gateway, now, &live) else { continue };
            sessions.open += 1;
            sessions.add(&live, fate);
        }
        sessions
    }

    fn add(&mut self, live: &Live, fate: Fate) {
        let swept = &mut self.swept;
        let (count, list) = match &fate {
            Fate::Stays => return,
            Fate::Moves(_) => (&mut swept.moved, &mut self.under_another_rule),
            Fate::Loses(_, OnRevoke::Keep) => (&mut swept.kept, &mut self.lost),
            Fate::Loses(_, OnRevoke::Drain(_)) => (&mut swept.draining, &mut self.lost),
            Fate::Loses(_, OnRevoke::Close) => (&mut swept.ended, &mut self.lost),
        };
        *count += 1;
        if list.len() < MOST {
            list.push(Foreseen::of(live, fate));
        }
    }
}

impl Foreseen {
    fn of(live: &Live, fate: Fate) -> Self {
        let (to, why, on_revoke) = match fate {
            Fate::Stays => (None, None, None),
            Fate::Moves(rule) => (Some(rule.to_string()), None, None),
            Fate::Loses(why, on_revoke) => (None, Some(why), Some(on_revoke.to_string())),
        };
        let facts = live.facts();
        Self {
            session: live.id.to_string(),
            client: live.client(),
            identity: facts.identity.as_ref().map(ToString::to_string),
            target: facts.asked.as_ref().map(ToString::to_string),
            rule: facts.rule.as_ref().map(ToString::to_string),
            to,
            why,
            on_revoke,
        }
    }
}

/// The accounts of authenticators that are there before and after; those of others come and go with them.
fn account_changes(before: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let both = now.authenticators().filter_map(|(name, now)| Some((name, before.authenticator(name)?, now)));
    both.flat_map(|(name, before, now)| outline::account_changes(name, &**before, &**now)).collect()
}
