//! All accounts there are, within bounds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::day::{Date, Day, Neighbour};
use super::{Account, Beginning, Claim, Owner, Shortage, Sort, Tallies};

/// Accounts of one sort; who comes when all are in use shares one with others.
///
/// More than the sessions that are open at once, unless somebody has raised `max-sessions`.
const MOST: usize = 128 * 1024;
/// How long a table in which everything is in use is not searched again.
const PAUSE: Duration = Duration::from_secs(1);

/// The accounts of all owners.
#[derive(Debug)]
pub(crate) struct Accounts {
    tables: [Mutex<Table>; Sort::ALL.len()],
    pub(crate) tallies: Tallies,
    most: usize,
}

/// Those of one sort.
#[derive(Debug, Default)]
struct Table {
    accounts: HashMap<Owner, Arc<Account>>,
    /// Until when it is known to be full.
    full_until: Option<Instant>,
}

impl Accounts {
    pub(crate) fn new() -> Self {
        Self::with_most(MOST)
    }

    fn with_most(most: usize) -> Self {
        Self { tables: Default::default(), tallies: Tallies::default(), most }
    }

    /// The account of an owner under its limits as the claim has them.
    ///
    /// An account that is full up and that nobody holds says nothing, so it goes when room is needed; any other one
    /// stays. So nobody gets rid of what he has used by bringing in others.
    pub(crate) fn open(&self, claim: Claim) -> Arc<Account> {
        let Claim { owner, allowance, generation } = claim;
        let (sort, now) = (owner.sort(), Instant::now());
        let mut table = self.table(sort);
        let has_room = table.accounts.contains_key(&owner) || table.has_room(self.most, now);
        let owner = if has_room { owner } else { owner.others() };
        let tally = self.tallies.of(sort);
        let account =
            table.accounts.entry(owner).or_insert_with(|| Arc::new(Account::new(sort, tally.clone())));
        account.allow(&allowance, generation, now);
        account.clone()
    }

    /// Counts a new session for the owner of a claim, if there may be one.
    pub(crate) fn begin_session(&self, claim: Claim) -> Result<(), (Sort, Shortage)> {
        let mut begun = Beginning::default();
        begun.count(self, claim)?;
        begun.keep();
        Ok(())
    }

    /// Adds what an owner has used today: before a restart, or in another process.
    pub(crate) fn learn_used(&self, owner: Owner, octets: u64, from: Option<Neighbour>) {
        let sort = owner.sort();
        let mut table = self.table(sort);
        let has_room = table.accounts.contains_key(&owner) || table.has_room(self.most, Instant::now());
        let owner = if has_room { owner } else { owner.others() };
        let tally = self.tallies.of(sort);
        let account =
            table.accounts.entry(owner).or_insert_with(|| Arc::new(Account::new(sort, tally.clone())));
        account.usage().day.learn(octets, from, Date::today());
    }

    /// What each owner has used today.
    pub(crate) fn used_today(&self) -> Vec<(Owner, u64)> {
        let today = Date::today();
        self.of_all(|day| day.used(today))
    }

    /// What each owner has used today and that process does not know of. It looks at all accounts: not too often.
    pub(crate) fn news(&self, whom: Neighbour) -> Vec<(Owner, u64)> {
        let today = Date::today();
        self.of_all(|day| day.news(whom, today))
    }

    /// No process after this one knows of anything.
    pub(crate) fn tell_nobody(&self) {
        self.of_all(|day| {
            day.tell_nobody();
            0
        });
    }

    /// What is not zero of each owner's day.
    fn of_all(&self, mut what: impl FnMut(&mut Day) -> u64) -> Vec<(Owner, u64)> {
        let mut rows = Vec::new();
        for sort in Sort::ALL {
            for (owner, account) in &self.table(sort).accounts {
                let octets = what(&mut account.usage().day);
                if octets > 0 {
                    rows.push((owner.clone(), octets));
                }
            }
        }
        rows
    }

    /// Takes octets of the day of an owner, if any are left.
    #[cfg(test)]
    pub(crate) fn spend(&self, claim: Claim, octets: usize) -> bool {
        self.open(claim).spend(octets, Date::today())
    }

    /// Takes out what says nothing any more.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        for sort in Sort::ALL {
            self.table(sort).tidy(now);
        }
    }

    /// How many accounts of a sort there are.
    pub(crate) fn count(&self, sort: Sort) -> usize {
        self.table(sort).accounts.len()
    }

    fn table(&self, sort: Sort) -> MutexGuard<'_, Table> {
        let [source, identity, rule, rule_identity] = &self.tables;
        let table = match sort {
            Sort::Source => source,
            Sort::Identity => identity,
            Sort::Rule => rule,
            Sort::RuleIdentity => rule_identity,
        };
        // Each change is one step.
        table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn has_room(&mut self, most: usize, now: Instant) -> bool {
        if self.accounts.len() < most {
            return true;
        }
        if self.full_until.is_some_and(|until| now < until) {
            return false;
        }
        self.tidy(now);
        self.full_until = (self.accounts.len() >= most).then(|| now + PAUSE);
        self.full_until.is_none()
    }

    fn tidy(&mut self, now: Instant) {
        // Who holds one has got it from here, under this lock: nobody can begin to.
        self.accounts.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_blank(now));
        if self.accounts.len() < self.accounts.capacity() / 4 {
            self.accounts.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::num::NonZeroU64;

    use socks_policy::Allowance;

    use super::*;
    use crate::admission::Source;

    const RATE: u64 = 100_000;

    fn claim(number: u32) -> Claim {
        let allowance = Allowance { rate: NonZeroU64::new(RATE), ..Allowance::default() };
        let owner = Owner::Source(Source::of(Ipv4Addr::from_bits(number).into()));
        Claim { owner, allowance, generation: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_sources_take_bounded_memory_and_reset_nobody() {
        let accounts = Accounts::with_most(1000);
        assert!(accounts.open(claim(0)).take(100_000, Instant::now()));
        for number in 1..=100_000 {
            drop(accounts.open(claim(number)));
        }
        assert!(accounts.count(Sort::Source) <= 1001);
        assert!(!accounts.open(claim(0)).take(1000, Instant::now()), "what was used is remembered");
        tokio::time::advance(Duration::from_secs(2)).await;
        accounts.tidy();
        assert_eq!(accounts.count(Sort::Source), 0, "nothing is left of those who have gone");
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_shares_with_others() {
        let accounts = Accounts::with_most(10);
        let held: Vec<_> = (0..10).map(|number| accounts.open(claim(number))).collect();
        let (one, other) = (accounts.open(claim(100)), accounts.open(claim(101)));
        assert!(Arc::ptr_eq(&one, &other) && !held.iter().any(|held| Arc::ptr_eq(held, &one)));
        assert!(Arc::ptr_eq(&accounts.open(claim(3)), &held[3]), "who has one keeps it");
        drop(held);
        tokio::time::advance(PAUSE).await;
        assert!(!Arc::ptr_eq(&accounts.open(claim(100)), &one), "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_is_no_longer_in_force_changes_nothing() {
        let accounts = Accounts::with_most(10);
        let mut later = claim(1);
        later.generation = 2;
        later.allowance.rate = NonZeroU64::new(2 * RATE);
        let account = accounts.open(later);
        drop(accounts.open(claim(1)));
        assert!(account.take(200_000, Instant::now()));
    }
}
