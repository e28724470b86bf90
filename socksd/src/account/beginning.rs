//! A session that begins, by all that it is counted by; one that is refused after all has not begun.

use std::sync::Arc;

use tokio::time::Instant;

use super::day::Date;
use super::{Account, Accounts, Claim, Shortage, Sort};

/// The accounts in which a session has begun. Unless it is [kept](Self::keep), each has the session back when this is
/// dropped: who is refused uses up nothing that others may need.
#[derive(Debug, Default)]
#[must_use = "a beginning that is dropped has not been"]
pub(crate) struct Beginning(Vec<Arc<Account>>);

impl Beginning {
    /// Counts the session for the owner of one more claim, if there may be one.
    pub(crate) fn count(&mut self, accounts: &Accounts, claim: Claim) -> Result<(), (Sort, Shortage)> {
        let sort = claim.owner.sort();
        let account = accounts.open(claim);
        match account.begin_session(Instant::now(), Date::today()) {
            Ok(()) => {
                self.0.push(account);
                Ok(())
            }
            Err(shortage) => {
                accounts.tallies.of(sort).count_refused();
                Err((sort, shortage))
            }
        }
    }

    /// Takes in another one of the same session.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The session goes on.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        self.0.iter().for_each(|account| account.take_session_back());
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use socks_policy::Allowance;

    use super::*;
    use crate::account::Owner;

    fn claim(owner: Owner, new_sessions: u32) -> Claim {
        let allowance = Allowance { new_sessions: NonZeroU32::new(new_sessions), ..Allowance::default() };
        Claim { owner, allowance, generation: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_uses_up_nothing() {
        let accounts = Accounts::new();
        let rule = || claim(Owner::Rule("r".into()), 1);
        let hers = || claim(Owner::RuleIdentity("r".into(), "alice".into()), 1);
        let begin = |claims: &[Claim]| {
            let mut begun = Beginning::default();
            claims.iter().try_for_each(|claim| begun.count(&accounts, claim.clone())).map(|()| begun)
        };
        for _ in 0..10 {
            begin(&[hers()]).unwrap().keep();
        }
        for _ in 0..100 {
            assert_eq!(begin(&[rule(), hers()]).unwrap_err(), (Sort::RuleIdentity, Shortage::Rate));
        }
        let mut others = Beginning::default();
        (0..10).for_each(|_| others.join(begin(&[rule()]).unwrap()));
        assert_eq!(begin(&[rule()]).unwrap_err(), (Sort::Rule, Shortage::Rate), "ten seconds' and no more");
        drop(others);
        (0..10).for_each(|_| begin(&[rule()]).unwrap().keep());
        assert!(begin(&[rule()]).is_err());
    }
}
