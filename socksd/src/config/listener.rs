//! The `listeners` section: where clients come in, and what they are told of where they came to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use socks_config::{Finding, Findings, Node};
use socks_policy::plain_network;

use super::keepalive::Keepalive;
use super::list;

/// One listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The name that rules use; by default the address as it is written.
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    pub(crate) advertise: Advertised,
    pub(crate) balancers: Balancers,
    /// How clients that are silent are asked whether they are still there.
    pub(crate) keepalive: Keepalive,
}

/// The networks of the load balancers that say by a PROXY header for whom a connection is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Balancers(Arc<[IpNet]>);

impl Balancers {
    /// Tells whether a connection from there has to begin with a header.
    pub(crate) fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The addresses at which others reach the gateway's sockets, where they differ from the sockets' own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Advertised {
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<Ipv6Addr>,
}

impl Advertised {
    /// What a client is told of a socket that is bound to `own`: the advertised address of the same family, if
    /// there is one, with the socket's port.
    pub(crate) fn instead_of(&self, own: SocketAddr) -> SocketAddr {
        let ip = own.ip().to_canonical();
        let told = match ip {
            IpAddr::V4(_) => self.v4.map(IpAddr::from),
            IpAddr::V6(_) => self.v6.map(IpAddr::from),
        };
        SocketAddr::new(told.unwrap_or(ip), own.port())
    }
}

/// Reads all listeners.
pub(super) fn listeners(node: &Node, findings: &mut Findings) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in list(node, findings) {
        let Some(mut fields) = item.fields(findings) else { continue };
        let name = fields.take("name").and_then(|name| findings.note(name.text()));
        let address = fields.require("address", findings);
        let advertise = fields.take("advertise").map(|node| advertised(node, findings)).unwrap_or_default();
        let balancers =
            fields.take("proxy-protocol").map(|node| balancers(node, findings)).unwrap_or_default();
        let keepalive =
            fields.take("keepalive").map(|node| Keepalive::read(node, findings)).unwrap_or_default();
        fields.finish(findings);
        let Some(node) = address else { continue };
        let Some(address) = findings.note(node.parse::<SocketAddr>()) else { continue };
        let name: Arc<str> = match name {
            Some(name) => name.into(),
            None => address.to_string().into(),
        };
        if listeners.iter().any(|listener| listener.name == name) {
            findings.mistake(&node.place, format!("listener `{name}` is there twice"));
            continue;
        }
        listeners.push(Listener { name, address, advertise, balancers, keepalive });
    }
    listeners
}

fn balancers(node: &Node, findings: &mut Findings) -> Balancers {
    let Some(mut fields) = node.fields(findings) else { return Balancers::default() };
    let from = fields.require("from", findings);
    fields.finish(findings);
    let mut networks = Vec::new();
    for item in from.map(|node| list(node, findings)).unwrap_or_default() {
        let Some(network) = findings.note(plain_network(item)) else { continue };
        if network.prefix_len() == 0 {
            findings
                .warning(&item.place, "anybody can claim to be anybody: name the balancers' own networks");
        }
        networks.push(network);
    }
    Balancers(networks.into())
}

fn advertised(node: &Node, findings: &mut Findings) -> Advertised {
    let mut advertised = Advertised::default();
    for item in node.items() {
        let is_second = match findings.note(advertised_address(item)) {
            Some(IpAddr::V4(ip)) => advertised.v4.replace(ip).is_some(),
            Some(IpAddr::V6(ip)) => advertised.v6.replace(ip).is_some(),
            None => false,
        };
        if is_second {
            findings.mistake(&item.place, "a second advertised address of the same family");
        }
    }
    if node.items().is_empty() {
        findings.mistake(&node.place, "an empty list advertises no address");
    }
    advertised
}

/// An address that somebody else can send to.
fn advertised_address(node: &Node) -> Result<IpAddr, Finding> {
    let address = node.parse::<IpAddr>()?;
    let is_mapped = address.to_canonical() != address;
    if is_mapped || address.is_unspecified() || address.is_multicast() {
        return Err(node.expected("an address at which the gateway is reached"));
    }
    Ok(address)
}
