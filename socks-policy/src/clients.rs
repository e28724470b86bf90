//! The `clients` section: which doors are open to whom, and with what protection.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use socks_core::{Identity, Level, Levels};

use crate::Ruleset;
use crate::pattern::{IdentityPattern, Meant};
use crate::set::Condition;

/// One row of `clients`; a condition that is `None` matches everything.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) source: Option<Condition<IpNet>>,
    pub(crate) listener: Option<Condition<Box<str>>>,
    pub(crate) identity: Option<Condition<IdentityPattern>>,
    pub(crate) methods: Vec<Arc<str>>,
    pub(crate) levels: Levels,
    /// The row as it is written.
    pub(crate) written: Box<str>,
}

impl Row {
    fn admits(&self, listener: &str, source: IpAddr) -> bool {
        let by_source = self.source.as_ref().is_none_or(|own| own.elements().any(|it| it.contains(&source)));
        by_source && self.listener.as_ref().is_none_or(|own| own.elements().any(|name| **name == *listener))
    }

    fn means(&self, identity: &Identity) -> Meant {
        match &self.identity {
            _ if !self.methods.contains(&identity.method) => Meant::No,
            None => Meant::Yes,
            Some(own) => own.means(identity),
        }
    }
}

/// The authenticators that are on offer to a client, in the policy's order of preference.
#[derive(Debug, Clone, Default)]
pub struct Doors<'a>(Vec<Door<'a>>);

impl<'a> Doors<'a> {
    /// Tells whether there are none: the client has no business here.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The doors, most preferred first.
    pub fn iter(&self) -> std::slice::Iter<'_, Door<'a>> {
        self.0.iter()
    }

    /// Opens the doors of one more row that may decide.
    fn open(&mut self, row: &'a Row) {
        let is_last = row.identity.is_none();
        for method in &row.methods {
            match self.0.iter_mut().find(|door| door.method == method) {
                Some(door) if door.is_settled => {}
                Some(door) => {
                    door.levels = either(&door.levels, &row.levels);
                    door.is_settled = is_last;
                }
                None => self.0.push(Door { method, levels: row.levels.clone(), is_settled: is_last }),
            }
        }
    }
}

impl<'a> IntoIterator for Doors<'a> {
    type Item = Door<'a>;
    type IntoIter = std::vec::IntoIter<Door<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, 'b> IntoIterator for &'b Doors<'a> {
    type Item = &'b Door<'a>;
    type IntoIter = std::slice::Iter<'b, Door<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One authenticator on offer.
#[derive(Debug, Clone)]
pub struct Door<'a> {
    method: &'a Arc<str>,
    levels: Levels,
    /// Whether a row for everybody has been met: later rows cannot decide for this method.
    is_settled: bool,
}

impl<'a> Door<'a> {
    /// The authenticator's configured name.
    pub fn method(&self) -> &'a Arc<str> {
        self.method
    }

    /// The levels that at least one of the rows that may decide allows. Where this has no unprotected one, a
    /// method that cannot protect need not be offered.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }
}

/// What one or the other allows.
fn either(one: &Levels, other: &Levels) -> Levels {
    let (Levels::Only(one), Levels::Only(other)) = (one, other) else { return Levels::Unrestricted };
    let mut levels: Vec<Level> = one.clone();
    levels.extend(other.iter().filter(|level| !one.contains(level)));
    Levels::Only(levels)
}

/// What one and the other allow, for a client whose row is one of the two and nobody knows which.
///
/// A row that says nothing of protection counts as every level but `none`, and where two rows differ `none` is
/// not left alone: that would answer `none` to whatever is asked, also to what one of the rows would give.
fn both(one: &Levels, other: &Levels) -> Levels {
    let common: Vec<Level> = match (one, other) {
        (Levels::Unrestricted, Levels::Unrestricted) => return Levels::Unrestricted,
        (Levels::Only(one), Levels::Only(other)) if one == other => one.clone(),
        (Levels::Only(one), Levels::Only(other)) => {
            let common: Vec<_> = one.iter().filter(|level| other.contains(level)).copied().collect();
            if common == [Level::None] { Vec::new() } else { common }
        }
        (Levels::Only(own), Levels::Unrestricted) | (Levels::Unrestricted, Levels::Only(own)) => {
            own.iter().filter(|level| **level != Level::None).copied().collect()
        }
    };
    Levels::Only(common)
}

/// What `clients` says of a proven identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The levels that it may go on with; `None`: no row lets it in.
    pub(crate) levels: Option<Levels>,
    /// Whether a row names a group, and the identity's groups could not be learned.
    pub(crate) is_unsure: bool,
}

