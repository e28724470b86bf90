//! The users file: names, hashes, groups, and until when an account is good.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use socks_config::{Document, Finding, Findings, Node, value};

use crate::Account;

use super::hash::{Cost, HashError, StoredHash};

/// An account of a users file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The name: 1 to 255 octets without control characters.
    pub name: Box<str>,
    /// The hash of its password.
    pub hash: StoredHash,
    /// The groups it belongs to.
    pub groups: Vec<Box<str>>,
    /// From when on it may not log in; `None`: it never ends.
    pub expires: Option<Timestamp>,
    /// Whether it may not log in at all.
    pub disabled: bool,
}

impl User {
    /// An account without groups and without an end.
    pub fn new(name: impl Into<Box<str>>, hash: StoredHash) -> Self {
        Self { name: name.into(), hash, groups: Vec::new(), expires: None, disabled: false }
    }

    /// Tells whether the account may log in at `now`, given that its password was right.
    pub fn verdict(&self, now: Timestamp) -> Verdict<'_> {
        if self.disabled {
            return Verdict::Disabled;
        }
        match self.expires {
            Some(end) if end <= now => Verdict::Expired,
            _ => Verdict::Granted(self),
        }
    }

    /// The account as an operator may see it.
    pub(super) fn account(&self) -> Account {
        let disabled = self.disabled.then(|| ("disabled", "true".to_owned()));
        let expires = self.expires.map(|end| ("expires", show_expiry(end)));
        let groups = (!self.groups.is_empty()).then(|| ("groups", self.groups.join(", ")));
        Account {
            name: self.name.to_string(),
            terms: [disabled, expires, groups].into_iter().flatten().collect(),
        }
    }
}

/// What becomes of a name with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict<'a> {
    /// The account may log in.
    Granted(&'a User),
    /// The password is another one.
    WrongPassword,
    /// There is no account of that name.
    UnknownUser,
    /// The password is right, and the account is disabled.
    Disabled,
    /// The password is right, and the account has expired.
    Expired,
}

impl Verdict<'_> {
    /// The verdict for the record; a client only hears whether it was let in.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::WrongPassword => "wrong password",
            Self::UnknownUser => "unknown user",
            Self::Disabled => "account disabled",
            Self::Expired => "account expired",
        }
    }
}

/// The accounts of a users file without a mistake.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<Box<str>, User>,
    dummy: StoredHash,
}

impl Users {
    /// Reads a users file.
    ///
    /// # Errors
    /// All mistakes of the file together, each with its place.
    pub fn read(path: &Path) -> Result<Self, Findings> {
        Self::of(&Document::read_secret(path)?)
    }

    /// Reads a document as a users file.
    ///
    /// # Errors
    /// As [`Users::read`].
    pub fn of(document: &Document) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        let mut by_name = HashMap::new();
        let mut places = HashMap::new();
        for node in entries(document, &mut findings) {
            let Some((name, user)) = read_user(node, &mut findings) else { continue };
            if let Some(first) = places.insert(user.name.clone(), name.place.line()) {
                let message = format!("user `{}` stands here twice, first in line {first}", user.name);
                findings.mistake(&name.place, message);
            }
            by_name.insert(user.name.clone(), user);
        }
        let dummy = StoredHash::dummy(usual_cost(&by_name));
        let dummy = findings.note(dummy.map_err(|error| Finding::unplaced(error.to_string())));
        findings.take_result(dummy.map(|dummy| Self { by_name, dummy }))
    }

    /// The account of that name, as the client sent it.
    pub fn find(&self, name: &[u8]) -> Option<&User> {
        self.by_name.get(str::from_utf8(name).ok()?)
    }

    /// The hash to verify for that name: for a name that is not there, one that costs the same.
    ///
    /// "The same" is the cost that most hashes of the file have; [`Users::costs_differ`] tells whether others
    /// have another, and a client could find out by the time it takes that those exist.
    pub fn hash_for(&self, name: &[u8]) -> &StoredHash {
        self.find(name).map_or(&self.dummy, |user| &user.hash)
    }

    /// Decides about a login. Computes for as long as a hash takes, whatever comes out.
    pub fn verify(&self, name: &[u8], password: &[u8], now: Timestamp) -> Verdict<'_> {
        let right = self.hash_for(name).verify(password);
        self.verdict(name, right, now)
    }

    /// Decides about a login whose password was compared with [`Users::hash_for`].
    pub(super) fn verdict(&self, name: &[u8], right: bool, now: Timestamp) -> Verdict<'_> {
        match self.find(name) {
            None => Verdict::UnknownUser,
            Some(_) if !right => Verdict::WrongPassword,
            Some(user) => user.verdict(now),
        }
    }

    /// Tells whether hashes have different costs, so that time tells which users exist.
    pub fn costs_differ(&self) -> bool {
        self.by_name.values().any(|user| user.hash.cost() != self.dummy.cost())
    }

    /// The names whose hashes are cheaper to guess than is advised, in order.
    pub fn weak(&self) -> Vec<&str> {
        let weak = self.by_name.values().filter(|user| user.hash.cost().is_weak());
        let mut names: Vec<_> = weak.map(|user| &*user.name).collect();
        names.sort_unstable();
        names
    }

    /// All accounts, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.by_name.values()
    }

    /// How many accounts there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Tells whether there is no account.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// The cost that most hashes have; among equals the highest.
