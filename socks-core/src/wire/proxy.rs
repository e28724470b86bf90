//! What a load balancer says of a connection before the client's first octet: the PROXY protocol, versions 1 and 2.

mod binary;
mod checksum;
#[cfg(test)]
mod tests;
mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::{Buf, BytesMut};

use super::{Decode, DecodeError};

/// What a header of the PROXY protocol tells of the connection that it stands before.
///
/// Both versions are read, told apart by their first octets. There is nothing here to write one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is the balancer's own (`LOCAL`, mostly a health check), or the balancer does not know from
    /// where it comes (`UNKNOWN`, `AF_UNSPEC`, `AF_UNIX`): the connection's own addresses count.
    Own,
    /// The balancer passes on the connection of somebody else.
    Forwarded {
        /// The client's address, canonical and that of one host; its port may be 0.
        source: SocketAddr,
        /// The address to which the client had connected, canonical.
        destination: SocketAddr,
    },
}

/// A header at the front of a buffer.
struct Found {
    header: ProxyHeader,
    /// Its octets.
    len: usize,
}

impl ProxyHeader {
    /// Tells whether octets can be the beginning of a header. None at all can.
    pub fn may_begin(octets: &[u8]) -> bool {
        [text::SIGNATURE, binary::SIGNATURE].into_iter().any(|signature| begins(octets, signature))
    }

    /// What one says of a connection of somebody else.
    fn forwarded(source: SocketAddr, destination: SocketAddr) -> Result<Self, DecodeError> {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let source = canonical(source);
        if !is_one_host(source.ip()) {
            return Err(DecodeError::ProxyHeader("its source is not the address of one host"));
        }
        Ok(Self::Forwarded { source, destination: canonical(destination) })
    }
}

impl Decode for ProxyHeader {
    /// Version 1 has at most 107 octets. Version 2 could have 65,551; a reader needs to take no more than 536
    /// by its own words, and balancers that add certificates stay below this.
    const MAX_LEN: usize = binary::MAX_LEN;

    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        if src.is_empty() {
            return Ok(None);
        }
        let found = if begins(src, text::SIGNATURE) {
            text::find(src)?
        } else if begins(src, binary::SIGNATURE) {
            binary::find(src)?
        } else {
            return Err(DecodeError::NoProxyHeader);
        };
        Ok(found.map(|Found { header, len }| {
            src.advance(len);
            header
        }))
    }
}

/// Tells whether octets begin with the signature, or with a part of it and have no more.
fn begins(octets: &[u8], signature: &[u8]) -> bool {
    octets.iter().zip(signature).all(|(octet, expected)| octet == expected)
}

fn is_one_host(ip: IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST)
}
