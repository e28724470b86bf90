//! Several sources, asked one after the other within one deadline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use socks_core::{Identity, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::{Answers, GroupError, GroupSource};

/// How long all sources together may take for one identity.
const DEADLINE: Duration = Duration::from_secs(3);

/// Sources whose answers are put together.
#[derive(Clone)]
pub struct GroupSources {
    sources: Vec<Arc<dyn GroupSource>>,
    deadline: Duration,
}

impl GroupSources {
    /// No source, and 3 seconds for all that will be there: less than a handshake may take, so that a source
    /// which hangs costs a client its groups and not its session.
    pub fn new() -> Self {
        Self { sources: Vec::new(), deadline: DEADLINE }
    }

    /// One source more.
    #[must_use]
    pub fn with(mut self, source: Arc<dyn GroupSource>) -> Self {
        self.sources.push(source);
        self
    }

    /// Another deadline for all sources together.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks for the groups of an identity. Answers that are there already, of a ticket for instance, go first;
    /// when one fails the others are not asked.
    pub async fn ask(&self, identity: &Identity, mut answers: Answers) -> Answers {
        let end = Instant::now() + self.deadline;
        for source in &self.sources {
            if answers.has_failed() {
                break;
            }
            let answer = timeout_at(end, source.groups(identity)).await;
            answers.add(source.name(), answer.unwrap_or_else(|_| Err(self.late())));
        }
        answers
    }

    /// The identity with the groups that all sources tell, or without any and with the reason.
    pub async fn learn(&self, identity: Identity) -> Identity {
        let answers = self.ask(&identity, Answers::new()).await;
        answers.apply(identity, Timestamp::now())
    }

    fn late(&self) -> GroupError {
        let seconds = self.deadline.as_secs_f32();
        GroupError::new(format!("no answer within {seconds} s: make it faster, or do without it"))
    }
}

impl Default for GroupSources {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for GroupSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources.iter().map(|source| source.name())).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::groups::Groups;

    /// What a [`Fake`] does when it is asked.
    enum Says {
        Groups(&'static [&'static str]),
        Fails,
        Nothing,
    }

    struct Fake {
        says: Says,
        asked: AtomicUsize,
    }

    impl Fake {
        fn new(says: Says) -> Arc<Self> {
            Arc::new(Self { says, asked: AtomicUsize::new(0) })
        }
    }

    #[async_trait]
    impl GroupSource for Fake {
        fn name(&self) -> &str {
            "fake"
        }

        async fn groups(&self, _: &Identity) -> Result<Groups, GroupError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match self.says {
                Says::Groups(names) => Ok(Groups::new(names.iter().copied(), Timestamp::now())),
                Says::Fails => Err(GroupError::new("on purpose")),
                Says::Nothing => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn all_sources_are_asked_and_put_together() {
        let sources =
            GroupSources::new().with(Fake::new(Says::Groups(&["a"]))).with(Fake::new(Says::Groups(&["b"])));
        let bob = sources.learn(Identity::user("bob")).await;
        assert_eq!(bob.groups, ["a".into(), "b".into()]);
    }

    #[tokio::test]
    async fn after_a_failure_nobody_else_is_asked() {
        let last = Fake::new(Says::Groups(&["b"]));
        let sources = GroupSources::new().with(Fake::new(Says::Fails)).with(last.clone());
        let bob = sources.learn(Identity::user("bob")).await;
        assert_eq!(bob.groups_missing.as_deref(), Some("source `fake`: on purpose"));
        assert_eq!(last.asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_never_answers_costs_the_groups_when_the_time_is_over() {
        let start = Instant::now();
        let sources = GroupSources::new().with(Fake::new(Says::Nothing));
        let bob = sources.learn(Identity::user("bob")).await;
        assert_eq!(
            bob.groups_missing.as_deref(),
            Some("source `fake`: no answer within 3 s: make it faster, or do without it")
        );
        assert_eq!(start.elapsed(), DEADLINE);
    }
}
