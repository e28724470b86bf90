//! How what the shadow policy says differs from what the policy in force says.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::judgement::{Answer, Said};

/// The sorts of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// What is permitted would be denied.
    WouldDeny,
    /// What is denied would be permitted.
    WouldPermit,
    /// The answer is the same, by another rule or for another reason.
    OtherRule,
    /// It depends on a fact that nobody has learned, because the policy in force had decided without it.
    Undecided,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::WouldDeny, Self::WouldPermit, Self::OtherRule, Self::Undecided];

    /// The word for it in records and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::WouldDeny => "would-deny",
            Self::WouldPermit => "would-permit",
            Self::OtherRule => "other-rule",
            Self::Undecided => "undecided",
        }
    }
}

/// One difference, as records and lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Difference {
    pub(crate) kind: Kind,
    /// The rule in force that decided.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "name")]
    pub(crate) live_rule: Option<Arc<str>>,
    /// Why that policy denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) live_reason: Option<&'static str>,
    /// The rule of the shadow policy that would decide.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "name")]
    pub(crate) shadow_rule: Option<Arc<str>>,
    /// Why that policy would deny, or the fact that it would need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow_reason: Option<&'static str>,
}

impl Difference {
    /// How the two differ; `None`: they do not, or the policy in force has not decided yet.
    pub(crate) fn between(live: &Said, shadow: &Said) -> Option<Self> {
        let kind = match (live.answer, shadow.answer) {
            (Answer::Undecided, _) => return None,
            (_, Answer::Undecided) => Kind::Undecided,
            (Answer::Permit, Answer::Deny) => Kind::WouldDeny,
            (Answer::Deny, Answer::Permit) => Kind::WouldPermit,
            _ if live == shadow => return None,
            _ => Kind::OtherRule,
        };
        Some(Self {
            kind,
            live_rule: live.rule.clone(),
            live_reason: live.reason,
            shadow_rule: shadow.rule.clone(),
            shadow_reason: shadow.reason,
        })
    }
}

#[expect(clippy::ref_option, reason = "serde asks for it")]
fn name<S: Serializer>(rule: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    rule.as_deref().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_decided_and_differs_is_a_difference() {
        let said = |answer, rule: Option<&str>, reason| Said { answer, rule: rule.map(Into::into), reason };
        let permit = |rule| said(Answer::Permit, Some(rule), None);
        let deny = |rule| said(Answer::Deny, Some(rule), Some("rule"));
        let (nothing, needs) = (Said::no("no-match"), Said::undecided("address"));
        let table = [
            (permit("a"), permit("a"), None),
            (permit("a"), permit("b"), Some(Kind::OtherRule)),
            (permit("a"), deny("a"), Some(Kind::WouldDeny)),
            (permit("a"), nothing.clone(), Some(Kind::WouldDeny)),
            (permit("a"), needs.clone(), Some(Kind::Undecided)),
            (deny("a"), deny("a"), None),
            (deny("a"), deny("b"), Some(Kind::OtherRule)),
            (deny("a"), nothing.clone(), Some(Kind::OtherRule)),
            (deny("a"), said(Answer::Deny, Some("a"), Some("special-use")), Some(Kind::OtherRule)),
            (nothing.clone(), nothing.clone(), None),
            (nothing.clone(), permit("b"), Some(Kind::WouldPermit)),
            (nothing.clone(), needs.clone(), Some(Kind::Undecided)),
            (needs.clone(), permit("b"), None),
            (needs.clone(), nothing, None),
            (needs.clone(), needs, None),
        ];
        for (live, shadow, kind) in table {
            let found = Difference::between(&live, &shadow);
            assert_eq!(found.as_ref().map(|found| found.kind), kind, "{live:?} {shadow:?}");
            if let Some(found) = found {
                assert_eq!((found.live_rule, found.shadow_rule), (live.rule, shadow.rule));
                assert_eq!((found.live_reason, found.shadow_reason), (live.reason, shadow.reason));
            }
        }
    }

    #[test]
    fn a_difference_says_only_what_there_is_to_say() {
        let permit = Said { answer: Answer::Permit, rule: Some("office".into()), reason: None };
        let difference = Difference::between(&permit, &Said::no("no-match")).unwrap();
        assert_eq!(
            serde_json::to_string(&difference).unwrap(),
            r#"{"kind":"would-deny","live-rule":"office","shadow-reason":"no-match"}"#
        );
    }
}
