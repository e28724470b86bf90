//! Who may have another session: limits in all, per source, and per rule and identity. Behind a load balancer the
//! source of a connection is known only later.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::account::{Neighbour, Owner};
use crate::gateway::Gateway;
use crate::tallies::Tallies;
use crate::workers::Place;

/// What counts as one source: an IPv4 address, or the /64 network that one IPv6 site has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(ip) => Self(ip.into()),
            IpAddr::V6(ip) => Self(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

/// Sessions in all and per source.
#[derive(Debug, Clone)]
pub(crate) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sessions: Mutex<Sessions>,
    /// Told when the last session ends.
    idle: Notify,
}

#[derive(Debug)]
struct Sessions {
    total: usize,
    by_source: Tallies<Source>,
    /// Connections whose source is not yet known.
    unknown: usize,
    /// Sessions of the old process, and its connections whose source is not yet known.
    elsewhere: (usize, usize),
}

/// How many sessions there are by what limits them, as one process tells another. The lists have what has changed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) total: usize,
    pub(crate) unknown: usize,
    pub(crate) sources: Vec<(Source, usize)>,
    pub(crate) rules: Vec<(Counted, usize)>,
    pub(crate) associations: Vec<(Counted, usize)>,
    /// Octets of the day that were used since.
    pub(crate) used: Vec<(Owner, u64)>,
}

/// The most sessions that may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionLimits {
    pub(crate) total: usize,
    /// Those of the old process counted in.
    pub(crate) everywhere: usize,
    pub(crate) per_source: usize,
    /// Connections whose source is not yet known.
    pub(crate) unknown: usize,
}

/// Which limit keeps a session out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Source,
    /// Too many connections have not yet told their source.
    Unknown,
    /// Too many sessions of the source have begun in a short time.
    SourceRate,
    /// The source has used up the octets of its day.
    SourceUsedUp,
}

impl Admission {
    pub(crate) fn new() -> Self {
        let sessions =
            Mutex::new(Sessions { total: 0, by_source: Tallies::default(), unknown: 0, elsewhere: (0, 0) });
        Self(Arc::new(Shared { sessions, idle: Notify::new() }))
    }

    /// Counts one more session of `source`, until the ticket is dropped.
    pub(crate) fn admit(&self, source: Source, limits: SessionLimits) -> Result<Ticket, Full> {
        let mut sessions = lock(&self.0.sessions);
        sessions.check_total(limits)?;
        sessions.add(source, limits)?;
        sessions.total += 1;
        Ok(Ticket { admission: self.clone(), source: Some(source), limits, place: None })
    }

    /// Counts one more connection whose source is not yet known, until the ticket is dropped or the source is
    /// [told](Ticket::of).
    pub(crate) fn admit_unknown(&self, limits: SessionLimits) -> Result<Ticket, Full> {
        let mut sessions = lock(&self.0.sessions);
        sessions.check_total(limits)?;
        if sessions.unknown + sessions.elsewhere.1 >= limits.unknown {
            return Err(Full::Unknown);
        }
        sessions.unknown += 1;
        sessions.total += 1;
        Ok(Ticket { admission: self.clone(), source: None, limits, place: None })
    }

    /// Sessions that are open now.
    pub(crate) fn open(&self) -> usize {
        lock(&self.0.sessions).total
    }

    /// Sessions that the old process has.
    pub(crate) fn elsewhere(&self) -> usize {
        lock(&self.0.sessions).elsewhere.0
    }

    /// Waits until no session is open here nor in the old process; for when no new one is let in.
    pub(crate) async fn idle_everywhere(&self) {
        while self.open() + self.elsewhere() > 0 {
            self.0.idle.notified().await;
        }
    }

    /// What the next process has not been told of yet.
    fn news(&self) -> Counts {
        let mut sessions = lock(&self.0.sessions);
        Counts {
            total: sessions.total + sessions.elsewhere.0,
            unknown: sessions.unknown + sessions.elsewhere.1,
            sources: sessions.by_source.news(),
            ..Counts::default()
        }
    }

    fn keep_to_itself(&self) {
        lock(&self.0.sessions).by_source.keep_to_itself();
    }

    fn learn(&self, total: usize, unknown: usize, sources: Vec<(Source, usize)>) {
        let mut sessions = lock(&self.0.sessions);
        sessions.elsewhere = (total, unknown);
        sessions.by_source.learn(sources);
        if total == 0 {
            self.0.idle.notify_one();
        }
    }

