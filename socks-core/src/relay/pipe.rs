//! The pipes that splice(2) needs: few, shared, and never handed on with octets in them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::{self, PipeFlags, SpliceFlags};

use super::socket::{Call, Socket};

/// The smallest pipe worth using, in octets: what the kernel gives as long as it is not short of pages.
///
/// A user beyond `pipe-user-pages-soft` gets pipes of one or two pages; copying is cheaper than those.
const LEAST_SIZE: usize = 64 * 1024;
/// How long no new pipe is tried after the system refused one.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// The pipes of a process.
///
/// A direction borrows one while it moves octets and gives it back when it waits, so that as many are in use
/// as there are threads, and those that hold octets for a reader that is not reading: at most half of all.
#[derive(Debug)]
pub(super) struct PipePool {
    stock: Mutex<Stock>,
    most: usize,
    size: usize,
}

#[derive(Debug, Default)]
struct Stock {
    idle: Vec<Pipe>,
    open: usize,
    parked: usize,
    refused: Option<Instant>,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl PipePool {
    /// A pool of at most `most` pipes of `size` octets; 0 pipes means that nobody gets one.
    pub(super) fn new(most: usize, size: usize) -> Self {
        Self { stock: Mutex::new(Stock::default()), most, size }
    }

    /// The most octets to splice into a pipe at once.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Lends an empty pipe, if there is one to be had.
    pub(super) fn take(&self) -> Option<PipeLoan<'_>> {
        let mut stock = self.stock();
        let pipe = match stock.idle.pop() {
            Some(pipe) => pipe,
            None => self.open(&mut stock)?,
        };
        Some(PipeLoan { pipe: Some(pipe), held: 0, parked: false, pool: self })
    }

    fn open(&self, stock: &mut Stock) -> Option<Pipe> {
        let refused_lately = stock.refused.is_some_and(|at| at.elapsed() < RETRY_AFTER);
        if stock.open >= self.most || refused_lately {
            return None;
        }
        let opened = Pipe::open(self.size);
        stock.open += usize::from(opened.is_some());
        stock.refused = opened.is_none().then(Instant::now);
        opened
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        // The stock is consistent at every point where a panic could happen.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        let stock = self.stock();
        stock.open - stock.idle.len()
    }

    #[cfg(test)]
    pub(super) fn opened(&self) -> usize {
        self.stock().open
    }
}

impl Pipe {
    /// A pipe of at least [`LEAST_SIZE`], and of `size` if the kernel allows it.
    fn open(size: usize) -> Option<Self> {
        let (read, write) = pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let mut actual = pipe::fcntl_getpipe_size(&write).ok()?;
        if actual < size {
            actual = pipe::fcntl_setpipe_size(&write, size).unwrap_or(actual);
        }
        (actual >= LEAST_SIZE.min(size)).then_some(Self { read, write })
    }
}

/// A borrowed pipe and how many octets are in it.
#[derive(Debug)]
pub(super) struct PipeLoan<'a> {
    pipe: Option<Pipe>,
    held: usize,
    parked: bool,
    pool: &'a PipePool,
}

impl PipeLoan<'_> {
    /// Moves up to `most` octets from a readable socket into the pipe, which must be empty.
    ///
    /// `Ok(Some(0))` is the end. `Ok(None)` means that splice(2) got nothing: the socket is empty, or stands
    /// at an urgent octet, which splice cannot pass, or cannot splice at all. Reading tells which.
    pub(super) fn fill(&mut self, source: Socket<'_>, most: usize) -> io::Result<Option<usize>> {
        let Some(pipe) = &self.pipe else { return Ok(None) };
        match pipe::splice(source.0, None, &pipe.write, None, most, FLAGS) {
            Ok(moved) => {
                self.held += moved;
                Ok(Some(moved))
            }
            Err(Errno::AGAIN | Errno::INVAL | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves octets from the pipe into the socket, as many as there is room for.
    pub(super) fn poll_drain(&mut self, sink: Socket<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(0)) };
        // The pipe holds octets, so EAGAIN can only mean that the socket is full.
        let moved = ready!(sink.poll_io(cx, Call::write(self.held), || {
            pipe::splice(&pipe.read, None, sink.0, None, self.held, FLAGS)
        }))?;
        if moved == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.held = self.held.saturating_sub(moved);
        if self.held == 0 {
            self.unpark();
        }
        Poll::Ready(Ok(moved))
    }

    /// Tells whether the pipe is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Asks to keep the pipe with its octets for a wait of unknown length; half of all pipes may be kept so.
    pub(super) fn park(&mut self) -> bool {
        if !self.parked {
            let mut stock = self.pool.stock();
            self.parked = stock.parked < self.pool.most / 2;
            stock.parked += usize::from(self.parked);
        }
        self.parked
    }

    fn unpark(&mut self) {
        if std::mem::take(&mut self.parked) {
            self.pool.stock().parked -= 1;
        }
    }

    /// Takes the octets out of the pipe, so that it can serve others.
    pub(super) fn unload(&mut self) -> io::Result<Vec<u8>> {
        let mut octets = vec![0; self.held];
        let Some(pipe) = &self.pipe else { return Ok(octets) };
        while self.held > 0 {
            let done = octets.len() - self.held;
            let room = octets.get_mut(done..).unwrap_or_default();
            match rustix::io::read(&pipe.read, room)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                moved => self.held -= moved,
            }
        }
        self.unpark();
        Ok(octets)
    }
}

impl Drop for PipeLoan<'_> {
    /// An empty pipe goes back; one with octets of this tunnel in it is closed.
    fn drop(&mut self) {
        self.unpark();
        let mut stock = self.pool.stock();
        match self.pipe.take() {
            Some(pipe) if self.held == 0 => stock.idle.push(pipe),
            _ => stock.open -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_pipes_are_open_than_allowed() {
        let pool = PipePool::new(2, LEAST_SIZE);
        let lent = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        drop(lent);
        assert_eq!((pool.opened(), pool.lent()), (2, 0));
        assert!(pool.take().is_some());
    }

    #[test]
    fn a_pipe_with_octets_in_it_is_never_lent_again() {
        let pool = PipePool::new(1, LEAST_SIZE);
        let mut loan = pool.take().unwrap();
        rustix::io::write(&loan.pipe.as_ref().unwrap().write, b"secret").unwrap();
        loan.held = 6;
        drop(loan);
        assert_eq!(pool.opened(), 0);
        let mut octets = [0; 6];
        let clean = pool.take().unwrap();
        let read = rustix::io::read(&clean.pipe.as_ref().unwrap().read, &mut octets);
        assert_eq!(read, Err(Errno::AGAIN));
    }

    #[test]
    fn an_unloaded_pipe_gives_its_octets_and_goes_back() {
        let pool = PipePool::new(1, LEAST_SIZE);
        let mut loan = pool.take().unwrap();
        rustix::io::write(&loan.pipe.as_ref().unwrap().write, b"octets").unwrap();
        loan.held = 6;
        assert_eq!(loan.unload().unwrap(), b"octets");
        drop(loan);
        assert_eq!((pool.opened(), pool.lent()), (1, 0));
    }

    #[test]
    fn at_most_half_of_the_pipes_may_wait_for_readers() {
        let pool = PipePool::new(4, LEAST_SIZE);
        let mut loans: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let parked: Vec<_> = loans.iter_mut().map(PipeLoan::park).collect();
        assert_eq!(parked, [true, true, false, false]);
        drop(loans.remove(0));
        assert!(loans.last_mut().unwrap().park(), "a place is free again");
    }
}
