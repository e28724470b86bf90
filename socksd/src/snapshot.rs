//! Everything that a reload replaces, read and checked as one piece.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use socks_auth::{Authenticator, BuildContext, Registry};
use socks_config::{Document, Finding, Findings, Severity};
use socks_policy::{Loaded, Ruleset};

use crate::config::{AuthEntry, Config, Listener, PolicyFile, Settings};
use crate::judgement::Policy;
use crate::listeners::Entrance;
use crate::policy_file::Names;
use crate::preview::Outline;
use crate::resolve::Resolver;
use crate::roster::Live;
use crate::shadow::Shadow;
use crate::upstream::Upstream;

/// A configuration without a mistake, with its authenticators and its policy.
pub(crate) struct Snapshot {
    pub(crate) listeners: Vec<Arc<Listener>>,
    /// Their sockets, once they are open.
    pub(crate) entrances: Vec<Entrance>,
    pub(crate) settings: Settings,
    pub(crate) ruleset: Ruleset,
    /// The policy on trial beside it.
    pub(crate) shadow: Option<Shadow>,
    pub(crate) resolver: Resolver,
    /// When its files were read.
    pub(crate) loaded: Timestamp,
    /// What the operator should know of it.
    pub(crate) warnings: Vec<String>,
    /// What the configuration says.
    pub(crate) outline: Outline,
    upstreams: Vec<Upstream>,
    authenticators: Vec<(Arc<str>, Arc<dyn Authenticator>)>,
}

/// A snapshot with what the operator should know of it.
pub(crate) struct Checked {
    pub(crate) snapshot: Snapshot,
    pub(crate) warnings: Findings,
}

impl Snapshot {
    /// Reads, builds, compiles and tests all that the file at `path` names.
    ///
    /// # Errors
    /// All mistakes of all files together, with the warnings between them.
    pub(crate) fn load(
        path: &Path,
        registry: &Registry,
        previous: Option<&Self>,
    ) -> Result<Checked, Findings> {
        let document = Document::read(path)?;
        let base = path.parent().unwrap_or(Path::new("."));
        let mut findings = Findings::default();
        let config = Config::read(&document, base, &mut findings);
        let authenticators: Vec<(Arc<str>, Arc<dyn Authenticator>)> = config
            .auth
            .iter()
            .filter_map(|entry| {
                let before = previous.and_then(|snapshot| snapshot.authenticator(&entry.name)).cloned();
                let context = BuildContext::new(entry.name.clone(), base, before);
                build(entry, registry, &context, &mut findings)
            })
            .collect();
        let upstreams = config.upstreams.iter();
        let upstreams: Vec<_> =
            upstreams.filter_map(|entry| Upstream::build(entry, base, &mut findings)).collect();
        let generation = previous.map_or(0, |snapshot| snapshot.ruleset.generation()) + 1;
        let ruleset = config.policy.as_ref().and_then(|policy| load_policy(policy, &config, &mut findings));
        let shadow = config.shadow_policy.as_ref().and_then(|policy| {
            if config.policy.as_ref().is_some_and(|own| own.path == policy.path) {
                findings.warning(&policy.node.place, "this is the policy in force: the two never differ");
            }
            let ruleset = load_policy(policy, &config, &mut findings)?.with_generation(generation);
            Some(Shadow::new(Policy::new(ruleset, &authenticators), policy.path.clone()))
        });
        if let Some(ruleset) = &ruleset {
            warn_of_risks(ruleset, &authenticators, &config, &mut findings);
        }
        let resolver = resolver(&mut findings);
        findings.sort();
        match (ruleset, resolver) {
            (Some(ruleset), Some(resolver)) if !findings.has_mistakes() => Ok(Checked {
                snapshot: Self {
                    listeners: config.listeners.into_iter().map(Arc::new).collect(),
                    entrances: Vec::new(),
                    settings: config.settings,
                    ruleset: ruleset.with_generation(generation),
                    shadow,
                    resolver,
                    loaded: Timestamp::now(),
                    warnings: findings.iter().map(ToString::to_string).collect(),
                    outline: Outline::of(&document.root),
                    upstreams,
                    authenticators,
                },
                warnings: findings,
            }),
            _ => Err(findings),
        }
    }

