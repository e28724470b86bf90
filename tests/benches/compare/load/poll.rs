//! An event loop of a few lines.

use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Something to read.
pub(crate) const READ: epoll::EventFlags = epoll::EventFlags::IN;
/// Room to write.
pub(crate) const WRITE: epoll::EventFlags = epoll::EventFlags::OUT;
/// Told once when something comes or the other side ends, and once when there is room again.
pub(crate) const READ_AT_EDGES: epoll::EventFlags =
    READ.union(WRITE).union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);

/// How long a loop waits before it looks whether all is over.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Events that one call gives.
const EVENTS: usize = 256;

/// Sockets that are waited for together.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub(crate) fn new() -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is left");
        Self { epoll, events: Vec::with_capacity(EVENTS) }
    }

    /// Waits for a socket, too; its events bear the number.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize, flags: epoll::EventFlags) {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, socket, data, flags).expect("a socket can be waited for");
    }

    /// The next events, by number and kind; maybe none.
    pub(crate) fn wait(&mut self) -> impl Iterator<Item = (usize, epoll::EventFlags)> + use<> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&PATIENCE)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("epoll: {error}"),
        }
        let number = |event: &epoll::Event| usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
        let events: Vec<_> = self.events.iter().map(|event| (number(event), event.flags)).collect();
        events.into_iter()
    }
}
