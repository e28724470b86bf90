//! How far a client's clock is from ours, read from the request that was refused for it.
//!
//! The library knows and does not tell. The time stands in the authenticator (RFC 4120 section 5.5.1), which the
//! session key opens, which stands in the ticket, which a key of the keytab opens.

use std::path::Path;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use socks_core::Timestamp;
use zeroize::Zeroizing;

use crate::cfx::{self, Enctype};
use crate::der::{Der, SEQUENCE, application, field};
use crate::gss::oid::KRB5;
use crate::keytab::KeytabEntry;

/// The tag of an object identifier.
const OID: u8 = 0x06;
/// The token identifier of a request, behind the mechanism (RFC 4121 section 4.1).
const REQUEST: [u8; 2] = [0x01, 0x00];
/// Key usages of RFC 4120 section 7.5.1.
const TICKET: u32 = 2;
const AUTHENTICATOR: u32 = 11;

/// How many seconds a client's clock is ahead of `now`, by the first token it has sent; `None` when that cannot
/// be told.
pub(crate) fn client_ahead(token: &[u8], keytab: &Path, now: Timestamp) -> Option<i64> {
    let entries = KeytabEntry::read(keytab).ok()?;
    let time = client_time(token, &entries)?;
    Some(time.as_second() - now.as_second())
}

fn client_time(token: &[u8], keys: &[KeytabEntry]) -> Option<Timestamp> {
    let mechanism = u8::try_from(KRB5.len()).ok()?;
    let inner = Der(token).enter(&[application(0)])?.0;
    let request = inner.strip_prefix(&[OID, mechanism])?.strip_prefix(KRB5)?.strip_prefix(&REQUEST)?;
    let request = Der(request).enter(&[application(14), SEQUENCE])?;
    let ticket = request.find(field(3))?.enter(&[application(1), SEQUENCE])?;
    let ticket = Encrypted::read(ticket.find(field(3))?)?;
    let ticket = keys.iter().find_map(|entry| ticket.open(entry.enctype, entry.key(), TICKET))?;
    let session_key = Der(&ticket).enter(&[application(3), SEQUENCE])?.find(field(1))?.enter(&[SEQUENCE])?;
    let authenticator = Encrypted::read(request.find(field(4))?)?;
    let authenticator = authenticator.open(session_key.integer(0)?, session_key.octets(1)?, AUTHENTICATOR)?;
    parse_time(Der(&authenticator).enter(&[application(2), SEQUENCE])?.time(5)?)
}

/// An `EncryptedData` (RFC 4120 section 5.2.9).
struct Encrypted<'a> {
    enctype: u32,
    cipher: &'a [u8],
}

impl<'a> Encrypted<'a> {
    fn read(der: Der<'a>) -> Option<Self> {
        let data = der.enter(&[SEQUENCE])?;
        Some(Self { enctype: data.integer(0)?, cipher: data.octets(2)? })
    }

    fn open(&self, enctype: u32, key: &[u8], usage: u32) -> Option<Zeroizing<Vec<u8>>> {
        let enctype = Enctype::from_number(enctype).filter(|_| enctype == self.enctype)?;
        cfx::decrypt(enctype, key, usage, self.cipher)
    }
}

/// A `KerberosTime` (RFC 4120 section 5.2.3): always in UTC, always in whole seconds.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse_time("19700101000100Z"), Timestamp::from_second(60).ok());
        assert_eq!(parse_time("19700101000100"), None);
        assert_eq!(parse_time("19701301000100Z"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(client_time(&octets, &[]), None);
        }
    }
}
