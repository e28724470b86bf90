//! What an operator's check-up needs of Kerberos' protocol: a question to a key distribution centre that makes
//! it tell its clock, and what encryption types there are.
//!
//! The question is an AS-REQ (RFC 4120 section 5.4.1) for a principal that nobody has. The answer to that is a
//! KRB-ERROR with the centre's time (section 5.9.1); no key and no ticket is needed for it.

use jiff::SignedDuration;
use socks_core::Timestamp;

use crate::der::{Der, SEQUENCE, application, field};
use crate::skew::parse_time;

/// The principal that is asked for; no site has it.
const NOBODY: &str = "clock-check-of-socks-gateway";
/// The most octets of a realm's name that is asked for.
const MOST_REALM: usize = 255;

/// What a key distribution centre says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CentreAnswer {
    /// An error, as it should, with its clock.
    Clock {
        /// Its time, to the microsecond.
        time: Timestamp,
        /// The error's number (RFC 4120 section 7.5.9).
        code: u32,
    },
    /// A ticket: there is such a principal, and whoever asks gets one.
    Ticket,
}

/// An AS-REQ that a centre of `realm` answers with its clock; `None` for a name that no realm has.
pub fn clock_request(realm: &str, nonce: u32) -> Option<Vec<u8>> {
    if realm.is_empty() || realm.len() > MOST_REALM || !realm.bytes().all(|octet| octet.is_ascii_graphic()) {
        return None;
    }
    let body = [
        numbered(0, element(BIT_STRING, &[0; 5])),
        numbered(1, principal(1, &[NOBODY])),
        numbered(2, text(realm)),
        numbered(3, principal(2, &["krbtgt", realm])),
        numbered(5, element(TIME, b"20370913024805Z")),
        // RFC 4120 section 5.4.1: the nonce is a number of 32 bits, and MIT's centre reads it as signed.
        numbered(7, integer(nonce & 0x7FFF_FFFF)),
        numbered(8, element(SEQUENCE, &[integer(18), integer(17), integer(20), integer(19)].concat())),
    ];
    let body = element(SEQUENCE, &body.concat());
    let request = [numbered(1, integer(5)), numbered(2, integer(10)), numbered(4, body)];
    Some(element(application(10), &element(SEQUENCE, &request.concat())))
}

/// Reads what a centre has answered; `None` when it is no answer of one.
pub fn clock_answer(reply: &[u8]) -> Option<CentreAnswer> {
    if Der(reply).enter(&[application(11)]).is_some() {
        return Some(CentreAnswer::Ticket);
    }
    let error = Der(reply).enter(&[application(30), SEQUENCE])?;
    let micros = i64::from(error.integer(5)?.min(999_999));
    let time = parse_time(error.time(4)?)?.checked_add(SignedDuration::from_micros(micros)).ok()?;
    Some(CentreAnswer::Clock { time, code: error.integer(6)? })
}

/// How good an encryption type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// AES: the gateway's own engine protects with it.
    Fast,
    /// Sound, and protected by the library, more slowly.
    Sound,
    /// DES, triple DES and RC4 (RFC 6649, RFC 8429).
    Weak,
}

/// An encryption type, as configuration files name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnctypeInfo {
    /// IANA's number.
    pub number: u32,
    /// MIT's name of it.
    pub name: &'static str,
    /// How good it is.
    pub strength: Strength,
    names: &'static [&'static str],
    family: &'static str,
}

impl EnctypeInfo {
    /// The type with that number; `None` for one that is not in use.
    pub fn of(number: u32) -> Option<&'static Self> {
        ENCTYPES.iter().find(|info| info.number == number)
    }

    /// The numbers of the types that a list of `permitted_enctypes` names: blanks or commas between, families,
    /// `DEFAULT`, and `-` before what is taken out again. Unknown words count for nothing, as with MIT's library.
    pub fn permitted(list: &str) -> Vec<u32> {
        let mut permitted: Vec<u32> = Vec::new();
        for word in list.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            let (remove, word) = match word.strip_prefix('-') {
                Some(word) => (true, word),
                None => (false, word.strip_prefix('+').unwrap_or(word)),
            };
            for info in ENCTYPES.iter().filter(|info| info.is_called(word)) {
                permitted.retain(|number| *number != info.number);
                if !remove {
                    permitted.push(info.number);
                }
            }
        }
        permitted
    }

    fn is_called(&self, word: &str) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(word);
        // MIT's default list has no single DES.
        (is("DEFAULT") && self.family != "des")
            || is(self.family)
            || is(self.name)
            || self.names.iter().any(|name| is(name))
    }
}

macro_rules! enctypes {
    ($($number:literal $strength:ident $family:literal $name:literal $names:expr;)*) => {
        const ENCTYPES: &[EnctypeInfo] = &[$(EnctypeInfo {
            number: $number,
            name: $name,
            strength: Strength::$strength,
            names: &$names,
            family: $family,
        },)*];
    };
}

