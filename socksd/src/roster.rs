//! The sessions that are open now: what is known of each, and how one is ended from outside.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use socks_core::Identity;
use socks_core::relay::{self, Progress, Way};
use socks_core::udp::Tally;
use socks_core::wire::{Command, Target};
use socks_policy::{OnRevoke, OperationKind, Permit};
use tokio::task::AbortHandle;

use crate::account;
use crate::admission::RuleTicket;
use crate::listeners::Entrance;
use crate::places::{Held, Places};
use crate::shadow::Difference;

mod pace;

use pace::Pace;
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

/// What is learned of a session while it runs. It is kept small, because most sessions idle most of the time.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The authenticator that was chosen.
    pub(crate) method: Option<Arc<str>>,
    /// Who the client is, once it is proven.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Why the groups of the name that a login proved could not be learned, also where it was refused then.
    pub(crate) groups_missing: Option<Box<str>>,
    /// What it asked for.
    pub(crate) command: Option<Command>,
    /// Where to.
    pub(crate) asked: Option<Asked>,
    /// The rule that permitted or denied.
    pub(crate) rule: Option<Arc<str>>,
    /// What becomes of the session when a later policy takes that permit away.
    pub(crate) on_revoke: OnRevoke,
    /// The addresses of the name that it asked for.
    pub(crate) addresses: Box<[IpAddr]>,
    /// The address that the permit is for, where there is one.
    pub(crate) judged: Option<IpAddr>,
    /// The peer of a BIND is at an address of the name that the request has.
    pub(crate) peer_is_named: bool,
    /// The generation of the policy that decided.
    pub(crate) generation: u64,
    /// The address that was dialled.
    pub(crate) dialled: Option<SocketAddr>,
    /// The gateway's own end of that connection; for BIND, where it listened.
    pub(crate) bound: Option<SocketAddr>,
    /// Datagrams of an association, which count in place of [`Live::progress`].
    pub(crate) association: Option<Arc<Tally>>,
    /// How fast octets flow, once somebody has looked.
    pub(crate) pace: Option<Box<Pace>>,
    /// What few sessions have.
    pub(crate) rare: Option<Box<Rare>>,
    /// The session has ended, and its record has taken all that was known.
    pub(crate) is_over: bool,
}

/// What is learned of few sessions.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// It has lost its permit, and may go on until then.
    pub(crate) drains_until: Option<tokio::time::Instant>,
    /// The upstream gateway that the connection goes through.
    pub(crate) upstream: Option<Arc<str>>,
    /// The rules that held it before, while it was open.
    pub(crate) rules_before: Vec<Arc<str>>,
    /// The rules that only log and that matched.
    pub(crate) logged_by: Vec<Arc<str>>,
    /// How the shadow policy would have decided otherwise, and in what trial of it that came up last.
    pub(crate) shadow: Vec<(Difference, Timestamp)>,
    /// Where the client was told that the gateway listens, if that is another address.
    pub(crate) advertised: Option<SocketAddr>,
    /// The peer of a BIND.
    pub(crate) peer: Option<SocketAddr>,
    /// How many others came in its place.
    pub(crate) refused_peers: u64,
}

/// Of all others.
static NOTHING_RARE: Rare = Rare {
    drains_until: None,
    upstream: None,
    rules_before: Vec::new(),
    logged_by: Vec::new(),
    shadow: Vec::new(),
    advertised: None,
    peer: None,
    refused_peers: 0,
};

/// The target of a request.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// One that could be read.
    For(Target),
    /// A name that is none, escaped.
    Odd(Box<str>),
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

/// How many rules are noted that held a session one after the other.
const MAX_RULES_BEFORE: usize = 16;
/// How many rules that only log are noted of one session, whose datagrams may each meet others.
const MAX_LOGGED_BY: usize = 16;
/// How many addresses of a name are noted.
const MAX_ADDRESSES: usize = 16;
/// How many differences to the shadow policy are noted of one session.
const MAX_SHADOW: usize = 16;

