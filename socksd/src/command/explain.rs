//! `socksd policy explain`: who, from where, what; and the policy's answer, rule by rule.

use std::net::SocketAddr;

use socks_auth::Registry;
use socks_core::Identity;
use tokio::runtime::Runtime;

use crate::explain::{Answer, Question};
use crate::gateway::own_addresses;

use super::screen::{Mood, Screen, say_json};
use super::{ConfigArgument, Exit, fail, load, say};

/// What the operator asks about.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    config: ConfigArgument,
    #[command(flatten)]
    question: Question,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self, registry: &Registry) -> Result<Exit, Exit> {
        let runtime =
            Runtime::new().map_err(|error| fail(Exit::System, format_args!("no runtime: {error}")))?;
        let _guard = runtime.enter();
        let snapshot = load(&self.config, registry)?.snapshot;
        let listening: Vec<SocketAddr> = snapshot.listeners.iter().map(|listener| listener.address).collect();
        let own = own_addresses(&listening)
            .map_err(|error| fail(Exit::System, format_args!("addresses of this machine: {error}")))?;
        let answer = self.question.answer(&snapshot, &own, runtime.handle());
        let (identity, answer) = answer.map_err(|text| fail(Exit::Usage, text))?;
        self.show(&identity, &answer)
    }

    fn show(&self, identity: &Identity, answer: &Answer) -> Result<Exit, Exit> {
        if self.json {
            say_json(answer)?;
            return Ok(Exit::Done);
        }
        let Question { from, command, to, .. } = &self.question;
        match (to, command.as_str()) {
            (Some(to), "bind") => {
                say(format_args!("`{identity}` from {from} asks for `bind` and expects `{to}`"));
            }
            (Some(to), _) => say(format_args!("`{identity}` from {from} asks for `{command}` to `{to}`")),
            (None, _) => say(format_args!("`{identity}` from {from} asks for `{command}`")),
        }
        say(Screen::output().paint_heads(&answer.to_string(), mood));
        Ok(Exit::Done)
    }
}

/// What a line that begins with that word says.
fn mood(word: &str, rest: &str) -> Option<Mood> {
    (word == "verdict").then(|| match () {
        () if rest.starts_with(": permitted") => Mood::Good,
        () if rest.starts_with(": denied") => Mood::Bad,
        () => Mood::Note,
    })
}
