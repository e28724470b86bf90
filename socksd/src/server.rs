//! Listeners and signals: where sessions come from, and when they stop coming.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;
use socks_auth::Registry;
use socks_core::ClientIo;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::admission::{Full, SessionLimits, Source, Ticket};
use crate::audit::Agent;
use crate::config::{AdminConfig, Limits};
use crate::forwarded::Awaited;
use crate::gateway::Gateway;
use crate::listeners::{BACKLOG, Listening, Planned};
use crate::log::Log;
use crate::metrics;
use crate::outcome::End;
use crate::reception::Reception;
use crate::record::Record;
use crate::reload::{self, NotReloaded};
use crate::roster::Ending;
use crate::rounds::Rounds;
use crate::session::{Arrival, serve};
use crate::supervisor::Supervisor;
use crate::takeover::{self, Bond, Peer, Successors, Taking};
use crate::workers::Seats;

/// Pause of an accept loop that has no descriptor or memory for another connection.
pub(crate) const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// Pause of an accept loop while records come faster than they are written.
const BEHIND_PAUSE: Duration = Duration::from_millis(10);
/// How often the service manager hears that the gateway is still on its way down.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Descriptors of a session: the client's socket and the target's.
const DESCRIPTORS_PER_SESSION: usize = 2;

/// Where the gateway's files are, for a reload, what it changes beside the policy, and who is told of it.
pub(crate) struct Sources {
    pub(crate) config: PathBuf,
    pub(crate) registry: Registry,
    pub(crate) log: Log,
    pub(crate) reception: Reception,
    pub(crate) supervisor: Arc<Supervisor>,
    /// By which configuration the admin listener was opened.
    pub(crate) admin: Option<AdminConfig>,
    pub(crate) reloading: Mutex<()>,
}

/// What goes from one process to the next.
pub(crate) struct Shift {
    /// The process that this one takes over from.
    pub(crate) taking: Option<Taking>,
    pub(crate) successors: Option<Successors>,
    pub(crate) admin: Option<Arc<Admin>>,
}

impl Shift {
    /// Lets others find this process where they found the other one.
    fn appear(&self) {
        let admin = self.admin.as_deref().map_or(Ok(()), Admin::appear);
        if let Err(error) = admin.and_then(|()| self.successors.as_ref().map_or(Ok(()), Successors::appear)) {
            error!(%error, "the admin or upgrade socket cannot have its place; restart to try again");
        }
    }
}

/// Why no more clients are served.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was to end, or somebody else has taken over.
    Duly,
    /// That process goes on, which was to give its place.
    GivenBack(Arc<Peer>),
}

/// Serves until a signal says stop. SIGHUP reloads configuration and policy, SIGUSR1 opens audit files anew.
pub(crate) async fn run(
    gateway: &Arc<Gateway>,
    listeners: Planned,
    sources: &Arc<Sources>,
    mut shift: Shift,
) -> io::Result<Ended> {
    let (reception, supervisor) = (&sources.reception, &sources.supervisor);
    let reload = signal(SignalKind::hangup())?;
    let mut stop = Stop::listen()?;
    let mut rounds = Rounds::begin(gateway, sources)?;
    let upgrade = signal(SignalKind::user_defined2())?;
    drop(reception.change(listeners));
    let taking = shift.taking.take();
    let mut bond = take_over(taking, gateway, sources, &mut shift).await;
    supervisor.ready(&gateway.in_short());
    let mut successors = shift.successors.as_mut();
    let serve = async {
        let mut ended = Ended::Duly;
        tokio::select! {
            () = stop.told() => {}
            process = given_back(bond.as_mut()) => {
                supervisor.fall_silent();
                ended = Ended::GivenBack(process);
            }
            () = taken(successors.as_deref_mut()) => {
                gateway.drain();
                reception.close().await;
                if stay(gateway, stop.told(), lost(successors)).await {
                    return ended;
                }
            }
        }
        gateway.drain();
        supervisor.stopping();
        reception.close().await;
        drain(gateway, supervisor, stop.told()).await;
        ended
    };
    let ended = tokio::select! {
        ended = serve => ended,
        () = rounds.go_on() => Ended::Duly,
        () = reload_when_told(reload, gateway, sources) => Ended::Duly,
        () = upgrade_when_told(upgrade, sources) => Ended::Duly,
    };
    gateway.stop();
    Ok(ended)
}

/// Says that clients are accepted here; what only one process can have is this one's then.
async fn take_over(
    taking: Option<Taking>,
    gateway: &Arc<Gateway>,
    sources: &Arc<Sources>,
    shift: &mut Shift,
) -> Option<Bond> {
    let Some(taking) = taking else {
        shift.appear();
        return None;
    };
    let (gateway, sources) = (gateway.clone(), sources.clone());
    // Answers are waited for, and this thread accepts.
    let taken = tokio::task::spawn_blocking(move || taking.accepting(&gateway, &sources)).await;
    let bond = taken.inspect_err(|error| error!(%error, "a bug of the gateway's, see above")).ok();
    if bond.as_ref().is_none_or(Bond::holds) {
        shift.appear();
    }
    bond
}

/// Waits until the process that this one has taken over from serves again.
async fn given_back(bond: Option<&mut Bond>) -> Arc<Peer> {
    match bond {
        Some(bond) => bond.given_back().await,
        None => std::future::pending().await,
    }
}

