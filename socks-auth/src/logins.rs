//! How failed logins slow down and lock out: what a method asks before it judges a login, and tells when it has.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::AuthError;

/// Keeps count of the failed logins of one client's source; a method reaches it by [`AuthSession::attempt`].
///
/// Names are what clients claim, in the octets that they sent: a guard must treat one that nobody has as any other.
///
/// [`AuthSession::attempt`]: crate::AuthSession::attempt
pub trait LoginGuard: Send + Sync {
    /// What earlier failures mean for a login under this name.
    fn standing(&self, name: &[u8]) -> Standing;

    /// A login under this name has failed.
    fn failed(&self, name: &[u8]);

    /// The proof of a login under this name is right.
    fn passed(&self, name: &[u8]) -> Passage;
}

/// What earlier failures mean for a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is judged, and hears the answer after this time at the earliest.
    Judged(Duration),
    /// It is refused whatever it proves, and hears so after this time at the earliest.
    Locked(Duration),
}

/// What becomes of a login whose proof is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It hears so at once.
    AtOnce,
    /// It hears so when one that failed would.
    Delayed,
    /// Meanwhile too many others have failed: it is refused.
    Locked,
}

/// A gateway that keeps no count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unguarded;

impl LoginGuard for Unguarded {
    fn standing(&self, _: &[u8]) -> Standing {
        Standing::Judged(Duration::ZERO)
    }

    fn failed(&self, _: &[u8]) {}

    fn passed(&self, _: &[u8]) -> Passage {
        Passage::AtOnce
    }
}

/// A login that may be judged. The method says how that came out before it answers the client.
///
/// One that is dropped counts for nothing: the method could not decide.
#[must_use = "tell how the login came out"]
pub struct Attempt<'a> {
    guard: &'a dyn LoginGuard,
    name: Box<[u8]>,
    claimed: Box<str>,
    answer_at: Instant,
}

impl<'a> Attempt<'a> {
    /// A login under `name`, which records show as `claimed`.
    ///
    /// # Errors
    /// [`Lockout`], when it is not to be judged.
    pub(crate) fn begin(
        guard: &'a dyn LoginGuard,
        name: &[u8],
        claimed: impl Into<Box<str>>,
    ) -> Result<Self, Lockout> {
        let begun = Instant::now();
        let claimed = claimed.into();
        match guard.standing(name) {
            Standing::Judged(delay) => {
                Ok(Self { guard, name: name.into(), claimed, answer_at: begun + delay })
            }
            Standing::Locked(delay) => Err(Lockout { claimed, begun, delay }),
        }
    }

    /// Counts a failure, and waits until the client may hear of it.
    pub async fn failed(self) {
        // Before the wait: a client that does not wait has failed as well.
        self.guard.failed(&self.name);
        wait_until(self.answer_at).await;
    }

    /// Notes that the proof was right, and waits until the client may hear of it.
    ///
    /// # Errors
    /// [`AuthError::LockedOut`], when too many other logins have failed while this one was judged.
    pub async fn passed(self) -> Result<(), AuthError> {
        let passage = self.guard.passed(&self.name);
        if passage != Passage::AtOnce {
            wait_until(self.answer_at).await;
        }
        match passage {
            Passage::Locked => Err(AuthError::LockedOut { claimed: self.claimed }),
            Passage::AtOnce | Passage::Delayed => Ok(()),
        }
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

/// A login that is refused without being judged.
#[derive(Debug)]
pub struct Lockout {
    claimed: Box<str>,
    begun: Instant,
    delay: Duration,
}

impl Lockout {
    /// Waits as long as a login takes that is judged, of which the method says how long that usually takes.
    pub async fn refuse(self, usual: Duration) -> AuthError {
        wait_until(self.begun + self.delay.max(usual)).await;
        AuthError::LockedOut { claimed: self.claimed }
    }
}

/// Without a delay no timer is needed.
async fn wait_until(moment: Instant) {
    if Instant::now() < moment {
        sleep_until(moment).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeGuard;

    const DELAY: Duration = Duration::from_secs(2);

    async fn took(part: impl Future) -> Duration {
        let begun = Instant::now();
        part.await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_counted_at_once_and_heard_later() {
        let guard = FakeGuard::new(Standing::Judged(DELAY), Passage::AtOnce);
        let mut failed = Box::pin(Attempt::begin(&guard, b"a", "a").unwrap().failed());
        tokio::select! { biased; () = &mut failed => panic!("heard at once"), () = async {} => {} }
        assert_eq!(guard.told(), ["failed a"]);
        assert_eq!(took(failed).await, DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_judging_is_part_of_the_delay() {
        let guard = FakeGuard::new(Standing::Judged(DELAY), Passage::Delayed);
        let attempt = Attempt::begin(&guard, b"a", "a").unwrap();
        tokio::time::advance(DELAY / 2).await;
        assert_eq!(took(attempt.passed()).await, DELAY / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_proof_is_heard_when_the_guard_says() {
        let table = [(Passage::AtOnce, Duration::ZERO, true), (Passage::Delayed, DELAY, true)];
        for (passage, expected, is_granted) in table.into_iter().chain([(Passage::Locked, DELAY, false)]) {
            let guard = FakeGuard::new(Standing::Judged(DELAY), passage);
            let attempt = Attempt::begin(&guard, b"a", "a").unwrap();
            let mut result = None;
            assert_eq!(took(async { result = Some(attempt.passed().await) }).await, expected);
            assert_eq!(result.unwrap().is_ok(), is_granted, "{passage:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lockout_takes_as_long_as_being_judged() {
        for (delay, usual, expected) in [(DELAY, DELAY / 4, DELAY), (Duration::ZERO, DELAY, DELAY)] {
            let guard = FakeGuard::new(Standing::Locked(delay), Passage::AtOnce);
            let lockout = Attempt::begin(&guard, b"a", "a").unwrap_err();
            assert_eq!(took(lockout.refuse(usual)).await, expected);
            assert!(guard.told().is_empty(), "it counts for nothing");
        }
    }
}
