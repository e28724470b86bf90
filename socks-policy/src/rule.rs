//! One rule, and the plain comparison of a rule with what is known: the reference that the index must agree with.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::Serialize;
use socks_config::Item;
use socks_core::Level;

use crate::Fact;
use crate::commands::Commands;
use crate::decision::Grant;
use crate::pattern::{HostPattern, IdentityPattern, Meant, PortRange};
use crate::set::Condition;
use crate::times::Window;
use crate::view::{Site, View};

/// What a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Permits.
    Permit,
    /// Denies.
    Deny,
    /// Notes that it matches, and leaves the decision to the rules behind it.
    LogOnly,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::LogOnly => "log-only",
        })
    }
}

/// A rule; a condition that is `None` matches everything.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) grant: Arc<Grant>,
    pub(crate) action: Action,
    pub(crate) source: Option<Condition<IpNet>>,
    pub(crate) listener: Option<Condition<Box<str>>>,
    pub(crate) identity: Option<Condition<IdentityPattern>>,
    pub(crate) method: Option<Condition<Box<str>>>,
    pub(crate) protection: Level,
    pub(crate) commands: Commands,
    pub(crate) destination: Option<Condition<HostPattern>>,
    pub(crate) port: Option<Condition<PortRange>>,
    /// The windows of time in which the rule holds.
    pub(crate) when: Option<Condition<Window>>,
    /// Whether a permit is good for special-use addresses too.
    pub(crate) special_use: bool,
    /// When a permit ends; a deny rule has no end.
    pub(crate) expires: Option<Timestamp>,
    /// Its line in the file.
    pub(crate) line: usize,
    /// What the file says of it.
    pub(crate) written: Option<Item>,
}

impl Rule {
    /// A rule of that name that matches everything.
    pub(crate) fn new(name: &str, action: Action) -> Self {
        Self {
            grant: Arc::new(Grant { rule: name.into(), terms: crate::Terms::default() }),
            action,
            source: None,
            listener: None,
            identity: None,
            method: None,
            protection: Level::None,
            commands: Commands::ALL,
            destination: None,
            port: None,
            when: None,
            special_use: false,
            expires: None,
            line: 0,
            written: None,
        }
    }

