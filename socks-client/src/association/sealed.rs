//! What stands around a datagram's user data between us and the relay: a header, and protection if agreed.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::{Buf, BufMut, BytesMut};
use socks_core::wire::{Encode, Target, UdpHeader};
use socks_core::{Level, OpenError, Protection, SealError, Sealing};

use super::DatagramError;

/// The protection of an association's datagrams, if there is one.
#[derive(Debug)]
pub(super) struct Shield {
    protection: Option<Mutex<Protection>>,
    level: Level,
}

impl Shield {
    /// Datagrams as RFC 1928 has them.
    pub(super) fn none() -> Self {
        Self { protection: None, level: Level::None }
    }

    /// Datagrams in frames, with the keys and numbers of the control connection (RFC 1961 section 5).
    pub(super) fn of(mut protection: Protection) -> Self {
        protection.open.accept_any_order();
        let level = protection.level;
        Self { protection: Some(Mutex::new(protection)), level }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Makes a datagram in `buffer` and tells where in it.
    pub(super) fn wrap(
        &self,
        buffer: &mut BytesMut,
        header: &UdpHeader,
        octets: &[u8],
    ) -> Result<Range<usize>, DatagramError> {
        buffer.clear();
        let Some(protection) = &self.protection else {
            header.encode(buffer);
            buffer.put_slice(octets);
            return Ok(0..buffer.len());
        };
        let mut protection = protection.lock().unwrap_or_else(PoisonError::into_inner);
        let room = protection.seal.room();
        buffer.put_bytes(0, room.head);
        header.encode(buffer);
        buffer.put_slice(octets);
        let end = buffer.len();
        if end - room.head > protection.seal.max_plaintext() {
            return Err(DatagramError::TooLong);
        }
        buffer.put_bytes(0, room.tail);
        let mut message = Sealing { buffer, range: room.head..end };
        protection.seal(&mut message).map_err(|error| match error {
            SealError::Room => DatagramError::TooLong,
            other => DatagramError::Seal(other),
        })?;
        Ok(message.range)
    }

    /// Leaves the user data of a datagram in `buffer` and tells its origin; `None`: it is to be dropped.
    pub(super) fn unwrap(&self, buffer: &mut BytesMut) -> Option<Target> {
        if let Some(protection) = &self.protection {
            let mut protection = protection.lock().unwrap_or_else(PoisonError::into_inner);
            let plaintext = open(&mut protection, buffer).ok()?;
            buffer.truncate(plaintext.end);
            buffer.advance(plaintext.start.min(buffer.len()));
        }
        let (header, octets) = UdpHeader::split(buffer).ok()??;
        // RFC 1928 section 7: who does not put fragments together must drop them.
        if header.fragment != 0x00 {
            return None;
        }
        let head = buffer.len() - octets.len();
        buffer.advance(head);
        Some(header.target)
    }
}

/// Opens a datagram that must be exactly one frame.
fn open(protection: &mut Protection, datagram: &mut [u8]) -> Result<Range<usize>, OpenError> {
    // RFC 1961 section 5: LEN is the length of the token, and a datagram has nothing else.
    if protection.frame_len(datagram)? != Some(datagram.len()) {
        return Err(OpenError::NotAFrame);
    }
    Ok(protection.open(datagram)?.plaintext)
}

#[cfg(test)]
mod tests {
    use socks_gssapi::Halves;
    use socks_gssapi::cfx::{self, ContextKeys, KeyOrigin, Role};

    use super::*;

    /// One side of a context that needs no ticket.
    fn protection(role: Role, level: Level) -> Protection {
        let keys = ContextKeys {
            role,
            enctype: 18,
            protocol_key: vec![7; 32].into(),
            origin: KeyOrigin::AcceptorSubkey,
            send_sequence: 100,
            receive_sequence: 100,
        };
        let (seal, open) = cfx::halves(&keys).unwrap();
        Halves::new(seal, open).at(level).unwrap()
    }

    /// A client's shield and its gateway's.
    fn pair(level: Level) -> (Shield, Shield) {
        (Shield::of(protection(Role::Initiator, level)), Shield::of(protection(Role::Acceptor, level)))
    }

    fn header() -> UdpHeader {
        UdpHeader { fragment: 0x00, target: "192.0.2.53:53".parse().unwrap() }
    }

    fn wrapped(shield: &Shield, octets: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        let range = shield.wrap(&mut buffer, &header(), octets).unwrap();
        BytesMut::from(&buffer[range])
    }

    fn unwrapped(shield: &Shield, datagram: &BytesMut) -> Option<Vec<u8>> {
        let mut buffer = datagram.clone();
        let origin = shield.unwrap(&mut buffer)?;
        assert_eq!(origin, header().target);
        Some(buffer.to_vec())
    }

    #[test]
    fn datagrams_of_kerberos_are_taken_in_any_order_and_once() {
        for level in [Level::Integrity, Level::Confidentiality, Level::Selective] {
            let (client, gateway) = pair(level);
            let sent: Vec<_> = (0..5_u8).map(|number| wrapped(&gateway, &[number])).collect();
            for place in [2, 0, 4, 1, 3] {
                let octets = u8::try_from(place).unwrap();
                assert_eq!(unwrapped(&client, &sent[place]), Some(vec![octets]), "{level}");
            }
            assert!(sent.iter().all(|again| unwrapped(&client, again).is_none()), "{level}: twice");
        }
    }

    #[test]
    fn a_datagram_is_the_rfcs_frame_and_nothing_else() {
        let (client, gateway) = pair(Level::Confidentiality);
        let sent = wrapped(&client, b"question");
        let len = u16::try_from(sent.len() - 4).unwrap().to_be_bytes();
        assert_eq!(sent[..4], [0x01, 0x03, len[0], len[1]]);
        for cut in 0..sent.len() {
            assert_eq!(unwrapped(&gateway, &BytesMut::from(&sent[..cut])), None, "cut at {cut}");
        }
        assert_eq!(unwrapped(&gateway, &BytesMut::from(&[&sent[..], b"x"].concat()[..])), None);
        assert_eq!(unwrapped(&client, &sent), None, "sent back to its sender");
        assert_eq!(unwrapped(&gateway, &sent), Some(b"question".to_vec()));
    }

    #[test]
    fn what_is_only_signed_is_refused_where_encryption_was_agreed() {
        let client = Shield::of(protection(Role::Initiator, Level::Confidentiality));
        let gateway = Shield::of(protection(Role::Acceptor, Level::Integrity));
        assert_eq!(unwrapped(&client, &wrapped(&gateway, b"signed")), None);
        assert_eq!(unwrapped(&gateway, &wrapped(&client, b"encrypted")), Some(b"encrypted".to_vec()));
    }

    #[test]
    fn what_no_frame_can_hold_is_too_long() {
        let (client, _) = pair(Level::Confidentiality);
        let mut buffer = BytesMut::new();
        let error = client.wrap(&mut buffer, &header(), &[0; 65_535]).unwrap_err();
        assert!(matches!(error, DatagramError::TooLong), "{error}");
        assert!(client.wrap(&mut buffer, &header(), &[0; 65_000]).is_ok());
    }
}
