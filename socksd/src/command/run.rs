//! `socksd run`.

use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socks_auth::Registry;
use socks_core::relay::RelayerOptions;
use tracing::{error, info, warn};

use crate::activation::Activation;
use crate::admin::{Admin, Desk};
use crate::audit::Audit;
use crate::gateway::Gateway;
use crate::listeners::{Given, Listeners, Planned};
use crate::log::Log;
use crate::reception::Reception;
use crate::server::{self, Ended, Intake, Shift, Sources};
use crate::snapshot::{Checked, Snapshot};
use crate::supervisor::Supervisor;
use crate::takeover::{Successors, Taking};
use crate::workers::{self, Workers};

use super::{ConfigArgument, Exit, fail, load, load_again};

/// One pipe is worth having for each so many descriptors.
const DESCRIPTORS_PER_PIPE: usize = 16;
/// One address more may be tried for each so many descriptors.
const DESCRIPTORS_PER_RACE: usize = 128;
/// What the reactor of a thread takes.
const DESCRIPTORS_PER_THREAD: usize = 4;
/// The most addresses that are tried beside the first ones of all targets.
const MOST_RACING: usize = 1024;
/// Time for password hashes that are still running when the gateway stops.
const LAST_TASKS: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigArgument,
    /// Take over from the gateway that serves, by `upgrade.socket`: no client is refused, and it keeps its sessions
    #[arg(long)]
    take_over: bool,
}

