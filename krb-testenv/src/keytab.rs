//! Keytabs: which keys a server gets, and which it gets for nothing.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use crate::enctype::Enctype;
use crate::error::{Error, Result};

/// What a keytab shall hold.
///
/// ```
/// use krb_testenv::Keytab;
///
/// // Two services, and 1500 keys before them that open nothing.
/// let plan = Keytab::of(&["socks/localhost", "rcmd/localhost"]).unusable(1500);
/// # drop(plan);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Keytab {
    pub(crate) principals: Vec<String>,
    unusable: usize,
    wrong: Vec<(String, u32)>,
}

impl Keytab {
    /// All key versions that the realm has of these principals (`socks/localhost`, `alice`).
    pub fn of(principals: &[&str]) -> Self {
        let principals = principals.iter().map(|name| (*name).to_owned()).collect();
        Self { principals, ..Self::default() }
    }

    /// Puts so many keys of principals that the realm does not have before the others.
    #[must_use]
    pub fn unusable(mut self, count: usize) -> Self {
        self.unusable = count;
        self
    }

    /// Puts random keys under the name and version of a real one before the others: what a keytab
    /// holds that was made for a principal since deleted and made anew.
    #[must_use]
    pub fn wrong_key(mut self, principal: impl Into<String>, version: u32) -> Self {
        self.wrong.push((principal.into(), version));
        self
    }

    /// The file's octets for all that the realm has no part in: the header and the made-up keys.
    pub(crate) fn made_up(&self, realm: &str, enctypes: &[Enctype]) -> Result<Vec<u8>> {
        let mut file = vec![0x05, 0x02];
        let unusable = (0..self.unusable).map(|number| (format!("unusable/{number}"), 1));
        for (principal, version) in unusable.chain(self.wrong.iter().cloned()) {
            for enctype in enctypes {
                append(&mut file, realm, &principal, (version, *enctype))?;
            }
        }
        Ok(file)
    }
}

/// One key of a keytab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeytabEntry {
    /// The principal with its realm: `socks/localhost@EXAMPLE.TEST`.
    pub principal: String,
    /// The key's version number.
    pub version: u32,
    /// IANA's number of the enctype.
    pub enctype: u16,
}

impl KeytabEntry {
    /// Reads the names of the keys of a keytab, in the order of the file.
    ///
    /// # Errors
    /// When the file cannot be read or is no keytab of format 2.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let octets = fs::read(path).map_err(Error::io("read", path))?;
        let broken = || Error::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, "not a keytab"));
        let mut rest = octets.strip_prefix(&[0x05, 0x02]).ok_or_else(broken)?;
        let mut entries = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = i32::from_be_bytes(*length);
            let size = usize::try_from(length.unsigned_abs()).map_err(|_| broken())?;
            let (entry, after) = after.split_at_checked(size).ok_or_else(broken)?;
            // A negative length is a hole that a deleted key has left.
            if length > 0 {
                entries.push(parse(entry).ok_or_else(broken)?);
            }
            rest = after;
        }
        Ok(entries)
    }
}

/// Adds one entry with a random key. The format: `doc/formats/keytab_file_format` of MIT's documentation.
fn append(file: &mut Vec<u8>, realm: &str, principal: &str, key: (u32, Enctype)) -> Result<()> {
    let (version, enctype) = key;
    let mut entry = Vec::new();
    let too_long = |_| Error::Text(principal.to_owned());
    entry.extend(u16::try_from(principal.split('/').count()).map_err(too_long)?.to_be_bytes());
    for text in [realm].into_iter().chain(principal.split('/')) {
        entry.extend(u16::try_from(text.len()).map_err(too_long)?.to_be_bytes());
        entry.extend(text.as_bytes());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    entry.extend(1_u32.to_be_bytes()); // the name's type: KRB5_NT_PRINCIPAL
    entry.extend(u32::try_from(now).unwrap_or(u32::MAX).to_be_bytes());
    entry.push(u8::try_from(version).unwrap_or(u8::MAX));
    entry.extend(enctype.number().to_be_bytes());
    let mut octets = vec![0; enctype.key_length()];
    getrandom::fill(&mut octets).map_err(|error| Error::io("read", "getrandom")(io::Error::other(error)))?;
    entry.extend(u16::try_from(octets.len()).map_err(too_long)?.to_be_bytes());
    entry.extend(octets);
    entry.extend(version.to_be_bytes());
    file.extend(u32::try_from(entry.len()).map_err(too_long)?.to_be_bytes());
    file.extend(entry);
    Ok(())
}

fn parse(entry: &[u8]) -> Option<KeytabEntry> {
    let mut rest = entry;
    let components = u16::from_be_bytes(take(&mut rest)?);
    let realm = text(&mut rest)?;
    let names = (0..components).map(|_| text(&mut rest)).collect::<Option<Vec<_>>>()?;
    let _type_and_time: [u8; 8] = take(&mut rest)?;
    let [short_version] = take(&mut rest)?;
    let enctype = u16::from_be_bytes(take(&mut rest)?);
    let _key = counted(&mut rest)?;
    // The long version was added to the format later; without it the short one counts.
    let version = take(&mut rest).map(u32::from_be_bytes).filter(|version| *version != 0);
    let version = version.unwrap_or_else(|| short_version.into());
    Some(KeytabEntry { principal: format!("{}@{realm}", names.join("/")), version, enctype })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(take(rest)?);
    let (head, tail) = rest.split_at_checked(length.into())?;
    *rest = tail;
    Some(head)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    counted(rest).map(|octets| String::from_utf8_lossy(octets).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_keys_are_read_back() {
        let plan = Keytab::of(&[]).unusable(2).wrong_key("socks/localhost", 300);
        let octets = plan.made_up("A.TEST", &[Enctype::Aes256Sha1, Enctype::Rc4]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), octets).unwrap();
        let entries = KeytabEntry::read(file.path()).unwrap();
        assert_eq!(entries.len(), 6);
        assert_eq!(entries[1].principal, "unusable/0@A.TEST");
        let last = KeytabEntry { principal: "socks/localhost@A.TEST".into(), version: 300, enctype: 23 };
        assert_eq!(entries[5], last);
    }

    #[test]
    fn broken_keytab_is_refused_at_every_cut() {
        let octets = Keytab::of(&[]).unusable(1).made_up("A.TEST", &[Enctype::Aes256Sha1]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        for length in (0..2).chain(6..octets.len()) {
            fs::write(file.path(), &octets[..length]).unwrap();
            assert!(KeytabEntry::read(file.path()).is_err(), "{length} octets");
        }
    }
}
