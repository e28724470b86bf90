//! Who a client is to a Windows domain: the SIDs in `KERB_VALIDATION_INFO` (MS-PAC section 2.5).
//!
//! The structure comes marshalled by NDR (MS-RPCE section 2.2.6): fixed parts first, then what the pointers among
//! them refer to, in the order of the pointers. Numbers are little-endian and aligned to their size.

use std::fmt::Write as _;

use socks_core::Timestamp;

/// The most groups of each of the three lists; Windows itself stops at 1,024.
const MOST_GROUPS: u32 = 4096;
/// The most characters of a name in the structure, which is skipped.
const MOST_CHARACTERS: u32 = 4096;
/// The most sub-authorities of a SID (MS-DTYP section 2.4.2).
const MOST_SUB_AUTHORITIES: u8 = 15;
/// Seconds from 1601, where Windows begins to count, to 1970.
const SECONDS_TO_1970: i64 = 11_644_473_600;
/// The headers of a type's serialization, version 1 (MS-RPCE sections 2.2.6.1 and 2.2.6.2).
const HEADERS: usize = 16;

/// The SIDs of a logon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogonSids {
    /// The user's own.
    pub(crate) user: Box<str>,
    /// Those of all its groups, each once: the primary one first, then those of the domain, the extra ones, and
    /// those of the resource's domain.
    pub(crate) groups: Vec<Box<str>>,
}

/// Octets that are no `KERB_VALIDATION_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ticket's authorization data cannot be read")]
pub(crate) struct PacError;

/// When the client logged in, out of the attribute `urn:mspac:client-info` (MS-PAC section 2.7): its first eight
/// octets are a time in units of 100 ns.
pub(crate) fn issued(octets: &[u8]) -> Option<Timestamp> {
    let ticks = u64::from_le_bytes(*octets.first_chunk()?);
    let seconds = i64::try_from(ticks / 10_000_000).ok()?;
    Timestamp::from_second(seconds - SECONDS_TO_1970).ok()
}

/// A list of `GROUP_MEMBERSHIP` or of `KERB_SID_AND_ATTRIBUTES`: how many, and whether it is there.
#[derive(Debug, Clone, Copy)]
struct Listed {
    count: u32,
    is_there: bool,
}

/// The fixed part: what comes behind it, and the numbers within domains.
struct Fixed {
    /// Whether each of the six names before the groups is there.
    names: [bool; 6],
    user: u32,
    primary: u32,
    groups: Listed,
    has_server: bool,
    has_domain: bool,
    has_domain_sid: bool,
    extra: Listed,
    has_resource_sid: bool,
    resource: Listed,
}

impl LogonSids {
    /// Reads the attribute `urn:mspac:logon-info`.
    ///
    /// # Errors
    /// [`PacError`] for anything that is cut, out of order or larger than the bounds.
    pub(crate) fn read(octets: &[u8]) -> Result<Self, PacError> {
        let mut reader = Reader { octets, at: 0 };
        // Version 1, little-endian numbers.
        if reader.take(2)? != [1, 0x10] {
            return Err(PacError);
        }
        reader.at = HEADERS;
        if !reader.pointer()? {
            return Err(PacError);
        }
        let fixed = reader.fixed()?;
        reader.referents(&fixed)
    }
}

/// A SID as its text up to the last number, to which relative ones are added.
struct Sid(String);