enctypes! {
    18 Fast "aes" "aes256-cts-hmac-sha1-96" ["aes256-cts", "aes256-sha1"];
    17 Fast "aes" "aes128-cts-hmac-sha1-96" ["aes128-cts", "aes128-sha1"];
    20 Fast "aes" "aes256-cts-hmac-sha384-192" ["aes256-sha2"];
    19 Fast "aes" "aes128-cts-hmac-sha256-128" ["aes128-sha2"];
    26 Sound "camellia" "camellia256-cts-cmac" ["camellia256-cts"];
    25 Sound "camellia" "camellia128-cts-cmac" ["camellia128-cts"];
    16 Weak "des3" "des3-cbc-sha1" ["des3-hmac-sha1", "des3-cbc-sha1-kd"];
    23 Weak "rc4" "arcfour-hmac" ["rc4-hmac", "arcfour-hmac-md5"];
    24 Weak "rc4" "arcfour-hmac-exp" ["rc4-hmac-exp", "arcfour-hmac-md5-exp"];
    1 Weak "des" "des-cbc-crc" [];
    2 Weak "des" "des-cbc-md4" [];
    3 Weak "des" "des-cbc-md5" [];
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const TIME: u8 = 0x18;
const GENERAL_STRING: u8 = 0x1B;

/// An element of DER; what is inside is far shorter than 64 KiB.
fn element(tag: u8, inside: &[u8]) -> Vec<u8> {
    let [.., high, low] = inside.len().to_be_bytes();
    let head: &[u8] = match inside.len() {
        0..=0x7F => &[tag, low],
        0x80..=0xFF => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, inside].concat()
}

fn numbered(number: u8, inside: impl AsRef<[u8]>) -> Vec<u8> {
    element(field(number), inside.as_ref())
}

fn integer(value: u32) -> Vec<u8> {
    let octets = [&[0][..], &value.to_be_bytes()].concat();
    let redundant =
        octets.windows(2).take_while(|pair| matches!(pair, [0, next] if next & 0x80 == 0)).count();
    element(INTEGER, octets.get(redundant..).unwrap_or_default())
}

fn text(text: &str) -> Vec<u8> {
    element(GENERAL_STRING, text.as_bytes())
}

/// A `PrincipalName` (RFC 4120 section 5.2.2).
fn principal(kind: u32, components: &[&str]) -> Vec<u8> {
    let components: Vec<u8> = components.iter().flat_map(|component| text(component)).collect();
    let fields = [numbered(0, integer(kind)), numbered(1, element(SEQUENCE, &components))];
    element(SEQUENCE, &fields.concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_name_their_realm_and_nobody() {
        let request = clock_request("EXAMPLE.TEST", u32::MAX).unwrap();
        let body = Der(&request).enter(&[application(10), SEQUENCE]).unwrap();
        assert_eq!((body.integer(1), body.integer(2)), (Some(5), Some(10)));
        let body = body.find(field(4)).unwrap().enter(&[SEQUENCE]).unwrap();
        assert_eq!(body.find(field(2)).unwrap().0, text("EXAMPLE.TEST"));
        assert_eq!(body.time(5), Some("20370913024805Z"));
        assert_eq!(body.integer(7), Some(0x7FFF_FFFF));
        assert_eq!(clock_request("", 1), None);
        assert_eq!(clock_request("two words", 1), None);
    }

    #[test]
    fn integers_are_as_short_as_they_can_be() {
        let table: [(u32, &[u8]); 4] =
            [(0, &[2, 1, 0]), (127, &[2, 1, 127]), (128, &[2, 2, 0, 128]), (256, &[2, 2, 1, 0])];
        for (value, octets) in table {
            assert_eq!(integer(value), octets, "{value}");
        }
    }

    #[test]
    fn errors_tell_the_time() {
        let fields = [
            numbered(0, integer(5)),
            numbered(1, integer(30)),
            numbered(4, element(TIME, b"19700101000100Z")),
            numbered(5, integer(250_000)),
            numbered(6, integer(6)),
        ];
        let error = element(application(30), &element(SEQUENCE, &fields.concat()));
        let time = Timestamp::from_microsecond(60_250_000).unwrap();
        assert_eq!(clock_answer(&error), Some(CentreAnswer::Clock { time, code: 6 }));
        assert_eq!(clock_answer(&[0x6B, 0]), Some(CentreAnswer::Ticket));
        assert_eq!(clock_answer(b"HTTP/1.1 400"), None);
    }

    #[test]
    fn lists_of_permitted_types_are_read() {
        let table: [(&str, &[u32]); 6] = [
            ("aes256-cts", &[18]),
            ("aes256-sha2, AES128-SHA1 nonesuch", &[20, 17]),
            ("aes", &[18, 17, 20, 19]),
            ("DEFAULT -rc4 -des3 -camellia", &[18, 17, 20, 19]),
            ("rc4-hmac", &[23]),
            ("", &[]),
        ];
        for (list, numbers) in table {
            assert_eq!(EnctypeInfo::permitted(list), numbers, "{list}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = clock_answer(&octets);
        }
    }
}
