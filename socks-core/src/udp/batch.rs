//! Datagrams in batches: one system call receives many into one buffer.

use std::array;
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll, ready};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::MOST_BATCHED;

/// Room in front of every datagram that is received, in octets: for its header, and for the head of a frame.
pub(super) const HEAD: usize = 512;
/// Room for the datagram itself.
pub(super) const BODY: usize = 65_536;
/// Room behind it, for the tail of a frame.
pub(super) const TAIL: usize = 512;
/// From one place to the next: no power of two, which would put all datagrams into the same lines of the cache.
pub(super) const STRIDE: usize = HEAD + BODY + TAIL + 64;

thread_local! {
    /// One for each thread: an association that waits holds none. Pages that no datagram has touched cost nothing.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new());
}

/// The places of one batch of datagrams.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) octets: Vec<u8>,
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
    received: Vec<Received>,
}

/// A datagram in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) source: SocketAddr,
    pub(super) len: usize,
}

/// A datagram to be sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// Where to; the socket is connected if there is nothing.
    pub(super) to: Option<SocketAddr>,
    /// Where it lies among the batch's octets.
    pub(super) range: Range<usize>,
    /// How many octets of user data are in it.
    pub(super) user_data: usize,
}

impl Batch {
    fn new() -> Self {
        Self {
            octets: vec![0; STRIDE * MOST_BATCHED],
            v4: MultiHeaders::preallocate(MOST_BATCHED, None),
            v6: MultiHeaders::preallocate(MOST_BATCHED, None),
            received: Vec::with_capacity(MOST_BATCHED),
        }
    }

    /// Lends this thread's batch.
    pub(super) fn lend<R>(use_it: impl FnOnce(&mut Self) -> R) -> R {
        BATCH.with_borrow_mut(use_it)
    }

    /// Receives up to `most` datagrams, 1 at least, which then are [`Batch::received`] and lie [`HEAD`] behind
    /// the beginning of their places.
    pub(super) fn poll_receive(
        &mut self,
        (socket, is_v6): (&UdpSocket, bool),
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(socket.poll_recv_ready(cx))?;
            match self.receive(socket, is_v6, most) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
        }
    }

    /// Receives what is there; `WouldBlock`: the socket is not ready any more.
    fn receive(&mut self, socket: &UdpSocket, is_v6: bool, most: usize) -> io::Result<()> {
        self.received.clear();
        let tried = socket.try_io(Interest::READABLE, || {
            let (fd, places, received) =
                (socket.as_raw_fd(), (&mut self.octets[..], most), &mut self.received);
            let mut take = |source, len| received.push(Received { source, len });
            if is_v6 {
                let take = |from, len| take(SocketAddrV6::from(from).into(), len);
                receive_into::<SockaddrIn6>(fd, &mut self.v6, places, take)?;
            } else {
                let take = |from, len| take(SocketAddrV4::from(from).into(), len);
                receive_into::<SockaddrIn>(fd, &mut self.v4, places, take)?;
            }
            // Fewer than asked for: it is drained. What comes later makes it ready again.
            if self.received.len() < most { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if self.received.is_empty() { tried } else { Ok(()) }
    }

    /// What the last call has received, in its order.
    pub(super) fn received(&self) -> &[Received] {
        &self.received
    }

    /// All places.
    pub(super) fn octets_mut(&mut self) -> &mut [u8] {
        &mut self.octets
    }

    /// The place of that number.
    pub(super) fn place_mut(&mut self, index: usize) -> &mut [u8] {
        let start = index * STRIDE;
        self.octets.get_mut(start..start + STRIDE).unwrap_or_default()
    }
}

/// Receives up to `most` datagrams with one call, and gives source and length of each to `take`.
fn receive_into<S: SockaddrLike + Copy>(
    socket: RawFd,
    headers: &mut MultiHeaders<S>,
    (octets, most): (&mut [u8], usize),
    mut take: impl FnMut(S, usize),
) -> io::Result<()> {
    let mut places = octets.chunks_exact_mut(STRIDE);
    let mut places: [_; MOST_BATCHED] = array::from_fn(|_| {
        let place = places.next().and_then(|place| place.get_mut(HEAD..HEAD + BODY));
        [IoSliceMut::new(place.unwrap_or_default())]
    });
    let wanted = places.iter_mut().take(most);
    for message in recvmmsg(socket, headers, wanted, MsgFlags::MSG_DONTWAIT, None)? {
        if let Some(source) = message.address {
            take(source, message.bytes.min(BODY));
        }
    }
    Ok(())
}

/// Tells whether a socket that has said this can go on: it told of one datagram, or of a moment.
pub(super) fn is_passing(error: &io::Error) -> bool {
    let passing = [
        Errno::CONNREFUSED,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::ACCESS,
        Errno::PERM,
        Errno::MSGSIZE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::INTR,
    ];
    Errno::from_io_error(error).is_some_and(|error| passing.contains(&error))
}
