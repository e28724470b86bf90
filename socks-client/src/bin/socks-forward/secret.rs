//! Reading the password: unseen from the terminal, or the first line of a file. Never from the command line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// The longest password that RFC 1929 can carry, with the end of its line, in octets.
const MAX_LINE: usize = 255 + 2;

/// Reads the first line of a file that nobody else can read.
pub(crate) fn from_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others than its owner can read it: run `chmod 600` on it"));
    }
    line(file)
}

/// Asks for the password on the terminal, which standard input need not be.
pub(crate) fn from_terminal(prompt: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(prompt.as_bytes())?;
    let unseen = Unseen::new(&terminal)?;
    let password = line(&terminal);
    drop(unseen);
    terminal.write_all(b"\n")?;
    password
}

fn line(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    BufReader::with_capacity(MAX_LINE, from.take(MAX_LINE as u64)).read_until(b'\n', &mut line)?;
    for end in [b'\n', b'\r'] {
        line.pop_if(|last| *last == end);
    }
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Unseen<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Unseen<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &now)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for (text, password) in [("a b\nc\n", "a b"), ("a\r\n", "a"), ("a", "a"), ("\n", ""), ("", "")] {
            assert_eq!(**line(text.as_bytes()).unwrap(), *password.as_bytes());
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
        assert!(from_file(file.path()).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(**from_file(file.path()).unwrap(), *b"secret");
    }
}
