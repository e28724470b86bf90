//! What a groups file says: names of groups, each with its members.

use std::collections::HashMap;

use socks_config::{Document, Finding, Findings, Node};
use socks_core::{Identity, IdentityName, Principal};

use super::GroupError;

/// The most octets of a group's name.
const MOST_NAME: usize = 255;

/// The members of all groups of a groups file without a mistake.
#[derive(Debug, Default)]
pub struct Members {
    principals: HashMap<Principal, Vec<Box<str>>>,
    users: HashMap<Box<str>, Vec<Box<str>>>,
}

/// Somebody as a groups file writes it.
enum Member {
    Principal(Principal),
    User(Box<str>),
}

impl Members {
    /// Reads a document as a groups file.
    ///
    /// # Errors
    /// All mistakes of the file together, each with its place.
    pub fn of(document: &Document) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        let mut members = Self::default();
        for (name, key, list) in groups(document, &mut findings) {
            if let Err(why) = check_name(name) {
                findings.mistake(&key.place, why);
            }
            for node in list.items() {
                if let Some(member) = findings.note(read_member(node)) {
                    members.add(member, name);
                }
            }
        }
        findings.take_result(Some(members))
    }

    /// The groups that an identity is a member of; none for one that stands nowhere in the file.
    ///
    /// # Errors
    /// A plain name that no groups file can hold, because it would be read as a principal.
    pub fn groups_of(&self, identity: &Identity) -> Result<&[Box<str>], GroupError> {
        let groups = match &identity.name {
            IdentityName::Anonymous => None,
            IdentityName::Principal(principal) => self.principals.get(principal),
            IdentityName::User(name) if is_principal(name) => {
                let text = format!("user name `{}` cannot stand in a groups file", name.escape_debug());
                return Err(GroupError::new(text));
            }
            IdentityName::User(name) => self.users.get(name),
        };
        Ok(groups.map_or(&[], Vec::as_slice))
    }

    fn add(&mut self, member: Member, group: &str) {
        let groups = match member {
            Member::Principal(principal) => self.principals.entry(principal).or_default(),
            Member::User(name) => self.users.entry(name).or_default(),
        };
        // The members of a group stand together: one that is named twice there has it as its last.
        if groups.last().is_none_or(|last| **last != *group) {
            groups.push(group.into());
        }
    }
}

/// The entries under `groups`.
fn groups<'a>(document: &'a Document, findings: &mut Findings) -> Vec<(&'a str, &'a Node, &'a Node)> {
    let Some(mut fields) = document.root.fields(findings) else { return Vec::new() };
    let groups = fields.require("groups", findings);
    fields.finish(findings);
    groups.and_then(|groups| groups.entries(findings)).unwrap_or_default()
}

fn check_name(name: &str) -> Result<(), String> {
    if !(1..=MOST_NAME).contains(&name.len()) {
        return Err(format!("a group's name has 1 to {MOST_NAME} octets, not {}", name.len()));
    }
    if name.contains(char::is_control) {
        return Err(format!("group name `{}` holds a control character", name.escape_debug()));
    }
    Ok(())
}

fn read_member(node: &Node) -> Result<Member, Finding> {
    let text = node.text()?;
    if text.is_empty() || text.contains(char::is_control) {
        return Err(node.expected("a member's name"));
    }
    if text.contains('*') {
        let finding = Finding::mistake(&node.place, format!("`{text}` is a pattern, not a member"));
        return Err(finding.with_help("patterns stand in the policy, in `sets.identities`"));
    }
    if is_principal(text) {
        return node.parse().map(Member::Principal);
    }
    Ok(Member::User(text.into()))
}

/// Tells whether a member's text is meant as a principal: plain names have none of these characters.
fn is_principal(text: &str) -> bool {
    text.contains(['@', '/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Members, Findings> {
        Members::of(&Document::parse("groups.yaml", text.to_owned())?)
    }

    fn principal(text: &str) -> Identity {
        Identity::principal(text.parse().unwrap())
    }

    #[test]
    fn members_have_their_groups_in_the_order_of_the_file() {
        let text = "groups:\n  staff: [alice@R, bob, alice@R]\n  \
                    admins:\n    - alice@R\n    - svc/host@R\n  nobody: []\n  one: bob\n";
        let members = read(text).unwrap();
        for (identity, groups) in [
            (principal("alice@R"), &["staff", "admins"][..]),
            (principal("svc/host@R"), &["admins"]),
            (principal(r"svc\/host@R"), &[]),
            (principal("alice@S"), &[]),
            (Identity::user("bob"), &["staff", "one"]),
            (Identity::user("alice"), &[]),
            (Identity::anonymous(), &[]),
        ] {
            let found: Vec<&str> = members.groups_of(&identity).unwrap().iter().map(|it| &**it).collect();
            assert_eq!(found, groups, "{identity}");
        }
    }

    #[test]
    fn the_sample_has_no_mistake() {
        let members = read(include_str!("../../../deploy/example/groups.yaml")).unwrap();
        let alice = members.groups_of(&principal("alice@CORP.EXAMPLE")).unwrap();
        assert_eq!(alice, ["staff", "build-admins"].map(Box::from));
    }

    #[test]
    fn a_plain_name_that_looks_like_a_principal_has_unknown_groups() {
        let members = read("groups: { staff: [alice@R] }").unwrap();
        assert!(members.groups_of(&Identity::user("alice@R")).is_err());
    }

    #[test]
    fn mistakes_are_shown_together_each_with_its_place() {
        let text = "groups:\n  staff: [alice@, \"*@R\", svc/host]\n  \"\": [bob]\n  staff: [bob]\n  \
                    x: { y: z }\ngroup: 1\n";
        let shown = read(text).unwrap_err().to_string();
        for part in [
            "groups.yaml:2:11: mistake: `alice@`: is no principal",
            "groups.yaml:2:19: mistake: `*@R` is a pattern",
            "groups.yaml:2:26: mistake: `svc/host`: is no principal",
            "groups.yaml:3:3: mistake: a group's name has 1 to 255 octets",
            "groups.yaml:4:3: mistake:",
            "groups.yaml:5:6: mistake:",
            "groups.yaml:6:1: mistake: unknown key `group`",
        ] {
            assert!(shown.contains(part), "{part} is missing:\n{shown}");
        }
    }

    #[test]
    fn a_file_without_groups_must_say_so() {
        assert!(read("groups: {}").is_ok());
        for text in ["", "{}", "groups:", "groups: []", "groups: staff"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
