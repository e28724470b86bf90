//! What identities, destinations and ports are compared with.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use socks_core::wire::DomainName;
use socks_core::{Identity, IdentityName, Principal};

use crate::set::Condition;

/// Where somebody may want to go: a network, a name, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HostPattern {
    /// Addresses, literal or looked up.
    Network(IpNet),
    /// Exactly that name.
    Name(DomainName),
    /// `*.suffix`: every name below the suffix, but not the suffix itself.
    Below(DomainName),
}

impl HostPattern {
    /// Tells whether the name is meant.
    pub(crate) fn matches_name(&self, name: &DomainName) -> bool {
        match self {
            Self::Network(_) => false,
            Self::Name(own) => own == name,
            Self::Below(suffix) => {
                let above = name.as_str().strip_suffix(suffix.as_str());
                above.is_some_and(|above| above.ends_with('.'))
            }
        }
    }

    /// Tells whether the address is meant; it must be canonical.
    pub(crate) fn matches_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl PortRange {
    /// The first port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last port; not below the first.
    pub fn last(self) -> u16 {
        self.last
    }

    /// Tells whether the port is in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromStr for PortRange {
    type Err = &'static str;

    /// Reads `443` or `1024-65535`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
            digits
                .then(|| text.parse().ok())
                .flatten()
                .ok_or("is no port (0 to 65535) and no range such as `1024-65535`")
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: number(first)?, last: number(last)? };
        if range.first > range.last { Err("is a range that ends before it begins") } else { Ok(range) }
    }
}

/// Who may be meant by a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum IdentityPattern {
    /// Kerberos principals.
    Principal(PrincipalPattern),
    /// The user of that name of one authenticator.
    User {
        /// The authenticator's name.
        method: Box<str>,
        /// The user's name.
        name: Box<str>,
    },
    /// Everybody whom one authenticator has proven.
    Anyone {
        /// The authenticator's name.
        method: Box<str>,
    },
    /// Every member of a group.
    Group(Box<str>),
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(f),
            Self::User { method, name } => write!(f, "{method}:{name}"),
            Self::Anyone { method } => write!(f, "{method}:*"),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

/// Whether an identity is meant: the greatest of its patterns' answers is the answer of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meant {
    /// For certain not.
    No,
    /// Nobody can tell: a group is named, and the identity's groups could not be learned.
    Unknown,
    /// For certain.
    Yes,
}

impl Condition<IdentityPattern> {
    /// Tells whether it asks for a group, alone or among others.
    pub(crate) fn names_group(&self) -> bool {
        self.elements().any(|pattern| matches!(pattern, IdentityPattern::Group(_)))
    }

    /// Tells whether the identity is meant by one of the patterns.
    ///
    /// Conditions only ever include, so that [`Meant::Unknown`] can be settled for the whole condition: who
    /// asks takes it as matching where a match denies, and as not matching where it permits.
    pub(crate) fn means(&self, identity: &Identity) -> Meant {
        self.elements().map(|pattern| pattern.means(identity)).max().unwrap_or(Meant::No)
    }
}

impl IdentityPattern {
    /// Tells whether the identity is meant; an anonymous one never is, whatever is known of it.
    fn means(&self, identity: &Identity) -> Meant {
        match self {
            _ if self.matches(identity) => Meant::Yes,
            Self::Group(_) if identity.groups_missing.is_some() && !identity.is_anonymous() => Meant::Unknown,
            _ => Meant::No,
        }
    }

    /// Tells whether the identity is meant for certain.
    fn matches(&self, identity: &Identity) -> bool {
        match (self, &identity.name) {
            (_, IdentityName::Anonymous) => false,
            (Self::Principal(pattern), IdentityName::Principal(principal)) => pattern.matches(principal),
            (Self::User { method, name }, IdentityName::User(user)) => {
                **method == *identity.method && name == user
            }
            (Self::Anyone { method }, _) => **method == *identity.method,
            (Self::Group(group), _) => identity.groups.contains(group),
            _ => false,
        }
    }

    /// The authenticator that the pattern names.
    pub(crate) fn method(&self) -> Option<&str> {
        match self {
            Self::User { method, .. } | Self::Anyone { method } => Some(method),
            Self::Principal(_) | Self::Group(_) => None,
        }
    }
}

