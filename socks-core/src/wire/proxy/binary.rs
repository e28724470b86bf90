//! Version 2: octets, with the addresses at fixed places and further fields behind them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::checksum::crc32c;
use super::{Found, ProxyHeader};
use crate::wire::{Cursor, DecodeError};

/// What each header begins with: octets that are no text and no beginning of another protocol.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The most octets of a header that is taken.
pub(super) const MAX_LEN: usize = HEAD + MOST_BODY;

/// Signature, version and command, family and transport, length of the rest.
const HEAD: usize = 16;
/// The most octets behind the head.
const MOST_BODY: usize = 4096;
/// Two addresses of `AF_UNIX`.
const UNIX_ADDRESSES: usize = 2 * 108;
/// The type of the field with a checksum of the whole header (`PP2_TYPE_CRC32C`).
const CRC32C: u8 = 0x03;

/// Reads the header at the front of octets that begin as one.
pub(super) fn find(octets: &[u8]) -> Result<Option<Found>, DecodeError> {
    let mut head = Cursor::new(octets);
    if head.take(SIGNATURE.len()).is_none() {
        return Ok(None);
    }
    let Some(is_local) = head.octet().map(is_local).transpose()? else { return Ok(None) };
    let Some(family) = head.octet() else { return Ok(None) };
    let family = if is_local { Family::Ignored } else { Family::read(family)? };
    let Some(body) = head.array().map(u16::from_be_bytes).map(usize::from) else { return Ok(None) };
    if body > MOST_BODY {
        return Err(mistake("it is too long"));
    }
    if body < family.addresses() {
        return Err(mistake("it is too short for its addresses"));
    }
    let Some(whole) = octets.get(..HEAD + body) else { return Ok(None) };
    let header = header(whole, family).transpose()?.ok_or(mistake("it is too short for its addresses"))?;
    Ok(Some(Found { header, len: whole.len() }))
}

/// The version, which is always 2 here, and the command.
fn is_local(octet: u8) -> Result<bool, DecodeError> {
    match octet {
        0x20 => Ok(true),
        0x21 => Ok(false),
        _ => Err(mistake("its version and command are none of 0x20 and 0x21")),
    }
}

/// What the addresses are.
#[derive(Debug, Clone, Copy)]
enum Family {
    /// Whatever stands behind the head means nothing.
    Ignored,
    V4,
    V6,
    Unix,
}

impl Family {
    fn read(octet: u8) -> Result<Self, DecodeError> {
        match octet {
            0x00 => Ok(Self::Ignored),
            0x11 => Ok(Self::V4),
            0x21 => Ok(Self::V6),
            0x31 => Ok(Self::Unix),
            _ => Err(mistake("its family and transport are none of a stream")),
        }
    }

    /// The octets of both addresses and their ports.
    fn addresses(self) -> usize {
        match self {
            Self::Ignored => 0,
            Self::V4 => 2 * (4 + 2),
            Self::V6 => 2 * (16 + 2),
            Self::Unix => UNIX_ADDRESSES,
        }
    }
}

/// Reads a whole header; `None` where octets are missing.
fn header(whole: &[u8], family: Family) -> Option<Result<ProxyHeader, DecodeError>> {
    let mut cursor = Cursor::new(whole);
    cursor.take(HEAD)?;
    let addresses = match family {
        Family::Ignored => return Some(Ok(ProxyHeader::Own)),
        Family::Unix => cursor.take(UNIX_ADDRESSES).map(|_| None)?,
        Family::V4 => {
            let (source, destination) =
                (Ipv4Addr::from(cursor.array::<4>()?), Ipv4Addr::from(cursor.array::<4>()?));
            let (from, to) = ports(&mut cursor)?;
            Some((SocketAddr::from((source, from)), SocketAddr::from((destination, to))))
        }
        Family::V6 => {
            let (source, destination) =
                (Ipv6Addr::from(cursor.array::<16>()?), Ipv6Addr::from(cursor.array::<16>()?));
            let (from, to) = ports(&mut cursor)?;
            Some((SocketAddr::from((source, from)), SocketAddr::from((destination, to))))
        }
    };
    if let Err(error) = check_fields(whole, cursor) {
        return Some(Err(error));
    }
    Some(match addresses {
        None => Ok(ProxyHeader::Own),
        Some((source, destination)) => ProxyHeader::forwarded(source, destination),
    })
}

fn ports(cursor: &mut Cursor<'_>) -> Option<(u16, u16)> {
    Some((u16::from_be_bytes(cursor.array()?), u16::from_be_bytes(cursor.array()?)))
}

/// Walks over the fields behind the addresses: each has a type, a length and so many octets. The checksum is
/// verified, if there is one; all others are passed over.
fn check_fields(whole: &[u8], mut cursor: Cursor<'_>) -> Result<(), DecodeError> {
    let mut is_checked = false;
    while cursor.taken < whole.len() {
        let (kind, place, value) = field(&mut cursor).ok_or(mistake("a field of it is cut short"))?;
        if kind != CRC32C {
            continue;
        }
        if std::mem::replace(&mut is_checked, true) {
            return Err(mistake("it has two checksums"));
        }
        let told = value.try_into().map(u32::from_be_bytes);
        let told = told.map_err(|_| mistake("its checksum does not have four octets"))?;
        // The sum is taken with zeros in its own place.
        let before = whole.get(..place).unwrap_or_default();
        let behind = whole.get(place + value.len()..).unwrap_or_default();
        if crc32c([before, &[0; 4], behind]) != told {
            return Err(mistake("its checksum is wrong"));
        }
    }
    Ok(())
}

/// One field: its type, where its value stands, and the value.
fn field<'a>(cursor: &mut Cursor<'a>) -> Option<(u8, usize, &'a [u8])> {
    let kind = cursor.octet()?;
    let len = u16::from_be_bytes(cursor.array()?);
    let place = cursor.taken;
    Some((kind, place, cursor.take(len.into())?))
}

fn mistake(what: &'static str) -> DecodeError {
    DecodeError::ProxyHeader(what)
}
