//! A socket as a relay uses it: both ways from one task, without buffers or futures of its own.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How many octets the kernel takes from us beyond those that it has sent (`TCP_NOTSENT_LOWAT`).
///
/// Otherwise a send buffer grows to 4 MiB (`tcp_wmem`) and stays full in front of a reader that stalls: 500 of
/// those use up the TCP memory of a machine with 24 GiB (`tcp_mem`), and all others come to a halt. What is
/// under way is not bounded by it. On loopback 256 KiB cost no more processor time than no bound; 128 KiB do.
#[cfg(target_os = "linux")]
const MOST_UNSENT: u32 = 256 * 1024;

/// Prepares a TCP socket for relaying: what comes in goes out at once, urgent data keeps its place in the stream
/// (otherwise its octet would be lost on the way), and a reader that stalls does not fill our memory.
///
/// Sockets that a prepared listener accepts are prepared, which saves three calls for each. A socket that has
/// failed refuses options; the first read tells the same better.
pub fn prepare(socket: &impl AsFd) {
    let _ = rustix::net::sockopt::set_tcp_nodelay(socket, true);
    let _ = rustix::net::sockopt::set_socket_oobinline(socket, true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(MOST_UNSENT);
}

/// One end of a tunnel, shared by its two directions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Socket<'a>(pub(super) &'a TcpStream);

/// What a call of the system needs from a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    interest: Interest,
    wanted: usize,
}

impl Call {
    /// A call that takes up to `wanted` octets.
    pub(super) fn read(wanted: usize) -> Self {
        Self { interest: Interest::READABLE, wanted }
    }

    /// A call that gives up to `wanted` octets.
    pub(super) fn write(wanted: usize) -> Self {
        Self { interest: Interest::WRITABLE, wanted }
    }
}

impl Socket<'_> {
    /// Waits until there is something to read, or the end.
    pub(super) fn poll_readable(self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    /// Reads into `buffer`; `Ok(0)` is the end.
    pub(super) fn poll_read(self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        self.poll_io(cx, Call::read(wanted), || rustix::io::read(self.0, &mut *buffer))
    }

    /// Reads into several places in their order; `wanted` is the sum of their lengths.
    pub(super) fn poll_read_vectored(
        self,
        cx: &mut Context<'_>,
        places: &mut [IoSliceMut<'_>],
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Call::read(wanted), || rustix::io::readv(self.0, places))
    }

    /// Writes as much of `octets` as there is room for.
    pub(super) fn poll_write(self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Call::write(octets.len()), || rustix::io::write(self.0, octets))
    }

    /// Writes several pieces with one call; `wanted` is the sum of their lengths.
    pub(super) fn poll_write_vectored(
        self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Call::write(wanted), || rustix::io::writev(self.0, pieces))
    }

    /// Runs one call of the system when the socket is ready for it, again when it was not after all.
    ///
    /// A call that moves less than `wanted` has shown that the socket is drained or full: readiness is
    /// cleared at once, which spares the call that would only say so. Readiness is edge-triggered, so
    /// what arrives after the call sets it again.
    pub(super) fn poll_io(
        self,
        cx: &mut Context<'_>,
        Call { interest, wanted }: Call,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if interest.is_readable() {
                ready!(self.0.poll_read_ready(cx))?;
            } else {
                ready!(self.0.poll_write_ready(cx))?;
            }
            let mut moved = None;
            let tried = self.0.try_io(interest, || {
                let count = call()?;
                moved = Some(count);
                if 0 < count && count < wanted { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (moved, tried) {
                (Some(count), _) => return Poll::Ready(Ok(count)),
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                (None, _) => {}
            }
        }
    }

    /// Tells the peer that no more octets come.
    pub(super) fn end(self) -> io::Result<()> {
        match rustix::net::shutdown(self.0, Shutdown::Write) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failure().unwrap_or_else(|| error.into())),
        }
    }

    /// Takes the error that the socket has met, if it has met one.
    pub(super) fn failure(self) -> Option<io::Error> {
        self.0.take_error().ok().flatten()
    }

    /// Makes the coming drop of the socket a reset instead of an orderly end.
    pub(super) fn reset_on_drop(self) {
        // Fails only on a socket whose connection is gone already.
        let _ = self.0.set_zero_linger();
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_a_prepared_listener_accepts_is_prepared() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        prepare(&listener);
        let (near, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (near, accepted) = (near.unwrap(), accepted.unwrap().0);
        let options = |socket: &TcpStream| {
            let urgent_inline = sockopt::socket_oobinline(socket).unwrap();
            let most_unsent = socket2::SockRef::from(socket).tcp_notsent_lowat().unwrap();
            (sockopt::tcp_nodelay(socket).unwrap(), urgent_inline, most_unsent == MOST_UNSENT)
        };
        assert_eq!(options(&accepted), (true, true, true));
        assert_eq!(options(&near), (false, false, false));
    }
}
