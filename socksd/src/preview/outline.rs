//! What `socksd.yaml` says, kept as long as it is in force to be compared with what it says later.

use socks_auth::{Account, Authenticator};
use socks_config::{Change, Item, KeyChange, Node, Value, Way};

/// Authenticators whose options hold no secret; a plug-in's may.
const OPEN_KINDS: [&str; 3] = ["none", "password", "gssapi"];

/// The configuration by its sections.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    listeners: Vec<Item>,
    auth: Vec<Item>,
    upstreams: Vec<Item>,
    /// Everything else, by the first key.
    settings: Vec<Item>,
}

impl Outline {
    /// Of a document that has no mistake.
    pub(crate) fn of(root: &Node) -> Self {
        let mut outline = Self::default();
        let Value::Map(entries) = &root.value else { return outline };
        for (key, value) in entries {
            match key.text().unwrap_or_default() {
                "listeners" => outline.listeners = items(value),
                "auth" => outline.auth = items(value),
                "upstreams" => outline.upstreams = items(value),
                key => outline.settings.push(Item::new(key, value, |_| false)),
            }
        }
        outline
    }

    /// How `now` differs, by sections.
    pub(super) fn changes_to(&self, now: &Self) -> [(&'static str, Vec<Change>); 4] {
        [
            ("listeners", Change::between(&self.listeners, &now.listeners)),
            ("auth", Change::between(&self.auth, &now.auth)),
            ("upstreams", Change::between(&self.upstreams, &now.upstreams)),
            ("settings", Change::between(&self.settings, &now.settings)),
        ]
    }
}

/// The entries of a list, by the names that they have or that they get without one.
fn items(list: &Node) -> Vec<Item> {
    list.items().iter().map(item).collect()
}

fn item(node: &Node) -> Item {
    let text = |key: &str| {
        let Value::Map(entries) = &node.value else { return None };
        let (_, value) = entries.iter().find(|(own, _)| own.text() == Ok(key))?;
        value.text().ok()
    };
    let name = ["name", "address", "kind"].into_iter().find_map(text).unwrap_or_default();
    let is_open = text("kind").is_none_or(|kind| OPEN_KINDS.contains(&kind));
    Item::new(name, node, |path| !is_open && path == "options").without("name")
}

/// How the accounts of an authenticator differ.
pub(super) fn account_changes(
    name: &str,
    before: &dyn Authenticator,
    now: &dyn Authenticator,
) -> Vec<Change> {
    let (mut before, mut now) = (before.accounts(), now.accounts());
    before.sort_by(|one, other| one.name.cmp(&other.name));
    now.sort_by(|one, other| one.name.cmp(&other.name));
    let title = |account: &str| format!("{name}:{account}");
    let find = |accounts: &[Account], name: &str| {
        let place = accounts.binary_search_by(|account| (*account.name).cmp(name)).ok()?;
        accounts.get(place).cloned()
    };
    let changed = now.iter().filter_map(|account| match find(&before, &account.name) {
        None => Some(Change::new(Way::Added, &title(&account.name))),
        Some(old) => Change::of_keys(&title(&account.name), term_changes(&old.terms, &account.terms)),
    });
    let gone = before.iter().filter(|account| find(&now, &account.name).is_none());
    changed.chain(gone.map(|account| Change::new(Way::Removed, &title(&account.name)))).collect()
}

fn term_changes(before: &[(&str, String)], now: &[(&str, String)]) -> Vec<KeyChange> {
    let value = |terms: &[(&str, String)], key: &str| {
        terms.iter().find(|(own, _)| *own == key).map(|(_, value)| value.clone())
    };
    let gone = before.iter().filter(|(key, _)| value(now, key).is_none());
    gone.chain(now)
        .map(|(key, _)| KeyChange::new(key, value(before, key), value(now, key)))
        .filter(|key| key.before != key.after)
        .collect()
}

#[cfg(test)]
mod tests {
    use socks_config::Document;

    use super::*;

    fn outline(text: &str) -> Outline {
        Outline::of(&Document::parse("socksd.yaml", text.to_owned()).unwrap().root)
    }

    #[test]
    fn sections_are_compared_by_names_and_a_plug_ins_options_are_not_shown() {
        let before = outline(
            "listeners: [{ address: '127.0.0.1:1' }, { name: b, address: '127.0.0.1:2' }]\n\
             auth: [{ kind: acme, options: { secret: s1 } }]\npolicy: policy.yaml\nlimits: { idle-timeout: 1h }\n",
        );
        let now = outline(
            "policy: other.yaml\nlisteners: [{ name: b, address: '127.0.0.1:3' }]\n\
             auth: [{ kind: acme, options: { secret: s2 } }]\nlimits: { idle-timeout: 2h }\nlog: { level: warn }\n",
        );
        let shown = serde_json::to_string(&before.changes_to(&now)).unwrap();
        for expected in [
            r#"{"change":"changed","name":"b","keys":[{"key":"address","before":"127.0.0.1:2","after":"127.0.0.1:3"}]}"#,
            r#"{"change":"removed","name":"127.0.0.1:1"}"#,
            r#"{"change":"changed","name":"acme","keys":[{"key":"options","before":"(not shown)","after":"(not shown)"}]}"#,
            r#"{"change":"changed","name":"policy","keys":[{"key":"","before":"policy.yaml","after":"other.yaml"}]}"#,
            r#"{"change":"changed","name":"limits","keys":[{"key":"idle-timeout","before":"1h","after":"2h"}]}"#,
            r#"{"change":"added","name":"log"}"#,
        ] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
        assert!(!shown.contains("s1") && !shown.contains("s2"), "{shown}");
        assert!(before.changes_to(&before).iter().all(|(_, changes)| changes.is_empty()));
    }

    #[test]
    fn terms_of_accounts_are_compared() {
        let before = [("disabled", "true".to_owned()), ("groups", "a".to_owned())];
        let now = [("expires", "x".to_owned()), ("groups", "a".to_owned())];
        let changes = term_changes(&before, &now);
        let expected = [
            KeyChange::new("disabled", Some("true".into()), None),
            KeyChange::new("expires", None, Some("x".into())),
        ];
        assert_eq!(changes, expected);
    }
}
