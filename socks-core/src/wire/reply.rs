//! The server's reply to a request (RFC 1928 section 6).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Buf, BufMut, BytesMut};

use super::{Cursor, Decode, DecodeError, Encode, Target, VERSION, version};

/// The outcome of a request. A server sends the nine named ones; a client may meet others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyCode(pub u8);

impl ReplyCode {
    /// The request was granted.
    pub const SUCCEEDED: Self = Self(0x00);
    /// A failure for which there is no better code.
    pub const GENERAL_FAILURE: Self = Self(0x01);
    /// The ruleset does not allow the connection.
    pub const NOT_ALLOWED: Self = Self(0x02);
    /// The target's network cannot be reached.
    pub const NETWORK_UNREACHABLE: Self = Self(0x03);
    /// The target's host cannot be reached, or its name cannot be found.
    pub const HOST_UNREACHABLE: Self = Self(0x04);
    /// The target refused the connection.
    pub const CONNECTION_REFUSED: Self = Self(0x05);
    /// A time to live ran out.
    pub const TTL_EXPIRED: Self = Self(0x06);
    /// The command is not known, or not served.
    pub const COMMAND_NOT_SUPPORTED: Self = Self(0x07);
    /// The address type is not known.
    pub const ADDRESS_TYPE_NOT_SUPPORTED: Self = Self(0x08);
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0x00 => "succeeded",
            0x01 => "general failure",
            0x02 => "not allowed by the ruleset",
            0x03 => "network unreachable",
            0x04 => "host unreachable",
            0x05 => "connection refused",
            0x06 => "time to live expired",
            0x07 => "command not supported",
            0x08 => "address type not supported",
            _ => "unassigned",
        };
        write!(f, "{:#04x} ({text})", self.0)
    }
}

/// The server's reply: how the request went, and the server's end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How it went.
    pub code: ReplyCode,
    /// BND.ADDR and BND.PORT; all zero in a refusal.
    pub bound: Target,
}

impl Reply {
    /// A reply that grants the request and names the gateway's own end.
    pub fn succeeded(bound: SocketAddr) -> Self {
        Self { code: ReplyCode::SUCCEEDED, bound: bound.into() }
    }

    /// A reply that refuses the request.
    pub fn refused(code: ReplyCode) -> Self {
        Self { code, bound: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into() }
    }
}

impl Decode for Reply {
    const MAX_LEN: usize = 3 + Target::MAX_LEN;

    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let mut cursor = Cursor::new(src);
        if version(cursor.octet())?.is_none() {
            return Ok(None);
        }
        let Some(code) = cursor.octet() else { return Ok(None) };
        match cursor.octet() {
            None => return Ok(None),
            Some(0x00) => {}
            Some(other) => return Err(DecodeError::Reserved(other)),
        }
        let Some(bound) = Target::read(&mut cursor)? else { return Ok(None) };
        let taken = cursor.taken;
        src.advance(taken);
        Ok(Some(Self { code: ReplyCode(code), bound }))
    }
}

impl Encode for Reply {
    fn encode(&self, dst: &mut BytesMut) {
        dst.put_slice(&[VERSION, self.code.0, 0x00]);
        self.bound.write(dst);
    }
}
