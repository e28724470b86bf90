//! `socksd doctor`: what Kerberos needs on this machine, checked piece by piece, each finding with its remedy.

mod centre;
mod finding;
mod host;
mod keytab;
mod profile;
mod replay;

use std::path::Path;
use std::sync::Arc;

use rustix::process::geteuid;
use socks_auth::BuildContext;
use socks_config::{Document, Findings};
use socks_gssapi::{Acceptor, Options, Rules, Spnego};
use tokio::runtime::Runtime;

use self::finding::{Answer, Report};
use self::profile::Profile;
use super::screen::{Screen, say_json};
use super::{ConfigArgument, Exit, fail, say};
use crate::config::Config;
use crate::resolve::Resolver;

/// What the operator asks for.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    config: ConfigArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The options of one `gssapi` entry, with the paths that they mean.
struct Entry {
    name: Arc<str>,
    options: Options,
    rules: Rules,
}

impl Doctor {
    pub(super) fn run(&self) -> Result<Exit, Exit> {
        let entries = self.entries().map_err(|findings| fail(Exit::Config, findings))?;
        let runtime =
            Runtime::new().map_err(|error| fail(Exit::System, format_args!("no runtime: {error}")))?;
        let (resolver, warning) = {
            let _guard = runtime.enter();
            Resolver::from_system().map_err(|error| fail(Exit::System, format_args!("resolver: {error}")))?
        };
        let mut answer = Answer::default();
        if let Some(text) = warning {
            answer.about("system").warning("resolver", text, "see to /etc/resolv.conf");
        }
        for entry in &entries {
            let mut report = answer.about(&entry.name);
            runtime.block_on(examine(entry, &resolver, &mut report));
        }
        if entries.is_empty() {
            let text = "no `auth` entry is of the kind `gssapi`: there is nothing to check";
            answer.about("auth").note("no-gssapi", text, "");
        }
        self.show(&answer)
    }

    /// The `gssapi` entries of the configuration; the policy is left to `socksd check`.
    fn entries(&self) -> Result<Vec<Entry>, Findings> {
        let document = Document::read(&self.config.config)?;
        let base = self.config.config.parent().unwrap_or(Path::new("."));
        let mut findings = Findings::default();
        let config = Config::read(&document, base, &mut findings);
        let mut entries = Vec::new();
        for auth in &config.auth {
            if findings.note(auth.kind.text()) != Some("gssapi") {
                continue;
            }
            let Some(node) = auth.options else {
                findings.mistake(&auth.kind.place, "`options` with a `keytab` are missing");
                continue;
            };
            if let Some(options) = findings.note(node.read::<Options>()) {
                entries.push(Entry::new(auth.name.clone(), options, base));
            }
        }
        if findings.has_mistakes() { Err(findings) } else { Ok(entries) }
    }

    fn show(&self, answer: &Answer) -> Result<Exit, Exit> {
        if self.json {
            say_json(answer)?;
        } else {
            say(Screen::output().paint_heads(&answer.to_string(), finding::mood));
        }
        Ok(if answer.has_mistakes() { Exit::No } else { Exit::Done })
    }
}

impl Entry {
    fn new(name: Arc<str>, options: Options, base: &Path) -> Self {
        let context = BuildContext::new(name.clone(), base, None);
        let replay_cache = replay::placed(&options.replay_cache, &context);
        let spnego = if options.spnego { Spnego::Accept } else { Spnego::Refuse };
        let rules = Rules { replay_cache, spnego, ..Rules::new(context.path(&options.keytab)) };
        Self { name, options, rules }
    }
}

async fn examine(entry: &Entry, resolver: &Resolver, report: &mut Report<'_>) {
    user(report);
    let profile = Profile::from_system();
    profile.examine(report);
    let keys = keytab::examine(entry, &profile, report);
    if let Some(keys) = &keys {
        credential(entry, report);
        host::examine(keys, resolver, report).await;
        centre::examine(keys, &profile, resolver, report).await;
    }
    replay::examine(&entry.rules.replay_cache, &profile, report);
}

/// What root may do says nothing about the gateway's user.
fn user(report: &mut Report<'_>) {
    let user = geteuid();
    if user.is_root() {
        let text = "this check runs as root, who may read and write more than the gateway's own user";
        report.note("user", text, "run it as that user, for example with `runuser -u socksd --`");
    } else {
        report.ok("user", format!("this check runs as user {}", user.as_raw()));
    }
}

/// Whether the library can use the keytab.
fn credential(entry: &Entry, report: &mut Report<'_>) {
    match Acceptor::acquire(Arc::new(entry.rules.clone())) {
        Ok(_) => report.ok("credential", "credential can be acquired"),
        Err(diagnosis) => {
            report.mistake("credential", diagnosis.to_string(), diagnosis.remedy());
        }
    }
}