    fn forget(&self) {
        let mut sessions = lock(&self.0.sessions);
        sessions.elsewhere = (0, 0);
        sessions.by_source.forget();
        self.0.idle.notify_one();
    }

    /// Waits until no session is open; for when no new one is let in.
    pub(crate) async fn idle(&self) {
        while self.open() > 0 {
            self.0.idle.notified().await;
        }
    }
}

impl Sessions {
    fn add(&mut self, source: Source, limits: SessionLimits) -> Result<(), Full> {
        if self.by_source.add(&source, limits.per_source) { Ok(()) } else { Err(Full::Source) }
    }

    fn check_total(&self, limits: SessionLimits) -> Result<(), Full> {
        let everywhere = self.total + self.elsewhere.0;
        let is_full = self.total >= limits.total || everywhere >= limits.everywhere;
        if is_full { Err(Full::Total) } else { Ok(()) }
    }

    fn remove(&mut self, source: Option<Source>) {
        match source {
            Some(source) => self.by_source.remove(&source),
            None => self.unknown = self.unknown.saturating_sub(1),
        }
    }
}

/// One admitted session; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Admission,
    /// `None`: not yet known.
    source: Option<Source>,
    limits: SessionLimits,
    place: Option<Place>,
}

impl Ticket {
    /// The same with the session's place on its thread.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same, counted for a source that is known by now, under the limits of the ticket.
    pub(crate) fn of(&mut self, source: Source) -> Result<(), Full> {
        let mut sessions = lock(&self.admission.0.sessions);
        sessions.add(source, self.limits)?;
        sessions.remove(self.source.replace(source));
        Ok(())
    }

    /// Another place for the same session, under the limits of the first: for one with more sockets than most.
    pub(crate) fn another(&self) -> Result<Self, Full> {
        self.room().take()
    }

    /// Where more places for the same session come from, when it needs them.
    pub(crate) fn room(&self) -> Room {
        Room { admission: self.admission.clone(), source: self.source, limits: self.limits }
    }
}

/// More places for a session that has one, under the limits of that one.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    admission: Admission,
    source: Option<Source>,
    limits: SessionLimits,
}

impl Room {
    /// One more place, if there is any.
    pub(crate) fn take(&self) -> Result<Ticket, Full> {
        match self.source {
            Some(source) => self.admission.admit(source, self.limits),
            None => self.admission.admit_unknown(self.limits),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Shared { sessions, idle } = &*self.admission.0;
        let mut sessions = lock(sessions);
        sessions.total = sessions.total.saturating_sub(1);
        sessions.remove(self.source);
        if sessions.total == 0 {
            idle.notify_one();
        }
    }
}

/// Sessions by rule and holder, as far as they are limited.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleSessions(Arc<Mutex<Tallies<Counted>>>);

/// By what sessions are counted together. A holder is an identity, or the source of an anonymous client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Counted {
    /// Those of a holder through a rule.
    RuleHolder(Box<str>, Box<str>),
    /// All those through a rule.
    Rule(Box<str>),
    /// All those of a holder.
    Holder(Box<str>),
}

impl RuleSessions {
    /// Counts one more session, until the ticket is dropped; `None`: the limit is reached.
    pub(crate) fn admit(&self, counted: Counted, most: u32) -> Option<RuleTicket> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let is_admitted = lock(&self.0).add(&counted, most);
        is_admitted.then(|| RuleTicket { sessions: self.clone(), counted })
    }

    /// Counts one more session whatever the limit: one that is open already.
    pub(crate) fn count(&self, counted: Counted) -> RuleTicket {
        lock(&self.0).add(&counted, usize::MAX);
        RuleTicket { sessions: self.clone(), counted }
    }
}

/// One session that is counted.
#[derive(Debug)]
pub(crate) struct RuleTicket {
    sessions: RuleSessions,
    counted: Counted,
}

impl Drop for RuleTicket {
    fn drop(&mut self) {
        lock(&self.sessions.0).remove(&self.counted);
    }
}

impl Gateway {
    /// What the process after this one has not been told of yet, but for octets.
    pub(crate) fn news(&self) -> Counts {
        let mut counts = self.admission.news();
        counts.rules = lock(&self.rule_sessions.0).news();
        counts.associations = lock(&self.rule_associations.0).news();
        counts
    }

