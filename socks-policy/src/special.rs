//! Addresses that are denied unless a rule says otherwise, in every spelling that leads to them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;

use crate::Nat64;

/// Why an address is special (RFC 6890 and the registries that it founded, and the clouds' metadata services).
///
/// Private networks (RFC 1918, RFC 4193) are not special: they are what a gateway is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SpecialUse {
    /// `0.0.0.0` and `::`: systems take them for themselves.
    Unspecified,
    /// The rest of `0.0.0.0/8`.
    ThisNetwork,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// `169.254.0.0/16`, where most clouds keep their metadata, and `fe80::/10`.
    LinkLocal,
    /// Addresses outside the link-local ranges at which clouds hand out credentials.
    CloudMetadata,
    /// `192.0.0.0/24` (RFC 6890 section 2.2.2).
    ProtocolAssignments,
    /// `224.0.0.0/4` and `ff00::/8`.
    Multicast,
    /// `240.0.0.0/4`.
    Reserved,
    /// `255.255.255.255`.
    Broadcast,
    /// `fec0::/10` (RFC 3879).
    SiteLocal,
    /// `::/96` (RFC 4291 section 2.5.5.1).
    Ipv4Compatible,
    /// `64:ff9b:1::/48` (RFC 8215): which IPv4 address it leads to is known to its translator only.
    LocalNat64,
    /// `100::/64` (RFC 6666).
    Discard,
    /// One of the gateway's own sockets: a listener, or one on which a session awaits its client or peer.
    OwnSocket,
}

impl SpecialUse {
    /// The class in words, for records and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::ThisNetwork => "this network",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::CloudMetadata => "cloud metadata",
            Self::ProtocolAssignments => "protocol assignments",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
            Self::Broadcast => "broadcast",
            Self::SiteLocal => "site-local",
            Self::Ipv4Compatible => "IPv4-compatible",
            Self::LocalNat64 => "local NAT64",
            Self::Discard => "discard-only",
            Self::OwnSocket => "the gateway's own socket",
        }
    }

    /// The class of an address and port, or of an IPv4 address embedded in it; `None`: an ordinary one.
    ///
    /// `gateway` are the addresses of the gateway's own sockets.
    pub fn of(address: SocketAddr, gateway: &[SocketAddr]) -> Option<Self> {
        let ip = address.ip().to_canonical();
        Self::of_canonical(SocketAddr::new(ip, address.port()), &Embedded::of(ip, None), gateway)
    }

    /// The class of a canonical address with what is embedded in it.
    pub(crate) fn of_canonical(
        address: SocketAddr,
        embedded: &Embedded,
        gateway: &[SocketAddr],
    ) -> Option<Self> {
        Self::of_ip(address.ip())
            .or_else(|| embedded.iter().find_map(of_v4))
            .or_else(|| of_gateway(address, embedded, gateway))
    }

    fn of_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => of_v4(ip),
            IpAddr::V6(ip) => of_v6(ip),
        }
    }
}

impl fmt::Display for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The class of an IPv4 address.
pub(crate) fn of_v4(ip: Ipv4Addr) -> Option<SpecialUse> {
    Some(match ip.octets() {
        [0, 0, 0, 0] => SpecialUse::Unspecified,
        [0, ..] => SpecialUse::ThisNetwork,
        [127, ..] => SpecialUse::Loopback,
        [169, 254, ..] => SpecialUse::LinkLocal,
        // Alibaba Cloud, Azure, Oracle Cloud.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => SpecialUse::CloudMetadata,
        [192, 0, 0, _] => SpecialUse::ProtocolAssignments,
        [255, 255, 255, 255] => SpecialUse::Broadcast,
        [224..=239, ..] => SpecialUse::Multicast,
        [240..=255, ..] => SpecialUse::Reserved,
        _ => return None,
    })
}

fn of_v6(ip: Ipv6Addr) -> Option<SpecialUse> {
    Some(match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => SpecialUse::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => SpecialUse::Loopback,
        [0, 0, 0, 0, 0, 0, _, _] => SpecialUse::Ipv4Compatible,
        [0x64, 0xff9b, 1, ..] => SpecialUse::LocalNat64,
        [0x100, 0, 0, 0, ..] => SpecialUse::Discard,
        [0xfe80..=0xfebf, ..] => SpecialUse::LinkLocal,
        [0xfec0..=0xfeff, ..] => SpecialUse::SiteLocal,
        [0xff00..=0xffff, ..] => SpecialUse::Multicast,
        // Amazon Web Services, Google Cloud.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            SpecialUse::CloudMetadata
        }
        _ => return None,
    })
}

fn of_gateway(address: SocketAddr, embedded: &Embedded, gateway: &[SocketAddr]) -> Option<SpecialUse> {
    let is_own = |own: &SocketAddr| {
        let ip = own.ip().to_canonical();
        own.port() == address.port() && (ip == address.ip() || embedded.iter().any(|embedded| ip == embedded))
    };
    gateway.iter().any(is_own).then_some(SpecialUse::OwnSocket)
}

/// The IPv4 addresses that an IPv6 address may lead to through a translator or a tunnel.
///
/// IPv4-mapped addresses are not among them: those are judged as the IPv4 address itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Embedded {
    addresses: [Option<Ipv4Addr>; 6],
}

impl Embedded {
    /// No address.
    pub(crate) const NONE: Self = Self { addresses: [None; 6] };

