//! Host names, addresses and targets as requests, replies and datagrams carry them (RFC 1928 section 5).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytes::{BufMut, BytesMut};

use super::{Cursor, DecodeError};

pub(super) const ATYP_IPV4: u8 = 0x01;
const ATYP_NAME: u8 = 0x03;
pub(super) const ATYP_IPV6: u8 = 0x04;

/// The longest host name in octets, without the last dot (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// The longest label of a host name in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A host name that was checked once: lower case, IDNA's ASCII form, without the last dot, 1 to 253 octets.
///
/// It is never an IP address in any spelling: those are [`Host::Ip`], or refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Box<str>);

impl DomainName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

impl FromStr for DomainName {
    type Err = NameError;

    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] when the text is no host name, or an IP address in whatever spelling.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut name = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| NameError::NotAHostName)?
        };
        if name.ends_with('.') {
            name.pop();
        }
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        if address(&name).is_some() || ends_in_a_number(&name) {
            return Err(NameError::OddAddress);
        }
        if !name.as_bytes().split(|octet| *octet == b'.').all(is_label) {
            return Err(NameError::NotAHostName);
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Letters, digits, hyphens inside, and the underscore that many private networks use.
fn is_label(label: &[u8]) -> bool {
    let inside = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-' || *octet == b'_';
    (1..=MAX_LABEL).contains(&label.len())
        && label.iter().all(inside)
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-')
}

/// The address that a text is in its usual spelling. Nearly every name is told from one by its first letters.
fn address(text: &str) -> Option<IpAddr> {
    let may_be_in_one = |octet: u8| octet.is_ascii_hexdigit() || octet == b'.' || octet == b':';
    if text.bytes().all(may_be_in_one) { text.parse().ok() } else { None }
}

/// Tells whether a resolver may take the name for an IPv4 address: `127.1`, `0x7f000001`, `010.0.0.1` and so on.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()));
    hex || (!last.is_empty() && last.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Why a text is no host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It has more than 253 octets.
    #[error("is longer than 253 octets")]
    TooLong,
    /// It looks like an IPv4 address in an odd spelling, which resolvers read differently.
    #[error("looks like an oddly spelled IPv4 address")]
    OddAddress,
    /// A label is empty, too long, or has a character that host names do not have.
    #[error("is not a valid host name")]
    NotAHostName,
}

/// A host as a peer named it: an address, or a name that still has to be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address, as it was sent (an IPv4-mapped one stays IPv6).
    Ip(IpAddr),
    /// A checked name.
    Name(DomainName),
}

impl FromStr for Host {
    type Err = NameError;

    /// Reads an address in its usual spelling (IPv6 without brackets), or else a host name.
    ///
    /// # Errors
    /// [`NameError`] when it is neither.
    fn from_str(text: &str) -> Result<Self, NameError> {
        match address(text) {
            Some(ip) => Ok(Self::Ip(ip)),
            None => text.parse().map(Self::Name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A host and a port: where a request wants to go, or which end a reply speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port; 0 is legal on the wire, not every command can use it.
    pub port: u16,
}

impl Target {
    /// The most octets of an encoded target: type, length, 255 octets of name, port.
    pub const MAX_LEN: usize = 1 + 1 + 255 + 2;

    /// Reads a target; `Ok(None)` when octets are missing.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, DecodeError> {
        let Some(address_type) = cursor.octet() else { return Ok(None) };
        let host = match address_type {
            ATYP_IPV4 => cursor.array::<4>().map(|octets| Host::Ip(Ipv4Addr::from(octets).into())),
            ATYP_IPV6 => cursor.array::<16>().map(|octets| Host::Ip(Ipv6Addr::from(octets).into())),
            ATYP_NAME => match read_name(cursor)? {
                Some(octets) if cursor.octets.len() >= 2 => Some(host_from(octets)?),
                _ => None,
            },
            other => return Err(DecodeError::AddressType(other)),
        };
        let Some(host) = host else { return Ok(None) };
        Ok(cursor.array().map(|port| Self { host, port: u16::from_be_bytes(port) }))
    }

    /// Appends address type, address and port.
    pub(super) fn write(&self, dst: &mut BytesMut) {
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => {
                dst.put_u8(ATYP_IPV4);
                dst.put_slice(&ip.octets());
            }
            Host::Ip(IpAddr::V6(ip)) => {
                dst.put_u8(ATYP_IPV6);
                dst.put_slice(&ip.octets());
            }
            Host::Name(name) => {
                dst.put_u8(ATYP_NAME);
                dst.put_u8(u8::try_from(name.0.len()).expect("a host name has at most 253 octets"));
                dst.put_slice(name.0.as_bytes());
            }
        }
        dst.put_u16(self.port);
    }
}

fn read_name<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    match cursor.octet() {
        None => Ok(None),
        Some(0) => Err(DecodeError::Name { name: "".into(), why: NameError::Empty }),
        Some(len) => Ok(cursor.take(len.into())),
    }
}

fn host_from(octets: &[u8]) -> Result<Host, DecodeError> {
    std::str::from_utf8(octets)
        .map_err(|_| NameError::NotAHostName)
        .and_then(str::parse)
        .map_err(|why| DecodeError::Name { name: octets.escape_ascii().to_string().into(), why })
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl FromStr for Target {
    type Err = NameError;

    /// Reads `host:port`; an IPv6 address stands in brackets: `[2001:db8::1]:443`.
    ///
    /// # Errors
    /// [`NameError`] when host or port is none; a missing port is `NotAHostName`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = text.rsplit_once(':').ok_or(NameError::NotAHostName)?;
        // A number parser of the standard library would accept a sign.
        if !port.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(NameError::NotAHostName);
        }
        let port = port.parse().map_err(|_| NameError::NotAHostName)?;
        Ok(Self { host: Host::Name(host.parse()?), port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}
