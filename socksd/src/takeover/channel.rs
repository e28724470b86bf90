//! A connection between two gateways of one machine: lines of JSON, and with the first one sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::geteuid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::account::Owner;
use crate::admission::Counts;

/// The version of the messages.
pub(super) const PROTOCOL: u32 = 2;
/// Octets of one message: the counts of a hundred thousand sources.
const MOST_LINE: usize = 64 * 1024 * 1024;
/// Sockets that go with one octet; the system allows 253.
const SOCKETS_AT_ONCE: usize = 64;
/// For a message to be taken.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message")]
pub(super) enum Message {
    /// The one who serves: here are its listening sockets, in the order of these names, and last the admin listener's.
    Offer(Offer),
    /// The new one: all that it needs is loaded and open; it wants to know how many sessions there are.
    Ready,
    /// The one who serves: as many as this, as far as it has changed.
    Counts(Counts),
    /// The new one: it accepts clients.
    Accepting,
    /// The one who served: it accepts none any more, and is asked for its sessions here.
    Stopped { admin: Option<PathBuf> },
    /// The one who served: it will never serve again, whatever becomes of the new one.
    Settled,
    /// The new one: octets of the day that were used there since.
    Used { used: Vec<(Owner, u64)> },
    /// The new one: it is on its way down, and not lost.
    Leaving,
}

/// Who serves, and with which sockets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) protocol: u32,
    pub(super) pid: u32,
    pub(super) version: String,
    pub(super) listeners: Vec<String>,
    /// Whether there is a socket to which browsers come.
    pub(super) http: bool,
}

/// One end of the connection.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    /// What came behind the last whole line.
    rest: Vec<u8>,
    /// How much of that is known to have no end of a line.
    searched: usize,
    sockets: Vec<OwnedFd>,
}

impl Channel {
    /// Takes a connection, if the kernel says that the other end is the gateway's own user or root.
    pub(super) fn trust(stream: UnixStream) -> io::Result<Self> {
        let other = socket_peercred(&stream)?.uid.as_raw();
        if other != 0 && other != geteuid().as_raw() {
            let text =
                format!("the other end is user {other}'s, who is neither root nor the gateway's own user");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        stream.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { stream, rest: Vec::new(), searched: 0, sockets: Vec::new() })
    }

    /// Says something, and gives copies of sockets with it.
    pub(super) fn send(&mut self, message: &Message, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut line = &*line;
        for part in sockets.chunks(SOCKETS_AT_ONCE) {
            let Some((first, rest)) = line.split_first() else { break };
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_AT_ONCE))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(part)) {
                return Err(io::Error::other("too many sockets"));
            }
            sendmsg(&self.stream, &[IoSlice::new(&[*first])], &mut ancillary, SendFlags::NOSIGNAL)?;
            line = rest;
        }
        self.write(line)
    }

    /// Writes it all. What comes meanwhile is taken in: two that only write would wait for each other.
    fn write(&mut self, mut line: &[u8]) -> io::Result<()> {
        while !line.is_empty() {
            match rustix::net::send(&self.stream, line, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => line = line.get(sent..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait_to_write()?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait_to_write(&mut self) -> io::Result<()> {
        let mut ends = [PollFd::new(&self.stream, PollFlags::IN | PollFlags::OUT)];
        let most = Timespec::try_from(SEND_TIMEOUT).ok();
        match poll(&mut ends, most.as_ref()) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the other end takes nothing")),
            Err(Errno::INTR) => return Ok(()),
            ready => _ = ready?,
        }
        let [end] = &ends;
        if !end.revents().contains(PollFlags::IN) {
            return Ok(());
        }
        if self.rest.len() > 2 * MOST_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "messages without an end"));
        }
        match self.read()? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next message; `None`: none within this time.
    ///
    /// # Errors
    /// The system's, and when the other end is gone or says what is no message.
    pub(super) fn receive(&mut self, within: Duration) -> io::Result<Option<Message>> {
        self.stream.set_read_timeout(Some(within))?;
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.rest.len() > MOST_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without an end"));
            }
            match self.read() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next line, if it is whole. What was searched is not searched again: a line may be long, and comes in pieces.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let new = self.rest.get(self.searched..).unwrap_or_default();
        let Some(end) = new.iter().position(|octet| *octet == b'\n') else {
            self.searched = self.rest.len();
            return None;
        };
        let end = self.searched + end;
        self.searched = 0;
        Some(self.rest.drain(..=end).collect())
    }

    /// The sockets that have come.
    pub(super) fn take_sockets(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.sockets)
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut part = [0; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_AT_ONCE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            &self.stream,
            &mut [IoSliceMut::new(&mut part)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                self.sockets.extend(sockets);
            }
        }
        self.rest.extend_from_slice(part.get(..got.bytes).unwrap_or_default());
        Ok(got.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn pair() -> [Channel; 2] {
        let (one, other) = UnixStream::pair().unwrap();
        [one, other].map(|stream| Channel::trust(stream).unwrap())
    }

    #[test]
    fn sockets_come_with_their_message_however_many_there_are() {
        let [mut old, mut new] = pair();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let listeners: Vec<String> = (0..150).map(|number| number.to_string()).collect();
        let offer = Offer { protocol: PROTOCOL, pid: 1, version: "1".into(), listeners, http: false };
        old.send(&Message::Offer(offer), &[listener.as_fd(); 150]).unwrap();
        let Some(Message::Offer(offer)) = new.receive(PATIENCE).unwrap() else { panic!("no offer") };
        let sockets = new.take_sockets();
        assert_eq!((offer.listeners.len(), sockets.len()), (150, 150));
        let last = TcpListener::from(sockets.into_iter().next_back().unwrap());
        assert_eq!(last.local_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[test]
    fn two_that_tell_much_at_once_do_not_wait_for_each_other() {
        let used: Vec<_> =
            (0..50_000).map(|number| (Owner::Rule(number.to_string().into()), number)).collect();
        let told = pair().map(|mut end| {
            let used = used.clone();
            std::thread::spawn(move || {
                end.send(&Message::Used { used }, &[]).unwrap();
                let Some(Message::Used { used }) = end.receive(PATIENCE).unwrap() else { panic!("nothing") };
                used
            })
        });
        for thread in told {
            assert_eq!(thread.join().unwrap(), used);
        }
    }

    #[test]
    fn a_long_message_is_searched_once() {
        let [mut one, _other] = pair();
        one.rest = vec![b' '; 100];
        assert!(one.take_line().is_none());
        assert_eq!(one.searched, 100);
        one.rest.extend_from_slice(b"1\n2\n3");
        assert_eq!(one.take_line().map(|line| line.len()), Some(102));
        assert_eq!((one.take_line(), one.take_line()), (Some(b"2\n".to_vec()), None));
        assert_eq!((one.rest.as_slice(), one.searched), (&b"3"[..], 1));
    }

    #[test]
    fn silence_a_lost_end_and_nonsense_are_told_apart() {
        let [mut old, mut new] = pair();
        assert!(new.receive(Duration::from_millis(1)).unwrap().is_none());
        old.send(&Message::Ready, &[]).unwrap();
        old.send(&Message::Leaving, &[]).unwrap();
        assert!(matches!(new.receive(PATIENCE).unwrap(), Some(Message::Ready)));
        assert!(matches!(new.receive(PATIENCE).unwrap(), Some(Message::Leaving)));
        old.write(b"nonsense\n").unwrap();
        assert_eq!(new.receive(PATIENCE).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(old);
        assert_eq!(new.receive(PATIENCE).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
