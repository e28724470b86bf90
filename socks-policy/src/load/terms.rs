//! The keys that only a permit rule has, and the terms that they make.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use socks_config::{Fields, Finding, Node, value};
use socks_core::wire::Command;

use super::element;
use super::read::Reader;
use crate::rule::Rule;
use crate::{
    BindPeerRule, BindTerms, Family, Fragments, OnRevoke, PortRange, Terms, TicketEnd, UdpReplies, UdpTerms,
};

const PERMIT_KEYS: [&str; 10] = [
    "special-use",
    "expires",
    "limits",
    "egress",
    "ticket-end",
    "on-revoke",
    "family",
    "bind",
    "udp",
    "upstream",
];
/// What says how the gateway itself reaches targets or is reached.
const OWN_WAYS: [&str; 3] = ["egress", "family", "udp"];

const TICKET_ENDS: &[(&str, TicketEnd)] =
    &[("keep", TicketEnd::Keep), ("drain", TicketEnd::Drain), ("close", TicketEnd::Close)];
const FAMILIES: &[(&str, Family)] =
    &[("any", Family::Any), ("prefer-v6", Family::PreferV6), ("v6", Family::V6), ("v4", Family::V4)];
const BIND_PEERS: &[(&str, BindPeerRule)] = &[("named", BindPeerRule::Named), ("any", BindPeerRule::Any)];
const UDP_REPLIES: &[(&str, UdpReplies)] = &[("sent-to", UdpReplies::SentTo), ("any", UdpReplies::Any)];
const FRAGMENTS: &[(&str, Fragments)] = &[("drop", Fragments::Drop), ("reassemble", Fragments::Reassemble)];

impl<'a> Reader<'a> {
    /// The keys that only a permit rule can have.
    pub(super) fn permit_keys(&mut self, fields: &mut Fields<'a>, rule: &mut Rule) -> Terms {
        if !rule.permits() {
            for key in PERMIT_KEYS {
                if let (Some(_), Some(node)) = (fields.take(key), fields.key(key)) {
                    let why = if rule.decides() { "a deny rule always denies" } else { "this one only logs" };
                    let message = format!("key `{key}` is for permit rules: {why}");
                    self.findings.mistake(&node.place, message);
                }
            }
            return Terms::default();
        }
        if let Some(node) = self.take(fields, "special-use") {
            let permit = element::one_of(node, &[("permit", true)]);
            rule.special_use = self.findings.note(permit).unwrap_or(false);
        }
        if let Some(end) = self.take(fields, "expires").map(element::end) {
            rule.expires = self.findings.note(end);
        }
        let mut terms = self.take(fields, "limits").map(|node| self.limits(node)).unwrap_or_default();
        if let Some(node) = self.take(fields, "egress") {
            terms.egress = self.egress(node);
        }
        terms.ticket_end = self.word(fields, "ticket-end", TICKET_ENDS);
        terms.on_revoke = self.value(fields, "on-revoke", on_revoke).unwrap_or_default();
        terms.family = self.word(fields, "family", FAMILIES);
        if let Some(node) = self.take(fields, "bind") {
            self.check_command(fields.key("bind"), Command::Bind, rule);
            terms.bind = self.bind(node);
        }
        if let Some(node) = self.take(fields, "udp") {
            self.check_command(fields.key("udp"), Command::UdpAssociate, rule);
            terms.udp = self.udp(node);
        }
        terms.upstream = self.upstream(fields);
        if let (Some(_), Some(_), Some(key)) = (&terms.upstream, terms.bind.ports, fields.key("bind")) {
            let message = "`ports` of `bind` are this gateway's own, not those of `upstream`";
            self.findings.mistake(&key.place, message);
        }
        terms
    }

    /// The gateway that connections go through.
    fn upstream(&mut self, fields: &mut Fields<'a>) -> Option<Arc<str>> {
        let known = self.context.upstreams;
        let name = self.value(fields, "upstream", |node| {
            let name = node.text()?;
            match known.filter(|known| !known.contains(&name)) {
                None => Ok(name),
                Some(known) => {
                    let message = format!("upstream `{name}` is not among those of the configuration");
                    Err(Finding::mistake(&node.place, message).with_nearest(name, known))
                }
            }
        })?;
        for own in OWN_WAYS {
            if let Some(key) = fields.key(own) {
                let message = format!("key `{own}` is for what this gateway does itself, not `upstream`");
                self.findings.mistake(&key.place, message);
            }
        }
        Some(name.into())
    }

