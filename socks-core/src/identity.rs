//! Who a client is, once an authentication method has proven it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::Level;

/// A proven identity: the pair of authenticator and name, with all that the method learned beside it.
///
/// No authentication is an identity too ([`IdentityName::Anonymous`]); a client that is not yet
/// authenticated has none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The configured name of the authenticator that proved it (`auth[].name`, by default its kind).
    ///
    /// The gateway sets it itself after authentication, so that one plug-in cannot speak for another.
    pub method: Arc<str>,
    /// The name.
    pub name: IdentityName,
    /// Names of the groups it belongs to, as `group:NAME` in the policy matches them.
    pub groups: Vec<Box<str>>,
    /// Why the groups could not be learned; `None`: [`groups`](Self::groups) is the whole list.
    ///
    /// While there is a reason the list is empty, and a policy fails closed: what *denies* a group
    /// matches, what permits one does not.
    pub groups_missing: Option<Box<str>>,
    /// Whatever else the method wants to stand in the record: keys in kebab-case.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
    /// The protection that was agreed for this session.
    pub level: Level,
    /// When the proof ends (a ticket's end, an account's expiry); `None`: never.
    pub valid_until: Option<Timestamp>,
}

impl Identity {
    /// A client that nobody asked who it is.
    pub fn anonymous() -> Self {
        Self::new(IdentityName::Anonymous)
    }

    /// A user by the plain name that the method knows.
    pub fn user(name: impl Into<Box<str>>) -> Self {
        Self::new(IdentityName::User(name.into()))
    }

    /// A Kerberos principal.
    pub fn principal(principal: Principal) -> Self {
        Self::new(IdentityName::Principal(principal))
    }

    fn new(name: IdentityName) -> Self {
        Self {
            method: Arc::from(""),
            name,
            groups: Vec::new(),
            groups_missing: None,
            attributes: BTreeMap::new(),
            level: Level::None,
            valid_until: None,
        }
    }

    /// The same identity, proven by the authenticator of that configured name.
    #[must_use]
    pub fn by(mut self, method: Arc<str>) -> Self {
        self.method = method;
        self
    }

    /// The same identity with its groups unknown, and why (a text for the operator).
    #[must_use]
    pub fn without_groups(mut self, why: impl Into<Box<str>>) -> Self {
        self.groups.clear();
        self.groups_missing = Some(why.into());
        self
    }

    /// Tells whether nobody asked who the client is.
    pub fn is_anonymous(&self) -> bool {
        self.name == IdentityName::Anonymous
    }

    /// Tells whether the proof has ended at `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|end| end <= now)
    }
}

impl fmt::Display for Identity {
    /// As the policy writes it: `alice@REALM`, `password:bob`, `anonymous`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            IdentityName::Anonymous => f.write_str("anonymous"),
            IdentityName::User(user) => write!(f, "{}:{}", self.method, user.escape_debug()),
            IdentityName::Principal(principal) => principal.fmt(f),
        }
    }
}

/// The name within an [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IdentityName {
    /// There is none: the method asked for nothing.
    Anonymous,
    /// A plain name, meaningful to its authenticator only.
    User(Box<str>),
    /// A Kerberos principal, meaningful by itself.
    Principal(Principal),
}

/// A Kerberos principal, as its components and its realm.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    components: Box<[Box<str>]>,
    realm: Box<str>,
}

impl Principal {
    /// The components from left to right: one for a user, two for a service; never none.
    pub fn components(&self) -> &[Box<str>] {
        &self.components
    }

    /// The realm; never empty.
    pub fn realm(&self) -> &str {
        &self.realm
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    /// Reads the printed form (RFC 1964 section 2.1.1): `/` between components, `@` before the realm,
    /// a backslash before either where it belongs to a name.
    ///
    /// # Errors
    /// [`PrincipalError`] when realm or a component is missing.
    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        let mut parts = vec![String::new()];
        let mut in_realm = false;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '@' if in_realm => return Err(PrincipalError),
                '@' => {
                    in_realm = true;
                    parts.push(String::new());
                }
                '/' if !in_realm => parts.push(String::new()),
                _ => {
                    let plain = if character == '\\' { unescape(characters.next())? } else { character };
                    parts.last_mut().ok_or(PrincipalError)?.push(plain);
                }
            }
        }
        let realm = parts.pop().filter(|realm| in_realm && !realm.is_empty()).ok_or(PrincipalError)?;
        if parts.iter().any(String::is_empty) {
            return Err(PrincipalError);
        }
        Ok(Self {
            components: parts.into_iter().map(String::into_boxed_str).collect(),
            realm: realm.into_boxed_str(),
        })
    }
}

/// RFC 1964 section 2.1.1: `\n`, `\t`, `\b` and `\0` stand for control characters, anything else for itself.
fn unescape(character: Option<char>) -> Result<char, PrincipalError> {
    Ok(match character.ok_or(PrincipalError)? {
        'n' => '\n',
        't' => '\t',
        'b' => '\u{8}',
        '0' => '\0',
        other => other,
    })
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, component) in self.components.iter().enumerate() {
            if position > 0 {
                f.write_str("/")?;
            }
            escape(component, f)?;
        }
        f.write_str("@")?;
        escape(&self.realm, f)
    }
}

fn escape(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for character in text.chars() {
        match character {
            '/' | '@' | '\\' => write!(f, "\\{character}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\u{8}' => f.write_str("\\b")?,
            '\0' => f.write_str("\\0")?,
            other => write!(f, "{other}")?,
        }
    }
    Ok(())
}

/// A text that is no Kerberos principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no principal of the form `name@REALM` or `service/host@REALM`")]
pub struct PrincipalError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_survive_printing_and_reading() {
        for text in [
            "alice@CORP.EXAMPLE",
            "host/a.example@CORP.EXAMPLE",
            r"odd\/name\@x@R",
            r"tab\there@R",
            "a/b/c@R",
        ] {
            let principal: Principal = text.parse().unwrap();
            assert_eq!(principal.to_string(), text);
        }
    }

    #[test]
    fn a_slash_or_at_inside_a_name_makes_no_new_part() {
        let principal: Principal = r"a\/b@R".parse().unwrap();
        assert_eq!(principal.components(), &["a/b".into()]);
        assert_eq!(principal.realm(), "R");
    }

    #[test]
    fn texts_without_name_or_realm_are_refused() {
        for text in ["", "alice", "@R", "alice@", "a/@R", "/a@R", "a@R@S", r"a@R\"] {
            assert_eq!(text.parse::<Principal>(), Err(PrincipalError), "{text}");
        }
    }

    #[test]
    fn a_plain_user_prints_with_its_authenticator() {
        assert_eq!(Identity::user("bob").by("password".into()).to_string(), "password:bob");
        assert_eq!(Identity::user("b\nb").by("p".into()).to_string(), r"p:b\nb");
        assert_eq!(Identity::anonymous().by("none".into()).to_string(), "anonymous");
    }
}
