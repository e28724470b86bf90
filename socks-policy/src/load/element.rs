//! The things that conditions and sets are made of, as the file spells them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use socks_config::{Finding, Node};
use socks_core::Level;
use socks_core::wire::{Command, DomainName};

use crate::pattern::{HostPattern, IdentityPattern, PortRange, is_word};

/// A thing by itself, or a word that names a set of them.
pub(super) enum Element<'a, T> {
    Own(T),
    Word(&'a str),
}

/// A network, an address, or a word.
pub(super) fn network(node: &Node) -> Result<Element<'_, IpNet>, Finding> {
    let text = node.text()?;
    if is_word(text) && text.parse::<IpAddr>().is_err() {
        return Ok(Element::Word(text));
    }
    network_from(node, text).map(Element::Own)
}

/// A network or an address, spelled as the policy's are.
///
/// # Errors
/// A mistake here when it is neither, has bits behind its prefix, or is an IPv4 network in IPv6's form.
pub fn plain_network(node: &Node) -> Result<IpNet, Finding> {
    network_from(node, node.text()?)
}

fn network_from(node: &Node, text: &str) -> Result<IpNet, Finding> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            Finding::mistake(
                &node.place,
                format!("`{text}` is no address and no network such as `10.0.0.0/8`"),
            )
        })?,
    };
    if network.addr() != network.network() {
        let message = format!("`{text}` has bits behind its prefix");
        return Err(
            Finding::mistake(&node.place, message).with_help(format!("did you mean `{}`?", network.trunc()))
        );
    }
    match unmapped(&network) {
        None => Ok(network),
        Some(plain) => {
            let message = format!("`{text}` never matches: addresses are judged in IPv4's own form");
            Err(Finding::mistake(&node.place, message).with_help(format!("write `{plain}`")))
        }
    }
}

/// The IPv4 network that an IPv4-mapped one means.
fn unmapped(network: &IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(network) = network else { return None };
    let address = network.network().to_ipv4_mapped()?;
    Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
}

/// A network, an address, a host name, `*.suffix`, `host:name`, or a word.
pub(super) fn host(node: &Node) -> Result<Element<'_, HostPattern>, Finding> {
    let text = node.text()?;
    let name = |text: &str| {
        let name = text.parse::<DomainName>();
        name.map_err(|error| Finding::mistake(&node.place, format!("host name `{text}` {error}")))
    };
    if let Some(suffix) = text.strip_prefix("*.") {
        return name(suffix).map(HostPattern::Below).map(Element::Own);
    }
    if let Some(label) = text.strip_prefix("host:") {
        return name(label).map(HostPattern::Name).map(Element::Own);
    }
    if text.contains('*') {
        let message = format!("`{text}` has a `*` in the wrong place");
        return Err(Finding::mistake(&node.place, message)
            .with_help("all names below one are written `*.corp.example`"));
    }
    if text.contains(['/', ':']) || text.parse::<IpAddr>().is_ok() {
        return network_from(node, text).map(HostPattern::Network).map(Element::Own);
    }
    match is_word(text) {
        true => Ok(Element::Word(text)),
        false => name(text).map(HostPattern::Name).map(Element::Own),
    }
}

/// An identity pattern, or a word.
pub(super) fn identity(node: &Node) -> Result<Element<'_, IdentityPattern>, Finding> {
    let text = node.text()?;
    if is_word(text) {
        return Ok(Element::Word(text));
    }
    let pattern = text.parse::<IdentityPattern>();
    pattern.map(Element::Own).map_err(|error| Finding::mistake(&node.place, format!("`{text}` {error}")))
}

/// A group by the name that an authenticator gives it.
pub(super) fn group(node: &Node) -> Result<Element<'_, IdentityPattern>, Finding> {
    let text = node.text()?;
    match text.strip_prefix("group:") {
        None if !text.is_empty() => Ok(Element::Own(IdentityPattern::Group(text.into()))),
        rest => {
            let finding = Finding::mistake(&node.place, format!("`{text}` is no name of a group"));
            let help = rest.map(|name| format!("here it is written `{name}`"));
            Err(help.into_iter().fold(finding, Finding::with_help))
        }
    }
}

/// A port, a range of ports, or a word.
pub(super) fn port(node: &Node) -> Result<Element<'_, PortRange>, Finding> {
    let text = node.text()?;
    if is_word(text) {
        return Ok(Element::Word(text));
    }
    let range = text.parse::<PortRange>();
    range.map(Element::Own).map_err(|error| Finding::mistake(&node.place, format!("`{text}` {error}")))
}

/// A protection level.
pub(super) fn level(node: &Node) -> Result<Level, Finding> {
    one_of(node, &Level::ALL.map(|level| (level.as_str(), level)))
}

/// A command.
pub(super) fn command(node: &Node) -> Result<Command, Finding> {
    let commands =
        [("connect", Command::Connect), ("bind", Command::Bind), ("udp-associate", Command::UdpAssociate)];
    one_of(node, &commands)
}

/// One word of a few.
pub(super) fn one_of<T: Copy>(node: &Node, words: &[(&str, T)]) -> Result<T, Finding> {
    let text = node.text()?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let finding = node.expected(&format!("`{}`", names.join("`, `")));
        finding.with_nearest(text, &names)
    })
}

/// A time: a date means the end of that day in UTC.
pub(super) fn end(node: &Node) -> Result<Timestamp, Finding> {
    let text = node.text()?;
    let end_of_day = |date: Date| date.tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC));
    let of_date = || text.parse::<Date>().and_then(end_of_day).map(|zoned| zoned.timestamp());
    // A date is read as such only when nothing else stands behind it.
    let time = if text.len() <= "2027-03-31".len() { of_date() } else { text.parse() };
    time.map_err(|_| {
        let message =
            format!("`{text}` is no date such as `2027-03-31` and no time such as `2027-03-31T12:00:00Z`");
        Finding::mistake(&node.place, message)
    })
}

/// An address by itself.
pub(super) fn address(node: &Node) -> Result<IpAddr, Finding> {
    let text = node.text()?;
    text.parse().map_err(|_| Finding::mistake(&node.place, format!("`{text}` is no address")))
}
