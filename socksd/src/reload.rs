//! Reading everything anew while the gateway runs: all of it comes into force, or nothing.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::audit::{self, Agent, Event, ReloadResult};
use crate::config::{AdminConfig, Settings};
use crate::gateway::Gateway;
use crate::listeners::Planned;
use crate::preview::Preview;
use crate::rejudge::{self, Swept};
use crate::server::Sources;
use crate::snapshot::Snapshot;
use crate::takeover::Peer;

/// For the sockets of listeners that are gone.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

/// What a reload has brought.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// The generation of the policy that is in force now.
    pub(crate) policy: u64,
    pub(crate) warnings: Vec<String>,
    /// What has become of the open sessions.
    pub(crate) sessions: Swept,
}

/// Why nothing was reloaded.
#[derive(Debug)]
pub(crate) enum NotReloaded {
    /// All mistakes, as the log has them.
    Mistaken(String),
    /// That process serves, and is to be asked: this one alone would change nothing for new clients.
    Elsewhere(Arc<Peer>),
}

/// Reads everything anew and swaps it in one step; a file with any mistake changes nothing. While another process takes
/// over this waits, and is that one's affair then.
///
/// # Errors
/// Why nothing has changed.
pub(crate) fn run_if_serving(
    gateway: &Arc<Gateway>,
    sources: &Sources,
    by: Agent<'_>,
) -> Result<Reloaded, NotReloaded> {
    let _alone = sources.reloading.lock().unwrap_or_else(PoisonError::into_inner);
    match gateway.successor() {
        Some(successor) => Err(NotReloaded::Elsewhere(successor)),
        None => run_alone(gateway, sources, by).map_err(NotReloaded::Mistaken),
    }
}

/// The same wherever new clients are served: the one who serves them has reloaded, or is gone.
///
/// # Errors
/// All mistakes, as the log has them.
pub(crate) fn run(gateway: &Arc<Gateway>, sources: &Sources, by: Agent<'_>) -> Result<Reloaded, String> {
    let _alone = sources.reloading.lock().unwrap_or_else(PoisonError::into_inner);
    run_alone(gateway, sources, by)
}

/// One after the other: each builds on what the one before has left.
fn run_alone(gateway: &Arc<Gateway>, sources: &Sources, by: Agent<'_>) -> Result<Reloaded, String> {
    let tells = gateway.is_serving();
    if tells {
        sources.supervisor.reloading();
    }
    let reloaded = replace(gateway, sources);
    let (result, warnings, detail) = match &reloaded {
        Ok(reloaded) => (ReloadResult::Applied, reloaded.warnings.len(), None),
        Err(why) => (ReloadResult::Refused, 0, why.lines().find(|line| !line.trim().is_empty())),
    };
    if tells {
        sources.supervisor.reloaded(detail, &gateway.in_short());
    }
    let policy = gateway.snapshot.load().ruleset.generation();
    gateway.audit.tell(&Event::Reload { by, result, policy, warnings, detail });
    gateway.last_reload.note(by, result, reloaded.as_ref().err().map(String::as_str));
    reloaded
}

/// Reads everything anew, and tells what a reload would change. Nothing is.
///
/// It does not try whether new targets for records can be opened: that might make a file.
///
/// # Errors
/// All mistakes, as a reload would tell them.
pub(crate) fn preview(gateway: &Gateway, sources: &Sources) -> Result<Preview, String> {
    let _alone = sources.reloading.lock().unwrap_or_else(PoisonError::into_inner);
    let before = gateway.snapshot.load_full();
    let mut snapshot = read(sources, &before)?;
    snapshot.entrances =
        sources.reception.try_plan(&snapshot.listeners).map_err(|error| error.to_string())?;
    Ok(Preview::of(gateway, &before, &snapshot))
}

/// All that is needed to go on with other files; nothing of it is in force.
struct Prepared {
    snapshot: Snapshot,
    audit: audit::Prepared,
    listeners: Planned,
}

fn replace(gateway: &Arc<Gateway>, sources: &Sources) -> Result<Reloaded, String> {
    let before = gateway.snapshot.load_full();
    let prepared = prepare(gateway, sources, &before);
    gateway.metrics.reload(prepared.is_ok());
    let Prepared { snapshot, audit, listeners } =
        prepared.inspect_err(|why| error!("nothing was reloaded: {why}"))?;
    if snapshot.settings.log != before.settings.log {
        sources.log.change(&snapshot.settings.log);
    }
    let warnings = snapshot.warnings.clone();
    for warning in &warnings {
        warn!("{warning}");
    }
    let policy = snapshot.ruleset.generation();
    gateway.audit.change(audit);
    gateway.snapshot.store(Arc::new(snapshot));
    if !sources.reception.change(listeners).wait(CLOSING_TIMEOUT) {
        warn!("the ports of removed listeners are still to be closed");
    }
    // Said only now: who reads it may count on the new policy.
    info!(policy, "reloaded");
    let sessions = rejudge::sweep(gateway);
    Ok(Reloaded { policy, warnings, sessions })
}

/// Reads, checks and opens everything. What is opened comes last: as long as something is wrong, nobody is let in.
fn prepare(gateway: &Gateway, sources: &Sources, before: &Snapshot) -> Result<Prepared, String> {
    let mut snapshot = read(sources, before)?;
    let audit = gateway.audit.prepare(&snapshot.settings.audit).map_err(|error| error.to_string())?;
    let listeners = sources.reception.plan(&snapshot.listeners).map_err(|error| error.to_string())?;
    snapshot.entrances = listeners.entrances();
    Ok(Prepared { snapshot, audit, listeners })
}

fn read(sources: &Sources, before: &Snapshot) -> Result<Snapshot, String> {
    let checked = Snapshot::load(&sources.config, &sources.registry, Some(before));
    let mut snapshot = checked.map_err(|findings| findings.to_string())?.snapshot;
    snapshot.warnings.extend(needs_restart(sources, &snapshot.settings));
    let upgrade = |settings: &Settings| settings.upgrade.as_ref().map(|upgrade| upgrade.socket.clone());
    if upgrade(&snapshot.settings) != upgrade(&before.settings) {
        let text = "`upgrade.socket` has changed, which takes a restart; everything else is in force";
        snapshot.warnings.push(text.into());
    }
    Ok(snapshot)
}

/// Where the admin listener listens is read only once; who may come there is not.
fn needs_restart(sources: &Sources, now: &Settings) -> Option<String> {
    let place = |config: &Option<AdminConfig>| {
        config.as_ref().map(|config| (config.socket.clone(), config.mode, config.http))
    };
    let text = match (&sources.admin, &now.admin) {
        (opened, now) if place(opened) == place(now) => return None,
        (Some(_), None) => {
            "`admin` is gone, and its listener stays for root and the gateway's own user until a restart"
        }
        _ => {
            "`admin` listens elsewhere (`socket`, `mode`, `http`) only after a restart; everything else is in force"
        }
    };
    Some(text.to_owned())
}
