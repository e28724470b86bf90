//! Sets of things that conditions of rules name, shared between all rules that name them.

use std::sync::Arc;

use ipnet::IpNet;

use crate::pattern::{HostPattern, IdentityPattern, PortRange};
use crate::times::Window;

/// Things of one kind under one name, or a single one that a rule spells out.
#[derive(Debug)]
pub(crate) struct Set<T> {
    /// Its number among the sets of its kind.
    pub(crate) id: usize,
    /// What is in it.
    pub(crate) elements: Vec<T>,
}

/// A set with the name that the file gives it.
#[derive(Debug)]
pub(crate) struct NamedSet {
    /// Section and name, as `hosts.git`.
    pub(crate) name: Box<str>,
    pub(crate) elements: Elements,
}

/// The elements of a named set.
#[derive(Debug)]
pub(crate) enum Elements {
    Networks(Arc<Set<IpNet>>),
    Hosts(Arc<Set<HostPattern>>),
    Identities(Arc<Set<IdentityPattern>>),
    Ports(Arc<Set<PortRange>>),
    Times(Arc<Set<Window>>),
}

/// Numbers the sets of one kind.
#[derive(Debug)]
pub(crate) struct Sets<T> {
    next: usize,
    singles: std::collections::HashMap<T, Arc<Set<T>>>,
}

impl<T> Default for Sets<T> {
    fn default() -> Self {
        Self { next: 0, singles: std::collections::HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Sets<T> {
    /// A new set of those elements.
    pub(crate) fn several(&mut self, elements: Vec<T>) -> Arc<Set<T>> {
        let set = Arc::new(Set { id: self.next, elements });
        self.next += 1;
        set
    }

    /// The set of that one element; the same one each time.
    pub(crate) fn single(&mut self, element: T) -> Arc<Set<T>> {
        if let Some(set) = self.singles.get(&element) {
            return Arc::clone(set);
        }
        let set = self.several(vec![element.clone()]);
        self.singles.insert(element, Arc::clone(&set));
        set
    }
}

/// One condition of a rule: something must be in one of these sets.
#[derive(Debug, Clone)]
pub(crate) struct Condition<T> {
    /// The sets.
    pub(crate) sets: Vec<Arc<Set<T>>>,
    /// The condition as the file spells it, for explanations.
    pub(crate) text: Box<str>,
}

impl<T> Condition<T> {
    /// Everything in all its sets.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &T> {
        self.sets.iter().flat_map(|set| &set.elements)
    }
}