impl Facts {
    /// What few sessions have.
    pub(crate) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NOTHING_RARE)
    }

    /// The same, to note something there.
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes all that is known, for the end record; what is left says that the session is over.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self { is_over: true, ..Self::default() })
    }

    /// Tells whether there is nothing here to show any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(crate) fn stage(&self) -> Stage {
        match (&self.identity, self.command) {
            _ if self.is_open() => Stage::Open,
            (_, Some(_)) => Stage::Opening,
            (Some(_), None) => Stage::Authenticated,
            (None, None) => Stage::Greeting,
        }
    }

    /// Notes by which permit an open session goes on; tells whether that is one of another rule.
    pub(crate) fn go_on(&mut self, permit: &Permit) -> bool {
        let before = self.rule.clone().filter(|rule| rule != permit.rule());
        self.hold(permit);
        let Some(before) = before else { return false };
        if self.rule.as_ref() == Some(permit.rule()) && self.rare().rules_before.len() < MAX_RULES_BEFORE {
            self.rare_mut().rules_before.push(before);
        }
        true
    }

    /// Notes by which permit the session goes on.
    pub(crate) fn hold(&mut self, permit: &Permit) {
        // A policy that came later has had its say.
        if permit.generation() < self.generation {
            return;
        }
        if let Some(rare) = &mut self.rare {
            rare.drains_until = None;
        }
        self.rule = Some(permit.rule().clone());
        self.on_revoke = permit.terms().on_revoke;
        self.generation = permit.generation();
        if permit.kind() == OperationKind::Connect {
            self.judged = permit.address().map(|address| address.ip());
        }
    }

    /// Notes the addresses of the name that was asked for, as far as there is room.
    pub(crate) fn note_addresses(&mut self, addresses: &[IpAddr]) {
        self.addresses = addresses.iter().copied().take(MAX_ADDRESSES).collect();
    }

    /// Notes that datagrams go through an upstream gateway, too.
    pub(crate) fn add_upstream(&mut self, name: &str) {
        let upstream = &mut self.rare_mut().upstream;
        *upstream = Some(match upstream {
            None => name.into(),
            Some(names) if names.split(", ").any(|known| known == name) => names.clone(),
            Some(names) => format!("{names}, {name}").into(),
        });
    }

    /// Notes rules that only log, each once.
    pub(crate) fn note_logged_by(&mut self, rules: &[Arc<str>]) {
        for rule in rules {
            let known = &self.rare().logged_by;
            if known.len() < MAX_LOGGED_BY && !known.contains(rule) {
                self.rare_mut().logged_by.push(Arc::clone(rule));
            }
        }
    }

    /// Notes how the shadow policy differs, in the trial of it that began then; `false`: that is no news, or there
    /// is no room for it.
    pub(crate) fn note_shadow(&mut self, found: &Difference, trial: Timestamp) -> bool {
        let shadow = &mut self.rare_mut().shadow;
        if let Some((_, last)) = shadow.iter_mut().find(|(known, _)| known == found) {
            return std::mem::replace(last, trial) != trial;
        }
        let has_room = shadow.len() < MAX_SHADOW;
        if has_room {
            shadow.push((found.clone(), trial));
        }
        has_room
    }

    /// Tells whether octets could flow. A socket that listens is not yet a connection.
    pub(crate) fn is_open(&self) -> bool {
        match self.command {
            Some(Command::Bind) => self.rare().peer.is_some(),
            _ => self.bound.is_some(),
        }
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

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(target) => target.fmt(f),
            Self::Odd(name) => f.write_str(name),
        }
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

    #[test]
    fn a_bind_is_open_once_its_peer_is_there() {
        let bound = Some(([192, 0, 2, 1], 1).into());
        let mut facts = Facts { command: Some(Command::Bind), bound, ..Facts::default() };
        assert!(!facts.is_open());
        facts.rare_mut().peer = bound;
        assert!(facts.is_open());
        facts = Facts { command: Some(Command::Connect), bound, ..Facts::default() };
        assert!(facts.is_open());
    }
}
