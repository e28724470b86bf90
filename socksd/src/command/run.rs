//! `socksd run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socks_auth::Registry;
use socks_core::relay::RelayerOptions;
use tokio::runtime::Runtime;
use tracing::{error, info, warn};

use crate::audit::Audit;
use crate::gateway::Gateway;
use crate::server::{self, Listening, Sources};
use crate::snapshot::{Checked, Snapshot};

use super::{ConfigArgument, Exit, fail, load};

/// One pipe is worth having for each so many descriptors.
const DESCRIPTORS_PER_PIPE: usize = 16;
/// Time for password hashes that are still running when the gateway stops.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// Reads everything, opens everything, serves, and writes the last records.
pub(super) fn run(config: PathBuf, registry: Registry) -> Result<Exit, Exit> {
    let runtime = Runtime::new().map_err(|error| fail(Exit::System, format_args!("no runtime: {error}")))?;
    let guard = runtime.enter();
    let arguments = ConfigArgument { config };
    let Checked { snapshot, .. } = load(&arguments, &registry)?;
    let audit = open_audit(&snapshot)?;
    let listening = open_listeners(&snapshot)?;
    let log = crate::log::start(&snapshot.settings.log);
    log_panics();
    let (relay, descriptors) = share_descriptors(raise_descriptors());
    let sessions = server::session_limits(&snapshot.settings.limits, descriptors).total;
    info!(sessions, rules = snapshot.ruleset.rule_count(), "starting");
    if sessions == 0 {
        error!(
            descriptors,
            "the limit of open files leaves no room for a session; raise it, or lower `descriptors-kept-free`"
        );
    } else if sessions < snapshot.settings.limits.max_sessions {
        info!(sessions, "fewer sessions than `max-sessions`: the limit of open files allows no more");
    }
    let gateway = Arc::new(Gateway::new(snapshot, audit, &relay));
    let sources = Sources { config: arguments.config, registry };
    drop(guard);
    let served = runtime.block_on(server::run(gateway.clone(), listening, descriptors, sources));
    // Each session that is dropped here writes its end record.
    runtime.shutdown_timeout(LAST_TASKS);
    gateway.refusals.flush(&gateway.audit);
    gateway.audit.close();
    info!("stopped");
    drop(log);
    served.map(|()| Exit::Done).map_err(|error| fail(Exit::System, format_args!("signals: {error}")))
}

fn open_audit(snapshot: &Snapshot) -> Result<Audit, Exit> {
    let Some(path) = &snapshot.settings.audit.file else { return Ok(Audit::off()) };
    Audit::open(path)
        .map_err(|error| fail(Exit::Config, format_args!("audit file `{}`: {error}", path.display())))
}

fn open_listeners(snapshot: &Snapshot) -> Result<Vec<Listening>, Exit> {
    let listeners = &snapshot.listeners;
    let mut listening = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let port = listener.address.port();
        let alone = port == 0 || listeners.iter().filter(|other| other.address.port() == port).count() == 1;
        match Listening::open(listener, alone) {
            Ok(open) => listening.push(open),
            Err(error) => {
                let text = format_args!("cannot listen on `{}`: {error}", listener.address);
                return Err(fail(Exit::Unavailable, text));
            }
        }
    }
    Ok(listening)
}

/// Divides the descriptors between the relay's pipes and the sessions: a small limit means few pipes.
fn share_descriptors(all: usize) -> (RelayerOptions, usize) {
    let mut relay = RelayerOptions::default();
    relay.pipes = relay.pipes.min(all / DESCRIPTORS_PER_PIPE);
    let rest = all.saturating_sub(relay.descriptors());
    (relay, rest)
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
