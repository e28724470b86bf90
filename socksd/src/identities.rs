//! Who the clients are, kept once for sessions of the same client that come one after the other.

use std::sync::{Arc, Mutex, PoisonError};

use socks_core::Identity;

/// The identity that was proven last. Without authentication all sessions have the same one, and a user's program
/// seldom opens one session alone: an open tunnel need not keep its own.
#[derive(Debug, Default)]
pub(crate) struct Identities(Mutex<Option<Arc<Identity>>>);

impl Identities {
    /// The identity, shared with the session before if that has the same in every respect.
    pub(crate) fn share(&self, identity: Identity) -> Arc<Identity> {
        // Each change is one step.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(known) if **known == identity => known.clone(),
            _ => last.insert(Arc::new(identity)).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identities_that_are_the_same_in_every_respect_are_shared() {
        let identities = Identities::default();
        let alice = identities.share(Identity::user("alice"));
        assert!(Arc::ptr_eq(&alice, &identities.share(Identity::user("alice"))));
        let by_ticket = identities.share(Identity::user("alice").by("ticket".into()));
        assert_eq!((&*alice.method, &*by_ticket.method), ("", "ticket"));
        assert!(
            !Arc::ptr_eq(&alice, &identities.share(Identity::user("alice"))),
            "only the last one is kept"
        );
    }
}
