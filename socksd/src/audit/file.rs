//! Records as lines of a file, which others may append to, move away, and fill the disk of.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::writer::Sink;

/// How long another process may take for a line that it has begun to write.
const OTHERS_LINE: Duration = Duration::from_millis(20);

/// An open file, opened anew when somebody moved it away.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    file: File,
    /// The file's last line has no end.
    torn: bool,
    /// What was written is to survive a crash of the machine, sooner or later.
    synced: bool,
}

impl LineFile {
    /// Opens the file for appending, and makes it, with mode 0640, if there is none.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(path: &Path, synced: bool) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        let mut open = Self { path: path.to_owned(), file, torn: false, synced };
        open.torn = open.ends_within_line();
        Ok(open)
    }

    /// Tells whether a crash has cut the last line. One that somebody else is writing is waited for.
    fn ends_within_line(&self) -> bool {
        let cut_at = || match last_octet(&self.path) {
            Ok(last) => last.filter(|(octet, _)| *octet != b'\n').map(|(_, length)| length),
            // Nobody may read it; an empty line too many is better than two records in one.
            Err(_) => self.file.metadata().ok().filter(|file| file.is_file() && file.len() > 0).map(|_| 0),
        };
        cut_at().is_some_and(|length| {
            std::thread::sleep(OTHERS_LINE);
            // What has grown meanwhile is another process's, which ends its own lines.
            cut_at() == Some(length)
        })
    }

    fn was_moved(&self) -> bool {
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) => (open.dev(), open.ino()) != (named.dev(), named.ino()),
            (_, named) => named.is_err(),
        }
    }

    /// Ends a line that was cut, so that the next record stands alone.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        Ok(())
    }

    /// Writes all of it with one call, or says how much of it was whole lines.
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<usize> {
        let written = loop {
            match self.file.write(lines) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let done = lines.get(..written).unwrap_or(lines);
        let whole = done.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        // Another process may append before we can go on. So the cut line stays alone, and is written again.
        self.torn = whole < done.len();
        if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(whole) }
    }
}

impl Sink for LineFile {
    fn append(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        if self.was_moved() {
            self.reopen()?;
        }
        while !rest.is_empty() {
            self.mend()?;
            let whole = self.write_lines(rest)?;
            *rest = rest.get(whole..).unwrap_or_default();
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let next = Self::open(&self.path, self.synced)?;
        if self.torn {
            self.mend().ok();
        }
        if self.synced {
            self.file.sync_data()?;
        }
        *self = next;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.file.sync_data() {
            // Nothing is kept behind a pipe or a terminal that could be lost.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }
}

/// The last octet, and how long the file is.
fn last_octet(path: &Path) -> io::Result<Option<(u8, u64)>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_fifo() || kind.is_char_device() || kind.is_socket() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    let [last] = last;
    Ok(Some((last, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut file = LineFile::open(&path, true).unwrap();
        file.append(&mut &b"old\n"[..]).unwrap();
        std::fs::rename(&path, folder.path().join("audit.1")).unwrap();
        file.append(&mut &b"new\n"[..]).unwrap();
        assert_eq!(text(&path), "new\n");
        assert_eq!(text(&folder.path().join("audit.1")), "old\n");
    }

    #[test]
    fn a_line_that_a_crash_has_cut_stays_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for (before, after) in
            [("", "new\n"), ("old\n", "old\nnew\n"), ("old\n{\"v\":1", "old\n{\"v\":1\nnew\n")]
        {
            std::fs::write(&path, before).unwrap();
            let mut file = LineFile::open(&path, true).unwrap();
            assert_eq!(text(&path), before, "nothing is written before there is a record");
            file.append(&mut &b"new\n"[..]).unwrap();
            assert_eq!(text(&path), after);
        }
    }

    #[test]
    fn two_who_append_to_one_file_cut_no_line_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::thread::scope(|scope| {
            for name in ["a", "b"] {
                let path = &path;
                scope.spawn(move || {
                    let mut file = LineFile::open(path, false).unwrap();
                    for number in 0..200 {
                        let line = format!("{name} {number} {}\n", name.repeat(200));
                        file.append(&mut line.repeat(50).as_bytes()).unwrap();
                    }
                });
            }
        });
        let text = text(&path);
        let lines = text.lines().filter(|line| !line.is_empty());
        assert_eq!(lines.clone().count(), 2 * 200 * 50);
        for line in lines {
            let (name, rest) = line.split_at(1);
            assert!(rest.ends_with(&name.repeat(200)) && line.len() < 210, "{line}");
        }
    }

    #[test]
    fn a_device_without_room_leaves_everything_to_be_tried_again() {
        let mut file = LineFile::open(Path::new("/dev/full"), true).unwrap();
        let mut rest = &b"a\nb\n"[..];
        assert!(file.append(&mut rest).is_err());
        assert_eq!(rest, b"a\nb\n");
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        assert!(LineFile::open(&folder.path().join("missing/audit.jsonl"), true).is_err());
    }
}
