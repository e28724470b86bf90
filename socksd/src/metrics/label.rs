//! Words that stand in labels, and the bound on how many there are.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Names of rules that are told apart; what comes after them counts as one.
const MOST_RULES: usize = 1000;

/// A label's value, shared with those who use the word.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Label {
    Word(&'static str),
    Shared(Arc<str>),
}

impl Label {
    /// What stands where there is nothing to name.
    pub(super) const NONE: Self = Self::Word("");
    /// What stands for all that is not told apart.
    const OTHER: Self = Self::Word("other");
}

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let word = match self {
            Self::Word(word) => word,
            Self::Shared(word) => &**word,
        };
        encoder.write_str(word)
    }
}

/// The rules that have a label of their own: the first that decided anything.
#[derive(Debug, Default)]
pub(super) struct Rules(RwLock<HashSet<Arc<str>>>);

impl Rules {
    pub(super) fn label(&self, rule: &Arc<str>) -> Label {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains(rule) {
            return Label::Shared(rule.clone());
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_RULES {
            return Label::OTHER;
        }
        known.insert(rule.clone());
        Label::Shared(rule.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_with_many_rules_has_a_bounded_number_of_labels() {
        let rules = Rules::default();
        let labels: HashSet<Label> =
            (0..5000).map(|number| rules.label(&format!("rule-{number}").into())).collect();
        assert_eq!(labels.len(), MOST_RULES + 1);
        assert!(labels.contains(&Label::OTHER));
    }
}