impl FromStr for IdentityPattern {
    type Err = &'static str;

    /// Reads `alice@REALM`, `*@REALM`, `host/*@REALM`, `password:alice`, `password:*` or `group:NAME`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let by_method = text.split_once(':').filter(|(method, _)| is_word(method));
        match by_method {
            None => text.parse().map(Self::Principal),
            Some((_, "")) => Err("names nobody behind the `:`"),
            Some(("group", name)) => Ok(Self::Group(name.into())),
            Some((method, "*")) => Ok(Self::Anyone { method: method.into() }),
            Some((method, name)) => Ok(Self::User { method: method.into(), name: name.into() }),
        }
    }
}

/// Tells whether the text is built like the name of a set, a listener or an authenticator.
pub(crate) fn is_word(text: &str) -> bool {
    let inside = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(inside)
}

/// Kerberos principals: each component is given or left open, the realm is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PrincipalPattern {
    components: Box<[Option<Box<str>>]>,
    realm: Box<str>,
}

impl fmt::Display for PrincipalPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, component) in self.components.iter().enumerate() {
            write!(f, "{}{}", if at > 0 { "/" } else { "" }, component.as_deref().unwrap_or("*"))?;
        }
        write!(f, "@{}", self.realm)
    }
}

/// The most components of a pattern, so that the open ones fit into a [`Shape`].
const MAX_COMPONENTS: usize = 16;

impl PrincipalPattern {
    /// Tells whether the principal has as many components, and the given ones and the realm are the same.
    pub(crate) fn matches(&self, principal: &Principal) -> bool {
        *self.realm == *principal.realm()
            && self.components.len() == principal.components().len()
            && self
                .components
                .iter()
                .zip(principal.components())
                .all(|(own, other)| own.as_ref().is_none_or(|own| own == other))
    }

    /// Which components are given.
    pub(crate) fn shape(&self) -> Shape {
        let given = self.components.iter().map(Option::is_some);
        Shape {
            count: self.components.len(),
            given: given.enumerate().fold(0, |bits, (at, given)| bits | u32::from(given) << at),
        }
    }

    /// The components, `None` where any will do.
    pub(crate) fn components(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.components.iter().map(Option::as_deref)
    }

    /// The realm.
    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }
}

impl FromStr for PrincipalPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let principal: Principal = text.parse().map_err(|_| EXPECTED)?;
        let spelled = split_spelled(text);
        let (realm, components) = spelled.split_last().ok_or(EXPECTED)?;
        if has_open_star(realm) {
            return Err("leaves the realm open, but a realm must be named");
        }
        if components.len() > MAX_COMPONENTS {
            return Err("has more than 16 components");
        }
        let components =
            components.iter().zip(principal.components()).map(|(spelled, component)| match *spelled {
                "*" => Ok(None),
                spelled if has_open_star(spelled) => {
                    Err("has a `*` inside a name, but `*` stands for a whole component")
                }
                _ => Ok(Some(component.clone())),
            });
        Ok(Self { components: components.collect::<Result<_, _>>()?, realm: principal.realm().into() })
    }
}

const EXPECTED: &str =
    "is no identity such as `alice@REALM`, `*@REALM`, `*/*@REALM`, `password:alice` or `group:NAME`";

