//! Listeners and signals: where sessions come from, and when they stop coming.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use socks_auth::Registry;
use socks_core::ClientIo;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::admission::{Full, SessionLimits, Source, Ticket};
use crate::audit::Agent;
use crate::config::Limits;
use crate::forwarded::Awaited;
use crate::gateway::Gateway;
use crate::listeners::{BACKLOG, Listening, Planned};
use crate::log::Log;
use crate::metrics;
use crate::outcome::End;
use crate::reception::Reception;
use crate::record::Record;
use crate::rejudge;
use crate::reload;
use crate::roster::Ending;
use crate::session::{Arrival, serve};
use crate::workers::Seats;

/// Pause of an accept loop that has no descriptor or memory for another connection.
pub(crate) const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// Pause of an accept loop while records come faster than they are written.
const BEHIND_PAUSE: Duration = Duration::from_millis(10);
/// How often the gateway looks after the machine's addresses and its own log.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often the clock is looked at for rules that depend on it.
const CLOCK_EVERY: Duration = Duration::from_secs(1);
/// Descriptors of a session: the client's socket and the target's.
const DESCRIPTORS_PER_SESSION: usize = 2;

/// Where the gateway's files are, for a reload, and what it changes beside the policy.
pub(crate) struct Sources {
    pub(crate) config: PathBuf,
    pub(crate) registry: Registry,
    pub(crate) log: Log,
    pub(crate) reception: Reception,
    pub(crate) reloading: Mutex<()>,
}

/// Serves until a signal says stop. SIGHUP reloads configuration and policy, SIGUSR1 opens audit files anew.
pub(crate) async fn run(
    gateway: &Arc<Gateway>,
    listeners: Planned,
    sources: &Arc<Sources>,
) -> io::Result<()> {
    let mut reload = signal(SignalKind::hangup())?;
    let mut reopen = signal(SignalKind::user_defined1())?;
    let mut stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let reception = &sources.reception;
    drop(reception.change(listeners));
    let mut flush = every(gateway.snapshot.load().settings.audit.refusals_every);
    let mut look = every(LOOK_EVERY);
    let mut clock = Clock::of(gateway, Timestamp::now());
    let [terminate, interrupt] = &mut stop;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reload.recv() => {
                let (gateway, sources) = (gateway.clone(), sources.clone());
                // Reading and compiling may take long, and this thread carries sessions.
                let reloading = tokio::task::spawn_blocking(move || drop(reload::run(&gateway, &sources, Agent::Signal)));
                if reloading.await.is_err() {
                    error!("nothing was reloaded: a bug of the gateway's, see above");
                }
            }
            _ = reopen.recv() => gateway.audit.reopen(),
            _ = flush.tick() => {
                gateway.refusals.flush_if_room(&gateway.audit);
                let period = gateway.snapshot.load().settings.audit.refusals_every;
                if flush.period() != period {
                    flush = every(period);
                }
            }
            () = clock.change(gateway) => drop(rejudge::sweep(gateway)),
            _ = look.tick() => {
                reception.learn_own_addresses();
                sources.log.tell_of_losses();
            }
        }
    }
    gateway.drain();
    reception.close().await;
    drain(gateway, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await;
    gateway.stop();
    Ok(())
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

/// Lets open sessions come to their end, for a while; `at_once` cuts that short.
async fn drain(gateway: &Gateway, at_once: impl Future<Output = ()>) {
    let most = gateway.snapshot.load().settings.limits.drain_timeout;
    info!(sessions = gateway.admission.open(), seconds = most.as_secs_f32(), "stopping");
    tokio::select! {
        () = gateway.admission.idle() => return,
        () = sleep(most) => {}
        () = at_once => {}
    }
    let left = gateway.roster.list();
    info!(sessions = left.len(), "ending sessions that are still open");
    for live in left {
        live.end(Ending::Drained);
    }
}

/// What accepting connections takes, and where they go.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) seats: Seats,
    /// How many descriptors there are for sessions.
    pub(crate) descriptors: usize,
}