impl Sid {
    fn with(&self, relative: u32) -> Box<str> {
        format!("{}-{relative}", self.0).into()
    }
}

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], PacError> {
        let end = self.at.checked_add(len).ok_or(PacError)?;
        let taken = self.octets.get(self.at..end).ok_or(PacError)?;
        self.at = end;
        Ok(taken)
    }

    fn octet(&mut self) -> Result<u8, PacError> {
        self.take(1)?.first().copied().ok_or(PacError)
    }

    fn short(&mut self) -> Result<u16, PacError> {
        self.at = self.at.next_multiple_of(2);
        self.take(2)?.try_into().map(u16::from_le_bytes).map_err(|_| PacError)
    }

    fn number(&mut self) -> Result<u32, PacError> {
        self.at = self.at.next_multiple_of(4);
        self.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| PacError)
    }

    /// Tells whether something stands behind the pointer.
    fn pointer(&mut self) -> Result<bool, PacError> {
        Ok(self.number()? != 0)
    }

    fn listed(&mut self) -> Result<Listed, PacError> {
        let listed = Listed { count: self.number()?, is_there: self.pointer()? };
        // A count without a list is no list that somebody left out in good order.
        if listed.count > MOST_GROUPS || (listed.count > 0 && !listed.is_there) {
            Err(PacError)
        } else {
            Ok(listed)
        }
    }

    /// An `RPC_UNICODE_STRING`: two lengths and a pointer.
    fn string(&mut self) -> Result<bool, PacError> {
        self.short()?;
        self.short()?;
        self.pointer()
    }

    fn fixed(&mut self) -> Result<Fixed, PacError> {
        // Six times.
        self.take(6 * 8)?;
        let mut names = [false; 6];
        for name in &mut names {
            *name = self.string()?;
        }
        // Counts of logons.
        self.short()?;
        self.short()?;
        let (user, primary) = (self.number()?, self.number()?);
        let groups = self.listed()?;
        // Flags, and the session key.
        self.number()?;
        self.take(16)?;
        let (has_server, has_domain) = (self.string()?, self.string()?);
        let has_domain_sid = self.pointer()?;
        // Reserved, account control, status, two times, a count, reserved.
        self.take(8 + 4 + 4 + 8 + 8 + 4 + 4)?;
        let extra = self.listed()?;
        let has_resource_sid = self.pointer()?;
        let resource = self.listed()?;
        Ok(Fixed {
            names,
            user,
            primary,
            groups,
            has_server,
            has_domain,
            has_domain_sid,
            extra,
            has_resource_sid,
            resource,
        })
    }

    fn referents(&mut self, fixed: &Fixed) -> Result<LogonSids, PacError> {
        for _ in fixed.names.iter().filter(|is_there| **is_there) {
            self.skip_characters()?;
        }
        let relative = self.relative(fixed.groups)?;
        for _ in [fixed.has_server, fixed.has_domain].iter().filter(|is_there| **is_there) {
            self.skip_characters()?;
        }
        if !fixed.has_domain_sid {
            return Err(PacError);
        }
        let domain = self.sid()?;
        let mut groups = vec![domain.with(fixed.primary)];
        groups.extend(relative.into_iter().map(|relative| domain.with(relative)));
        groups.extend(self.extra(fixed.extra)?);
        let resource_domain = if fixed.has_resource_sid { Some(self.sid()?) } else { None };
        let relative = self.relative(fixed.resource)?;
        match resource_domain {
            Some(domain) => groups.extend(relative.into_iter().map(|relative| domain.with(relative))),
            None if relative.is_empty() => {}
            None => return Err(PacError),
        }
        let mut seen = std::collections::HashSet::new();
        groups.retain(|group| seen.insert(group.clone()));
        Ok(LogonSids { user: domain.with(fixed.user), groups })
    }

    fn skip_characters(&mut self) -> Result<(), PacError> {
        let most = self.number()?;
        self.number()?;
        let count = self.number()?;
        if count > most || count > MOST_CHARACTERS {
            return Err(PacError);
        }
        self.take(usize::try_from(count).map_err(|_| PacError)? * 2).map(|_| ())
    }

    /// How many elements the list has: it says so again.
    fn count(&mut self, listed: Listed) -> Result<u32, PacError> {
        if !listed.is_there {
            return Ok(0);
        }
        if self.number()? == listed.count { Ok(listed.count) } else { Err(PacError) }
    }

    /// Numbers of groups within a domain, each with attributes that do not matter.
    fn relative(&mut self, listed: Listed) -> Result<Vec<u32>, PacError> {
        let mut relative = Vec::new();
        for _ in 0..self.count(listed)? {
            relative.push(self.number()?);
            self.number()?;
        }
        Ok(relative)
    }

    /// SIDs of groups of anywhere: first all pointers, then all SIDs.
    fn extra(&mut self, listed: Listed) -> Result<Vec<Box<str>>, PacError> {
        let mut there = 0;
        for _ in 0..self.count(listed)? {
            there += u32::from(self.pointer()?);
            self.number()?;
        }
        (0..there).map(|_| self.sid().map(|sid| sid.0.into())).collect()
    }

    /// A SID in its octets (MS-DTYP section 2.4.2.2), with the count of its last part before it.
    fn sid(&mut self) -> Result<Sid, PacError> {
        let announced = self.number()?;
        let (revision, count) = (self.octet()?, self.octet()?);
        if revision != 1 || count > MOST_SUB_AUTHORITIES || announced != u32::from(count) {
            return Err(PacError);
        }
        let authority = self.take(6)?.iter().fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
        let mut text = format!("S-1-{authority}");
        for _ in 0..count {
            // Writing to a string cannot fail.
            let _ = write!(text, "-{}", self.number()?);
        }
        Ok(Sid(text))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes the structure as a domain controller does.
    #[derive(Default)]
    struct Writer(Vec<u8>);

    impl Writer {
        fn number(&mut self, number: u32) {
            self.0.resize(self.0.len().next_multiple_of(4), 0);
            self.0.extend(number.to_le_bytes());
        }

        fn string(&mut self) {
            self.0.extend([8, 0, 8, 0]);
            self.number(0x2_0000);
        }

        fn characters(&mut self, text: &str) {
            let count = u32::try_from(text.len()).unwrap();
            [count, 0, count].into_iter().for_each(|number| self.number(number));
            text.encode_utf16().for_each(|unit| self.0.extend(unit.to_le_bytes()));
        }

        fn sid(&mut self, authority: u8, parts: &[u32]) {
            self.number(u32::try_from(parts.len()).unwrap());
            self.0.extend([1, u8::try_from(parts.len()).unwrap(), 0, 0, 0, 0, 0, authority]);
            parts.iter().for_each(|part| self.number(*part));
        }

        fn list(&mut self, relative: &[u32]) {
            self.number(u32::try_from(relative.len()).unwrap());
            relative.iter().for_each(|number| [*number, 7].into_iter().for_each(|it| self.number(it)));
        }
    }

    /// A logon of a user with four groups.
    pub(crate) fn sample() -> Vec<u8> {
        let mut writer = Writer(vec![1, 0x10, 8, 0, 0xcc, 0xcc, 0xcc, 0xcc, 0, 0, 0, 0, 0, 0, 0, 0]);
        writer.number(0x2_0000);
        writer.0.extend([0xff; 48]);
        (0..6).for_each(|_| writer.string());
        writer.0.extend([3, 0, 0, 0]);
        [1104, 513, 2, 0x2_0004, 0x20].into_iter().for_each(|number| writer.number(number));
        writer.0.extend([0; 16]);
        writer.string();
        writer.string();
        writer.number(0x2_0008);
        writer.0.extend([0; 40]);
        [1, 0x2_000c, 0x2_0010, 1, 0x2_0014].into_iter().for_each(|number| writer.number(number));
        ["alice", "Alice A", "", "", "", ""].into_iter().for_each(|name| writer.characters(name));
        writer.list(&[513, 512]);
        writer.characters("DC1");
        writer.characters("CORP");
        writer.sid(5, &[21, 1, 2, 3]);
        [1, 0x2_0018, 7].into_iter().for_each(|number| writer.number(number));
        writer.sid(18, &[1]);
        writer.sid(5, &[21, 9, 9, 9]);
        writer.list(&[1200]);
        writer.0
    }

    #[test]
    fn user_and_all_groups_are_read_each_once() {
        let sids = LogonSids::read(&sample()).unwrap();
        assert_eq!(&*sids.user, "S-1-5-21-1-2-3-1104");
        let groups: Vec<&str> = sids.groups.iter().map(|group| &**group).collect();
        assert_eq!(groups, ["S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-512", "S-1-18-1", "S-1-5-21-9-9-9-1200"]);
    }

    #[test]
    fn the_time_of_the_login_counts_from_1601() {
        // 2026-01-01T00:00:00Z, and the length and text of a name behind it.
        let mut octets = 134_116_992_000_000_000_u64.to_le_bytes().to_vec();
        octets.extend([2, 0, b'a', 0]);
        assert_eq!(issued(&octets), "2026-01-01T00:00:00Z".parse().ok());
        assert_eq!(issued(&octets[..7]), None);
        assert_eq!(issued(&[0xFF; 8]), None, "beyond all years");
    }

    #[test]
    fn whatever_is_cut_is_refused() {
        let whole = sample();
        for len in 0..whole.len() {
            assert_eq!(LogonSids::read(&whole[..len]), Err(PacError), "{len} octets");
        }
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _read = LogonSids::read(&octets);
        }

        #[test]
        fn corrupted_octets_give_bounded_lists(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            let mut octets = sample();
            for (at, octet) in changes {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
            if let Ok(sids) = LogonSids::read(&octets) {
                prop_assert!(sids.groups.len() <= octets.len() / 4);
            }
        }
    }
}
