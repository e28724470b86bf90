//! What is counted, for whoever watches many gateways: OpenMetrics text, made when somebody asks for it.
//!
//! Sessions only add to atomic numbers; whatever takes longer is done by the thread that is asked.

mod audit;
mod histogram;
mod label;
mod limits;
mod moved;

use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::gateway::Gateway;
use crate::outcome::End;
use crate::record::verdict;
use crate::roster::{Facts, Live, Stage};
use crate::shadow::{Kind, Shadow};

use audit::AuditMetrics;
use histogram::Histogram;
use label::{Label, Rules};
use limits::LimitMetrics;
use moved::Moved;

/// All metrics of a gateway. `docs/metrics.md` describes each.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    rules: Rules,
    open: Family<OfStage, Gauge>,
    ended: Family<OfEnd, Counter>,
    by_rule: Family<OfRule, Counter>,
    moved: Moved,
    handshake: Histogram,
    connect: Histogram,
    accept_failures: Family<OfCause, Counter>,
    reloads: Family<OfResult, Counter>,
    shadow: Family<OfKind, Counter>,
    shadow_rules: Gauge,
    shadow_failed: Gauge,
    policy: Gauge,
    rules_in_force: Gauge,
    loaded: Gauge,
    ready: Gauge,
    predecessor: Gauge,
    audit: AuditMetrics,
    limits: LimitMetrics,
    authentication: Family<OfFigure, Counter>,
    keytab: Family<OfAuthenticator, Gauge>,
    login_locks: Counter,
    login_delays: Counter,
    logins_locked: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEnd {
    verdict: &'static str,
    cause: &'static str,
    method: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRule {
    rule: Label,
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWay {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCause {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResult {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFigure {
    authenticator: Label,
    cause: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAuthenticator {
    authenticator: Label,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("socksd");
        registry.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let mut metrics = Self {
            registry: Registry::default(),
            rules: Rules::default(),
            open: Family::default(),
            ended: Family::default(),
            by_rule: Family::default(),
            moved: Moved::default(),
            handshake: Histogram::default(),
            connect: Histogram::default(),
            accept_failures: Family::default(),
            reloads: Family::default(),
            shadow: Family::default(),
            shadow_rules: Gauge::default(),
            shadow_failed: Gauge::default(),
            policy: Gauge::default(),
            rules_in_force: Gauge::default(),
            loaded: Gauge::default(),
            ready: Gauge::default(),
            predecessor: Gauge::default(),
            audit: AuditMetrics::default(),
            limits: LimitMetrics::default(),
            authentication: Family::default(),
            keytab: Family::default(),
            login_locks: Counter::default(),
            login_delays: Counter::default(),
            logins_locked: Gauge::default(),
        };
        metrics.register_sessions(&mut registry);
        metrics.register_gateway(&mut registry);
        metrics.registry = registry;
        metrics.begin();
        metrics
    }

    /// Whatever has few labels is there from the start: a first event would otherwise be no increase.
    fn begin(&self) {
        for cause in [NO_RESOURCES, LOST] {
            drop(self.accept_failures.get_or_create(&OfCause { cause }));
        }
        for result in [DONE, REFUSED] {
            drop(self.reloads.get_or_create(&OfResult { result }));
        }
        for kind in Kind::ALL {
            drop(self.shadow.get_or_create(&OfKind { kind: kind.as_str() }));
        }
    }

    fn register_sessions(&self, registry: &mut Registry) {
        registry.register("sessions", "Open sessions by how far they have come", self.open.clone());
        let text = "Sessions that ended, by what became of them";
        registry.register("sessions_ended", text, self.ended.clone());
        registry.register(
            "rule_sessions",
            "Sessions that ended, by the rule that decided",
            self.by_rule.clone(),
        );
        self.moved.register(registry);
        let text = "From the connection to the whole request";
        registry.register_with_unit("handshake", text, Unit::Seconds, self.handshake.clone());
        let text = "From the permit to the open connection";
        registry.register_with_unit("connect", text, Unit::Seconds, self.connect.clone());
        let text = "Logins that an authenticator refused, by its own cause";
        registry.register("authentication_failures", text, self.authentication.clone());
        let text = "Times that a source was locked out under a name";
        registry.register("login_locks", text, self.login_locks.clone());
        let text = "Logins whose answer was held back because of failures before them";
        registry.register("login_delays", text, self.login_delays.clone());
        let text = "Sources that are locked out under a name now";
        registry.register("logins_locked", text, self.logins_locked.clone());
    }

    fn register_gateway(&self, registry: &mut Registry) {
        let text = "Connections that could not be taken, by cause";
        registry.register("accept_failures", text, self.accept_failures.clone());
        registry.register("reloads", "Reloads by result", self.reloads.clone());
        registry.register("policy_generation", "The policy in force: 1 at the start", self.policy.clone());
        registry.register("policy_rules", "Rules in force", self.rules_in_force.clone());
        let text = "Differences between the shadow policy and the one in force, once a session, by kind";
        registry.register("shadow_differences", text, self.shadow.clone());
        let text = "Rules of the shadow policy; 0: there is none";
        registry.register("shadow_rules", text, self.shadow_rules.clone());
        let text = "1 if the shadow policy had a bug and judges no more";
        registry.register("shadow_failed", text, self.shadow_failed.clone());
        let text = "When the files in force were read, seconds since 1970";
        registry.register("loaded_timestamp_seconds", text, self.loaded.clone());
        let text = "Sessions of processes that this one has taken over from";
        registry.register("predecessor_sessions", text, self.predecessor.clone());
        registry.register("ready", "1 while new sessions are served", self.ready.clone());
        self.audit.register(registry);
        self.limits.register(registry);
        let text = "When the keytab was last changed, seconds since 1970";
        registry.register("keytab_modified_timestamp_seconds", text, self.keytab.clone());
    }

    /// A session has ended.
    pub(crate) fn end(&self, live: &Live, facts: &Facts, end: &End) {
        let method = facts.method.clone().map_or(Label::NONE, Label::Shared);
        let verdict = verdict(facts, end).as_str();
        self.ended.get_or_create(&OfEnd { verdict, cause: end.cause(), method }).inc();
        if let Some(rule) = &facts.rule {
            self.by_rule.get_or_create(&OfRule { rule: self.rules.label(rule), verdict }).inc();
        }
        self.moved.end(live, facts);
    }

    /// A client has made its whole request, so long after it came.
    pub(crate) fn handshake(&self, took: Duration) {
        self.handshake.observe(took);
    }

    /// A target was reached.
    pub(crate) fn connect(&self, took: Duration) {
        self.connect.observe(took);
    }

    /// A connection could not be taken.
    pub(crate) fn accept_failure(&self, cause: &'static str) {
        self.accept_failures.get_or_create(&OfCause { cause }).inc();
    }

    /// The files were read anew.
    pub(crate) fn reload(&self, is_good: bool) {
        let result = if is_good { DONE } else { REFUSED };
        self.reloads.get_or_create(&OfResult { result }).inc();
    }

    /// The shadow policy would have decided otherwise.
    pub(crate) fn shadow_difference(&self, kind: Kind) {
        self.shadow.get_or_create(&OfKind { kind: kind.as_str() }).inc();
    }

    /// The text, with what is looked up only now.
    pub(crate) fn text(&self, gateway: &Gateway) -> String {
        self.look(gateway);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    fn look(&self, gateway: &Gateway) {
        let mut counts = Stage::ALL.map(|stage| (stage, 0_usize));
        let mut moved = self.moved.count();
        gateway.roster.for_each(|live| {
            let facts = live.facts();
            moved.add(live, &facts);
            let now = facts.stage();
            for (_, count) in counts.iter_mut().filter(|(stage, _)| *stage == now) {
                *count += 1;
            }
        });
        for (stage, count) in counts {
            self.open.get_or_create(&OfStage { stage: stage.as_str() }).set(signed(count));
        }
        self.moved.show(&moved);
        let snapshot = gateway.snapshot.load();
        self.policy.set(signed(snapshot.ruleset.generation()));
        self.rules_in_force.set(signed(snapshot.ruleset.rule_count()));
        let shadow = snapshot.shadow.as_ref();
        self.shadow_rules.set(shadow.map_or(0, |shadow| signed(shadow.policy.ruleset.rule_count())));
        self.shadow_failed.set(i64::from(shadow.is_some_and(Shadow::has_failed)));
        self.loaded.set(snapshot.loaded.as_second());
        self.predecessor.set(i64::try_from(gateway.admission.elsewhere()).unwrap_or(i64::MAX));
        self.ready.set(i64::from(gateway.unready().is_none()));
        self.audit.look(&gateway.audit);
        let (locks, delays) = gateway.logins.counts();
        self.login_locks.inner().store(locks, Ordering::Relaxed);
        self.login_delays.inner().store(delays, Ordering::Relaxed);
        self.logins_locked.set(signed(gateway.logins.locked()));
        self.limits.look(&gateway.accounts);
        for (name, authenticator) in snapshot.authenticators() {
            let figures = authenticator.figures();
            for (cause, count) in figures.failures {
                let labels = OfFigure { authenticator: Label::Shared(name.clone()), cause };
                self.authentication.get_or_create(&labels).inner().store(count, Ordering::Relaxed);
            }
            let changed = figures.key_modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            if let Some(since) = changed {
                let labels = OfAuthenticator { authenticator: Label::Shared(name.clone()) };
                self.keytab.get_or_create(&labels).set(signed(since.as_secs()));
            }
        }
    }
}

/// There are no descriptors or no memory for a connection.
pub(crate) const NO_RESOURCES: &str = "no-resources";
/// A connection was gone before it was taken.
pub(crate) const LOST: &str = "lost";
const DONE: &str = "done";
const REFUSED: &str = "refused";

fn signed(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
