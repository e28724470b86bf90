//! What an operator does to the running gateway. Each act leaves a record that says who did it.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::audit::{Agent, Event};
use crate::preview::Preview;
use crate::reload::{self, NotReloaded, Reloaded};
use crate::roster::Ending;

use super::Desk;
use super::access::Caller;
use super::refused;
use super::rows::{Filter, LockFilter};

/// Octets of what somebody asked for, in a record.
const MOST_ABOUT: usize = 256;

/// What somebody did.
struct Act<'a> {
    name: &'static str,
    about: Option<&'a str>,
    result: String,
}

impl Desk {
    /// Ends the session of that number; `false`: there is none.
    pub(super) fn end_one(&self, session: &str, caller: &Caller) -> bool {
        let live = session.parse().ok().and_then(|id| self.gateway.roster.find(id));
        let is_ended = live.is_some_and(|live| live.end(killed(caller)));
        let result = if is_ended { "ended" } else { "no such session" };
        self.note(
            &caller.name,
            Act { name: "end-session", about: Some(&cut(session)), result: result.to_owned() },
        );
        is_ended
    }

    /// Ends all sessions that are meant, and tells how many there were.
    ///
    /// # Errors
    /// When it is not clear which are meant.
    pub(super) fn end_all(&self, filter: &Filter, caller: &Caller) -> Result<usize, String> {
        let is_meant = match filter.is_empty() {
            true => Err("say which: `identity`, `rule` or `source`".into()),
            false => filter.test(),
        };
        let is_meant = is_meant.inspect_err(|why| {
            let result = format!("refused: {why}");
            self.note(&caller.name, Act { name: "end-sessions", about: None, result });
        })?;
        let mut ended = 0;
        self.gateway.roster.for_each(|live| {
            let is_one = is_meant(live, &live.facts());
            ended += usize::from(is_one && live.end(killed(caller)));
        });
        let about = serde_json::to_string(filter).unwrap_or_default();
        let result = format!("{ended} ended");
        self.note(&caller.name, Act { name: "end-sessions", about: Some(&cut(&about)), result });
        Ok(ended)
    }

    /// Forgets the failed logins that are meant, which lifts their locks, and tells how many pairs of a name and a source
    /// there were.
    ///
    /// # Errors
    /// When it is not clear which are meant.
    pub(super) fn unlock(&self, filter: &LockFilter, caller: &Caller) -> Result<usize, String> {
        let source = match filter.is_empty() {
            true => Err("say which: `name` or `source`".into()),
            false => filter.source(),
        };
        let source = source.inspect_err(|why| {
            let result = format!("refused: {why}");
            self.note(&caller.name, Act { name: "unlock", about: None, result });
        })?;
        let lifted = self.gateway.logins.lift(filter.name.as_deref(), source);
        let about = serde_json::to_string(filter).unwrap_or_default();
        let result = format!("{lifted} lifted");
        self.note(&caller.name, Act { name: "unlock", about: Some(&cut(&about)), result });
        Ok(lifted)
    }

    /// Reads all files anew. It may take long: not for a reactor.
    ///
    /// # Errors
    /// All mistakes, if there is one, or which process is to be asked; nothing has changed then.
    pub(super) fn reload(&self, caller: &Caller) -> Result<Reloaded, NotReloaded> {
        let by = Agent::Admin { who: &caller.name };
        let reloaded = match caller.is_passed_on {
            true => reload::run(&self.gateway, &self.sources, by).map_err(NotReloaded::Mistaken),
            false => reload::run_if_serving(&self.gateway, &self.sources, by),
        };
        let result = match &reloaded {
            Ok(reloaded) => format!("policy {} is in force", reloaded.policy),
            Err(NotReloaded::Mistaken(_)) => "nothing was reloaded".to_owned(),
            Err(NotReloaded::Elsewhere(process)) => format!("refused: process {} serves", process.pid()),
        };
        self.note(&caller.name, Act { name: "reload", about: None, result });
        reloaded
    }

    /// Tells what a reload would change. It may take long: not for a reactor.
    ///
    /// # Errors
    /// All mistakes, as a reload would tell them.
    pub(super) fn preview(&self, caller: &Caller) -> Result<Preview, String> {
        let preview = reload::preview(&self.gateway, &self.sources);
        let result = if preview.is_ok() { "told" } else { "a reload would be refused" };
        self.note(&caller.name, Act { name: "preview-reload", about: None, result: result.to_owned() });
        preview
    }

    /// Leaves a record of what somebody wanted and may not, unless there are too many of them.
    pub(super) fn refuse(&self, who: &str, path: &str, why: &str) {
        if self.refused.count() {
            let result = format!("refused: {why}");
            self.note(who, Act { name: act_of(path), about: Some(&cut(path)), result });
        }
    }

    /// Tells of those without a record, for ever.
    pub(super) async fn tell_of_refused_acts(&self) {
        let mut ticks = interval(refused::INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell_of_more_refused_acts();
        }
    }

    /// Tells of those that have come since that was done last.
    pub(super) fn tell_of_more_refused_acts(&self) {
        let more = self.refused.next_interval();
        if more > 0 {
            let result = format!("refused: {more} more");
            self.note("several", Act { name: "other", about: None, result });
        }
    }

    fn note(&self, who: &str, act: Act<'_>) {
        let Act { name, about, result } = act;
        info!(who, act = name, about, result, "admin");
        self.gateway.audit.tell(&Event::Admin { who, act: name, about, result: &result });
    }
}

/// The record's word for what is asked for by this path.
fn act_of(path: &str) -> &'static str {
    match path.strip_prefix("/api/") {
        Some("reload") => "reload",
        Some("reload/preview") => "preview-reload",
        Some("sessions/end") => "end-sessions",
        Some("logins/unlock") => "unlock",
        Some(path) if path.starts_with("sessions/") && path.ends_with("/end") => "end-session",
        _ => "other",
    }
}

/// What somebody sent, fit for a record.
fn cut(text: &str) -> String {
    let mut cut = text.escape_debug().to_string();
    if cut.len() > MOST_ABOUT {
        cut.truncate(cut.floor_char_boundary(MOST_ABOUT));
        cut.push('…');
    }
    cut
}

fn killed(caller: &Caller) -> Ending {
    Ending::Killed { by: Arc::clone(&caller.name) }
}
