//! The sessions that are open now: what is known of each, and how one is ended from outside.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use socks_core::relay::{self, Progress, Way};
use tokio::task::AbortHandle;

use crate::account;
use crate::admission::RuleTicket;
use crate::listeners::Entrance;
use crate::places::{Held, Places};

mod facts;
mod pace;

pub(crate) use facts::{Asked, Facts};
pub(crate) use pace::Rates;

/// Parts of the roster with a lock each, so that threads which open sessions seldom wait for each other.
const SHARDS: usize = 16;

/// All sessions that have no end record yet.
#[derive(Debug, Default)]
pub(crate) struct Roster([Mutex<HashMap<u64, Arc<Live>>>; SHARDS]);

/// One session, for everybody who is not the session itself.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: SessionId,
    pub(crate) started: Timestamp,
    pub(crate) clock: Instant,
    /// By which socket the client came.
    pub(crate) entrance: Entrance,
    /// What the listener was called then.
    pub(crate) listener: Arc<str>,
    /// From where the connection comes, canonical.
    peer: SocketAddr,
    /// The client's address, where a load balancer has told it.
    told: OnceLock<Box<SocketAddr>>,
    /// Octets relayed.
    pub(crate) progress: Arc<Progress>,
    /// Under which terms.
    pub(crate) meter: account::Meter,
    /// Most sessions are counted nowhere.
    places: Mutex<Option<Box<Held>>>,
    facts: Mutex<Facts>,
    ending: OnceLock<Box<Ending>>,
    task: OnceLock<AbortHandle>,
}

/// Why somebody else ended a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An operator did.
    Killed {
        /// Who it was.
        by: Arc<str>,
    },
    /// The policy has changed, or the time of its rule is over: why it permits the session no longer.
    Revoked(Arc<str>),
    /// The gateway stops, and the time for the last sessions is over.
    Drained,
    /// The octets of the day are used up that these may use.
    UsedUp(account::Sort),
}

/// A number that no other session of this gateway has, before or after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionId {
    /// When the gateway started, in milliseconds.
    pub(crate) boot: u64,
    /// Which of its sessions it is.
    pub(crate) number: u64,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// Nobody has proven to be anybody.
    Greeting,
    /// The client is known, what it wants is not.
    Authenticated,
    /// What it wants is judged, looked up, dialled, or listened for.
    Opening,
    /// Octets or datagrams flow.
    Open,
}

impl Roster {
    /// Adds a session that begins now.
    pub(crate) fn enter(
        &self,
        id: SessionId,
        (entrance, listener): (Entrance, Arc<str>),
        client: SocketAddr,
    ) -> Arc<Live> {
        let live = Arc::new(Live {
            id,
            started: Timestamp::now(),
            clock: Instant::now(),
            entrance,
            listener,
            peer: client,
            told: OnceLock::new(),
            progress: Arc::default(),
            meter: account::Meter::default(),
            places: Mutex::default(),
            facts: Mutex::default(),
            ending: OnceLock::new(),
            task: OnceLock::new(),
        });
        self.shard(id.number).insert(id.number, live.clone());
        live
    }

    /// Takes out a session that is over.
    pub(crate) fn leave(&self, id: SessionId) {
        self.shard(id.number).remove(&id.number);
    }

    /// All sessions of one moment, shard by shard: nobody waits for the whole list. The oldest comes first.
    pub(crate) fn list(&self) -> Vec<Arc<Live>> {
        let mut all = Vec::new();
        for shard in &self.0 {
            all.extend(lock(shard).values().cloned());
        }
        all.sort_unstable_by_key(|live| live.id.number);
        all
    }

    /// Shows all sessions of one moment, in no order: nobody waits for the whole list, and only a shard's is made.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Arc<Live>)) {
        let mut some = Vec::new();
        for shard in &self.0 {
            some.extend(lock(shard).values().cloned());
            some.drain(..).for_each(|live| look(&live));
        }
    }

    /// The open session of that number.
    pub(crate) fn find(&self, id: SessionId) -> Option<Arc<Live>> {
        let found = self.shard(id.number).get(&id.number).cloned();
        found.filter(|live| live.id == id)
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Arc<Live>>> {
        let index = usize::try_from(number % SHARDS as u64).unwrap_or_default();
        lock(self.0.get(index).unwrap_or(&self.0[0]))
    }
}

impl Live {
    /// The client's address, canonical.
    pub(crate) fn client(&self) -> SocketAddr {
        self.told.get().map_or(self.peer, |told| **told)
    }

    /// When the connection was taken, by the clock of timeouts.
    pub(crate) fn arrived(&self) -> tokio::time::Instant {
        self.clock.into()
    }

    /// The load balancer that told the client's address; the same address, if the connection is its own.
    pub(crate) fn via(&self) -> Option<SocketAddr> {
        self.told.get().map(|_| self.peer)
    }

    /// Notes what a load balancer tells of its connection: from where it comes, or that it is its own.
    pub(crate) fn tell(&self, client: Option<SocketAddr>) {
        self.told.get_or_init(|| Box::new(client.unwrap_or(self.peer)));
    }

    /// What is known of the session; hold it for a moment only, and never across an await.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// Lets [`Live::end`] reach the task that serves the session.
    pub(crate) fn attach(&self, task: AbortHandle) {
        let task = self.task.get_or_init(|| task);
        // Somebody may have been quicker.
        if self.ending.get().is_some() {
            task.abort();
        }
    }

    /// Ends the session; its end record tells why. The first reason counts; `false`: there was one already.
    pub(crate) fn end(&self, why: Ending) -> bool {
        let is_first = self.ending.set(Box::new(why)).is_ok();
        if let Some(task) = self.task.get() {
            task.abort();
        }
        is_first
    }

