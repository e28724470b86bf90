//! The new process: it takes over from the one that serves.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::config::UpgradeConfig;
use crate::gateway::Gateway;
use crate::listeners::Given;

use super::channel::{Channel, Message, Offer, PROTOCOL};
use super::predecessor::Predecessor;

/// For an answer; the one who serves may be at another one's hand-over.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often this one looks whether it is to say that it leaves.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A process that serves, and that gives its place.
#[derive(Debug)]
pub(crate) struct Taking {
    channel: Channel,
    offer: Offer,
}

/// Why nobody's place can be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error("the process that serves cannot be reached at `{path}`: {error}")]
    Unreachable { path: String, error: io::Error },
    #[error(
        "the process that serves speaks version {0} of the hand-over, and this program version {PROTOCOL}"
    )]
    Version(u32),
    #[error("the process that serves does not hand over, and goes on: {0}")]
    Refused(io::Error),
}

/// Keeps the connection; dropping it says that this process is on its way down.
#[derive(Debug)]
pub(crate) struct Bond {
    leave: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Bond {
    fn drop(&mut self) {
        drop(self.leave.take());
        if let Some(thread) = self.thread.take() {
            // Its panic was reported by the panic hook.
            drop(thread.join());
        }
    }
}

impl Taking {
    /// Asks the one who serves for its sockets; `None`: nobody serves.
    ///
    /// # Errors
    /// When somebody does, who does not give them.
    pub(crate) fn begin(config: &UpgradeConfig) -> Result<Option<(Self, Vec<Given>)>, TakeError> {
        let path = config.socket.display().to_string();
        let stream = match UnixStream::connect(&config.socket) {
            Ok(stream) => stream,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(TakeError::Unreachable { path, error }),
        };
        let mut channel = Channel::trust(stream).map_err(|error| TakeError::Unreachable { path, error })?;
        let offer = match channel.receive(PATIENCE).map_err(TakeError::Refused)? {
            Some(Message::Offer(offer)) => offer,
            _ => return Err(TakeError::Refused(io::ErrorKind::TimedOut.into())),
        };
        if offer.protocol != PROTOCOL {
            return Err(TakeError::Version(offer.protocol));
        }
        let sockets = channel.take_sockets().into_iter().map(TcpListener::from);
        let names = offer.listeners.iter().map(|name| Some(name.as_str().into()));
        let given = names.zip(sockets).map(|(name, socket)| Given { name, socket }).collect();
        Ok(Some((Self { channel, offer }, given)))
    }

    /// Learns how many sessions there are. Everything is loaded and open by now.
    ///
    /// # Errors
    /// When the one who serves goes on.
    pub(crate) fn ready(&mut self, gateway: &Gateway) -> Result<(), TakeError> {
        let mut ask = || {
            self.channel.send(&Message::Ready, &[])?;
            match self.channel.receive(PATIENCE)? {
                Some(Message::Counts(counts)) => Ok(counts),
                _ => Err(io::ErrorKind::TimedOut.into()),
            }
        };
        let counts = ask().map_err(TakeError::Refused)?;
        gateway.learn(counts);
        Ok(())
    }

    /// Says that clients are accepted here, and waits until they are nowhere else; for a thread that may wait.
    pub(crate) fn accepting(mut self, gateway: &Arc<Gateway>) -> Bond {
        let (pid, version) = (self.offer.pid, self.offer.version.clone());
        let (leave, left) = channel();
        let stopped = self.channel.send(&Message::Accepting, &[]).and_then(|()| self.stopped(gateway));
        let thread = match stopped {
            Ok(admin) => {
                info!(process = pid, version, "taken over");
                gateway.follow(Some(Predecessor { pid, version, admin }));
                let gateway = gateway.clone();
                let listen = move || self.listen(&gateway, &left);
                let listening = thread::Builder::new().name("upgrade".into()).spawn(listen);
                listening.inspect_err(|error| error!(%error, "no thread that hears of the old process")).ok()
            }
            Err(error) => {
                error!(process = pid, %error, "the process that served is gone or does not answer; its sessions are not counted");
                gateway.forget();
                None
            }
        };
        Bond { leave: Some(leave), thread }
    }

    fn stopped(&mut self, gateway: &Gateway) -> io::Result<Option<std::path::PathBuf>> {
        loop {
            match self.channel.receive(PATIENCE)? {
                Some(Message::Counts(counts)) => gateway.learn(counts),
                Some(Message::Stopped { admin }) => return Ok(admin),
                _ => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// Hears how many sessions the other one still has, to its end.
    fn listen(mut self, gateway: &Gateway, left: &Receiver<()>) {
        let process = self.offer.pid;
        loop {
            match self.channel.receive(LOOK_EVERY) {
                Ok(Some(Message::Counts(counts))) => gateway.learn(counts),
                Ok(Some(_)) => {}
                Ok(None) => {
                    if left.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) {
                        // It is not lost: nobody has to serve in its place.
                        if let Err(error) = self.channel.send(&Message::Leaving, &[]) {
                            warn!(process, %error, "the old process does not hear that this one ends");
                        }
                        return;
                    }
                }
                Err(error) => {
                    info!(process, %error, "the old process has ended");
                    gateway.forget();
                    gateway.follow(None);
                    return;
                }
            }
        }
    }
}