    /// The rule's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.grant.rule
    }

    pub(crate) fn permits(&self) -> bool {
        self.action == Action::Permit
    }

    /// Tells whether the search ends with the rule when it matches. One that does not is compared as a deny rule is:
    /// it counts when it matches for certain, and what cannot be told of an identity counts as a match.
    pub(crate) fn decides(&self) -> bool {
        self.action != Action::LogOnly
    }

    /// Tells whether the rule has ended at `now`.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Tells whether the rule can match at all at `now`: it has not ended, and one of its windows is open.
    pub(crate) fn is_in_force(&self, now: Timestamp) -> bool {
        !self.has_expired(now) && self.when.as_ref().is_none_or(|when| when.is_open(now))
    }

    /// Tells whether the rule leaves nothing of what it matches to later ones, at any time.
    pub(crate) fn is_lasting(&self) -> bool {
        self.decides() && self.expires.is_none() && self.when.is_none()
    }

    /// The next instant after `now` at which the rule begins or ceases to be in force.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let mut instants = self.when.as_ref().map(|when| when.edges(now)).unwrap_or_default();
        instants.extend(self.expires.filter(|end| *end > now));
        instants.sort_unstable();
        let is_in_force = self.is_in_force(now);
        instants.into_iter().find(|instant| self.is_in_force(*instant) != is_in_force)
    }

    /// Tells whether the rule's destinations have a network among them.
    pub(crate) fn names_network(&self) -> bool {
        let mut hosts = self.destination.iter().flat_map(|condition| condition.elements());
        hosts.any(|host| matches!(host, HostPattern::Network(_)))
    }

    /// Tells whether the rule's destinations have the name among them, whatever its address is.
    pub(crate) fn means_name(&self, view: &View<'_>) -> bool {
        self.check_destination(view) == Check::Matches
    }

    /// Tells whether the rule matches, or may once more is known.
    pub(crate) fn may_match(&self, view: &View<'_>) -> bool {
        !matches!(self.check(view), Check::No(_))
    }

    /// Compares the rule with what is known, condition by condition, and stops at the first that is not met.
    pub(crate) fn check(&self, view: &View<'_>) -> Check {
        let conditions = [
            Self::check_expiry,
            Self::check_when,
            Self::check_source,
            Self::check_listener,
            Self::check_identity,
            Self::check_method,
            Self::check_protection,
            Self::check_command,
            Self::check_destination,
            Self::check_port,
            Self::check_special_use,
        ];
        let mut result = Check::Matches;
        for condition in conditions {
            match (condition(self, view), &result) {
                (Check::No(reason), _) => return Check::No(reason),
                (Check::Needs(fact), Check::Needs(other)) if fact < *other => result = Check::Needs(fact),
                (Check::Needs(fact), Check::Matches) => result = Check::Needs(fact),
                _ => {}
            }
        }
        result
    }

    fn check_expiry(&self, view: &View<'_>) -> Check {
        match self.expires {
            Some(end) if self.has_expired(view.now) => Check::No(format!("it expired at {end}")),
            _ => Check::Matches,
        }
    }

    fn check_when(&self, view: &View<'_>) -> Check {
        let Some(when) = &self.when else { return Check::Matches };
        Check::when(when.is_open(view.now), || {
            format!("outside its hours (`{}`): it is {}", when.text, when.clocks(view.now))
        })
    }

    fn check_source(&self, view: &View<'_>) -> Check {
        let Some(source) = &self.source else { return Check::Matches };
        Check::when(source.elements().any(|network| network.contains(&view.source)), || {
            format!("source {} is not in `{}`", view.source, source.text)
        })
    }

    fn check_listener(&self, view: &View<'_>) -> Check {
        let Some(listener) = &self.listener else { return Check::Matches };
        Check::when(listener.elements().any(|name| **name == *view.listener), || {
            format!("listener `{}` is not `{}`", view.listener, listener.text)
        })
    }

    fn check_identity(&self, view: &View<'_>) -> Check {
        let Some(condition) = &self.identity else { return Check::Matches };
        let Some(identity) = view.identity else { return Check::Needs(Fact::Identity) };
        let text = &condition.text;
        match condition.means(identity) {
            Meant::Yes => Check::Matches,
            Meant::No => Check::No(format!("identity `{identity}` is not in `{text}`")),
            // What cannot be told must never be to the client's advantage.
            Meant::Unknown if !self.permits() => Check::Matches,
            Meant::Unknown => {
                let why = groups_missing(identity.groups_missing.as_deref().unwrap_or_default());
                Check::No(format!("whether identity `{identity}` is in `{text}` is unknown: {why}"))
            }
        }
    }

    /// Why the identity's groups could not be learned, if only they could tell whether the rule means it.
    pub(crate) fn unknown_groups<'a>(&self, view: &View<'a>) -> Option<&'a str> {
        let identity = view.identity?;
        let why = identity.groups_missing.as_deref()?;
        (self.identity.as_ref()?.means(identity) == Meant::Unknown).then_some(why)
    }

    fn check_method(&self, view: &View<'_>) -> Check {
        let Some(method) = &self.method else { return Check::Matches };
        let Some(identity) = view.identity else { return Check::Needs(Fact::Identity) };
        Check::when(method.elements().any(|name| **name == *identity.method), || {
            format!("method `{}` is not `{}`", identity.method, method.text)
        })
    }

    fn check_protection(&self, view: &View<'_>) -> Check {
        if self.protection == Level::None {
            return Check::Matches;
        }
        let Some(identity) = view.identity else { return Check::Needs(Fact::Identity) };
        Check::when(identity.level.is_at_least(self.protection), || {
            format!("protection `{}` is less than `{}`", identity.level, self.protection)
        })
    }

    fn check_command(&self, view: &View<'_>) -> Check {
        if self.commands == Commands::ALL {
            return Check::Matches;
        }
        let Some(kind) = view.kind else { return Check::Needs(Fact::Operation) };
        Check::when(self.commands.contains(kind.command()), || {
            format!("command `{}` is not `{}`", kind.command(), self.commands)
        })
    }

    fn check_destination(&self, view: &View<'_>) -> Check {
        let Some(condition) = &self.destination else { return Check::Matches };
        if view.name.is_some_and(|name| condition.elements().any(|host| host.matches_name(name))) {
            return Check::Matches;
        }
        let address = match view.site {
            Site::Unknown => return Check::Needs(Fact::Operation),
            Site::Open => return self.without_subject("destination"),
            Site::Unresolved => {
                let has_network = condition.elements().any(|host| matches!(host, HostPattern::Network(_)));
                return if has_network {
                    Check::Needs(Fact::Address)
                } else {
                    Check::No(self.elsewhere(view))
                };
            }
            Site::At(address) => address,
        };
        // A deny rule also meets the addresses that a translator or a tunnel makes of it.
        let reaches = |host: &HostPattern| {
            host.matches_address(address)
                || (!self.permits() && view.embedded.iter().any(|ip| host.matches_address(ip.into())))
        };
        Check::when(condition.elements().any(reaches), || self.elsewhere(view))
    }

    fn elsewhere(&self, view: &View<'_>) -> String {
        let text = self.destination.as_ref().map_or("", |condition| &*condition.text);
        match (view.name, view.site) {
            (Some(name), Site::At(address)) => format!("destination `{name}` ({address}) is not in `{text}`"),
            (Some(name), _) => format!("destination `{name}` is not in `{text}`"),
            (None, Site::At(address)) => format!("destination {address} is not in `{text}`"),
            (None, _) => format!("destination is not in `{text}`"),
        }
    }

    fn check_port(&self, view: &View<'_>) -> Check {
        let Some(condition) = &self.port else { return Check::Matches };
        if view.kind.is_none() {
            return Check::Needs(Fact::Operation);
        }
        let Some(port) = view.port else { return self.without_subject("port") };
        Check::when(condition.elements().any(|range| range.contains(port)), || {
            format!("port {port} is not in `{}`", condition.text)
        })
    }

    /// The operation has nothing yet that `key` speaks of: what comes later is judged when it comes.
    fn without_subject(&self, key: &str) -> Check {
        Check::when(self.permits(), || format!("it goes by {key}, which is judged later for this operation"))
    }

    fn check_special_use(&self, view: &View<'_>) -> Check {
        if !self.permits() {
            return Check::Matches;
        }
        match (view.site, view.special) {
            (Site::Unresolved, _) => Check::Needs(Fact::Address),
            (Site::At(address), Some(class)) if !self.special_use => Check::No(format!(
                "{address} is special-use ({class}), and the rule has no `special-use: permit`"
            )),
            _ => Check::Matches,
        }
    }
}

/// What to tell of groups that could not be learned, with the reason.
pub(crate) fn groups_missing(why: &str) -> String {
    format!("groups of the identity could not be learned ({why})")
}

/// How a rule compares with what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// It matches, whatever else becomes known.
    Matches,
    /// It may match; the cheapest fact that would help to tell.
    Needs(Fact),
    /// It does not match, for that reason.
    No(String),
}

impl Check {
    fn when(holds: bool, reason: impl FnOnce() -> String) -> Self {
        if holds { Self::Matches } else { Self::No(reason()) }
    }
}