impl Intake {
    /// Accepts until `stop` comes, and gives what that says.
    pub(crate) async fn accept_until<T>(&self, listening: &Listening, stop: impl Future<Output = T>) -> T {
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                told = &mut stop => return told,
                accepted = listening.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let told = tokio::select! {
                        told = &mut stop => Some(told),
                        () = self.wait_for_audit() => None,
                    };
                    self.take(listening, socket, peer);
                    if let Some(told) = told {
                        return told;
                    }
                }
                Err(error) => self.fail_to_accept(&error).await,
            }
        }
    }

    async fn fail_to_accept(&self, error: &io::Error) {
        if is_exhausted(error) {
            self.gateway.metrics.accept_failure(metrics::NO_RESOURCES);
            if self.gateway.throttle.allow("exhausted") {
                warn!(%error, "no resources to accept connections; raise the descriptor limit or lower `max-sessions`");
            }
            sleep(EXHAUSTED_PAUSE).await;
        } else {
            // The connection was gone before it was taken, or the network told of an error on it.
            self.gateway.metrics.accept_failure(metrics::LOST);
            tracing::debug!(%error, "connection lost before it was accepted");
        }
    }

    /// Accepts those that are there already.
    pub(crate) fn take_waiting(&self, listening: &Listening) {
        for _ in 0..BACKLOG {
            let Some((socket, peer)) = listening.accept_waiting() else { return };
            self.take(listening, socket, peer);
        }
    }

    /// As long as records are written, but others come faster, new clients wait: no record is lost, and nobody who
    /// is served has to wait.
    async fn wait_for_audit(&self) {
        while self.gateway.audit.is_behind() {
            sleep(BEHIND_PAUSE).await;
        }
    }

    /// Gives the connection to a thread, or closes it.
    fn take(&self, listening: &Listening, socket: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        // By the name that the policy in force knows; one that was removed has its last one.
        let listener = self.gateway.snapshot.load().listener(listening.entrance()).cloned();
        let listener = listener.unwrap_or_else(|| listening.entry());
        let from_balancer = listener.balancers.include(peer.ip());
        // Who comes by a load balancer is counted when it has said who that is.
        let source = (!from_balancer).then(|| Source::of(peer.ip()));
        let seat = self.seats.idlest();
        let placed = self.place(source).and_then(|ticket| match seat.adopt(socket) {
            Ok(socket) => Ok((ticket.at(seat.place()), ClientIo::new(socket))),
            Err(error) => Err(End::Greeting(error.into())),
        });
        let mut record =
            Record::open(self.gateway.clone(), (listening.entrance(), listener.name.clone()), peer);
        let (ticket, io) = match placed {
            Ok(placed) => placed,
            Err(refused) => return record.finish(&refused),
        };
        let live = record.live().clone();
        let arrival = Arrival { record, ticket, io };
        live.attach(match from_balancer {
            true => seat.spawn(Awaited::new(arrival).serve()),
            false => seat.spawn(serve(arrival)),
        });
    }

    /// A place among the sessions, if there is one for this source, or for one more that is not yet known.
    fn place(&self, source: Option<Source>) -> Result<Ticket, End> {
        let gateway = &self.gateway;
        let snapshot = gateway.snapshot.load();
        if gateway.audit.refuses() {
            return Err(End::AuditFailing);
        }
        let limits = session_limits(&snapshot.settings.limits, self.descriptors);
        let admitted = match source {
            Some(source) => gateway.admission.admit(source, limits),
            None => gateway.admission.admit_unknown(limits),
        };
        admitted.map_err(|full| {
            if full == Full::Total && gateway.throttle.allow("full") {
                warn!(limit = limits.total, "all sessions are taken; new clients are refused");
            }
            if full == Full::Unknown && gateway.throttle.allow("headers") {
                warn!(
                    limit = limits.unknown,
                    "too many connections of load balancers lack their PROXY header; new ones are refused"
                );
            }
            End::Full(full)
        })
    }
}

/// The limits on sessions, as far as there are descriptors for them.
pub(crate) fn session_limits(limits: &Limits, descriptors: usize) -> SessionLimits {
    let by_descriptors = descriptors.saturating_sub(limits.descriptors_kept_free) / DESCRIPTORS_PER_SESSION;
    SessionLimits {
        total: limits.max_sessions.min(by_descriptors),
        per_source: limits.max_sessions_per_source,
        unknown: limits.max_pending_headers,
    }
}

/// Errors that waiting may cure, and that come back at once without it.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
