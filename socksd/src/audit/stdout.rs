//! Records as lines on standard output.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::writer::{Sink, split_lines};

/// What a pipe takes as one piece, POSIX's `PIPE_BUF` on Linux: lines of several processes do not mix.
const PIECE: usize = 4096;
/// How long nobody may read before the target counts as failing.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The process's standard output.
#[derive(Debug)]
pub(super) struct Stdout;

impl Sink for Stdout {
    fn append(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            let (piece, later) = split_lines(rest, PIECE);
            write_piece(piece)?;
            *rest = later;
        }
        Ok(())
    }
}

/// Writes whole lines. A longer line than a pipe takes at once may be cut short by a reader that goes away, and then
/// nobody is there to mind.
fn write_piece(mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        wait_for_room()?;
        let (now, _) = piece.split_at(piece.len().min(PIECE));
        match rustix::io::write(rustix::stdio::stdout(), now) {
            Ok(written) => piece = piece.get(written..).unwrap_or_default(),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until a piece can be written without waiting for a reader.
fn wait_for_room() -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    let mut ready = [PollFd::new(&stdout, PollFlags::OUT)];
    match poll(&mut ready, Some(&PATIENCE)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
