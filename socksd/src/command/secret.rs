//! Reading a password: unseen from a terminal, or one line from standard input. Never from the command line.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use socks_auth::password::Secret;

/// The longest password that RFC 1929 can carry, in octets.
const MAX_PASSWORD: usize = 255;

/// Tells whether a person sits at the other end.
pub(super) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Reads one line, without its end.
pub(super) fn read(prompt: &str) -> io::Result<Secret> {
    if !is_terminal() {
        return line();
    }
    eprint!("{prompt}");
    io::stderr().flush()?;
    let unseen = Unseen::new()?;
    let secret = line();
    drop(unseen);
    eprintln!();
    secret
}

fn line() -> io::Result<Secret> {
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(MAX_PASSWORD + 2));
    let mut limited = io::Read::take(io::stdin().lock(), (MAX_PASSWORD + 2) as u64);
    limited.read_until(b'\n', &mut text)?;
    let password = text.strip_suffix(b"\n").unwrap_or(&text);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    match password.len() {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "there is none")),
        1..=MAX_PASSWORD => Ok(Secret::new(password)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than 255 octets")),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Unseen {
    before: Termios,
}

impl Unseen {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &now)?;
        Ok(Self { before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