    fn limits(&mut self, node: &'a Node) -> Terms {
        let mut terms = Terms::default();
        let Some(mut fields) = node.fields(&mut self.findings) else { return terms };
        terms.connect_timeout = self.value(&mut fields, "connect-timeout", duration);
        terms.idle_timeout = self.value(&mut fields, "idle-timeout", duration);
        terms.sessions =
            self.value(&mut fields, "sessions", |node| number(node, "sessions")).map(NonZeroU32::get);
        terms.sessions_in_all = self
            .value(&mut fields, "sessions-in-all", |node| number(node, "sessions in all"))
            .map(NonZeroU32::get);
        let mut new = |key| self.value(&mut fields, key, |node| number(node, "new sessions in a second"));
        terms.together.new_sessions = new("new-sessions");
        terms.per_identity.new_sessions = new("new-sessions-per-identity");
        terms.together.daily = self.value(&mut fields, "daily", octets);
        terms.per_identity.daily = self.value(&mut fields, "daily-per-identity", octets);
        terms.together.rate = self.value(&mut fields, "rate", octets);
        terms.per_identity.rate = self.value(&mut fields, "rate-per-identity", octets);
        fields.finish(&mut self.findings);
        terms
    }

    fn bind(&mut self, node: &'a Node) -> BindTerms {
        let mut terms = BindTerms::default();
        let Some(mut fields) = node.fields(&mut self.findings) else { return terms };
        terms.ports = self.value(&mut fields, "ports", own_ports);
        terms.peer = self.word(&mut fields, "peer", BIND_PEERS);
        terms.timeout = self.value(&mut fields, "timeout", duration);
        fields.finish(&mut self.findings);
        terms
    }

    fn udp(&mut self, node: &'a Node) -> UdpTerms {
        let mut terms = UdpTerms::default();
        let Some(mut fields) = node.fields(&mut self.findings) else { return terms };
        terms.ports = self.value(&mut fields, "ports", own_ports);
        terms.replies = self.word(&mut fields, "replies", UDP_REPLIES);
        terms.fragments = self.word(&mut fields, "fragments", FRAGMENTS);
        let associations = self.value(&mut fields, "associations", |node| number(node, "associations"));
        terms.associations = associations.map(NonZeroU32::get);
        terms.datagrams = self.value(&mut fields, "datagrams", |node| number(node, "datagrams in a second"));
        fields.finish(&mut self.findings);
        terms
    }

    /// A key that is for one command is a mistake in a rule that is not.
    fn check_command(&mut self, key: Option<&Node>, command: Command, rule: &Rule) {
        let Some(key) = key.filter(|_| !rule.commands.contains(command)) else { return };
        let name = key.text().unwrap_or_default();
        let message = format!("key `{name}` is for `{command}`, which is not among the rule's commands");
        self.findings.mistake(&key.place, message);
    }

    fn value<T>(
        &mut self,
        fields: &mut Fields<'a>,
        key: &'static str,
        read: impl FnOnce(&'a Node) -> Result<T, Finding>,
    ) -> Option<T> {
        let value = self.take(fields, key).map(read);
        value.and_then(|value| self.findings.note(value))
    }

    /// One of the words of that key; its default if the key is left out.
    fn word<T: Copy + Default>(
        &mut self,
        fields: &mut Fields<'a>,
        key: &'static str,
        words: &[(&str, T)],
    ) -> T {
        self.value(fields, key, |node| element::one_of(node, words)).unwrap_or_default()
    }
}

/// `keep`, `close`, or `drain` with a time.
fn on_revoke(node: &Node) -> Result<OnRevoke, Finding> {
    match node.text()?.split_once(' ') {
        None if node.text()? == "keep" => Ok(OnRevoke::Keep),
        None if node.text()? == "close" => Ok(OnRevoke::Close),
        Some(("drain", time)) => match time.trim().parse::<value::Span>() {
            Ok(time) if !time.0.is_zero() => Ok(OnRevoke::Drain(time.0)),
            _ => Err(node.expected("`drain` with a time, such as `drain 30s`")),
        },
        _ => Err(node.expected("`keep`, `close`, or `drain` with a time, such as `drain 30s`")),
    }
}

fn duration(node: &Node) -> Result<Duration, Finding> {
    let time = value::duration(node)?;
    if time.is_zero() {
        Err(Finding::mistake(&node.place, "no time at all permits nothing"))
    } else {
        Ok(time)
    }
}

/// A size in octets, more than none.
fn octets(node: &Node) -> Result<NonZeroU64, Finding> {
    let size = value::size(node)?;
    NonZeroU64::new(size).ok_or_else(|| Finding::mistake(&node.place, "no octet at all permits nothing"))
}

/// How many of `what`, 1 or more.
fn number(node: &Node, what: &str) -> Result<NonZeroU32, Finding> {
    let text = node.text()?;
    let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| node.expected(&format!("a number of {what}, 1 or more")))
}

/// Ports that the gateway itself opens.
fn own_ports(node: &Node) -> Result<PortRange, Finding> {
    let text = node.text()?;
    let refuse = |why: &str| Finding::mistake(&node.place, format!("`{text}` {why}"));
    let range: PortRange = text.parse().map_err(refuse)?;
    if range.contains(0) { Err(refuse("has port 0, which nobody can reach")) } else { Ok(range) }
}
