//! Version 1: one line of text, such as `PROXY TCP4 192.0.2.7 198.51.100.1 40000 1080`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Found, ProxyHeader};
use crate::wire::DecodeError;

/// What each line begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The most octets of a line, with its end (section 2.1 of the protocol's own text).
pub(super) const MAX_LEN: usize = 107;

/// Reads the line at the front of octets that begin as one.
pub(super) fn find(octets: &[u8]) -> Result<Option<Found>, DecodeError> {
    let longest = octets.get(..MAX_LEN - 1).unwrap_or(octets);
    let Some(end) = longest.iter().position(|octet| matches!(octet, b'\r' | b'\n')) else {
        return if longest.len() < MAX_LEN - 1 { Ok(None) } else { Err(mistake("its line is too long")) };
    };
    match octets.get(end..) {
        Some([b'\r', b'\n', ..]) => {}
        Some([b'\r']) => return Ok(None),
        _ => return Err(mistake("its line does not end with CR and LF")),
    }
    let line = octets.get(SIGNATURE.len()..end).unwrap_or_default();
    Ok(Some(Found { header: header(line)?, len: end + 2 }))
}

/// What stands behind the signature.
fn header(line: &[u8]) -> Result<ProxyHeader, DecodeError> {
    // What follows the word means nothing.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(ProxyHeader::Own);
    }
    let line = str::from_utf8(line).map_err(|_| mistake("its line is no text"))?;
    let mut words = line.split(' ');
    let five = [(); 5].map(|()| words.next());
    let ([Some(family), Some(source), Some(destination), Some(from), Some(to)], None) = (five, words.next())
    else {
        return Err(mistake("its line does not have a family, two addresses and two ports"));
    };
    let ip = match family {
        "TCP4" => ip::<Ipv4Addr>,
        "TCP6" => ip::<Ipv6Addr>,
        _ => return Err(mistake("its family is none of TCP4, TCP6 and UNKNOWN")),
    };
    let (source, destination) = (ip(source)?, ip(destination)?);
    ProxyHeader::forwarded(SocketAddr::new(source, port(from)?), SocketAddr::new(destination, port(to)?))
}

/// An address of the line's family.
fn ip<T: FromStr + Into<IpAddr>>(word: &str) -> Result<IpAddr, DecodeError> {
    word.parse::<T>().map(Into::into).map_err(|_| mistake("an address is none of its family"))
}

/// A decimal number without sign and leading zeros.
fn port(word: &str) -> Result<u16, DecodeError> {
    let is_plain =
        word.bytes().all(|octet| octet.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    let port = word.parse().ok().filter(|_| is_plain);
    port.ok_or(mistake("a port is none"))
}

fn mistake(what: &'static str) -> DecodeError {
    DecodeError::ProxyHeader(what)
}
