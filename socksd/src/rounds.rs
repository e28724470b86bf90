//! What comes round as long as sessions are open, also while the gateway stops: the clock of the rules, refusals that
//! were counted, files that are opened anew, a look at the machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::gateway::Gateway;
use crate::rejudge;
use crate::server::Sources;

/// How often the gateway looks after the machine's addresses and its own log.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often the clock is looked at for rules that depend on it.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// What is done again and again, each in its own time.
pub(crate) struct Rounds<'a> {
    gateway: &'a Arc<Gateway>,
    sources: &'a Sources,
    reopen: Signal,
    flush: Interval,
    look: Interval,
    save: Interval,
    clock: Clock,
}

impl<'a> Rounds<'a> {
    /// Begins.
    ///
    /// # Errors
    /// The system's, when it does not tell of signals.
    pub(crate) fn begin(gateway: &'a Arc<Gateway>, sources: &'a Sources) -> io::Result<Self> {
        Ok(Self {
            gateway,
            sources,
            reopen: signal(SignalKind::user_defined1())?,
            flush: every(gateway.snapshot.load().settings.audit.refusals_every),
            look: every(LOOK_EVERY),
            save: every(save_every(gateway)),
            clock: Clock::of(gateway, Timestamp::now()),
        })
    }

    /// Goes on until it is dropped.
    pub(crate) async fn go_on(&mut self) {
        loop {
            self.turn().await;
        }
    }

    /// Waits for the next thing, and does it. It loses nothing if it is dropped while it waits.
    async fn turn(&mut self) {
        let Self { gateway, sources, reopen, flush, look, save, clock } = self;
        tokio::select! {
            _ = reopen.recv() => gateway.audit.reopen(),
            _ = flush.tick() => {
                gateway.refusals.flush_if_room(&gateway.audit);
                let period = gateway.snapshot.load().settings.audit.refusals_every;
                if flush.period() != period {
                    *flush = every(period);
                }
            }
            _ = save.tick() => {
                let period = save_every(gateway);
                if save.period() != period {
                    *save = every(period);
                }
                let gateway = Arc::clone(gateway);
                drop(tokio::task::spawn_blocking(move || gateway.save_quotas()));
            }
            () = clock.change(gateway) => drop(rejudge::sweep(gateway)),
            _ = look.tick() => {
                sources.reception.learn_own_addresses();
                gateway.logins.forget();
                gateway.accounts.tidy();
                sources.log.tell_of_losses();
                if gateway.is_serving() {
                    sources.supervisor.status(&gateway.in_short());
                }
            }
        }
    }
}

/// How often it is written down what was used of a day's octets.
fn save_every(gateway: &Gateway) -> Duration {
    gateway.snapshot.load().settings.quotas.as_ref().map_or(LOOK_EVERY, |quotas| quotas.every)
}

/// When the policy says something else for the time alone.
struct Clock {
    /// When that was looked up last.
    at: Timestamp,
    generation: u64,
    next: Option<Timestamp>,
}

impl Clock {
    fn of(gateway: &Gateway, now: Timestamp) -> Self {
        let snapshot = gateway.snapshot.load();
        let (generation, next) = (snapshot.ruleset.generation(), snapshot.ruleset.next_change(now));
        Self { at: now, generation, next }
    }

    /// Waits until a rule expires, or its hours begin or end, or the clock was set back.
    async fn change(&mut self, gateway: &Gateway) {
        loop {
            let now = Timestamp::now();
            let was_set_back = now < self.at;
            if was_set_back || self.next.is_some_and(|next| next <= now) {
                *self = Self::of(gateway, now);
                return;
            }
            self.at = now;
            // A reload has looked at the sessions itself.
            if gateway.snapshot.load().ruleset.generation() != self.generation {
                *self = Self::of(gateway, now);
                continue;
            }
            let left = self.next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
            // Nobody tells of a reload, nor when the clock is set.
            sleep(left.unwrap_or(CLOCK_EVERY).min(CLOCK_EVERY)).await;
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