    /// The listener of that socket; `None`: it is one no longer.
    pub(crate) fn listener(&self, entrance: Entrance) -> Option<&Arc<Listener>> {
        let mut all = self.entrances.iter().zip(&self.listeners);
        all.find(|(own, _)| **own == entrance).map(|(_, listener)| listener)
    }

    /// What the listener of a session is called; one that was removed keeps the name that it had when the client came.
    pub(crate) fn listener_of<'a>(&'a self, live: &'a Live) -> &'a str {
        self.listener(live.entrance).map_or(&*live.listener, |listener| &*listener.name)
    }

    /// All authenticators with their configured names.
    pub(crate) fn authenticators(&self) -> impl Iterator<Item = &(Arc<str>, Arc<dyn Authenticator>)> {
        self.authenticators.iter()
    }

    /// The upstream gateway of that configured name.
    pub(crate) fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| *upstream.name == *name)
    }

    /// The names of the upstream gateways.
    pub(crate) fn upstream_names(&self) -> impl Iterator<Item = &str> {
        self.upstreams.iter().map(|upstream| &*upstream.name)
    }

    /// The authenticator of that configured name.
    pub(crate) fn authenticator(&self, name: &str) -> Option<&Arc<dyn Authenticator>> {
        self.authenticators.iter().find(|(own, _)| &**own == name).map(|(_, authenticator)| authenticator)
    }
}

fn resolver(findings: &mut Findings) -> Option<Resolver> {
    let (resolver, warning) =
        findings.note(Resolver::from_system().map_err(|error| Finding::unplaced(error.to_string())))?;
    if let Some(text) = warning {
        findings.push(Finding { severity: Severity::Warning, ..Finding::unplaced(text) });
    }
    Some(resolver)
}

fn build(
    entry: &AuthEntry<'_>,
    registry: &Registry,
    context: &BuildContext,
    findings: &mut Findings,
) -> Option<(Arc<str>, Arc<dyn Authenticator>)> {
    let built = registry.build(entry.kind, entry.options, context);
    for warning in context.warnings() {
        findings.warning(&entry.options.unwrap_or(entry.kind).place, warning);
    }
    match built {
        Ok(authenticator) => Some((entry.name.clone(), authenticator)),
        Err(mistakes) => {
            findings.extend(mistakes);
            None
        }
    }
}

/// Tells what is only risky together: a method, and a policy that lets its clients go without protection.
fn warn_of_risks(
    ruleset: &Ruleset,
    authenticators: &[(Arc<str>, Arc<dyn Authenticator>)],
    config: &Config<'_>,
    findings: &mut Findings,
) {
    let limits = &config.settings.limits;
    let has_days = [limits.per_source, limits.per_identity].iter().any(|allowance| allowance.daily.is_some());
    if (has_days || ruleset.limits_days())
        && config.settings.quotas.is_none()
        && let Some(policy) = &config.policy
    {
        let message = "octets of a day are limited, and a restart forgets what was used: set `quotas`";
        findings.warning(&policy.node.place, message);
    }
    for (name, authenticator) in authenticators.iter().filter(|(name, _)| ruleset.waives_protection(name)) {
        let Some(risk) = authenticator.risk_without_protection() else { continue };
        let Some(entry) = config.auth.iter().find(|entry| entry.name == *name) else { continue };
        findings.warning(&entry.options.unwrap_or(entry.kind).place, risk.to_owned());
    }
}

/// Reads the policy and runs its tests. A file that cannot be read is a mistake at the place that names it.
fn load_policy(policy: &PolicyFile<'_>, config: &Config<'_>, findings: &mut Findings) -> Option<Ruleset> {
    match Names::of(config).load(&policy.path) {
        Ok(Loaded { ruleset, warnings }) => {
            findings.extend(warnings);
            Some(ruleset)
        }
        Err(mistakes) if mistakes.iter().all(|finding| finding.place.is_none()) => {
            findings.mistake(&policy.node.place, mistakes.to_string().trim().to_owned());
            None
        }
        Err(mistakes) => {
            findings.extend(mistakes);
            None
        }
    }
}
