//! The process at the other end of a hand-over, held by a descriptor: no later process of its number is ever meant.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that serves in this one's place, or did.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Pid,
    handle: OwnedFd,
}

impl Peer {
    /// The process that the kernel names as the other end.
    ///
    /// # Errors
    /// The system's, also when it is gone already.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let process = socket_peercred(stream)?.pid;
        Ok(Self { process, handle: pidfd_open(process, PidfdFlags::empty())? })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_raw_nonzero().get().unsigned_abs()
    }

    /// Tells whether it is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone_within(Duration::ZERO)
    }

    /// Tells whether it is gone, or goes within this time. Not for a reactor, unless the time is none.
    pub(super) fn is_gone_within(&self, most: Duration) -> bool {
        let mut end = [PollFd::new(&self.handle, PollFlags::IN)];
        let most = Timespec::try_from(most).ok();
        // pidfd_open(2): it can be read when the process has ended. Who cannot be watched may well live.
        poll(&mut end, most.as_ref()).is_ok_and(|ended| ended > 0)
    }

    /// Lets it read its files anew.
    ///
    /// # Errors
    /// The system's, when it is gone.
    pub(crate) fn reload(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.handle, Signal::HUP)?)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_there_until_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Pid::from_child(&child);
        let peer = Peer { process, handle: pidfd_open(process, PidfdFlags::empty()).unwrap() };
        assert_eq!(peer.pid(), child.id());
        assert!(!peer.is_gone() && !peer.is_gone_within(Duration::from_millis(1)));
        drop(child.stdin.take());
        assert!(peer.is_gone_within(Duration::from_secs(10)) && peer.is_gone());
        child.wait().unwrap();
        assert!(peer.reload().is_err(), "whoever has its number now is not told");
    }
}
