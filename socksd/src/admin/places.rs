//! Places for those who come by the Unix socket: each user has a few of them, and whom nobody can keep out has others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::unistd::{Uid, geteuid};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For root and the gateway's own user.
const OWN: usize = 16;
/// For all others together.
const OTHERS: usize = 32;
/// For each of these.
const OF_USER: usize = 8;
/// The number that no user has: who comes so is one that the kernel does not tell of.
const NOBODY: u32 = u32::MAX;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    own: Arc<Semaphore>,
    others: Arc<Semaphore>,
    by_user: Arc<Counts>,
}

/// Connections by user; who has none takes no room.
#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<u32, usize>>);

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_user: Option<OfUser>,
}

#[derive(Debug)]
struct OfUser {
    counts: Arc<Counts>,
    user: u32,
}

impl Places {
    pub(super) fn new() -> Self {
        let [own, others] = [OWN, OTHERS].map(|places| Arc::new(Semaphore::new(places)));
        Self { own, others, by_user: Arc::default() }
    }

    /// A place for a connection of this user, if there is any.
    pub(super) fn take(&self, user: Option<u32>) -> Option<Place> {
        let user = user.unwrap_or(NOBODY);
        if Uid::from_raw(user).is_root() || Uid::from_raw(user) == geteuid() {
            let own = self.own.clone().try_acquire_owned().ok()?;
            return Some(Place { _of_all: own, _of_user: None });
        }
        let of_user = Counts::take(&self.by_user, user)?;
        let of_all = self.others.clone().try_acquire_owned().ok()?;
        Some(Place { _of_all: of_all, _of_user: Some(of_user) })
    }
}

impl Counts {
    fn take(counts: &Arc<Self>, user: u32) -> Option<OfUser> {
        let mut all = counts.lock();
        let count = all.entry(user).or_default();
        if *count >= OF_USER {
            return None;
        }
        *count += 1;
        Some(OfUser { counts: counts.clone(), user })
    }

    /// Each change is one step.
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OfUser {
    fn drop(&mut self) {
        let mut all = self.counts.lock();
        if let Some(count) = all.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_keeps_others_out_and_none_at_all_those_who_always_get_in() {
        let (places, own) = (Places::new(), geteuid().as_raw());
        let take_all = |user| std::iter::from_fn(|| places.take(user)).collect::<Vec<_>>();
        let alices = take_all(Some(4001));
        assert_eq!(alices.len(), OF_USER);
        let others: Vec<_> =
            [Some(4002), Some(4003), None, Some(4004)].into_iter().flat_map(take_all).collect();
        assert_eq!(alices.len() + others.len(), OTHERS, "all together have no more");
        assert!(places.take(Some(0)).is_some() && places.take(Some(own)).is_some());
        assert_eq!(take_all(Some(own)).len(), OWN, "which are bounded, too");
        drop(alices);
        assert!(places.take(Some(4004)).is_some());
        drop(others);
        assert!(places.by_user.lock().is_empty());
    }
}
