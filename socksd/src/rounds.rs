//! What comes round as long as sessions are open, also while the gateway stops: the clock of the rules, refusals that
//! were counted, files that are opened anew, a look at the machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tracing::error;

use crate::gateway::Gateway;
use crate::rejudge::{self, Swept};
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
    sweep: Sweep,
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
            sweep: Sweep::default(),
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
        let Self { gateway, sources, reopen, flush, look, save, clock, sweep } = self;
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
                drop(spawn_blocking(move || gateway.save_quotas()));
            }
            // What changes meanwhile is seen when that is done.
            () = clock.change(gateway), if !sweep.goes_on() => sweep.begin(gateway),
            () = sweep.end(), if sweep.goes_on() => {}
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

/// Open sessions are judged by the clock, one time after the other, and not on this thread, which carries some of them.
#[derive(Default)]
struct Sweep(Option<JoinHandle<Swept>>);

impl Sweep {
    fn begin(&mut self, gateway: &Arc<Gateway>) {
        let gateway = gateway.clone();
        self.0 = Some(spawn_blocking(move || rejudge::sweep(&gateway)));
    }

    fn goes_on(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for its end. It loses nothing if it is dropped while it waits.
    async fn end(&mut self) {
        let Some(sweep) = &mut self.0 else { return };
        if sweep.await.is_err() {
            error!("not all open sessions were judged by the clock: a bug of the gateway's, see above");
        }
        self.0 = None;
    }
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

#[cfg(test)]
mod tests {
    use socks_core::Identity;
    use socks_core::wire::Command;
    use socks_policy::OnRevoke;

    use super::*;
    use crate::listeners::Entrance;
    use crate::roster::Facts;
    use crate::session::Bench;

    #[tokio::test]
    async fn sessions_are_judged_beside_this_thread_which_goes_on() {
        let bench = Bench::new("").await;
        let gateway = &bench.gateway;
        let listener = (Entrance::none(), "main".into());
        let live = gateway.roster.enter(gateway.next_session(), listener, ([192, 0, 2, 1], 1).into());
        *live.facts() = Facts {
            identity: Some(Arc::new(Identity::anonymous())),
            command: Some(Command::Connect),
            bound: Some(([192, 0, 2, 2], 2).into()),
            on_revoke: OnRevoke::Close,
            ..Facts::default()
        };
        let mut sweep = Sweep::default();
        // Who judges it waits for this.
        let held = live.facts();
        sweep.begin(gateway);
        assert!(sweep.goes_on());
        drop(held);
        sweep.end().await;
        assert!(!sweep.goes_on() && live.ending().is_some(), "its method is not known, so it is over");
    }
}
