//! Listeners and signals: where sessions come from, and when they stop coming.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use socks_auth::Registry;
use socks_core::{ClientIo, relay};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::admission::{Full, SessionLimits, Source, Ticket};
use crate::audit::{Agent, Event, ReloadResult};
use crate::config::{Balancers, Limits, Listener};
use crate::forwarded::Awaited;
use crate::gateway::Gateway;
use crate::log::Log;
use crate::metrics;
use crate::outcome::End;
use crate::record::Record;
use crate::rejudge::{self, Swept};
use crate::roster::Ending;
use crate::session::{Arrival, serve};
use crate::snapshot::Snapshot;
use crate::workers::Seats;

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;
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

/// Where the gateway's files are, for a reload, and its log.
pub(crate) struct Sources {
    pub(crate) config: PathBuf,
    pub(crate) registry: Registry,
    pub(crate) log: Log,
    pub(crate) reloading: Mutex<()>,
}

/// A listener whose socket is open.
pub(crate) struct Listening {
    name: Arc<str>,
    socket: TcpListener,
    local: SocketAddr,
    balancers: Balancers,
}

impl Listening {
    /// Opens the socket. `alone`: no other listener has the same port, so a wildcard of IPv6 takes IPv4 too.
    pub(crate) fn open(listener: &Listener, alone: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(listener.address), Type::STREAM, Some(Protocol::TCP))?;
        if listener.address.is_ipv6() {
            socket.set_only_v6(!alone)?;
        }
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit these on Linux, which saves calls for each connection.
        if let Some(keepalive) = listener.keepalive.options() {
            socket.set_tcp_keepalive(&keepalive)?;
        }
        relay::prepare(&socket);
        socket.set_nonblocking(true)?;
        socket.bind(&listener.address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { name: listener.name.clone(), socket, local, balancers: listener.balancers.clone() })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }
}

