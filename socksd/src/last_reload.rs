//! What the last reload came to, for those who ask later.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::{Agent, ReloadResult};

/// Octets of the mistakes that are kept.
const MOST_DETAIL: usize = 4096;

/// A reload that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Reload {
    pub(crate) time: Timestamp,
    /// Who wanted it; none: a signal.
    pub(crate) who: Option<String>,
    pub(crate) result: ReloadResult,
    /// What was wrong.
    pub(crate) detail: Option<String>,
}

/// The last one, if there was any.
#[derive(Debug, Default)]
pub(crate) struct LastReload(Mutex<Option<Arc<Reload>>>);

impl LastReload {
    /// Keeps one that is just over, with its mistakes if there were any.
    pub(crate) fn note(&self, by: Agent<'_>, result: ReloadResult, mistakes: Option<&str>) {
        let who = match by {
            Agent::Admin { who } => Some(who.to_owned()),
            Agent::Signal | Agent::TakeBack => None,
        };
        let detail = mistakes.map(|text| {
            let text = text.trim();
            text.get(..text.floor_char_boundary(MOST_DETAIL)).unwrap_or_default().to_owned()
        });
        let reload = Reload { time: Timestamp::now(), who, result, detail };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(reload));
    }

    pub(crate) fn get(&self) -> Option<Arc<Reload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_counts_and_its_mistakes_are_cut() {
        let last = LastReload::default();
        assert!(last.get().is_none());
        last.note(Agent::Signal, ReloadResult::Applied, None);
        last.note(Agent::Admin { who: "carol" }, ReloadResult::Refused, Some(&"ü".repeat(9000)));
        let reload = last.get().unwrap();
        assert_eq!((reload.who.as_deref(), reload.result), (Some("carol"), ReloadResult::Refused));
        assert_eq!(reload.detail.as_deref().map(str::len), Some(MOST_DETAIL));
    }
}
