//! What a keytab file holds, without the keys: for warnings and for an operator who looks for a mistake.

use std::fmt;
use std::io;
use std::path::Path;

use socks_core::Timestamp;
use zeroize::Zeroizing;

/// The most octets of a keytab that is read: room for more keys than anybody has.
const MOST: u64 = 64 * 1024 * 1024;
/// The first two octets of a file whose numbers are in network order.
const VERSION: [u8; 2] = [0x05, 0x02];

/// One key; its octets stay in this crate.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeytabEntry {
    /// Whose key it is, as Kerberos prints it, but without escapes.
    pub principal: String,
    /// The key's version.
    pub version: u32,
    /// The number of its encryption type.
    pub enctype: u32,
    /// When it was written.
    pub written: Option<Timestamp>,
    key: Zeroizing<Vec<u8>>,
}

/// Why a keytab cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeytabError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is larger than any keytab.
    #[error("file is larger than 64 MiB")]
    TooLarge,
    /// The file is no keytab, or cut off.
    #[error("file is no keytab of version 2")]
    Malformed,
}

impl KeytabEntry {
    /// The entries of a keytab file.
    ///
    /// # Errors
    /// [`KeytabError`].
    pub fn read(path: &Path) -> Result<Vec<Self>, KeytabError> {
        if path.metadata()?.len() > MOST {
            return Err(KeytabError::TooLarge);
        }
        Self::parse(&Zeroizing::new(std::fs::read(path)?)).ok_or(KeytabError::Malformed)
    }

    /// The key's octets.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    fn parse(file: &[u8]) -> Option<Vec<Self>> {
        let mut rest = file.strip_prefix(&VERSION)?;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let size = take_u32(&mut rest)?.cast_signed();
            let len = usize::try_from(size.unsigned_abs()).ok()?;
            // MIT's writer ends a file with a zero size after a deletion.
            if len == 0 {
                break;
            }
            let mut entry = take(&mut rest, len)?;
            // A negative size is a hole where an entry was.
            if size > 0 {
                entries.push(Self::parse_entry(&mut entry)?);
            }
        }
        Some(entries)
    }

    fn parse_entry(entry: &mut &[u8]) -> Option<Self> {
        let components = take_u16(entry)?;
        let realm = take_text(entry)?;
        let mut principal = String::new();
        for position in 0..components {
            if position > 0 {
                principal.push('/');
            }
            principal.push_str(&take_text(entry)?);
        }
        principal = format!("{principal}@{realm}");
        let _name_type = take_u32(entry)?;
        let written = Timestamp::from_second(take_u32(entry)?.into()).ok();
        let [short_version] = *take(entry, 1)? else { return None };
        let enctype = take_u16(entry)?.into();
        let key_len = take_u16(entry)?;
        let key = take(entry, key_len.into())?.to_vec().into();
        // A version that does not fit into an octet stands behind the key, if there is room for it.
        let long_version = take_u32(entry).filter(|version| *version != 0);
        Some(Self { principal, version: long_version.unwrap_or(short_version.into()), enctype, written, key })
    }
}

impl fmt::Debug for KeytabEntry {
    /// Never the key itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeytabEntry")
            .field("principal", &self.principal)
            .field("version", &self.version)
            .field("enctype", &self.enctype)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

fn take_u16(from: &mut &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(take(from, 2)?.try_into().ok()?))
}

fn take_u32(from: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(from, 4)?.try_into().ok()?))
}

fn take_text(from: &mut &[u8]) -> Option<String> {
    let len = take_u16(from)?;
    Some(String::from_utf8_lossy(take(from, len.into())?).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(long_version: Option<u32>) -> Vec<u8> {
        let mut entry = vec![0, 2, 0, 1, b'R', 0, 5];
        entry.extend(b"socks");
        entry.extend([0, 2, b'g', b'w', 0, 0, 0, 1, 0, 0, 0, 9, 3, 0, 18, 0, 2, 0xAA, 0xBB]);
        entry.extend(long_version.map(u32::to_be_bytes).into_iter().flatten());
        [&u32::try_from(entry.len()).unwrap().to_be_bytes(), entry.as_slice()].concat()
    }

    fn file(parts: &[Vec<u8>]) -> Vec<u8> {
        [VERSION.to_vec(), parts.concat()].concat()
    }

    #[test]
    fn entries_are_read_past_holes() {
        let hole = [&(-5_i32).to_be_bytes()[..], &[9; 5]].concat();
        let entries = KeytabEntry::parse(&file(&[entry(None), hole, entry(Some(300))])).unwrap();
        let expected = KeytabEntry {
            principal: "socks/gw@R".to_owned(),
            version: 3,
            enctype: 18,
            written: Timestamp::from_second(9).ok(),
            key: vec![0xAA, 0xBB].into(),
        };
        assert_eq!(entries, [expected.clone(), KeytabEntry { version: 300, ..expected }]);
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused() {
        let whole = file(&[entry(Some(3))]);
        for len in 0..whole.len() {
            // Cut right behind the head, the file is an empty keytab.
            assert_eq!(KeytabEntry::parse(&whole[..len]).is_some(), len == 2, "{len}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeytabEntry::parse(&octets);
            let _ = KeytabEntry::parse(&file(&[octets]));
        }
    }
}
