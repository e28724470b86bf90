//! The file that keeps what was used of a day's octets over a restart.
//!
//! It is replaced as a whole, so that it is never half written. One process writes it at a time: after a hand-over the
//! new one does, which has heard from the old one what was used.

use std::fs::{self, File};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::account::{Accounts, Date, Owner};

/// The version of the file's form.
const VERSION: u32 = 1;
/// The most octets that are read: for as many accounts as there can be, with names of ordinary length.
const MOST_OCTETS: u64 = 256 * 1024 * 1024;
/// How the name of a file ends that is not yet whole, behind the number of the process that writes it.
const NEXT: &str = ".new";
/// The most entries of the folder that are looked through for such files.
const MOST_ENTRIES: usize = 10_000;

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
    /// Where; `None`: nowhere yet. A reload may bring another place.
    path: Option<PathBuf>,
    /// The digest of what stands there; 0: nothing that counts today.
    digest: u64,
    is_failing: bool,
}

impl Quotas {
    /// Reads what was used today. A file that cannot be read is told of and put aside, and nothing counts as used: a quota
    /// that is lost must not keep everybody out.
    pub(crate) fn load(&self, path: &Path, accounts: &Accounts) {
        remove_leftovers(path);
        self.written().path = Some(path.to_owned());
        match read(path) {
            Ok(Found { rows, bad }) => {
                if bad > 0 {
                    warn!(file = %path.display(), lines = bad, "some of what was used today cannot be read, and is forgotten");
                    put_aside(path);
                }
                info!(file = %path.display(), accounts = rows.len(), "what was used today is known");
                rows.into_iter().for_each(|row| accounts.learn_used(row.owner, row.used, None));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                error!(file = %path.display(), %error, "what was used today cannot be read, and is forgotten");
                put_aside(path);
            }
        }
    }

    /// Writes what was used today, if that has changed, or is to stand elsewhere from now on.
    pub(crate) fn save(&self, path: &Path, accounts: &Accounts) {
        let mut written = self.written();
        let rows = accounts.used_today();
        let digest = digest(&rows);
        let stands_there = digest == written.digest && written.path.as_deref() == Some(path);
        if stands_there && !written.is_failing {
            return;
        }
        let result = write(path, rows);
        match &result {
            Ok(()) => (written.path, written.digest) = (Some(path.to_owned()), digest),
            Err(error) if !written.is_failing => {
                error!(file = %path.display(), %error, "what was used today cannot be written; a restart would forget it");
            }
            Err(_) => {}
        }
        written.is_failing = result.is_err();
    }

    /// Each change is one step.
    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Keeps a file that cannot be read, as somebody may want to look at it: the next one would replace it.
fn put_aside(path: &Path) {
    let aside = beside(path, "bad");
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return;
    }
    match fs::rename(path, &aside) {
        Ok(()) => warn!(file = %aside.display(), "there it is kept, until another one cannot be read"),
        Err(error) => error!(file = %path.display(), %error, "it cannot be put aside, and will be replaced"),
    }
}

/// Replaces the file, by way of one that no other process writes: at a hand-over there are two.
fn write(path: &Path, rows: Vec<(Owner, u64)>) -> io::Result<()> {
    let next = beside(path, &format!("{}{NEXT}", std::process::id()));
    let written = write_next(&next, rows).and_then(|()| fs::rename(&next, path));
    if written.is_err() {
        // What failed is told; this only makes room.
        let _ = fs::remove_file(&next);
        return written;
    }
    // The name is not safe before its folder is.
    File::open(folder_of(path))?.sync_all()
}

fn write_next(next: &Path, rows: Vec<(Owner, u64)>) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(next)?;
    let mut out = BufWriter::new(file);
    line(&mut out, &Head { v: VERSION, day: Date::today() })?;
    for (owner, used) in rows {
        line(&mut out, &Row { owner, used })?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Removes what processes have left that were killed while they wrote.
fn remove_leftovers(path: &Path) {
    let (Some(name), Ok(entries)) = (path.file_name(), fs::read_dir(folder_of(path))) else { return };
    for entry in entries.take(MOST_ENTRIES).flatten() {
        let (found, own) = (entry.file_name(), format!("{}.", name.to_string_lossy()));
        let middle = found.to_str().and_then(|found| found.strip_prefix(&own)?.strip_suffix(NEXT));
        let process = middle.and_then(|middle| middle.parse::<u32>().ok());
        let is_gone = |process: u32| !Path::new("/proc").join(process.to_string()).exists();
        if process.is_some_and(is_gone) {
            // If it stays, it is only in the way of tidiness.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
    fn another_file_is_written_although_nothing_has_moved() {
        let folder = TempDir::new().unwrap();
        let [first, second] = ["first.json", "second.json"].map(|name| folder.path().join(name));
        let (quotas, accounts) = (Quotas::default(), Accounts::new());
        assert!(used("a", 5, &accounts));
        for path in [&first, &second, &first] {
            quotas.save(path, &accounts);
            assert_eq!(read(path).unwrap().rows.len(), 1);
        }
        let added = folder.path().join("added.json");
        fs::write(&added, "of another gateway").unwrap();
        Quotas::default().save(&added, &Accounts::new());
        assert!(read(&added).unwrap().rows.is_empty(), "what stood there is no longer true");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("quotas.json");
        let cut = format!("{{\"v\":1,\"day\":{}}}\n{{\"own", serde_json::to_string(&Date::today()).unwrap());
        for text in ["no file of ours", &cut] {
            fs::write(&path, text).unwrap();
            let (quotas, accounts) = (Quotas::default(), Accounts::new());
            quotas.load(&path, &accounts);
            assert!(used("a", 5, &accounts));
            quotas.save(&path, &accounts);
            assert_eq!(fs::read_to_string(folder.path().join("quotas.json.bad")).unwrap(), text);
            assert_eq!(read(&path).unwrap().rows.len(), 1);
        }
    }

    #[test]
    fn what_killed_processes_have_left_goes_and_nothing_else() {
        let folder = TempDir::new().unwrap();
        let (path, own) = (folder.path().join("quotas.json"), std::process::id());
        // No process has so high a number.
        let gone = "quotas.json.4194305.new".to_owned();
        let others = [
            format!("quotas.json.{own}.new"),
            "quotas.json.new".to_owned(),
            "quotas.json.old.new".to_owned(),
            "other.json.4194305.new".to_owned(),
        ];
        for name in others.iter().chain([&gone]) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let (quotas, accounts) = (Quotas::default(), Accounts::new());
        quotas.load(&path, &accounts);
        assert!(!folder.path().join(gone).exists());
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert!(used("a", 5, &accounts));
        quotas.save(&path, &accounts);
        assert!(path.exists() && !folder.path().join(&others[0]).exists(), "its own has become the file");
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
