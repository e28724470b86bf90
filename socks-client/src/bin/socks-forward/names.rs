//! Fake addresses for programs that look names up before they ask: each stands for a name, and leads nowhere.
//!
//! The name resolving delegation of RFC 3089 section 3, done beside the program: it gets an address that nobody
//! has, and the gateway gets the name.

mod message;
mod responder;
mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use socks_client::Target;
use socks_core::wire::{DomainName, Host};

pub(crate) use responder::Responder;
use table::Table;

/// The most names that are known at a time.
const MOST_NAMES: usize = 65_536;

/// Names and the fake addresses that stand for them.
#[derive(Debug)]
pub(crate) struct Names {
    v4: Option<Ipv4Net>,
    v6: Option<Ipv6Net>,
    most: usize,
    table: Mutex<Table>,
}

/// A target as the gateway can use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) target: Target,
    /// The fake address by which the program knows it.
    pub(crate) fake: Option<IpAddr>,
}

impl Meant {
    /// A target that stands for itself.
    pub(crate) fn plainly(target: Target) -> Self {
        Self { target, fake: None }
    }
}

/// A fake address that stands for no name, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is a fake address without a name: the program has to look the name up again")]
pub(crate) struct Forgotten(pub(crate) IpAddr);

/// The addresses of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fakes {
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<Ipv6Addr>,
}

impl Names {
    /// Names for the addresses of these networks, one of each family at most.
    ///
    /// # Errors
    /// What is wrong with the networks.
    pub(crate) fn new(networks: &[IpNet]) -> Result<Self, String> {
        let (mut v4, mut v6, mut most) = (None, None, MOST_NAMES);
        for network in networks {
            // The first address and the last are never given: a network's own, and that for all of it.
            let addresses = 1_usize.checked_shl((network.max_prefix_len() - network.prefix_len()).into());
            most = most.min(addresses.unwrap_or(usize::MAX).saturating_sub(2));
            let double = match network {
                IpNet::V4(network) => v4.replace(network.trunc()).is_some(),
                IpNet::V6(network) => v6.replace(network.trunc()).is_some(),
            };
            if double {
                return Err(format!("`{network}` is the second network of its family: one is enough"));
            }
            if most == 0 {
                return Err(format!("`{network}` has too few addresses"));
            }
        }
        Ok(Self { v4, v6, most, table: Mutex::default() })
    }

    /// The addresses that stand for a name; `None` while all are taken by others.
    pub(crate) fn assign(&self, name: &DomainName) -> Option<Fakes> {
        self.assign_at(name, Instant::now())
    }

    fn assign_at(&self, name: &DomainName, now: Instant) -> Option<Fakes> {
        let slot = self.lock().assign(name, self.most, now)?;
        let place = u32::try_from(slot).ok()?.checked_add(1)?;
        Some(Fakes {
            v4: self.v4.map(|network| (u32::from(network.network()) + place).into()),
            v6: self.v6.map(|network| (u128::from(network.network()) + u128::from(place)).into()),
        })
    }

    /// The name that an address stands for, which is not used by that.
    ///
    /// # Errors
    /// [`Forgotten`] for an address of ours that stands for none.
    pub(crate) fn name_of(&self, address: IpAddr) -> Result<Option<DomainName>, Forgotten> {
        self.named(address, |table, slot| table.name_of(slot))
    }

    fn named(
        &self,
        address: IpAddr,
        ask: impl FnOnce(&mut Table, usize) -> Option<DomainName>,
    ) -> Result<Option<DomainName>, Forgotten> {
        let place = match (address.to_canonical(), self.v4, self.v6) {
            (IpAddr::V4(ip), Some(network), _) if network.contains(&ip) => {
                u128::from(u32::from(ip) - u32::from(network.network()))
            }
            (IpAddr::V6(ip), _, Some(network)) if network.contains(&ip) => {
                u128::from(ip) - u128::from(network.network())
            }
            _ => return Ok(None),
        };
        let slot = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        let name = slot.and_then(|slot| ask(&mut self.lock(), slot));
        name.map(Some).ok_or(Forgotten(address))
    }

    /// What a program means by a target: the name, where it asks for a fake address, which is used by that.
    ///
    /// # Errors
    /// [`Forgotten`]; a fake address never goes to the gateway.
    pub(crate) fn meant(&self, target: Target) -> Result<Meant, Forgotten> {
        self.meant_at(target, Instant::now())
    }

    fn meant_at(&self, target: Target, now: Instant) -> Result<Meant, Forgotten> {
        let Host::Ip(ip) = target.host else { return Ok(Meant::plainly(target)) };
        Ok(match self.named(ip, |table, slot| table.use_slot(slot, now))? {
            None => Meant::plainly(target),
            Some(name) => {
                Meant { target: Target { host: Host::Name(name), port: target.port }, fake: Some(ip) }
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
