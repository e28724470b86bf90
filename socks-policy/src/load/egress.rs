//! The `egress` of a rule: by which address, interface and mark its sockets leave the gateway.

use std::net::IpAddr;

use socks_config::{Finding, Node, Value};

use super::element;
use super::read::Reader;
use crate::{Egress, Interface};

impl<'a> Reader<'a> {
    /// Addresses alone, or a mapping that has them among others.
    pub(super) fn egress(&mut self, node: &'a Node) -> Egress {
        let Value::Map(_) = node.value else { return self.egress_addresses(node) };
        let mut egress = Egress::default();
        let Some(mut fields) = node.fields(&mut self.findings) else { return egress };
        if let Some(addresses) = self.take(&mut fields, "addresses") {
            egress = self.egress_addresses(addresses);
        }
        if let Some(node) = self.take(&mut fields, "interface") {
            egress.interface = self.findings.note(interface(node));
            self.warn_of_absence(node, egress.interface);
        }
        if let Some(node) = self.take(&mut fields, "mark") {
            egress.mark = self.findings.note(mark(node));
        }
        if ["addresses", "interface", "mark"].iter().all(|key| fields.key(key).is_none()) {
            self.findings
                .mistake(&node.place, "neither `addresses` nor `interface` nor `mark` says how to leave");
        }
        fields.finish(&mut self.findings);
        egress
    }

    fn egress_addresses(&mut self, node: &'a Node) -> Egress {
        let mut egress = Egress::default();
        for item in node.items() {
            let address = egress_address(item);
            let is_second = match self.findings.note(address) {
                Some(IpAddr::V4(ip)) => egress.v4.replace(ip).is_some(),
                Some(IpAddr::V6(ip)) => egress.v6.replace(ip).is_some(),
                None => false,
            };
            if is_second {
                self.findings.mistake(&item.place, "a second egress address of the same family");
            }
        }
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "an empty list names no address");
        }
        egress
    }

    /// An interface may come later than the gateway, so that its absence is no mistake.
    fn warn_of_absence(&mut self, node: &Node, interface: Option<Interface>) {
        let (Some(known), Some(interface)) = (self.context.interfaces, interface) else { return };
        if known.iter().any(|name| *name == interface.as_str()) {
            return;
        }
        let names: Vec<&str> = known.iter().map(|name| &**name).collect();
        let message =
            format!("there is no interface `{interface}` now: until it comes, the rule lets nothing out");
        self.findings.push(Finding::warning(&node.place, message).with_nearest(interface.as_str(), &names));
    }
}

/// An address that a connection can come from.
fn egress_address(node: &Node) -> Result<IpAddr, Finding> {
    let address = element::address(node)?;
    let is_mapped = address.to_canonical() != address;
    if is_mapped || address.is_unspecified() || address.is_multicast() {
        return Err(node.expected("an address that the gateway can send from"));
    }
    Ok(address)
}

fn interface(node: &Node) -> Result<Interface, Finding> {
    let text = node.text()?;
    Interface::new(text).ok_or_else(|| node.expected("the name of a network interface, such as `eth1`"))
}

/// A mark in decimal, or in hexadecimal behind `0x`.
fn mark(node: &Node) -> Result<std::num::NonZeroU32, Finding> {
    let text = node.text()?;
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    let is_number = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    let number = is_number.then(|| u32::from_str_radix(digits, radix).ok()).flatten();
    let mark = number.and_then(std::num::NonZeroU32::new);
    mark.ok_or_else(|| node.expected("a mark from 1 to 0xffffffff, such as `0x10`"))
}