impl Ruleset {
    /// The authenticators on offer to a client at that address, before it is known who it is.
    ///
    /// Every row of `clients` that may still decide counts, so rows for certain identities do too.
    pub fn doors(&self, listener: &str, client: IpAddr) -> Doors<'_> {
        let client = client.to_canonical();
        let mut doors = Doors::default();
        self.clients.iter().filter(|row| row.admits(listener, client)).for_each(|row| doors.open(row));
        doors
    }

    /// Tells whether some row names the level `none` for this authenticator.
    pub fn waives_protection(&self, method: &str) -> bool {
        let waives =
            |levels: &Levels| matches!(levels, Levels::Only(levels) if levels.contains(&Level::None));
        self.clients.iter().any(|row| waives(&row.levels) && row.methods.iter().any(|own| **own == *method))
    }

    /// The protection levels for a proven identity: those of the first row with its source, listener, name and
    /// method. `None`: there is no such row, and the client is refused. A row that says nothing of protection
    /// is [`Levels::Unrestricted`], which means `none` only for methods that cannot protect: whoever knows the
    /// method must not let one that can protect go on without.
    ///
    /// A row for a group lets nobody in whose groups [could not be learned](Identity::groups_missing), and is not
    /// passed over either: every such row before the deciding one must allow the level too.
    pub fn levels(&self, listener: &str, client: IpAddr, identity: &Identity) -> Option<Levels> {
        self.standing(listener, client, identity).levels
    }

    /// The same, and whether groups that could not be learned had a part in it.
    pub(crate) fn standing(&self, listener: &str, client: IpAddr, identity: &Identity) -> Standing {
        let client = client.to_canonical();
        let mut unsure: Vec<&Levels> = Vec::new();
        for row in self.clients.iter().filter(|row| row.admits(listener, client)) {
            match row.means(identity) {
                Meant::No => {}
                Meant::Unknown => unsure.push(&row.levels),
                Meant::Yes => {
                    let levels = unsure.iter().fold(row.levels.clone(), |levels, own| both(&levels, own));
                    return Standing { levels: Some(levels), is_unsure: !unsure.is_empty() };
                }
            }
        }
        Standing { levels: None, is_unsure: !unsure.is_empty() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ruleset;

    fn shown(ruleset: &Ruleset, listener: &str, client: &str) -> String {
        let doors = ruleset.doors(listener, client.parse().unwrap());
        let door = |door: &Door<'_>| match door.levels() {
            Levels::Unrestricted => format!("{} any", door.method()),
            Levels::Only(levels) => {
                let levels: Vec<_> = levels.iter().map(|level| level.as_str()).collect();
                format!("{} {}", door.method(), levels.join("|"))
            }
        };
        doors.iter().map(door).collect::<Vec<_>>().join(", ")
    }

    const CLIENTS: &str = "\
version: 1
clients:
  - { source: 10.1.0.0/16, identity: '*@R', methods: [gssapi], protection: confidentiality }
  - { source: 10.0.0.0/8, methods: [gssapi, password], protection: [integrity, none] }
  - { source: 10.0.0.0/8, methods: [gssapi, none] }
  - { listener: lab, methods: [none] }
rules: []
";

    #[test]
    fn doors_are_those_of_rows_that_may_still_decide() {
        let ruleset = ruleset(CLIENTS);
        let table = [
            ("", "10.1.0.1", "gssapi confidentiality|integrity|none, password integrity|none, none any"),
            ("", "10.2.0.1", "gssapi integrity|none, password integrity|none, none any"),
            ("", "::ffff:10.2.0.1", "gssapi integrity|none, password integrity|none, none any"),
            ("lab", "192.0.2.1", "none any"),
            ("", "192.0.2.1", ""),
        ];
        for (listener, client, expected) in table {
            assert_eq!(shown(&ruleset, listener, client), expected, "{client} at `{listener}`");
        }
        assert!(ruleset.doors("", "192.0.2.1".parse().unwrap()).is_empty());
    }

    #[test]
    fn only_a_row_that_names_none_waives_protection() {
        let ruleset = ruleset(CLIENTS);
        let table = [("gssapi", true), ("password", true), ("none", false), ("unknown", false)];
        for (method, waives) in table {
            assert_eq!(ruleset.waives_protection(method), waives, "{method}");
        }
    }

    #[test]
    fn the_first_row_with_source_listener_identity_and_method_decides_the_levels() {
        use Level::{Confidentiality, Integrity, None as Clear};
        let ruleset = ruleset(CLIENTS);
        let principal = |name: &str| Identity::principal(name.parse().unwrap()).by("gssapi".into());
        let user = Identity::user("bob").by("password".into());
        let anonymous = Identity::anonymous().by("none".into());
        let table = [
            ("10.1.0.1", principal("alice@R"), Some(Levels::Only(vec![Confidentiality]))),
            ("10.1.0.1", principal("alice@S"), Some(Levels::Only(vec![Integrity, Clear]))),
            ("10.2.0.1", principal("alice@R"), Some(Levels::Only(vec![Integrity, Clear]))),
            ("10.1.0.1", user.clone(), Some(Levels::Only(vec![Integrity, Clear]))),
            ("10.1.0.1", anonymous.clone(), Some(Levels::Unrestricted)),
            ("192.0.2.1", anonymous, None),
            ("192.0.2.1", user, None),
        ];
        for (client, identity, expected) in table {
            let levels = ruleset.levels("", client.parse().unwrap(), &identity);
            assert_eq!(levels, expected, "{identity} from {client}");
        }
    }
    #[test]
    fn an_unknown_group_is_let_in_only_as_every_row_that_may_decide_says() {
        // The rows for `group:g` in order, the row for everybody, and the levels of a client of unknown groups.
        let table: [(&[&str], Option<&str>, Option<&str>); 13] = [
            (&["confidentiality"], Some("[confidentiality, integrity, none]"), Some("confidentiality")),
            (&["[integrity, none]"], Some("[confidentiality, integrity, none]"), Some("integrity none")),
            (
                &["confidentiality", "[integrity, confidentiality]"],
                Some("[none, confidentiality]"),
                Some("confidentiality"),
            ),
            (&["confidentiality", "integrity"], Some("[confidentiality, integrity]"), Some("")),
            (&["confidentiality"], Some("integrity"), Some("")),
            (&["none"], Some("confidentiality"), Some("")),
            (&["none"], Some("[none, integrity]"), Some("")),
            (&["[none, selective]"], Some("[none, integrity]"), Some("")),
            (&["none"], Some("none"), Some("none")),
            (&[""], Some("[none, integrity]"), Some("integrity")),
            (&["[none, integrity]"], Some(""), Some("integrity")),
            (&[""], Some(""), Some("any")),
            (&["confidentiality"], None, None),
        ];
        let row = |who: &str, levels: &str| {
            let protection =
                if levels.is_empty() { String::new() } else { format!(", protection: {levels}") };
            format!("  - {{ methods: [gssapi]{who}{protection} }}\n")
        };
        for (unsure, certain, expected) in table {
            let rows: String = unsure.iter().map(|levels| row(", identity: 'group:g'", levels)).collect();
            let last = certain.map(|levels| row("", levels)).unwrap_or_default();
            let ruleset = ruleset(&format!("version: 1\nclients:\n{rows}{last}rules: []\n"));
            let identity = Identity::principal("alice@R".parse().unwrap()).by("gssapi".into());
            let client = "10.0.0.1".parse().unwrap();
            let unknown = ruleset.standing("", client, &identity.clone().without_groups("no answer"));
            let words = unknown.levels.as_ref().map(|levels| match levels {
                Levels::Unrestricted => "any".to_owned(),
                Levels::Only(levels) => {
                    let mut words: Vec<_> = levels.iter().map(|level| level.as_str()).collect();
                    words.sort_unstable();
                    words.join(" ")
                }
            });
            assert_eq!(words.as_deref(), expected, "{unsure:?}, then {certain:?}");
            assert!(unknown.is_unsure);
            let known = ruleset.standing("", client, &identity);
            assert!(!known.is_unsure && known.levels.is_some() == certain.is_some());
        }
    }

    #[test]
    fn rows_that_mean_the_identity_for_certain_ask_for_no_groups() {
        let ruleset = ruleset(
            "\
version: 1
clients:
  - { methods: [gssapi], identity: [alice@R, 'group:g'], protection: integrity }
  - { methods: [password], identity: 'group:g', protection: confidentiality }
  - { methods: [gssapi], protection: none }
rules: []
",
        );
        let client = "10.0.0.1".parse().unwrap();
        for (name, expected) in [("alice@R", vec![Level::Integrity]), ("bob@R", Vec::new())] {
            let identity = Identity::principal(name.parse().unwrap()).by("gssapi".into());
            let levels = ruleset.levels("", client, &identity.without_groups("no answer"));
            assert_eq!(levels, Some(Levels::Only(expected)), "{name}");
        }
    }
}