/// Serves until a signal says stop. SIGHUP reloads configuration and policy, SIGUSR1 opens audit files anew.
pub(crate) async fn run(intake: Intake, listening: Vec<Listening>, sources: &Arc<Sources>) -> io::Result<()> {
    let gateway = intake.gateway.clone();
    let mut reload = signal(SignalKind::hangup())?;
    let mut reopen = signal(SignalKind::user_defined1())?;
    let mut stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let own: Vec<SocketAddr> = listening.iter().map(Listening::local).collect();
    gateway.learn_own_addresses(&own);
    let mut accepting = JoinSet::new();
    for listening in listening {
        info!(listener = %listening.name, address = %listening.local, "listening");
        accepting.spawn(intake.clone().accept_all(listening));
    }
    let mut flush = every(gateway.snapshot.load().settings.audit.refusals_every);
    let mut look = every(LOOK_EVERY);
    let mut clock = Clock::of(&gateway, Timestamp::now());
    let [terminate, interrupt] = &mut stop;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reload.recv() => {
                let (gateway, sources) = (gateway.clone(), sources.clone());
                // Reading and compiling may take long, and this thread carries sessions.
                let reloading = tokio::task::spawn_blocking(move || drop(reload_files(&gateway, &sources, Agent::Signal)));
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
            () = clock.change(&gateway) => drop(rejudge::sweep(&gateway)),
            _ = look.tick() => {
                gateway.learn_own_addresses(&own);
                sources.log.tell_of_losses();
            }
        }
    }
    gateway.drain();
    // The ports are closed, so that clients go elsewhere.
    accepting.shutdown().await;
    drain(&gateway, async {
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

/// What a reload has brought.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// The generation of the policy that is in force now.
    pub(crate) policy: u64,
    pub(crate) warnings: Vec<String>,
    /// What has become of the open sessions.
    pub(crate) sessions: Swept,
}

/// Reads everything anew and swaps it in one step; a file with any mistake changes nothing.
///
/// # Errors
/// All mistakes, as the log has them.
pub(crate) fn reload_files(
    gateway: &Arc<Gateway>,
    sources: &Sources,
    by: Agent<'_>,
) -> Result<Reloaded, String> {
    // One after the other: each builds on what the one before has left.
    let _alone = sources.reloading.lock().unwrap_or_else(PoisonError::into_inner);
    let reloaded = replace(gateway, sources);
    let (result, warnings, detail) = match &reloaded {
        Ok(reloaded) => (ReloadResult::Applied, reloaded.warnings.len(), None),
        Err(why) => (ReloadResult::Refused, 0, why.lines().find(|line| !line.trim().is_empty())),
    };
    let policy = gateway.snapshot.load().ruleset.generation();
    gateway.audit.tell(&Event::Reload { by, result, policy, warnings, detail });
    reloaded
}

fn replace(gateway: &Arc<Gateway>, sources: &Sources) -> Result<Reloaded, String> {
    let before = gateway.snapshot.load_full();
    let checked = match Snapshot::load(&sources.config, &sources.registry, Some(&before)) {
        // The policy was checked against the listeners' new names, and the sockets have the old ones.
        Ok(checked) if checked.snapshot.listeners != before.listeners => {
            Err("`listeners` has changed, which takes a restart".to_owned())
        }
        Ok(checked) => Ok(checked),
        Err(findings) => Err(findings.to_string()),
    };
    let checked = checked.and_then(|checked| {
        let audit = gateway.audit.prepare(&checked.snapshot.settings.audit);
        audit.map(|audit| (checked, audit)).map_err(|error| error.to_string())
    });
    gateway.metrics.reload(checked.is_ok());
    let (checked, audit) = checked.inspect_err(|why| error!("nothing was reloaded: {why}"))?;
    let mut warnings = checked.snapshot.warnings.clone();
    warnings.extend(needs_restart(&before, &checked.snapshot));
    for warning in &warnings {
        warn!("{warning}");
    }
    let policy = checked.snapshot.ruleset.generation();
    gateway.audit.change(audit);
    gateway.snapshot.store(Arc::new(checked.snapshot));
    // Said only now: who reads it may count on the new policy.
    info!(policy, "reloaded");
    let sessions = rejudge::sweep(gateway);
    Ok(Reloaded { policy, warnings, sessions })
}

/// Some keys are read only once.
fn needs_restart(before: &Snapshot, now: &Snapshot) -> Vec<String> {
    let (old, new) = (&before.settings, &now.settings);
    let unchanged = [("log", old.log == new.log), ("admin", old.admin == new.admin)];
    let changed = unchanged.into_iter().filter(|(_, unchanged)| !unchanged);
    changed
        .map(|(key, _)| format!("`{key}` has changed, which takes a restart; everything else is in force"))
        .collect()
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
    async fn accept_all(self, listening: Listening) {
        loop {
            match listening.socket.accept().await {
                Ok((socket, peer)) => {
                    self.wait_for_audit().await;
                    self.take(&listening, socket, peer);
                }
                Err(error) if is_exhausted(&error) => {
                    self.gateway.metrics.accept_failure(metrics::NO_RESOURCES);
                    if self.gateway.throttle.allow("exhausted") {
                        warn!(%error, "no resources to accept connections; raise the descriptor limit or lower `max-sessions`");
                    }
                    sleep(EXHAUSTED_PAUSE).await;
                }
                // The connection was gone before it was taken, or the network told of an error on it.
                Err(error) => {
                    self.gateway.metrics.accept_failure(metrics::LOST);
                    tracing::debug!(%error, "connection lost before it was accepted");
                }
            }
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
        let from_balancer = listening.balancers.include(peer.ip());
        // Who comes by a load balancer is counted when it has said who that is.
        let source = (!from_balancer).then(|| Source::of(peer.ip()));
        let seat = self.seats.idlest();
        let placed = self.place(source).and_then(|ticket| match seat.adopt(socket) {
            Ok(socket) => Ok((ticket.at(seat.place()), ClientIo::new(socket))),
            Err(error) => Err(End::Greeting(error.into())),
        });
        let mut record = Record::open(self.gateway.clone(), listening.name.clone(), peer);
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