/// Reads everything, opens everything, serves, and writes the last records.
pub(super) fn run(run: Run, registry: Registry) -> Result<Exit, Exit> {
    let activation = Activation::take();
    let no_thread = |error| fail(Exit::System, format_args!("no thread to serve sessions: {error}"));
    let runtime = workers::runtime().map_err(no_thread)?;
    let guard = runtime.enter();
    let Run { config: arguments, take_over } = run;
    let (mut snapshot, mut taking, given) = read_and_ask(&arguments, &registry, take_over)?;
    let audit = open_audit(&snapshot)?;
    let (listeners, warnings) = open_listeners(&snapshot, activation, given)?;
    snapshot.entrances = listeners.entrances();
    let log = Log::start(&snapshot.settings.log)
        .map_err(|error| fail(Exit::System, format_args!("no thread for the log: {error}")))?;
    log_panics();
    for warning in warnings {
        warn!("{warning}");
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let Shares { relay, racing, sessions: descriptors } = Shares::of(raise_descriptors(), threads);
    let sessions = server::session_limits(&snapshot.settings.limits, descriptors).total;
    info!(sessions, rules = snapshot.ruleset.rule_count(), "starting");
    tell_of_room(sessions, descriptors, snapshot.settings.limits.max_sessions);
    let gateway = Arc::new(Gateway::new(snapshot, audit, &relay, racing));
    if let (Some(quotas), None) = (&gateway.snapshot.load().settings.quotas, &taking) {
        // Who takes over hears it from the one that serves, which knows more.
        gateway.quotas.load(&quotas.file, &gateway.accounts);
    }
    let workers = Workers::start(&runtime, threads, LAST_TASKS).map_err(no_thread)?;
    let intake = Intake { gateway: gateway.clone(), seats: workers.seats(), descriptors };
    let reception = Reception::new(intake, runtime.handle().clone());
    let supervisor = Arc::new(supervisor());
    runtime.spawn(supervisor.clone().watch(workers.seats()));
    let sources = Arc::new(Sources {
        config: arguments.config,
        registry,
        log,
        reception,
        supervisor,
        admin: gateway.snapshot.load().settings.admin.clone(),
        reloading: Mutex::default(),
    });
    let admin = open_admin(&gateway, &sources, taking.as_mut())?;
    let successors = open_upgrade(&gateway, &sources, admin.clone())?;
    drop(guard);
    if let Some(taking) = &mut taking {
        taking.ready(&gateway).map_err(|error| fail(Exit::Unavailable, error))?;
    }
    gateway.tell_of_start();
    let shift = Shift { taking, successors, admin: admin.clone() };
    let served = runtime.block_on(server::run(&gateway, listeners, &sources, shift));
    // Each session that is dropped here writes its end record.
    workers.stop();
    runtime.shutdown_timeout(LAST_TASKS);
    write_last(&gateway, admin, &sources.log);
    match served {
        Ok(Ended::Duly) => Ok(Exit::Done),
        Ok(Ended::GivenBack(process)) => {
            let text = format_args!("process {} goes on serving in this one's place", process.pid());
            Err(fail(Exit::Unavailable, text))
        }
        Err(error) => Err(fail(Exit::System, format_args!("signals: {error}"))),
    }
}

/// Reads everything, and asks the gateway that serves for its sockets, if that is wanted.
fn read_and_ask(
    arguments: &ConfigArgument,
    registry: &Registry,
    take_over: bool,
) -> Result<(Snapshot, Option<Taking>, Vec<Given>), Exit> {
    let Checked { snapshot, .. } = load(arguments, registry)?;
    let (taking, given) = begin_taking(&snapshot, take_over)?;
    // What was read behind the offer is never older than what the other one serves by: it looks whether it has reloaded
    // since.
    let snapshot = if taking.is_some() { load_again(arguments, registry)?.snapshot } else { snapshot };
    Ok((snapshot, taking, given))
}

/// Writes what is known only at the end.
fn write_last(gateway: &Gateway, admin: Option<Arc<Admin>>, log: &Log) {
    gateway.save_quotas();
    gateway.refusals.flush(&gateway.audit);
    drop(admin);
    gateway.tell_of_stop();
    gateway.audit.close();
    info!("stopped");
    log.tell_of_losses();
    log.close();
}

/// Says if there are descriptors for fewer sessions than wanted.
fn tell_of_room(sessions: usize, descriptors: usize, wanted: usize) {
    if sessions == 0 {
        error!(
            descriptors,
            "the limit of open files leaves no room for a session; raise it, or lower `descriptors-kept-free`"
        );
    } else if sessions < wanted {
        info!(sessions, "fewer sessions than `max-sessions`: the limit of open files allows no more");
    }
}

/// A gateway that cannot say how it does is better than none.
fn supervisor() -> Supervisor {
    Supervisor::from_environment().unwrap_or_else(|error| {
        warn!(%error, "the service manager cannot be told how the gateway does");
        Supervisor::default()
    })
}

fn open_audit(snapshot: &Snapshot) -> Result<Audit, Exit> {
    Audit::open(&snapshot.settings.audit).map_err(|error| fail(Exit::Config, error))
}

/// Opens what the service manager has not opened already; beside it, what is odd about what it has.
fn open_listeners(
    snapshot: &Snapshot,
    activation: Activation,
    taken_over: Vec<Given>,
) -> Result<(Planned, Vec<String>), Exit> {
    let wanted = &snapshot.listeners;
    activation.check(wanted).map_err(|error| fail(Exit::Config, error))?;
    let Activation { sockets, mut warnings } = activation;
    let given = Listeners::given(wanted, sockets);
    let (given, unused) = given
        .map_err(|error| fail(Exit::Unavailable, format_args!("sockets of the service manager: {error}")))?;
    warnings.extend(unused.iter().map(|address| {
        format!("the service manager listens on `{address}` for a listener that socksd.yaml does not have; the socket is closed")
    }));
    let (taken_over, left) =
        Listeners::given(wanted, taken_over).map_err(|error| fail(Exit::Unavailable, error))?;
    warnings.extend(
        left.iter()
            .map(|address| format!("`{address}` is no longer listened on: socksd.yaml does not have it")),
    );
    let planned = given.and(taken_over).plan(wanted).map_err(|error| fail(Exit::Unavailable, error))?;
    Ok((planned, warnings))
}

/// Asks the gateway that serves for its sockets, if that is wanted and there is one.
fn begin_taking(snapshot: &Snapshot, take_over: bool) -> Result<(Option<Taking>, Vec<Given>), Exit> {
    if !take_over {
        return Ok((None, Vec::new()));
    }
    let config = snapshot.settings.upgrade.as_ref();
    let config = config
        .ok_or_else(|| fail(Exit::Config, "`--take-over` needs `upgrade.socket` in the configuration"))?;
    let begun = Taking::begin(config).map_err(|error| fail(Exit::Unavailable, error))?;
    let (taking, given) = begun.unzip();
    Ok((taking, given.unwrap_or_default()))
}

fn open_upgrade(
    gateway: &Arc<Gateway>,
    sources: &Arc<Sources>,
    admin: Option<Arc<Admin>>,
) -> Result<Option<Successors>, Exit> {
    let snapshot = gateway.snapshot.load();
    let Some(config) = &snapshot.settings.upgrade else { return Ok(None) };
    let opened = Successors::wait(config, gateway, sources, admin);
    let failed = |error| {
        fail(Exit::Unavailable, format_args!("upgrade socket `{}`: {error}", config.socket.display()))
    };
    opened.map(Some).map_err(failed)
}

fn open_admin(
    gateway: &Arc<Gateway>,
    sources: &Arc<Sources>,
    taking: Option<&mut Taking>,
) -> Result<Option<Arc<Admin>>, Exit> {
    let Some(config) = &sources.admin else { return Ok(None) };
    let desk = Desk::new(gateway.clone(), sources.clone());
    let started = match taking {
        Some(taking) => Admin::start_beside(config, desk, taking.take_http()),
        None => Admin::start(config, desk),
    };
    started.map(|admin| Some(Arc::new(admin))).map_err(|error| fail(Exit::Unavailable, error))
}

/// What the descriptors are for: a small limit means few pipes and few races.
struct Shares {
    relay: RelayerOptions,
    /// Addresses that are tried beside the first one of a target, in all.
    racing: usize,
    sessions: usize,
}

impl Shares {
    fn of(all: usize, threads: usize) -> Self {
        let mut relay = RelayerOptions::default();
        relay.pipes = relay.pipes.min(all / DESCRIPTORS_PER_PIPE);
        let racing = (all / DESCRIPTORS_PER_RACE).min(MOST_RACING);
        let sessions = all.saturating_sub(relay.descriptors() + racing + threads * DESCRIPTORS_PER_THREAD);
        Self { relay, racing, sessions }
    }
}

/// Raises the limit of open files as far as the system lets us, and tells how far that is.
fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    if limit.current != hard
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })
    {
        warn!(%error, "descriptor limit cannot be raised");
    }
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}

/// One session's bug ends that session; it must not go by unseen.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = panic.payload_as_str().unwrap_or("no text");
        error!(place, text, "panic");
    }));
}