async fn taken(successors: Option<&mut Successors>) {
    match successors {
        Some(successors) => successors.taken().await,
        None => std::future::pending().await,
    }
}

async fn lost(successors: Option<&mut Successors>) {
    match successors {
        Some(successors) => successors.lost().await,
        None => std::future::pending().await,
    }
}

/// Another process serves: keeps the sessions to their end, or to the end of their time. `false`: the gateway was told
/// to stop, or nobody is left by whom an operator would reach them.
async fn stay(gateway: &Gateway, stop: impl Future<Output = ()>, lost: impl Future<Output = ()>) -> bool {
    let upgrade = gateway.snapshot.load().settings.upgrade.as_ref().map(|upgrade| upgrade.timeout);
    let most = upgrade.unwrap_or_default();
    info!(
        sessions = gateway.admission.open(),
        seconds = most.as_secs_f32(),
        "another process has taken over"
    );
    tokio::select! {
        () = gateway.admission.idle_everywhere() => return true,
        () = sleep(most) => {}
        () = stop => return false,
        () = lost => {
            warn!("the process that had taken over is gone: no limit, no reload and no operator would reach the sessions here");
            return false;
        }
    }
    end_all(gateway);
    true
}

/// Starts the program anew with each signal, so that it takes over.
async fn upgrade_when_told(mut told: Signal, sources: &Arc<Sources>) {
    loop {
        told.recv().await;
        if let Err(error) = takeover::start_anew(&sources.config) {
            error!(%error, "the program cannot be started anew");
        }
    }
}

/// The signals that end the gateway.
struct Stop([Signal; 2]);

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]))
    }

    /// Waits for one of them.
    async fn told(&mut self) {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Reloads with each signal, for ever; signals that come during a reload are one.
async fn reload_when_told(mut told: Signal, gateway: &Arc<Gateway>, sources: &Arc<Sources>) {
    loop {
        told.recv().await;
        let (asked, gateway, sources) = (gateway, gateway.clone(), sources.clone());
        // Reading and compiling may take long, and this thread carries sessions.
        let is_reloaded = tokio::task::spawn_blocking(move || reload_by_signal(&gateway, &sources)).await;
        let predecessor = asked.predecessor();
        if let Ok(true) = is_reloaded
            && let Some(predecessor) = predecessor
        {
            predecessor.reload("a signal").await;
        }
        if is_reloaded.is_err() {
            error!("nothing was reloaded: a bug of the gateway's, see above");
        }
    }
}

/// Reloads, or lets the process do it that serves in this one's place: the signal was for the service. That one asks
/// this one in its turn. Tells whether other files are in force here.
fn reload_by_signal(gateway: &Arc<Gateway>, sources: &Sources) -> bool {
    match reload::run_if_serving(gateway, sources, Agent::Signal) {
        Err(NotReloaded::Elsewhere(successor)) => match successor.reload() {
            Ok(()) => {
                info!(process = successor.pid(), "a reload is passed on to the process that serves");
                false
            }
            Err(error) => {
                warn!(process = successor.pid(), %error, "a reload cannot be passed on to the process that took over");
                reload::run(gateway, sources, Agent::Signal).is_ok()
            }
        },
        reloaded => reloaded.is_ok(),
    }
}

/// Lets open sessions come to their end, for a while; `at_once` cuts that short.
async fn drain(gateway: &Gateway, supervisor: &Supervisor, at_once: impl Future<Output = ()>) {
    let most = gateway.snapshot.load().settings.limits.drain_timeout;
    let until = Instant::now() + most;
    info!(sessions = gateway.admission.open(), seconds = most.as_secs_f32(), "stopping");
    tokio::select! {
        () = gateway.admission.idle() => return,
        () = sleep_until(until) => {}
        () = at_once => {}
        () = tell_of_drain(gateway, supervisor, until) => {}
    }
    end_all(gateway);
}

fn end_all(gateway: &Gateway) {
    let left = gateway.roster.list();
    info!(sessions = left.len(), "ending sessions that are still open");
    for live in left {
        live.end(Ending::Drained);
    }
}

/// Tells for ever how many sessions are still open.
async fn tell_of_drain(gateway: &Gateway, supervisor: &Supervisor, until: Instant) {
    let mut tell = interval(TELL_EVERY);
    loop {
        let now = tell.tick().await;
        let (sessions, seconds) = (gateway.admission.open(), until.duration_since(now).as_secs());
        supervisor.still_stopping(&format!("stopping: {sessions} sessions still open, {seconds} s left"));
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
        let ticket = admitted.map_err(|full| {
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
        })?;
        // Once there is a place: who finds none has not begun.
        match source {
            Some(source) => gateway.begin_session_of(source).map(|()| ticket).map_err(End::Full),
            None => Ok(ticket),
        }
    }
}

/// The limits on sessions, as far as there are descriptors for them.
pub(crate) fn session_limits(limits: &Limits, descriptors: usize) -> SessionLimits {
    let by_descriptors = descriptors.saturating_sub(limits.descriptors_kept_free) / DESCRIPTORS_PER_SESSION;
    SessionLimits {
        everywhere: limits.max_sessions,
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
