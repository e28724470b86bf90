//! What an operator does to the running gateway. Each act leaves a record that says who did it.

use std::sync::Arc;

use tracing::info;

use crate::audit::{Agent, Event};
use crate::reload::{self, Reloaded};
use crate::roster::Ending;

use super::Desk;
use super::access::Caller;
use super::rows::Filter;

/// What somebody did.
struct Act<'a> {
    name: &'static str,
    about: Option<&'a str>,
    result: String,
}

impl Desk {
    /// Ends the session of that number; `false`: there is none.
    pub(super) fn end_one(&self, session: &str, caller: &Caller) -> bool {
        let live = self.gateway.roster.list().into_iter().find(|live| live.id.to_string() == session);
        let is_ended = live.is_some_and(|live| live.end(killed(caller)));
        let result = if is_ended { "ended" } else { "no such session" };
        self.note(caller, Act { name: "end-session", about: Some(session), result: result.to_owned() });
        is_ended
    }

    /// Ends all sessions that are meant, and tells how many there were.
    ///
    /// # Errors
    /// When it is not clear which are meant.
    pub(super) fn end_all(&self, filter: &Filter, caller: &Caller) -> Result<usize, String> {
        if filter.is_empty() {
            return Err("say which: `identity`, `rule` or `source`".into());
        }
        let is_meant = filter.test()?;
        let all = self.gateway.roster.list();
        let ended = all.iter().filter(|live| is_meant(live) && live.end(killed(caller))).count();
        let about = serde_json::to_string(filter).unwrap_or_default();
        self.note(
            caller,
            Act { name: "end-sessions", about: Some(&about), result: format!("{ended} ended") },
        );
        Ok(ended)
    }

    /// Reads all files anew. It may take long: not for a reactor.
    ///
    /// # Errors
    /// All mistakes, if there is one; nothing has changed then.
    pub(super) fn reload(&self, caller: &Caller) -> Result<Reloaded, String> {
        let reloaded = reload::run(&self.gateway, &self.sources, Agent::Admin { who: &caller.name });
        let result = match &reloaded {
            Ok(reloaded) => format!("policy {} is in force", reloaded.policy),
            Err(_) => "nothing was reloaded".to_owned(),
        };
        self.note(caller, Act { name: "reload", about: None, result });
        reloaded
    }

    fn note(&self, caller: &Caller, act: Act<'_>) {
        let Act { name, about, result } = act;
        info!(who = %caller.name, act = name, about, result, "admin");
        self.gateway.audit.tell(&Event::Admin { who: &caller.name, act: name, about, result: &result });
    }
}

fn killed(caller: &Caller) -> Ending {
    Ending::Killed { by: Arc::clone(&caller.name) }
}