    /// No other process wants to know any more.
    pub(crate) fn tell_nobody(&self) {
        self.admission.keep_to_itself();
        lock(&self.rule_sessions.0).keep_to_itself();
        lock(&self.rule_associations.0).keep_to_itself();
        self.accounts.tell_nobody();
    }

    /// Learns what the old process counts.
    pub(crate) fn learn(&self, counts: Counts) {
        let Counts { total, unknown, sources, rules, associations, used } = counts;
        self.admission.learn(total, unknown, sources);
        lock(&self.rule_sessions.0).learn(rules);
        lock(&self.rule_associations.0).learn(associations);
        used.into_iter()
            .for_each(|(owner, octets)| self.accounts.learn_used(owner, octets, Some(Neighbour::Before)));
    }

    /// The old process is gone.
    pub(crate) fn forget(&self) {
        self.admission.forget();
        lock(&self.rule_sessions.0).forget();
        lock(&self.rule_associations.0).forget();
    }
}

impl Counts {
    /// Tells whether the lists have nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
            && self.rules.is_empty()
            && self.associations.is_empty()
            && self.used.is_empty()
    }
}

/// The counts stay right whatever a panicking holder of the lock did: each change is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SessionLimits = SessionLimits { total: 3, everywhere: 3, per_source: 2, unknown: 2 };

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn one_source_cannot_take_what_others_need() {
        let admission = Admission::new();
        let _first = admission.admit(source("192.0.2.1"), LIMITS).unwrap();
        let second = admission.admit(source("192.0.2.1"), LIMITS).unwrap();
        assert_eq!(admission.admit(source("::ffff:192.0.2.1"), LIMITS).unwrap_err(), Full::Source);
        let _other = admission.admit(source("192.0.2.2"), LIMITS).unwrap();
        assert_eq!(admission.admit(source("192.0.2.3"), LIMITS).unwrap_err(), Full::Total);
        drop(second);
        assert!(admission.admit(source("192.0.2.3"), LIMITS).is_ok());
    }

    #[test]
    fn a_session_with_two_places_counts_twice() {
        let admission = Admission::new();
        let first = admission.admit(source("192.0.2.1"), LIMITS).unwrap();
        let second = first.another().unwrap();
        assert_eq!(first.another().unwrap_err(), Full::Source);
        drop((first, second));
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn a_balancer_is_no_source_and_those_behind_it_are() {
        let admission = Admission::new();
        let mut awaited =
            [admission.admit_unknown(LIMITS).unwrap(), admission.admit_unknown(LIMITS).unwrap()];
        assert_eq!(admission.admit_unknown(LIMITS).unwrap_err(), Full::Unknown);
        for ticket in &mut awaited {
            ticket.of(source("192.0.2.1")).unwrap();
        }
        let mut third = admission.admit_unknown(LIMITS).unwrap();
        assert_eq!(admission.admit_unknown(LIMITS).unwrap_err(), Full::Total);
        assert_eq!(third.of(source("192.0.2.1")).unwrap_err(), Full::Source);
        drop(third);
        assert_eq!(
            (admission.open(), lock(&admission.0.sessions).unknown),
            (2, 0),
            "who is refused leaves nothing"
        );
    }

    #[test]
    fn an_ipv6_site_is_one_source() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn nothing_is_left_behind_by_sessions_that_ended() {
        let admission = Admission::new();
        drop(admission.admit(source("192.0.2.1"), LIMITS));
        assert_eq!(admission.open(), 0);
        assert!(lock(&admission.0.sessions).by_source.is_empty());
    }

    #[test]
    fn a_rule_counts_each_holder_by_itself() {
        let sessions = RuleSessions::default();
        let holder = |name: &str| Counted::RuleHolder("r".into(), name.into());
        let ticket = sessions.admit(holder("alice"), 1).unwrap();
        assert!(sessions.admit(holder("alice"), 1).is_none());
        assert!(sessions.admit(holder("bob"), 1).is_some());
        drop(ticket);
        assert!(sessions.admit(holder("alice"), 1).is_some());
        let open = [sessions.count(holder("alice")), sessions.count(holder("alice"))];
        assert!(sessions.admit(holder("alice"), 2).is_none(), "who is open already counts");
        drop(open);
        assert!(lock(&sessions.0).is_empty());
    }
}
