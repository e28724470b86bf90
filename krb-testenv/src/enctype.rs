//! The enctypes that a realm's keys can have.

use std::fmt;

/// How a key encrypts, by IANA's Kerberos encryption type numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Enctype {
    /// des3-cbc-sha1-kd, 16: obsolete (RFC 8429); for tests of fallback and refusal.
    Des3,
    /// aes128-cts-hmac-sha1-96, 17 (RFC 3962).
    Aes128Sha1,
    /// aes256-cts-hmac-sha1-96, 18 (RFC 3962).
    Aes256Sha1,
    /// aes128-cts-hmac-sha256-128, 19 (RFC 8009).
    Aes128Sha2,
    /// aes256-cts-hmac-sha384-192, 20 (RFC 8009).
    Aes256Sha2,
    /// rc4-hmac, 23: obsolete (RFC 8429); for tests of fallback and refusal.
    Rc4,
    /// camellia128-cts-cmac, 25 (RFC 6803).
    Camellia128,
    /// camellia256-cts-cmac, 26 (RFC 6803).
    Camellia256,
}

impl Enctype {
    /// Every enctype that this crate can set up.
    pub const ALL: [Self; 8] = [
        Self::Aes256Sha1,
        Self::Aes128Sha1,
        Self::Aes256Sha2,
        Self::Aes128Sha2,
        Self::Camellia256,
        Self::Camellia128,
        Self::Des3,
        Self::Rc4,
    ];

    /// The name that MIT's configuration files and tools use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Des3 => "des3-cbc-sha1",
            Self::Aes128Sha1 => "aes128-cts-hmac-sha1-96",
            Self::Aes256Sha1 => "aes256-cts-hmac-sha1-96",
            Self::Aes128Sha2 => "aes128-cts-hmac-sha256-128",
            Self::Aes256Sha2 => "aes256-cts-hmac-sha384-192",
            Self::Rc4 => "arcfour-hmac",
            Self::Camellia128 => "camellia128-cts-cmac",
            Self::Camellia256 => "camellia256-cts-cmac",
        }
    }

    /// IANA's number, as it stands in tickets and keytabs.
    pub fn number(self) -> u16 {
        match self {
            Self::Des3 => 16,
            Self::Aes128Sha1 => 17,
            Self::Aes256Sha1 => 18,
            Self::Aes128Sha2 => 19,
            Self::Aes256Sha2 => 20,
            Self::Rc4 => 23,
            Self::Camellia128 => 25,
            Self::Camellia256 => 26,
        }
    }

    /// The enctype with that number; `None` for one this crate does not set up.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|enctype| enctype.number() == number)
    }

    /// The enctype with that name, in MIT's spelling, its short form (`aes256-sha1`, `rc4-hmac`), or the number.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|enctype| {
            name == enctype.name() || name == enctype.short_name() || name.parse() == Ok(enctype.number())
        })
    }

    /// How many octets a key has.
    pub(crate) fn key_length(self) -> usize {
        match self {
            Self::Des3 => 24,
            Self::Aes128Sha1 | Self::Aes128Sha2 | Self::Rc4 | Self::Camellia128 => 16,
            Self::Aes256Sha1 | Self::Aes256Sha2 | Self::Camellia256 => 32,
        }
    }

    fn short_name(self) -> &'static str {
        match self {
            Self::Des3 => "des3-hmac-sha1",
            Self::Aes128Sha1 => "aes128-sha1",
            Self::Aes256Sha1 => "aes256-sha1",
            Self::Aes128Sha2 => "aes128-sha2",
            Self::Aes256Sha2 => "aes256-sha2",
            Self::Rc4 => "rc4-hmac",
            Self::Camellia128 => "camellia128-cts",
            Self::Camellia256 => "camellia256-cts",
        }
    }
}

impl fmt::Display for Enctype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// MIT's list notation: names with blanks between them.
pub(crate) fn list(enctypes: &[Enctype]) -> String {
    enctypes.iter().map(|enctype| enctype.name()).collect::<Vec<_>>().join(" ")
}

/// MIT's notation for keys with their salt.
pub(crate) fn key_list(enctypes: &[Enctype]) -> String {
    enctypes.iter().map(|enctype| format!("{enctype}:normal")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_short_name_and_number_lead_back_to_the_enctype() {
        for enctype in Enctype::ALL {
            assert_eq!(Enctype::from_name(enctype.name()), Some(enctype));
            assert_eq!(Enctype::from_name(enctype.short_name()), Some(enctype));
            assert_eq!(Enctype::from_name(&enctype.number().to_string()), Some(enctype));
            assert_eq!(Enctype::from_number(enctype.number()), Some(enctype));
        }
        assert_eq!(Enctype::from_name("des-cbc-crc"), None);
    }
}