    /// The addresses embedded in `ip`, also behind the prefix of the network's own translator.
    pub(crate) fn of(ip: IpAddr, nat64: Option<&Nat64>) -> Self {
        let IpAddr::V6(ip) = ip else { return Self::NONE };
        let [a, b, c, d, e, f, g, h] = ip.segments();
        let last = join(g, h);
        let found: [Option<Ipv4Addr>; 4] = match [a, b, c, d, e, f] {
            // RFC 6052 section 2.1, RFC 2765 section 2.1, RFC 4291 section 2.5.5.1.
            [0x64, 0xff9b, 0, 0, 0, 0] | [0, 0, 0, 0, 0xffff, 0] | [0, 0, 0, 0, 0, 0] => {
                [Some(last), None, None, None]
            }
            // RFC 8215 leaves the length of the prefix open; RFC 6052 section 2.2 places the address after it.
            [0x64, 0xff9b, 1, ..] => {
                let bits = u128::from(ip);
                [Some(around_u(bits, 48)), Some(around_u(bits, 56)), Some(around_u(bits, 64)), Some(last)]
            }
            // RFC 3056 section 2.
            [0x2002, ..] => [Some(join(b, c)), None, None, None],
            // RFC 4380 section 4: the server, and the client with all bits turned.
            [0x2001, 0, ..] => [Some(join(c, d)), Some(join(!g, !h)), None, None],
            _ => [None; 4],
        };
        // RFC 5214 section 6.1: an ISATAP address may stand behind any prefix.
        let isatap = matches!((e, f), (0 | 0x200, 0x5efe)).then_some(last);
        let translated = nat64.and_then(|prefix| prefix.extract(ip));
        let mut addresses = [None; 6];
        for (slot, address) in addresses.iter_mut().zip(found.into_iter().chain([isatap, translated])) {
            *slot = address;
        }
        Self { addresses }
    }

    /// The addresses, in no order that matters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.into_iter().flatten()
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

/// The IPv4 address behind a prefix of 48, 56 or 64 bits, which steps over bits 64 to 71 (RFC 6052 section 2.2).
fn around_u(bits: u128, prefix: u32) -> Ipv4Addr {
    let octets = bits.to_be_bytes();
    let start = usize::try_from(prefix / 8).unwrap_or(0);
    let mut picked =
        octets.into_iter().enumerate().filter(|(at, _)| *at >= start && *at != 8).map(|(_, o)| o);
    Ipv4Addr::from(std::array::from_fn(|_| picked.next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(address: &str) -> Option<SpecialUse> {
        SpecialUse::of(SocketAddr::new(address.parse().unwrap(), 80), &[])
    }

    #[test]
    fn special_addresses_are_known_in_every_spelling() {
        use SpecialUse::*;
        let table = [
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", ThisNetwork),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("169.254.169.254", LinkLocal),
            ("100.100.100.200", CloudMetadata),
            ("168.63.129.16", CloudMetadata),
            ("192.0.0.192", CloudMetadata),
            ("192.0.0.9", ProtocolAssignments),
            ("224.0.0.251", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.255", Broadcast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Ipv4Compatible),
            ("::8.8.8.8", Ipv4Compatible),
            ("::127.0.0.1", Ipv4Compatible),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fec0::1", SiteLocal),
            ("ff02::1", Multicast),
            ("100::1", Discard),
            ("fd00:ec2::254", CloudMetadata),
            ("fd20:ce::254", CloudMetadata),
            ("64:ff9b:1::8.8.8.8", LocalNat64),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:169.254.169.254", LinkLocal),
            ("::ffff:0:127.0.0.1", Loopback),
            ("64:ff9b::127.0.0.1", Loopback),
            ("64:ff9b::169.254.169.254", LinkLocal),
            ("2002:7f00:1::1", Loopback),
            ("2002:a9fe:a9fe::", LinkLocal),
            ("2001:0:7f00:1::1", Loopback),
            ("2001:0:808:808:0:0:5601:5601", LinkLocal),
            ("2001:db8::5efe:127.0.0.1", Loopback),
            ("2001:db8::200:5efe:169.254.169.254", LinkLocal),
        ];
        for (address, expected) in table {
            assert_eq!(class(address), Some(expected), "{address}");
        }
    }

    #[test]
    fn ordinary_addresses_are_not_special() {
        for address in [
            "8.8.8.8",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.7",
            "223.255.255.255",
            "::ffff:10.0.0.1",
            "2001:db8::1",
            "2606:4700::1111",
            "fd12::1",
            "fc00::1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:0:808:808:0:0:f7f7:f7f7",
        ] {
            assert_eq!(class(address), None, "{address}");
        }
    }

    #[test]
    fn the_gateways_own_listener_is_special_at_its_port_only() {
        let gateway = ["10.0.0.1:1080".parse().unwrap(), "[2001:db8::1]:1080".parse().unwrap()];
        let table = [
            ("10.0.0.1:1080", Some(SpecialUse::OwnSocket)),
            ("[::ffff:10.0.0.1]:1080", Some(SpecialUse::OwnSocket)),
            ("[64:ff9b::10.0.0.1]:1080", Some(SpecialUse::OwnSocket)),
            ("[2001:db8::1]:1080", Some(SpecialUse::OwnSocket)),
            ("10.0.0.1:1081", None),
            ("10.0.0.2:1080", None),
        ];
        for (address, expected) in table {
            assert_eq!(SpecialUse::of(address.parse().unwrap(), &gateway), expected, "{address}");
        }
    }

    #[test]
    fn local_nat64_is_unwrapped_at_every_prefix_length() {
        // RFC 6052 section 2.4 shows 192.0.2.33 behind prefixes of all lengths.
        for address in [
            "64:ff9b:1:c000:2:2100::",
            "64:ff9b:1:c0:0:221::",
            "64:ff9b:1::c0:2:2100:0",
            "64:ff9b:1::192.0.2.33",
        ] {
            let embedded = Embedded::of(address.parse().unwrap(), None);
            assert!(embedded.iter().any(|ip| ip == Ipv4Addr::new(192, 0, 2, 33)), "{address}");
        }
    }
}
