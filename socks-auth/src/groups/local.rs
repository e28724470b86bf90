//! The system's group database, asked through the name service switch.

use std::ffi::CString;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nix::unistd::{Gid, Group, User, getgrouplist};
use socks_core::{Identity, Timestamp};

use super::cache::Cache;
use super::{GroupError, GroupSource, Groups, LOCAL_NAME, LookupPool};

/// Asks for the names of a user's groups; it may block.
type Lookup = fn(&str) -> Result<Vec<Box<str>>, GroupError>;

/// The groups that the system knows an identity's local user to be in: of `/etc/group`, SSSD, or whatever
/// `nsswitch.conf` names.
///
/// The local user is the identity's attribute [`LOCAL_NAME`]. Without one the groups are unknown, and so they are
/// when the system does not know the user, or a group has no name: each may be a directory that is down.
pub struct LocalGroups {
    pool: Arc<LookupPool>,
    cache: Arc<Cache>,
    lookup: Lookup,
}

impl LocalGroups {
    /// The system's own database, asked on `pool`; an answer is kept for `lifetime`.
    pub fn new(pool: Arc<LookupPool>, lifetime: Duration) -> Self {
        Self { pool, cache: Arc::new(Cache::new(lifetime)), lookup: group_names }
    }
}

#[async_trait]
impl GroupSource for LocalGroups {
    fn name(&self) -> &str {
        "local"
    }

    async fn groups(&self, identity: &Identity) -> Result<Groups, GroupError> {
        let Some(name) = identity.attributes.get(LOCAL_NAME).cloned() else {
            let text = format!("`{identity}` has no local name: map it with `auth_to_local` in krb5.conf");
            return Err(GroupError::new(text));
        };
        if let Some(kept) = self.cache.get(&name, Instant::now()) {
            return Ok(kept);
        }
        let (cache, lookup) = (Arc::clone(&self.cache), self.lookup);
        let find = move || {
            let (read_at, now) = (Timestamp::now(), Instant::now());
            // Of many that ask for a name at once, the first look it up and the others wait for their turn.
            if let Some(kept) = cache.get(&name, now) {
                return Ok(kept);
            }
            let groups = Groups::new(lookup(&name)?, read_at);
            cache.keep(&name, groups.clone(), now);
            Ok(groups)
        };
        self.pool.run(find).await
    }
}

impl fmt::Debug for LocalGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalGroups").finish_non_exhaustive()
    }
}

fn group_names(user: &str) -> Result<Vec<Box<str>>, GroupError> {
    let failed =
        |errno| GroupError::new(format!("the system cannot look up `{user}`: {errno}: try `id {user}`"));
    let unknown = || {
        let text =
            format!("the system knows no user `{user}`: add it, or change `auth_to_local` in krb5.conf");
        GroupError::new(text)
    };
    let known = User::from_name(user).map_err(failed)?.ok_or_else(unknown)?;
    let name = CString::new(user).map_err(|_| unknown())?;
    let groups = getgrouplist(&name, known.gid).map_err(failed)?;
    groups.into_iter().map(|id| group_name(id, user)).collect()
}

fn group_name(id: Gid, user: &str) -> Result<Box<str>, GroupError> {
    match Group::from_gid(id) {
        Ok(Some(group)) => Ok(group.name.into()),
        Ok(None) => Err(GroupError::new(format!("group {id} of `{user}` has no name: give it one"))),
        Err(errno) => {
            Err(GroupError::new(format!("the system cannot look up the group {id} of `{user}`: {errno}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn user(local_name: &str) -> Identity {
        let mut identity = Identity::user("somebody");
        identity.attributes.insert(LOCAL_NAME.into(), local_name.into());
        identity
    }

    fn system() -> LocalGroups {
        LocalGroups::new(Arc::default(), Duration::from_secs(60))
    }

    #[tokio::test]
    async fn the_system_knows_the_groups_of_root() {
        let before = Timestamp::now();
        let groups = system().groups(&user("root")).await.unwrap();
        assert!(groups.names.contains(&"root".into()), "{groups:?}");
        assert!(groups.read_at >= before);
    }

    #[tokio::test]
    async fn who_is_unknown_has_unknown_groups() {
        for (identity, why) in [
            (user("no-such-user"), "the system knows no user `no-such-user`"),
            (user("nul\0"), "the system knows no user"),
            (Identity::user("bob"), "`:bob` has no local name"),
        ] {
            let error = system().groups(&identity).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_kept_and_a_failure_is_not() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn second_time(_: &str) -> Result<Vec<Box<str>>, GroupError> {
            match ASKED.fetch_add(1, Ordering::Relaxed) {
                0 => Err(GroupError::new("down")),
                _ => Ok(vec!["staff".into()]),
            }
        }
        let source = LocalGroups { lookup: second_time, ..system() };
        assert_eq!(source.groups(&user("bob")).await, Err(GroupError::new("down")));
        let first = source.groups(&user("bob")).await.unwrap();
        assert_eq!(source.groups(&user("bob")).await, Ok(first));
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn many_that_ask_at_once_wait_for_one_answer() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn count(_: &str) -> Result<Vec<Box<str>>, GroupError> {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Ok(vec!["staff".into()])
        }
        let pool = Arc::new(LookupPool::of(1, 100));
        let source = Arc::new(LocalGroups { pool, lookup: count, ..system() });
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let source = Arc::clone(&source);
                tokio::spawn(async move { source.groups(&user("bob")).await })
            })
            .collect();
        for answer in asking {
            assert_eq!(answer.await.unwrap().unwrap().names, ["staff".into()]);
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }
}
