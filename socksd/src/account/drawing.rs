//! How one session draws from its accounts.

use std::array;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socks_core::relay::{LEASE, Way};
use tokio::time::{Instant, Sleep, sleep_until};

use super::day::Date;
use super::{Account, Place, Sort, Tally};

/// How long a session waits before it looks again whether its turn has come sooner: others may have left the line,
/// and a reload may have brought another rate.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The accounts that a session draws from, and its places in their lines: one for each way.
#[derive(Debug)]
pub(crate) struct Drawing {
    accounts: Vec<Arc<Account>>,
    up: Option<Wait>,
    down: Option<Wait>,
}

/// A place in the line of each account.
#[derive(Debug)]
struct Wait {
    octets: usize,
    ends: [u64; Sort::ALL.len()],
    since: Instant,
    /// That of the longest line.
    tally: Arc<Tally>,
    alarm: Pin<Box<Sleep>>,
}

impl Drawing {
    /// From these accounts; `None` without any.
    pub(crate) fn new(accounts: Vec<Arc<Account>>) -> Option<Self> {
        (!accounts.is_empty()).then_some(Self { accounts, up: None, down: None })
    }

    /// Tells whether these are its accounts.
    pub(crate) fn is_from(&self, accounts: &[Arc<Account>]) -> bool {
        self.accounts.len() == accounts.len()
            && self.accounts.iter().zip(accounts).all(|(own, other)| Arc::ptr_eq(own, other))
    }

    /// Grants octets when the session has its turn in all lines.
    ///
    /// # Errors
    /// When one of the accounts has used up its day.
    pub(crate) fn poll_grant(
        &mut self,
        way: Way,
        want: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Sort>> {
        let granted = ready!(self.poll_rate(way, want, cx));
        Poll::Ready(self.spend(granted).map(|()| granted).inspect_err(|_| self.refund(granted)))
    }

    /// Counts octets among those of the day, which count even if they are the last.
    fn spend(&self, octets: usize) -> Result<(), Sort> {
        let today = Date::today();
        for (number, account) in self.accounts.iter().enumerate() {
            if !account.spend(octets, today) {
                self.accounts.iter().take(number).for_each(|account| account.unspend(octets));
                return Err(account.sort);
            }
        }
        Ok(())
    }

    fn poll_rate(&mut self, way: Way, want: usize, cx: &mut Context<'_>) -> Poll<usize> {
        let now = Instant::now();
        let mut wait = match self.wait(way).take() {
            Some(wait) => wait,
            None => match self.stand_in_line(want, now) {
                Ok(granted) => return Poll::Ready(granted),
                Err(wait) => wait,
            },
        };
        let polled = self.poll_turn(&mut wait, cx);
        if polled.is_pending() {
            *self.wait(way) = Some(wait);
            return Poll::Pending;
        }
        wait.tally.count_wait(now.saturating_duration_since(wait.since));
        self.refund(wait.octets.saturating_sub(want));
        Poll::Ready(wait.octets.min(want))
    }

    /// Takes octets if all accounts have them.
    ///
    /// # Errors
    /// When one of the accounts has used up its day.
    pub(crate) fn take(&mut self, octets: usize) -> Result<bool, Sort> {
        let is_there = self.take_rate(octets);
        if is_there {
            self.spend(octets)
                .inspect_err(|_| self.accounts.iter().for_each(|account| account.untake(octets)))?;
        }
        Ok(is_there)
    }

    fn take_rate(&mut self, octets: usize) -> bool {
        let now = Instant::now();
        for (number, account) in self.accounts.iter().enumerate() {
            if !account.take(octets, now) {
                account.tally.count_dropped();
                self.accounts.iter().take(number).for_each(|account| account.untake(octets));
                return false;
            }
        }
        true
    }

    /// Takes back octets that were not used.
    pub(crate) fn give_back(&self, octets: usize) {
        if octets > 0 {
            self.accounts.iter().for_each(|account| account.give_back(octets));
        }
    }

    /// Takes back octets that were there, and of which the day knows nothing yet.
    fn refund(&self, octets: usize) {
        if octets > 0 {
            self.accounts.iter().for_each(|account| account.refund(octets));
        }
    }

    /// Takes the next place in all lines, and octets if it is its turn already.
    fn stand_in_line(&self, want: usize, now: Instant) -> Result<usize, Wait> {
        let octets = self.accounts.iter().map(|account| account.lease()).fold(want.min(LEASE), usize::min);
        let mut accounts = self.accounts.iter();
        let places: [Place; Sort::ALL.len()] = array::from_fn(|_| {
            accounts.next().map_or(Place::default(), |account| account.reserve(octets, now))
        });
        let longest = self.accounts.iter().zip(places).max_by_key(|(_, place)| place.left);
        let Some((account, Place { left, .. })) = longest.filter(|(_, place)| !place.left.is_zero()) else {
            return Ok(octets);
        };
        let alarm = Box::pin(sleep_until(now + left.min(LOOK_AGAIN)));
        let (ends, tally) = (places.map(|place| place.end), account.tally.clone());
        Err(Wait { octets, ends, since: now, tally, alarm })
    }

    /// Waits for its turn in all lines.
    fn poll_turn(&self, wait: &mut Wait, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let lefts = self.accounts.iter().zip(wait.ends).map(|(account, end)| account.left(end, now));
            let left = lefts.max().unwrap_or_default();
            if left.is_zero() {
                return Poll::Ready(());
            }
            wait.alarm.as_mut().reset(now + left.min(LOOK_AGAIN));
            ready!(wait.alarm.as_mut().poll(cx));
        }
    }