    /// Why somebody else has ended it.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.get().map(|ending| &**ending)
    }

    /// How fast octets flow now.
    pub(crate) fn rates(&self, facts: &mut Facts) -> Rates {
        let octets = Rates { up: self.octets(facts, Way::Up), down: self.octets(facts, Way::Down) };
        facts.pace.get_or_insert_default().look(self.clock, Instant::now(), octets)
    }

    /// Octets that were relayed one way.
    pub(crate) fn octets(&self, facts: &Facts, way: Way) -> u64 {
        match (&facts.association, way) {
            (Some(tally), way) => tally.octets(way),
            (None, Way::Up) => self.progress.up(),
            (None, Way::Down) => self.progress.down(),
        }
    }
}

impl Live {
    /// Counts among those of its holder from now on.
    pub(crate) fn take_own_place(&self, place: Option<RuleTicket>) {
        self.change_held(|held| held.own = place);
    }

    /// Has these places in its rule from now on, in place of those before.
    pub(crate) fn take_places(&self, places: Option<Places>) {
        // Those before are given back after the lock is.
        let _before = self.change_held(|held| std::mem::replace(&mut held.of_rule, places));
    }

    /// Has all these places from now on, in place of those before.
    pub(crate) fn change_places(&self, places: Held) {
        let _before = self.change_held(|held| std::mem::replace(held, places));
    }

    /// Gives all its places back: it has ended.
    pub(crate) fn free_places(&self) {
        let _before = self.change_held(std::mem::take);
    }

    /// Each change is one step.
    fn change_held<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let mut places = lock(&self.places);
        let mut held = places.take().map_or_else(Held::default, |held| *held);
        let before = change(&mut held);
        *places = (!held.is_empty()).then(|| Box::new(held));
        before
    }
}

/// The session as its relay sees it.
impl relay::Meter for Live {
    fn poll_grant(&self, way: Way, want: usize, cx: &mut Context<'_>) -> Poll<usize> {
        match self.meter.poll_grant(way, want, cx) {
            Poll::Ready(Err(sort)) => {
                self.end(Ending::UsedUp(sort));
                Poll::Pending
            }
            Poll::Ready(Ok(granted)) => Poll::Ready(granted),
            Poll::Pending => Poll::Pending,
        }
    }

    fn give_back(&self, _way: Way, unused: usize) {
        self.meter.give_back(unused);
    }

    fn admits(&self, _way: Way, octets: usize) -> bool {
        self.meter.admits(octets).unwrap_or_else(|sort| {
            self.end(Ending::UsedUp(sort));
            false
        })
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.meter.idle_timeout()
    }

    fn attach(&self, relay: &Waker) {
        self.meter.attach(relay);
    }
}

impl Stage {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 4] = [Self::Greeting, Self::Authenticated, Self::Opening, Self::Open];

    /// The word for it in lists and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Authenticated => "authenticated",
            Self::Opening => "opening",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.boot, self.number)
    }
}

impl FromStr for SessionId {
    type Err = ();

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (boot, number) = text.split_once('-').ok_or(())?;
        let read = |text: &str| u64::from_str_radix(text, 16).map_err(|_| ());
        let id = Self { boot: read(boot)?, number: read(number)? };
        // One number, one spelling.
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// Each change is one step, so what a panicking holder of the lock left behind is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn enter(roster: &Roster, number: u64) -> Arc<Live> {
        roster.enter(
            SessionId { boot: 1, number },
            (Entrance::none(), "main".into()),
            ([192, 0, 2, 1], 1).into(),
        )
    }

    #[test]
    fn a_session_is_listed_until_it_leaves() {
        let roster = Roster::default();
        let numbers = || roster.list().iter().map(|live| live.id.number).collect::<Vec<_>>();
        for number in [3, 40, 1, 17] {
            enter(&roster, number);
        }
        assert_eq!(numbers(), [1, 3, 17, 40]);
        roster.leave(SessionId { boot: 1, number: 17 });
        assert_eq!(numbers(), [1, 3, 40]);
        let mut seen = Vec::new();
        roster.for_each(|live| seen.push(live.id.number));
        seen.sort_unstable();
        assert_eq!(seen, [1, 3, 40]);
    }

    #[test]
    fn a_session_is_found_by_its_whole_number() {
        let roster = Roster::default();
        let live = enter(&roster, 255);
        assert_eq!("1-ff".parse(), Ok(live.id));
        assert!(roster.find(live.id).is_some());
        assert!(roster.find(SessionId { boot: 2, number: 255 }).is_none(), "of another start");
        for odd in ["", "1", "1-", "1-FF", "01-ff", "1-+ff", "1-ff-1", "1-fffffffffffffffff"] {
            assert_eq!(odd.parse::<SessionId>(), Err(()), "{odd}");
        }
    }

    #[tokio::test]
    async fn a_session_ends_once_and_for_the_first_reason() {
        let live = enter(&Roster::default(), 1);
        let task = tokio::spawn(pending::<()>());
        live.attach(task.abort_handle());
        assert!(live.end(Ending::Drained));
        assert!(!live.end(Ending::Drained));
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(live.ending(), Some(&Ending::Drained));
    }

    #[tokio::test]
    async fn a_session_that_was_ended_before_it_had_a_task_does_not_begin() {
        let live = enter(&Roster::default(), 1);
        assert!(live.end(Ending::Drained));
        let task = tokio::spawn(pending::<()>());
        live.attach(task.abort_handle());
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
