//! The file that keeps what was used of a day's octets over a restart.
//!
//! It is replaced as a whole, so that it is never half written. One process writes it at a time: after a hand-over the
//! new one does, which has heard from the old one what was used.

use std::fs::{self, File};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::account::{Accounts, Date, Owner};

/// The version of the file's form.
const VERSION: u32 = 1;
/// The most octets that are read: for as many accounts as there can be, with names of ordinary length.
const MOST_OCTETS: u64 = 256 * 1024 * 1024;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    v: u32,
    day: Date,
}

/// Every other line: what one owner has used.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    owner: Owner,
    used: u64,
}

/// When the file was written last.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    /// The digest of what stands there; 0: nothing that counts today.
    digest: u64,
    is_failing: bool,
}

impl Quotas {
    /// Reads what was used today. A file that cannot be read is told of, and nothing counts as used: a quota that is
    /// lost must not keep everybody out.
    pub(crate) fn load(&self, path: &Path, accounts: &Accounts) {
        match read(path) {
            Ok(Found { rows, bad }) => {
                if bad > 0 {
                    warn!(file = %path.display(), lines = bad, "some of what was used today cannot be read, and is forgotten");
                }
                info!(file = %path.display(), accounts = rows.len(), "what was used today is known");
                rows.into_iter().for_each(|row| accounts.learn_used(row.owner, row.used));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                error!(file = %path.display(), %error, "what was used today cannot be read, and is forgotten");
            }
        }
    }

    /// Writes what was used today, if that has changed.
    pub(crate) fn save(&self, path: &Path, accounts: &Accounts) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = accounts.used_today();
        let digest = digest(&rows);
        if digest == written.digest && !written.is_failing {
            return;
        }
        let result = write(path, rows);
        match &result {
            Ok(()) => written.digest = digest,
            Err(error) if !written.is_failing => {
                error!(file = %path.display(), %error, "what was used today cannot be written; a restart would forget it");
            }
            Err(_) => {}
        }
        written.is_failing = result.is_err();
    }
}

/// What is in a file.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<Row>,
    /// Lines that cannot be read.
    bad: usize,
}

/// Reads a file; one of another day has nothing that counts.
fn read(path: &Path) -> io::Result<Found> {
    let mut lines = BufReader::new(File::open(path)?.take(MOST_OCTETS)).split(b'\n');
    let head = lines.next().transpose()?.unwrap_or_default();
    let head: Head =
        serde_json::from_slice(&head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if head.v != VERSION {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the form of the file has version {}", head.v),
        ));
    }
    let mut found = Found::default();
    if head.day != Date::today() {
        return Ok(found);
    }
    for line in lines {
        match serde_json::from_slice(&line?) {
            Ok(row) => found.rows.push(row),
            Err(_) => found.bad += 1,
        }
    }
    Ok(found)
}

/// Replaces the file.
fn write(path: &Path, rows: Vec<(Owner, u64)>) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    let mut out = BufWriter::new(file);
    line(&mut out, &Head { v: VERSION, day: Date::today() })?;
    for (owner, used) in rows {
        line(&mut out, &Row { owner, used })?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(next, path)
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The same for the same rows in any order, and 0 for none.
fn digest(rows: &[(Owner, u64)]) -> u64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    rows.iter().map(|row| hasher.hash_one(row)).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use socks_policy::Allowance;
    use tempfile::TempDir;

    use super::*;
    use crate::account::Claim;

    fn used(owner: &str, octets: usize, accounts: &Accounts) -> bool {
        let allowance = Allowance { daily: NonZeroU64::new(100), ..Allowance::default() };
        let owner = Owner::Identity(owner.into());
        accounts.spend(Claim { owner, allowance, generation: 1 }, octets)
    }

    #[test]
    fn what_was_used_today_survives_a_restart() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("quotas.json");
        let (quotas, accounts) = (Quotas::default(), Accounts::new());
        quotas.load(&path, &accounts);
        quotas.save(&path, &accounts);
        assert!(!path.exists(), "there is nothing to keep");
        assert!(used("password:alice", 99, &accounts) && used("password:o'bri\u{e9}n\n", 5, &accounts));
        quotas.save(&path, &accounts);
        let first = fs::metadata(&path).unwrap().modified().unwrap();
        quotas.save(&path, &accounts);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first, "nothing has changed");

        let (quotas, accounts) = (Quotas::default(), Accounts::new());
        quotas.load(&path, &accounts);
        assert!(used("password:alice", 1, &accounts), "one was left");
        assert!(!used("password:alice", 1, &accounts));
        assert!(
            used("password:o'bri\u{e9}n\n", 95, &accounts) && !used("password:o'bri\u{e9}n\n", 1, &accounts)
        );
    }

    #[test]
    fn a_file_that_is_cut_or_of_another_day_or_form_counts_as_far_as_it_can_be_read() {
        let today = serde_json::to_string(&Date::today()).unwrap();
        let row = r#"{"owner":{"identity":"a"},"used":7}"#;
        let table = [
            (format!("{{\"v\":1,\"day\":{today}}}\n{row}\n{{\"owner\":{{\"iden"), Some((1, 1))),
            (format!("{{\"v\":1,\"day\":{today}}}\n"), Some((0, 0))),
            (format!("{{\"v\":1,\"day\":\"2020-02-29\"}}\n{row}\n"), Some((0, 0))),
            (format!("{{\"v\":2,\"day\":{today}}}\n{row}\n"), None),
            (row.to_owned(), None),
            (String::new(), None),
            ("\u{0}\u{1}".to_owned(), None),
        ];
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("quotas.json");
        for (text, expected) in table {
            fs::write(&path, &text).unwrap();
            let found = read(&path).ok().map(|found| (found.rows.len(), found.bad));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_again() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("missing").join("quotas.json");
        let (quotas, accounts) = (Quotas::default(), Accounts::new());
        assert!(used("a", 5, &accounts));
        quotas.save(&path, &accounts);
        fs::create_dir(path.parent().unwrap()).unwrap();
        quotas.save(&path, &accounts);
        assert_eq!(read(&path).unwrap().rows.len(), 1);
    }
}