    fn wait(&mut self, way: Way) -> &mut Option<Wait> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Drop for Drawing {
    /// Leaves all lines.
    fn drop(&mut self) {
        for wait in [&self.up, &self.down].into_iter().flatten() {
            let places = self.accounts.iter().zip(wait.ends);
            places.for_each(|(account, end)| account.leave(end, wait.octets));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::num::NonZeroU64;

    use socks_policy::Allowance;
    use tokio::time::timeout_at;

    use super::*;
    use crate::account::{Account, Shortage, Tally};

    const SECOND: Duration = Duration::from_secs(1);

    fn account(rate: u64) -> Arc<Account> {
        let account = Account::new(Sort::Rule, Arc::new(Tally::default()));
        account.allow(&Allowance { rate: NonZeroU64::new(rate), ..Allowance::default() }, 1, Instant::now());
        Arc::new(account)
    }

    fn drawing(accounts: &[&Arc<Account>]) -> Drawing {
        Drawing::new(accounts.iter().map(|account| Arc::clone(account)).collect()).unwrap()
    }

    /// Takes what it gets for so long, and tells how much that was.
    async fn draw(mut drawing: Drawing, want: usize, time: Duration) -> u64 {
        let (until, mut got) = (Instant::now() + time, 0);
        while let Ok(granted) = timeout_at(until, poll_fn(|cx| drawing.poll_grant(Way::Up, want, cx))).await {
            got += granted.expect("days have no limit here") as u64;
        }
        got
    }

    #[tokio::test(start_paused = true)]
    async fn one_session_gets_the_rate_and_what_was_saved_up() {
        let got = draw(drawing(&[&account(1_000_000)]), usize::MAX, 10 * SECOND).await;
        assert!((10_900_000..=11_100_000).contains(&got), "{got}");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_share_alike_and_none_starves_however_many_there_are() {
        for (sessions, rate) in [(3, 10_000_000), (200, 1_000_000)] {
            let account = account(rate);
            assert!(
                account.take(usize::try_from(rate).unwrap(), Instant::now()),
                "what was saved up goes to the first"
            );
            let wants = (0..sessions).map(|number| if number % 2 == 0 { usize::MAX } else { LEASE });
            let drawing = wants.map(|want| tokio::spawn(draw(drawing(&[&account]), want, 60 * SECOND)));
            let mut got = Vec::new();
            for one in drawing.collect::<Vec<_>>() {
                got.push(one.await.unwrap());
            }
            let (sum, mean) = (got.iter().sum::<u64>(), 60 * rate / sessions);
            assert!((59 * rate..=60 * rate).contains(&sum), "{sum}");
            assert!(got.iter().all(|one| one.abs_diff(mean) <= mean / 4), "{mean}: {got:?}");
        }
    }

    /// Takes datagrams of so many octets, one each period; tells how many were there, and how many were not.
    async fn throw(mut drawing: Drawing, octets: usize, period: Duration, time: Duration) -> (u64, u64) {
        let (until, mut counts) = (Instant::now() + time, (0, 0));
        while Instant::now() < until {
            match drawing.take(octets) {
                Ok(true) => counts.0 += 1,
                _ => counts.1 += 1,
            }
            tokio::time::sleep(period).await;
        }
        counts
    }

    #[tokio::test(start_paused = true)]
    async fn tunnels_and_datagrams_starve_each_other_never_and_the_rate_holds() {
        const RATE: u64 = 10_000_000;
        let names = (300, Duration::from_millis(5));
        let flood = (1400, Duration::from_millis(1));
        for (tunnels, count) in [(2, 3), (300, 1)] {
            for (octets, period) in [names, flood] {
                let account = account(RATE);
                let tunnels: Vec<_> = (0..tunnels)
                    .map(|_| tokio::spawn(draw(drawing(&[&account]), usize::MAX, 20 * SECOND)))
                    .collect();
                let datagrams: Vec<_> = (0..count * if octets == 300 { 1 } else { 10 })
                    .map(|_| tokio::spawn(throw(drawing(&[&account]), octets, period, 20 * SECOND)))
                    .collect();
                let (mut bulk, mut taken, mut dropped) = (0, 0, 0);
                for tunnel in tunnels {
                    bulk += tunnel.await.unwrap();
                }
                for one in datagrams {
                    let (came, lost) = one.await.unwrap();
                    (taken, dropped) = (taken + came * octets as u64, dropped + lost);
                }
                assert!(octets != 300 || dropped == 0, "{dropped} of a few datagrams were dropped");
                assert!(bulk >= 20 * RATE * 45 / 100, "{bulk} octets are left for tunnels");
                let all = bulk + taken;
                assert!((19 * RATE..=21 * RATE + 2 * LEASE as u64).contains(&all), "{all}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_narrowest_limit_counts_and_the_others_lose_nothing() {
        let (wide, narrow) = (account(10_000_000), account(100_000));
        let both = tokio::spawn(draw(drawing(&[&wide, &narrow]), usize::MAX, 20 * SECOND));
        let one = draw(drawing(&[&wide]), usize::MAX, 20 * SECOND).await;
        let both = both.await.unwrap();
        assert!((2_000_000..=2_200_000).contains(&both), "{both}");
        assert!(one + both >= 200_000_000, "{one}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_the_line() {
        let account = account(1000);
        let mut first = drawing(&[&account]);
        let mut second = drawing(&[&account]);
        assert_eq!(first.take(LEASE), Ok(true));
        for drawing in [&mut first, &mut second] {
            poll_fn(|cx| Poll::Ready(drawing.poll_grant(Way::Up, LEASE, cx).is_pending())).await;
        }
        drop(first);
        let begun = Instant::now();
        assert_eq!(poll_fn(|cx| second.poll_grant(Way::Up, LEASE, cx)).await, Ok(1024));
        assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_datagram_that_one_account_has_not_costs_the_others_nothing() {
        let (wide, narrow) = (account(1_000_000), account(1));
        let mut both = drawing(&[&wide, &narrow]);
        assert_eq!(both.take(LEASE), Ok(true));
        assert_eq!(both.take(LEASE), Ok(false));
        assert!(wide.take(1_000_000 - LEASE, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_day_that_one_account_has_used_up_costs_the_others_nothing() {
        let of_rule = |daily: u64, rate| {
            let account = Account::new(Sort::Rule, Arc::new(Tally::default()));
            let allowance = Allowance {
                daily: NonZeroU64::new(daily),
                rate: NonZeroU64::new(rate),
                ..Allowance::default()
            };
            account.allow(&allowance, 1, Instant::now());
            Arc::new(account)
        };
        let (wide, narrow) = (of_rule(100_000, 100_000), of_rule(1, 1_000_000));
        let mut both = drawing(&[&wide, &narrow]);
        assert_eq!(both.take(1), Ok(true));
        for _ in 0..10 {
            assert_eq!(both.take(60_000), Err(Sort::Rule));
        }
        assert!(wide.spend(99_998, Date::today()) && wide.spend(1, Date::today()), "one was used");
        assert!(wide.take(99_999, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_day_ends_when_its_octets_are_used_up() {
        let account = Account::new(Sort::Rule, Arc::new(Tally::default()));
        let allowance = Allowance { daily: NonZeroU64::new(100_000), ..Allowance::default() };
        account.allow(&allowance, 1, Instant::now());
        let account = Arc::new(account);
        let mut drawing = drawing(&[&account]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(drawing.poll_grant(Way::Up, 60_000, &mut cx), Poll::Ready(Ok(60_000)));
        drawing.give_back(10_000);
        assert_eq!(drawing.poll_grant(Way::Up, 60_000, &mut cx), Poll::Ready(Ok(60_000)));
        assert_eq!(drawing.poll_grant(Way::Up, 1, &mut cx), Poll::Ready(Err(Sort::Rule)));
        assert_eq!(drawing.take(1), Err(Sort::Rule));
        assert_eq!(account.begin_session(Instant::now(), Date::today()), Err(Shortage::Day));
    }
}
