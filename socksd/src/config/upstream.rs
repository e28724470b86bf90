//! The `upstreams` section: other gateways that rules may send connections through.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use socks_config::{Findings, Node};
use socks_core::wire::{Host, Target};

use super::{Listener, is_word, list, time};

/// How long reaching an upstream and logging in there may take, unless the configuration says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One upstream gateway, whose login is not yet built.
#[derive(Debug)]
pub(crate) struct UpstreamEntry<'a> {
    /// The name that rules use.
    pub(crate) name: Arc<str>,
    pub(crate) address: Target,
    /// Where its entry stands.
    pub(crate) node: &'a Node,
    /// How the gateway logs in there.
    pub(crate) kind: &'a Node,
    pub(crate) options: Option<&'a Node>,
    /// For reaching it, and as much again for logging in.
    pub(crate) timeout: Duration,
}

/// Reads all upstreams.
pub(super) fn upstreams<'a>(
    node: &'a Node,
    listeners: &[Listener],
    findings: &mut Findings,
) -> Vec<UpstreamEntry<'a>> {
    let mut upstreams: Vec<UpstreamEntry<'_>> = Vec::new();
    for item in list(node, findings) {
        let Some(upstream) = upstream(item, listeners, findings) else { continue };
        if upstreams.iter().any(|other| other.name == upstream.name) {
            findings.mistake(&item.place, format!("upstream `{}` is there twice", upstream.name));
            continue;
        }
        upstreams.push(upstream);
    }
    upstreams
}

fn upstream<'a>(
    item: &'a Node,
    listeners: &[Listener],
    findings: &mut Findings,
) -> Option<UpstreamEntry<'a>> {
    let mut fields = item.fields(findings)?;
    let name = fields.require("name", findings);
    let address = fields.require("address", findings);
    let auth = fields.require("auth", findings);
    let timeout = time(&mut fields, "timeout", findings).unwrap_or(TIMEOUT);
    fields.finish(findings);
    let name = name.and_then(|node| {
        let text = findings.note(node.text())?;
        if !is_word(text) {
            let why = "is not made of small letters, digits and hyphens, a letter first";
            findings.mistake(&node.place, format!("name `{text}` {why}"));
        }
        Some(text)
    });
    let address = address.and_then(|node| address_of(node, listeners, findings));
    let mut auth = auth?.fields(findings)?;
    let kind = auth.require("kind", findings);
    let options = auth.take("options");
    auth.finish(findings);
    Some(UpstreamEntry { name: name?.into(), address: address?, node: item, kind: kind?, options, timeout })
}

/// Where the upstream listens; never this gateway itself.
fn address_of(node: &Node, listeners: &[Listener], findings: &mut Findings) -> Option<Target> {
    let text = findings.note(node.text())?;
    let Ok(address) = text.parse::<Target>() else {
        findings.push(node.expected("a host and a port such as `gw.hq.example:1080`"));
        return None;
    };
    if address.port == 0 {
        findings.mistake(&node.place, "nobody listens on port 0");
    }
    let is_own = |listener: &Listener| {
        let own = listener.address.ip();
        let is_here = |ip: &IpAddr| *ip == own || (own.is_unspecified() && ip.to_canonical().is_loopback());
        matches!(&address.host, Host::Ip(ip) if is_here(ip)) && address.port == listener.address.port()
    };
    if listeners.iter().any(is_own) {
        findings.mistake(
            &node.place,
            format!("`{text}` is this gateway itself: connections would go in circles"),
        );
    }
    Some(address)
}
