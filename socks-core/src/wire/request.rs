//! The client's request (RFC 1928 section 4).

use std::fmt;

use bytes::{Buf, BufMut, BytesMut};

use super::{Cursor, Decode, DecodeError, Encode, Target, VERSION, version};

/// What a client asks for; the RFC closes the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Command {
    /// Open a TCP connection to the target.
    Connect = 0x01,
    /// Accept one TCP connection from the target.
    Bind = 0x02,
    /// Relay UDP datagrams.
    UdpAssociate = 0x03,
}

impl TryFrom<u8> for Command {
    type Error = DecodeError;

    fn try_from(octet: u8) -> Result<Self, DecodeError> {
        match octet {
            0x01 => Ok(Self::Connect),
            0x02 => Ok(Self::Bind),
            0x03 => Ok(Self::UdpAssociate),
            other => Err(DecodeError::Command(other)),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Bind => "bind",
            Self::UdpAssociate => "udp-associate",
        })
    }
}

/// A client's request: a command and the target it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// DST.ADDR and DST.PORT.
    pub target: Target,
}

impl Decode for Request {
    const MAX_LEN: usize = 3 + Target::MAX_LEN;

    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let mut cursor = Cursor::new(src);
        if version(cursor.octet())?.is_none() {
            return Ok(None);
        }
        let Some(command) = cursor.octet() else { return Ok(None) };
        let command = Command::try_from(command)?;
        match cursor.octet() {
            None => return Ok(None),
            Some(0x00) => {}
            Some(other) => return Err(DecodeError::Reserved(other)),
        }
        let Some(target) = Target::read(&mut cursor)? else { return Ok(None) };
        let taken = cursor.taken;
        src.advance(taken);
        Ok(Some(Self { command, target }))
    }
}

impl Encode for Request {
    fn encode(&self, dst: &mut BytesMut) {
        dst.put_slice(&[VERSION, self.command as u8, 0x00]);
        self.target.write(dst);
    }
}
