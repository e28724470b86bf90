//! Tables of the identities that rules name.

use socks_core::{Identity, IdentityName, Principal};

use super::bits::{List, Search};
use super::names::Words;
use super::table::{KeyHash, Table, Usage};
use crate::pattern::{IdentityPattern, PrincipalPattern, Shape};
use crate::rule::Rule;
use crate::set::Condition;

/// A user's name with the name of its authenticator.
type User = (Box<str>, Box<str>);

/// The identities that rules name.
#[derive(Debug)]
pub(super) struct Identities {
    principals: Table<PrincipalPattern>,
    /// The shapes of patterns that occur: a principal is looked up once for each that fits it.
    shapes: Box<[Shape]>,
    users: Table<User>,
    methods: Words,
    groups: Words,
    /// The deny rules that name a group: they match whoever's groups could not be learned.
    group_denies: List,
}

impl Identities {
    /// The tables of all patterns in the rules.
    pub(super) fn new(rules: &[Rule], usage: &Usage<'_, IdentityPattern>) -> Self {
        let principals = usage.table(|pattern| principal(pattern).cloned(), hash_pattern);
        let mut shapes: Vec<Shape> = Vec::new();
        for shape in principals.keys().map(PrincipalPattern::shape) {
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        Self {
            principals,
            shapes: shapes.into(),
            users: usage.table(user, |(method, name)| hash_user(method, name)),
            methods: Words::new(usage, |pattern| match pattern {
                IdentityPattern::Anyone { method } => Some(method),
                _ => None,
            }),
            groups: Words::new(usage, |pattern| match pattern {
                IdentityPattern::Group(group) => Some(group),
                _ => None,
            }),
            group_denies: super::numbers(rules, |rule| !rule.permits() && names_group(rule)),
        }
    }

    /// Adds to the search the rules that mean the identity.
    pub(super) fn find<'a>(&'a self, identity: &Identity, search: &mut Search<'a>) {
        match &identity.name {
            IdentityName::Anonymous => return,
            IdentityName::User(name) => self.find_user(&identity.method, name, search),
            IdentityName::Principal(principal) => self.find_principal(principal, search),
        }
        self.methods.find(&identity.method, search);
        identity.groups.iter().for_each(|group| self.groups.find(group, search));
        if identity.groups_missing.is_some() {
            search.or_in(&self.group_denies);
        }
    }

    /// Adds to the search the rules that mean everybody whom the pattern means.
    pub(super) fn find_pattern<'a>(&'a self, pattern: &IdentityPattern, search: &mut Search<'a>) {
        match pattern {
            IdentityPattern::Group(group) => self.groups.find(group, search),
            IdentityPattern::Anyone { method } => self.methods.find(method, search),
            IdentityPattern::User { method, name } => {
                self.find_user(method, name, search);
                self.methods.find(method, search);
            }
            IdentityPattern::Principal(pattern) => self.find_principals(pattern, search),
        }
    }

    fn find_user<'a>(&'a self, method: &str, name: &str, search: &mut Search<'a>) {
        let is_key = |key: &User| *key.0 == *method && *key.1 == *name;
        if let Some(list) = self.users.get(hash_user(method, name), is_key) {
            search.or_in(list);
        }
    }

    fn find_principal<'a>(&'a self, principal: &Principal, search: &mut Search<'a>) {
        let components = principal.components();
        for shape in self.shapes.iter().filter(|shape| shape.count == components.len()) {
            let parts = components.iter().map(|component| Some(&**component));
            let is_key = |key: &PrincipalPattern| key.shape() == *shape && key.matches(principal);
            if let Some(list) = self.principals.get(hash(principal.realm(), *shape, parts), is_key) {
                search.or_in(list);
            }
        }
    }

    fn find_principals<'a>(&'a self, pattern: &PrincipalPattern, search: &mut Search<'a>) {
        let given = pattern.shape();
        let wider = |shape: &&Shape| shape.count == given.count && shape.given & !given.given == 0;
        for shape in self.shapes.iter().filter(wider) {
            let is_key = |key: &PrincipalPattern| {
                key.shape() == *shape && key.realm() == pattern.realm() && is_wider(key, pattern)
            };
            if let Some(list) =
                self.principals.get(hash(pattern.realm(), *shape, pattern.components()), is_key)
            {
                search.or_in(list);
            }
        }
    }
}

/// Tells whether the rule asks for a group, alone or among others.
pub(super) fn names_group(rule: &Rule) -> bool {
    rule.identity.as_ref().is_some_and(Condition::names_group)
}

/// Tells whether every component that `wide` gives is given and the same in `narrow`.
fn is_wider(wide: &PrincipalPattern, narrow: &PrincipalPattern) -> bool {
    wide.components().zip(narrow.components()).all(|(wide, narrow)| wide.is_none() || wide == narrow)
}

fn principal(pattern: &IdentityPattern) -> Option<&PrincipalPattern> {
    match pattern {
        IdentityPattern::Principal(pattern) => Some(pattern),
        _ => None,
    }
}

fn user(pattern: &IdentityPattern) -> Option<User> {
    match pattern {
        IdentityPattern::User { method, name } => Some((method.clone(), name.clone())),
        _ => None,
    }
}

fn hash_user(method: &str, name: &str) -> KeyHash {
    KeyHash::START.text(method).text(name)
}

fn hash_pattern(pattern: &PrincipalPattern) -> KeyHash {
    hash(pattern.realm(), pattern.shape(), pattern.components())
}

/// The hash of the realm and of those components that the shape gives.
fn hash<'a>(realm: &str, shape: Shape, components: impl Iterator<Item = Option<&'a str>>) -> KeyHash {
    let hash = KeyHash::START.text(realm).number(u64::from(shape.given));
    let given = components.enumerate().filter(|(at, _)| shape.gives(*at));
    given.fold(hash, |hash, (_, component)| hash.text(component.unwrap_or_default()))
}