fn usual_cost(users: &HashMap<Box<str>, User>) -> Cost {
    let mut counts: HashMap<Cost, usize> = HashMap::new();
    for user in users.values() {
        *counts.entry(user.hash.cost()).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(cost, count)| (*count, *cost));
    most.map_or_else(Cost::of_new_hashes, |(cost, _)| cost)
}

/// The list under `users`; a file may say that there are none.
pub(super) fn entries<'a>(document: &'a Document, findings: &mut Findings) -> &'a [Node] {
    let Some(mut fields) = document.root.fields(findings) else { return &[] };
    let users = match fields.take("users") {
        Some(users) => findings.note(users.list()).unwrap_or_default(),
        None => {
            if fields.key("users").is_none() {
                findings.mistake(&document.root.place, "missing key `users`");
            }
            &[]
        }
    };
    fields.finish(findings);
    users
}

/// An entry with the node of its name; `None` after a mistake was noted.
fn read_user<'a>(node: &'a Node, findings: &mut Findings) -> Option<(&'a Node, User)> {
    let mut fields = node.fields(findings)?;
    let name_node = fields.require("name", findings);
    let hash = fields.require("hash", findings);
    let groups = fields.take("groups");
    let expires = fields.take("expires");
    let disabled = fields.take("disabled");
    fields.finish(findings);

    let name = name_node.and_then(|node| findings.note(name(node)));
    let hash = hash.and_then(|node| findings.note(hash_of(node)));
    let groups = groups.and_then(|node| findings.note(group_names(node)));
    let expires = expires.and_then(|node| findings.note(expiry(node)));
    let disabled = disabled.and_then(|node| findings.note(value::switch(node)));
    let user = User { groups: groups.unwrap_or_default(), expires, ..User::new(name?, hash?) };
    Some((name_node?, User { disabled: disabled.unwrap_or(false), ..user }))
}

fn name(node: &Node) -> Result<&str, Finding> {
    let name = node.text()?;
    check_name(name).map(|()| name).map_err(|why| Finding::mistake(&node.place, why))
}

/// Checks what RFC 1929 section 2 can carry and a record can show.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if !(1..=255).contains(&name.len()) {
        return Err(format!("a user name has 1 to 255 octets, not {}", name.len()));
    }
    if name.contains(char::is_control) {
        return Err(format!("user name `{}` holds a control character", name.escape_debug()));
    }
    Ok(())
}

/// The text of a bad hash is not repeated: somebody may have written a password there.
fn hash_of(node: &Node) -> Result<StoredHash, Finding> {
    node.text()?.parse().map_err(|error: HashError| {
        Finding::mistake(&node.place, format!("`hash` {error}")).with_help("`socksd user add` writes hashes")
    })
}

fn group_names(node: &Node) -> Result<Vec<Box<str>>, Finding> {
    let group = |node: &Node| match node.text()? {
        "" => Err(Finding::mistake(&node.place, "a group's name is empty")),
        name => Ok(name.into()),
    };
    node.items().iter().map(group).collect()
}

fn expiry(node: &Node) -> Result<Timestamp, Finding> {
    let text = node.text()?;
    parse_expiry(text).ok_or_else(|| node.expected("a date such as `2027-01-01` or `2027-01-01T18:00:00Z`"))
}

/// Reads until when an account is good: a date, to its end in UTC, or a moment with its time zone's offset
/// (RFC 3339).
pub fn parse_expiry(text: &str) -> Option<Timestamp> {
    if text.len() == "2027-01-01".len() {
        let next = text.parse::<Date>().ok()?.tomorrow().ok()?;
        return next.to_zoned(TimeZone::UTC).ok().map(|date| date.timestamp());
    }
    text.parse().ok()
}

/// The shortest text that [`parse_expiry`] reads as this moment.
pub(super) fn show_expiry(end: Timestamp) -> String {
    let zoned = end.to_zoned(TimeZone::UTC);
    match zoned.date().yesterday() {
        Ok(last) if parse_expiry(&last.to_string()) == Some(end) => last.to_string(),
        _ => end.to_string(),
    }
}

#[cfg(test)]
mod tests;