/// The components and the realm as they are spelled, with their backslashes.
fn split_spelled(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut is_escaped = false;
    let mut is_realm = false;
    for (at, character) in text.char_indices() {
        if !is_escaped && !is_realm && matches!(character, '/' | '@') {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + 1;
            is_realm = character == '@';
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Tells whether there is a `*` without a backslash before it.
fn has_open_star(spelled: &str) -> bool {
    let mut is_escaped = false;
    spelled.chars().any(|character| {
        let is_open = character == '*' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_open
    })
}

/// How many components a pattern has, and which of them are given: bit 0 for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// How many components.
    pub(crate) count: usize,
    /// The given ones.
    pub(crate) given: u32,
}

impl Shape {
    /// Tells whether the component at that place is given.
    pub(crate) fn gives(self, at: usize) -> bool {
        self.given >> at & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_match_component_by_component() {
        let table = [
            ("alice@R", "alice@R", true),
            ("alice@R", "alice@S", false),
            ("alice@R", "alice/admin@R", false),
            ("*@R", "alice@R", true),
            ("*@R", "host/a@R", false),
            ("*/*@R", "host/a@R", true),
            ("*/*@R", "alice@R", false),
            ("*/*@R", "a/b/c@R", false),
            ("host/*@R", "host/a@R", true),
            ("host/*@R", "http/a@R", false),
            ("*/admin@R", "alice/admin@R", true),
            (r"\*@R", "alice@R", false),
            (r"\*@R", r"\*@R", true),
            (r"a\/b@R", "a/b@R", false),
            (r"a\/b@R", r"a\/b@R", true),
            ("alice@R", "Alice@R", false),
        ];
        for (pattern, principal, expected) in table {
            let identity = Identity::principal(principal.parse().unwrap()).by("gssapi".into());
            let pattern: IdentityPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&identity), expected, "{pattern:?} and {principal}");
        }
    }

    #[test]
    fn a_user_is_never_taken_for_a_principal() {
        let user = Identity::user("alice@R").by("password".into());
        let principal = Identity::principal("alice@R".parse().unwrap()).by("gssapi".into());
        let table = [
            ("alice@R", false, true),
            ("*@R", false, true),
            ("password:alice@R", true, false),
            ("gssapi:alice@R", false, false),
            ("password:*", true, false),
            ("gssapi:*", false, true),
        ];
        for (pattern, of_user, of_principal) in table {
            let pattern: IdentityPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&user), of_user, "{pattern:?}");
            assert_eq!(pattern.matches(&principal), of_principal, "{pattern:?}");
        }
    }

    #[test]
    fn nothing_matches_an_anonymous_client() {
        let mut anonymous = Identity::anonymous().by("none".into());
        anonymous.groups.push("staff".into());
        for pattern in ["none:*", "group:staff", "*@R"] {
            assert!(!pattern.parse::<IdentityPattern>().unwrap().matches(&anonymous), "{pattern}");
        }
    }

    #[test]
    fn a_group_is_unknown_when_the_groups_could_not_be_learned() {
        use Meant::{No, Unknown, Yes};
        let known = Identity::principal("alice@R".parse().unwrap()).by("gssapi".into());
        let mut member = known.clone();
        member.groups.push("staff".into());
        let unknown = known.clone().without_groups("no answer");
        let anonymous = Identity::anonymous().by("none".into()).without_groups("no answer");
        let table = [
            ("group:staff", No, Yes, Unknown, No),
            ("group:other", No, No, Unknown, No),
            ("alice@R", Yes, Yes, Yes, No),
            ("bob@R", No, No, No, No),
            ("gssapi:*", Yes, Yes, Yes, No),
            ("none:*", No, No, No, No),
        ];
        for (pattern, of_known, of_member, of_unknown, of_anonymous) in table {
            let pattern: IdentityPattern = pattern.parse().unwrap();
            let meant = [&known, &member, &unknown, &anonymous].map(|identity| pattern.means(identity));
            assert_eq!(meant, [of_known, of_member, of_unknown, of_anonymous], "{pattern:?}");
        }
    }

    #[test]
    fn texts_that_name_nobody_are_refused() {
        for text in
            ["", "alice", "*", "@R", "alice@", "*@*", "al*@R", "password:", "group:", "a@R@S", "a//b@R"]
        {
            assert!(text.parse::<IdentityPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_match_below_a_suffix_only() {
        let below = HostPattern::Below("corp.example".parse().unwrap());
        let table = [
            ("git.corp.example", true),
            ("a.b.corp.example", true),
            ("corp.example", false),
            ("xcorp.example", false),
        ];
        for (name, expected) in table {
            assert_eq!(below.matches_name(&name.parse().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn ports_are_numbers_or_ranges() {
        assert_eq!("22".parse(), Ok(PortRange { first: 22, last: 22 }));
        assert_eq!("1024-65535".parse(), Ok(PortRange { first: 1024, last: 65535 }));
        for text in ["", "-", "1-", "-1", "65536", "+1", "9-1", "0x16", "1-2-3", " 1"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }
}
