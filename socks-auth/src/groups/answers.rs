//! What several sources say of one identity, put together.

use std::collections::HashSet;

use socks_core::{Identity, Timestamp};

use super::{GroupError, Groups, MOST_GROUPS};

/// The attribute that names the sources, with commas between them.
const SOURCE: &str = "groups-source";
/// The attribute with the age of the oldest fact in seconds.
const AGE: &str = "groups-age";

/// The answers of sources about one identity: the union of all groups, or why that is not known.
#[derive(Debug, Default)]
pub struct Answers {
    names: Vec<Box<str>>,
    seen: HashSet<Box<str>>,
    sources: Vec<Box<str>>,
    oldest: Option<Timestamp>,
    missing: Option<Box<str>>,
}

impl Answers {
    /// No answer yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what the source of that name says. Of several that fail, the first gives the reason.
    pub fn add(&mut self, source: &str, answer: Result<Groups, GroupError>) {
        match answer {
            Ok(groups) => self.add_groups(source, groups),
            Err(error) => self.fail(source, &error.to_string()),
        }
    }

    /// Tells whether a source has failed, so that further ones need not be asked.
    pub fn has_failed(&self) -> bool {
        self.missing.is_some()
    }

    /// The identity with these groups beside those it has, and with attributes that tell where they come from
    /// and how old they are at `now`; without any groups, and with the reason, when a source has failed.
    #[must_use]
    pub fn apply(self, mut identity: Identity, now: Timestamp) -> Identity {
        if let Some(why) = self.missing {
            return identity.without_groups(why);
        }
        if identity.groups_missing.is_some() || self.sources.is_empty() {
            return identity;
        }
        let known: HashSet<Box<str>> = identity.groups.iter().cloned().collect();
        identity.groups.extend(self.names.into_iter().filter(|name| !known.contains(name)));
        identity.attributes.insert(SOURCE.into(), self.sources.join(",").into());
        if let Some(oldest) = self.oldest {
            let age = now.as_second().saturating_sub(oldest.as_second()).max(0);
            identity.attributes.insert(AGE.into(), age.to_string().into());
        }
        identity
    }

    fn add_groups(&mut self, source: &str, groups: Groups) {
        self.sources.push(source.into());
        self.oldest = Some(self.oldest.map_or(groups.read_at, |oldest| oldest.min(groups.read_at)));
        for name in groups.names {
            if self.seen.insert(name.clone()) {
                self.names.push(name);
            }
        }
        if self.names.len() > MOST_GROUPS {
            self.fail(source, &format!("more than {MOST_GROUPS} groups: take the identity out of some"));
        }
    }

    fn fail(&mut self, source: &str, why: &str) {
        self.missing.get_or_insert_with(|| format!("source `{source}`: {why}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn groups(names: &[&str], second: i64) -> Result<Groups, GroupError> {
        Ok(Groups::new(names.iter().copied(), at(second)))
    }

    fn attribute<'a>(identity: &'a Identity, name: &str) -> Option<&'a str> {
        identity.attributes.get(name).map(|value| &**value)
    }

    #[test]
    fn groups_of_all_sources_stand_once_with_the_oldest_age() {
        let mut answers = Answers::new();
        answers.add("pac", groups(&["a", "b"], 50));
        answers.add("local", groups(&["b", "c"], 40));
        let mut identity = Identity::user("bob");
        identity.groups = vec!["c".into(), "own".into()];
        let identity = answers.apply(identity, at(100));
        assert_eq!(identity.groups, ["c", "own", "a", "b"].map(Box::from));
        assert_eq!(attribute(&identity, SOURCE), Some("pac,local"));
        assert_eq!(attribute(&identity, AGE), Some("60"));
        assert_eq!(identity.groups_missing, None);
    }

    #[test]
    fn one_source_that_fails_leaves_no_groups_at_all() {
        let mut answers = Answers::new();
        answers.add("pac", groups(&["a"], 50));
        answers.add("file", Err(GroupError::new("is gone")));
        answers.add("local", Err(GroupError::new("is slow")));
        assert!(answers.has_failed());
        let mut identity = Identity::user("bob");
        identity.groups = vec!["own".into()];
        let identity = answers.apply(identity, at(100));
        assert!(identity.groups.is_empty());
        assert_eq!(identity.groups_missing.as_deref(), Some("source `file`: is gone"));
        assert_eq!(attribute(&identity, SOURCE), None);
    }

    #[test]
    fn without_sources_nothing_is_said() {
        let bob = Identity::user("bob");
        assert_eq!(Answers::new().apply(bob.clone(), at(100)), bob);
    }

    #[test]
    fn groups_that_are_unknown_stay_unknown() {
        let mut answers = Answers::new();
        answers.add("local", groups(&["a"], 1));
        let identity = answers.apply(Identity::user("bob").without_groups("cut"), at(2));
        assert!(identity.groups.is_empty());
        assert_eq!(identity.groups_missing.as_deref(), Some("cut"));
    }

    #[test]
    fn facts_from_the_future_have_no_age() {
        let mut answers = Answers::new();
        answers.add("local", groups(&[], 200));
        assert_eq!(attribute(&answers.apply(Identity::user("bob"), at(100)), AGE), Some("0"));
    }

    #[test]
    fn more_groups_than_the_bound_are_unknown_ones() {
        for (count, is_known) in [(MOST_GROUPS, true), (MOST_GROUPS + 1, false)] {
            let mut answers = Answers::new();
            answers.add("local", Ok(Groups::new((0..count).map(|number| number.to_string()), at(1))));
            let identity = answers.apply(Identity::user("bob"), at(2));
            assert_eq!(identity.groups_missing.is_none(), is_known, "{count}");
        }
    }
}
