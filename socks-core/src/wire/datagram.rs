//! The header in front of every UDP datagram between client and relay (RFC 1928 section 7).

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut, BytesMut};

use super::host::{ATYP_IPV4, ATYP_IPV6};
use super::{Cursor, Decode, DecodeError, Encode, Target};

/// The header of a relayed datagram; the user data follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpHeader {
    /// FRAG: 0 for a whole datagram, 1 to 127 for a position, with the high bit for the last fragment.
    pub fragment: u8,
    /// Where the datagram goes, or where it came from.
    pub target: Target,
}

impl UdpHeader {
    /// The most octets of a header that names an address.
    pub const MAX_ORIGIN: usize = 4 + 16 + 2;

    /// Reads the header in front of `datagram` and gives it with the user data behind it.
    ///
    /// `Ok(None)` means that the datagram ends inside its header.
    ///
    /// # Errors
    /// [`DecodeError`] when the reserved octets are not zero, or the address is none.
    pub fn split(datagram: &[u8]) -> Result<Option<(Self, &[u8])>, DecodeError> {
        let mut cursor = Cursor::new(datagram);
        Ok(Self::read(&mut cursor)?.map(|header| (header, cursor.octets)))
    }

    /// Writes the header of a whole datagram that came from `origin` to the end of `room`, and tells its length.
    ///
    /// `None` means that `room` is too short; [`UdpHeader::MAX_ORIGIN`] octets are always enough.
    pub fn write_before(origin: SocketAddr, room: &mut [u8]) -> Option<usize> {
        let port = origin.port().to_be_bytes();
        match origin.ip() {
            IpAddr::V4(ip) => write_last(room, [&[0x00, 0x00, 0x00, ATYP_IPV4], &ip.octets(), &port]),
            IpAddr::V6(ip) => write_last(room, [&[0x00, 0x00, 0x00, ATYP_IPV6], &ip.octets(), &port]),
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, DecodeError> {
        for _ in 0..2 {
            match cursor.octet() {
                None => return Ok(None),
                Some(0x00) => {}
                Some(other) => return Err(DecodeError::Reserved(other)),
            }
        }
        let Some(fragment) = cursor.octet() else { return Ok(None) };
        Ok(Target::read(cursor)?.map(|target| Self { fragment, target }))
    }
}

fn write_last(room: &mut [u8], pieces: [&[u8]; 3]) -> Option<usize> {
    let len = pieces.iter().map(|piece| piece.len()).sum();
    let mut rest = room.len().checked_sub(len).and_then(|start| room.get_mut(start..))?;
    for piece in pieces {
        let (place, after) = rest.split_at_mut_checked(piece.len())?;
        place.copy_from_slice(piece);
        rest = after;
    }
    Some(len)
}

impl Decode for UdpHeader {
    const MAX_LEN: usize = 3 + Target::MAX_LEN;

    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let mut cursor = Cursor::new(src);
        let Some(header) = Self::read(&mut cursor)? else { return Ok(None) };
        let taken = cursor.taken;
        src.advance(taken);
        Ok(Some(header))
    }
}

impl Encode for UdpHeader {
    fn encode(&self, dst: &mut BytesMut) {
        dst.put_slice(&[0x00, 0x00, self.fragment]);
        self.target.write(dst);
    }
}
