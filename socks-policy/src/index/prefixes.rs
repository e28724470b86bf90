//! Tables of prefixes of numbers: networks, and ranges of ports cut into aligned blocks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::bits::Search;
use super::table::{KeyHash, Table, Usage};
use crate::pattern::PortRange;

/// The first bits of a number, which stand at its upper end; the rest is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Prefix {
    bits: u128,
    len: u8,
}

impl Prefix {
    /// The prefix of a network.
    pub(super) fn of_network(network: &IpNet) -> Self {
        Self { bits: bits_of(network.network()), len: network.prefix_len() }
    }

    /// The aligned blocks that a range of ports consists of: at most 30.
    pub(super) fn of_ports(range: PortRange) -> Vec<Self> {
        let (mut first, end) = (u32::from(range.first), u32::from(range.last) + 1);
        let mut blocks = Vec::new();
        while first < end {
            let aligned = first.trailing_zeros().min(16);
            let fitting = (end - first).ilog2();
            let free = aligned.min(fitting);
            blocks.push(Self { bits: u128::from(first) << 112, len: 16 - u8::try_from(free).unwrap_or(0) });
            first += 1 << free;
        }
        blocks
    }

    /// One port.
    pub(super) fn of_port(port: u16) -> Self {
        Self { bits: u128::from(port) << 112, len: 16 }
    }

    /// The prefix of the first `len` bits.
    #[inline]
    fn shortened(self, len: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        Self { bits: self.bits & mask, len }
    }

    fn first_octet(self) -> usize {
        let [octet, ..] = self.bits.to_be_bytes();
        octet.into()
    }

    #[inline]
    fn hash(&self) -> KeyHash {
        let high = u64::try_from(self.bits >> 64).unwrap_or(0);
        let low = u64::try_from(self.bits & u128::from(u64::MAX)).unwrap_or(0);
        KeyHash::of_wide(high, low ^ u64::from(self.len))
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// A table of prefixes that finds all those which a number begins with.
#[derive(Debug)]
pub(super) struct Prefixes {
    table: Table<Prefix>,
    /// Whether the empty prefix is in the table.
    has_empty: bool,
    /// For each first octet, the lengths of the prefixes that numbers with this octet may begin with.
    lengths: Box<[Lengths]>,
}

/// A set of lengths from 1 to 128: bit n stands for the length n + 1.
type Lengths = u128;

impl Prefixes {
    /// The table of the prefixes that `prefixes` makes of the elements.
    pub(super) fn new<'a, T, I: IntoIterator<Item = Prefix>>(
        usage: &Usage<'a, T>,
        prefixes: impl Fn(&'a T) -> I,
    ) -> Self {
        let table = usage.table(prefixes, Prefix::hash);
        let mut lengths = vec![0; if table.is_empty() { 0 } else { 256 }];
        for prefix in table.keys().filter(|prefix| prefix.len > 0) {
            let octets = 1 << (8 - prefix.len.min(8));
            for at in (prefix.first_octet()..).take(octets) {
                if let Some(lengths) = lengths.get_mut(at) {
                    *lengths |= 1 << (prefix.len - 1);
                }
            }
        }
        let has_empty = table.keys().any(|prefix| prefix.len == 0);
        Self { table, has_empty, lengths: lengths.into() }
    }

    /// Adds to the search the rules of every prefix that `prefix` begins with.
    pub(super) fn find<'a>(&'a self, prefix: Prefix, search: &mut Search<'a>) {
        if self.has_empty {
            self.find_one(prefix.shortened(0), search);
        }
        let Some(lengths) = self.lengths.get(prefix.first_octet()) else { return };
        let mut lengths = *lengths;
        while lengths != 0 {
            let len = u8::try_from(lengths.trailing_zeros() + 1).unwrap_or(u8::MAX);
            if len > prefix.len {
                return;
            }
            self.find_one(prefix.shortened(len), search);
            lengths &= lengths - 1;
        }
    }

    fn find_one<'a>(&'a self, prefix: Prefix, search: &mut Search<'a>) {
        if let Some(list) = self.table.get(prefix.hash(), |key| *key == prefix) {
            search.or_in(list);
        }
    }
}

/// Networks of both families.
#[derive(Debug)]
pub(super) struct Networks {
    v4: Prefixes,
    v6: Prefixes,
}

impl Networks {
    /// The networks that `network` makes of the elements.
    pub(super) fn new<'a, T>(usage: &Usage<'a, T>, network: impl Fn(&'a T) -> Option<&'a IpNet>) -> Self {
        let of_family = |is_v4: bool| {
            Prefixes::new(usage, |element| {
                let network = network(element).filter(|network| network.addr().is_ipv4() == is_v4);
                network.map(Prefix::of_network)
            })
        };
        Self { v4: of_family(true), v6: of_family(false) }
    }

    /// Adds to the search the rules of every network that contains the address.
    pub(super) fn find<'a>(&'a self, address: IpAddr, search: &mut Search<'a>) {
        self.find_network(&IpNet::from(address), search);
    }

    /// Adds to the search the rules of every network that contains the network.
    pub(super) fn find_network<'a>(&'a self, network: &IpNet, search: &mut Search<'a>) {
        let family = if network.addr().is_ipv4() { &self.v4 } else { &self.v6 };
        family.find(Prefix::of_network(network), search);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ports_become_blocks_that_hold_exactly_them() {
        for (first, last) in
            [(0, 0), (0, 65535), (1, 65534), (22, 22), (1024, 65535), (80, 90), (65535, 65535)]
        {
            let blocks = Prefix::of_ports(PortRange { first, last });
            assert!(blocks.len() <= 30, "{first}-{last}");
            for port in
                (0..=u16::MAX).step_by(7).chain([first, last, first.wrapping_sub(1), last.wrapping_add(1)])
            {
                let own = Prefix::of_port(port).bits;
                let holds = |block: &&Prefix| (own ^ block.bits).leading_zeros() >= block.len.into();
                let holders = blocks.iter().filter(holds);
                assert_eq!(
                    holders.count(),
                    usize::from((first..=last).contains(&port)),
                    "{port} in {first}-{last}"
                );
            }
        }
    }
}
