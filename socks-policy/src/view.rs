//! A query as the rules look at it: addresses canonical, and only what the operation is about.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use socks_core::Identity;
use socks_core::wire::{DomainName, Host, Target};

use crate::special::Embedded;
use crate::{ExpectedPeer, Fact, Nat64, Operation, OperationKind, Query, SpecialUse};

/// What the rules see of a [`Query`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) listener: &'a str,
    /// The client's address, canonical.
    pub(crate) source: IpAddr,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) kind: Option<OperationKind>,
    /// The name that the operation is about.
    pub(crate) name: Option<&'a DomainName>,
    /// The place that the operation is about.
    pub(crate) site: Site,
    /// The port that the operation is about, as rules understand it: none for BIND.
    pub(crate) port: Option<u16>,
    /// The address and port to be permitted.
    pub(crate) address: Option<SocketAddr>,
    /// The class of the address, if it is special.
    pub(crate) special: Option<SpecialUse>,
    /// What the address leads to beside itself.
    pub(crate) embedded: Embedded,
    pub(crate) now: Timestamp,
}

/// Where an operation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// The operation is not known yet.
    Unknown,
    /// Nowhere yet: an association, or a BIND for anybody.
    Open,
    /// A name whose address is not known.
    Unresolved,
    /// An address, canonical.
    At(IpAddr),
}

/// What makes addresses special here and nowhere else.
#[derive(Clone, Copy)]
struct Surroundings<'a> {
    gateway: &'a [SocketAddr],
    nat64: Option<&'a Nat64>,
}

impl<'a> View<'a> {
    /// What the rules see of `query` in a network with that translator.
    pub(crate) fn new(query: &Query<'a>, nat64: Option<&Nat64>) -> Self {
        let place = Surroundings { gateway: query.gateway, nat64 };
        let mut view = Self {
            listener: query.listener,
            source: query.client.ip().to_canonical(),
            identity: query.identity,
            kind: query.operation.map(|operation| operation.kind()),
            name: None,
            site: Site::Unknown,
            port: None,
            address: None,
            special: None,
            embedded: Embedded::NONE,
            now: query.now,
        };
        match query.operation {
            None => {}
            Some(Operation::Associate | Operation::BindListen(ExpectedPeer::Unknown)) => {
                view.site = Site::Open;
            }
            Some(Operation::BindListen(ExpectedPeer::Known(target))) => {
                view.look_at(target, query.address, place);
            }
            Some(Operation::BindPeer { peer, name }) => {
                view.name = name;
                view.arrive(peer, place);
            }
            Some(Operation::Connect(target) | Operation::Datagram(target)) => {
                view.port = Some(target.port);
                view.look_at(target, query.address, place);
            }
        }
        view
    }

    fn look_at(&mut self, target: &'a Target, resolved: Option<IpAddr>, place: Surroundings<'_>) {
        let address = match &target.host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(name) => {
                self.name = Some(name);
                resolved
            }
        };
        match address {
            None => self.site = Site::Unresolved,
            Some(ip) => self.arrive(SocketAddr::new(ip, target.port), place),
        }
    }

    fn arrive(&mut self, address: SocketAddr, place: Surroundings<'_>) {
        let ip = address.ip().to_canonical();
        let address = SocketAddr::new(ip, address.port());
        self.site = Site::At(ip);
        self.address = Some(address);
        self.embedded = Embedded::of(ip, place.nat64);
        self.special = SpecialUse::of_canonical(address, &self.embedded, place.gateway);
    }

    /// The cheapest fact without which nothing can be permitted.
    pub(crate) fn missing(&self) -> Option<Fact> {
        match self {
            Self { identity: None, .. } => Some(Fact::Identity),
            Self { kind: None, .. } => Some(Fact::Operation),
            Self { site: Site::Unresolved, .. } => Some(Fact::Address),
            _ => None,
        }
    }
}
