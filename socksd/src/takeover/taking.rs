//! The new process: it takes over from the one that serves.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::account::Neighbour;
use crate::config::UpgradeConfig;
use crate::gateway::Gateway;
use crate::listeners::Given;
use crate::reception::Reception;
use crate::server::Sources;

use super::channel::{Channel, Message, Offer, PROTOCOL};
use super::giving::TELL_USED_EVERY;
use super::peer::Peer;
use super::predecessor::Predecessor;

/// For an answer; the one who serves may be at another one's hand-over.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often this one looks whether it is to say that it leaves.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// From the end of the connection to that of the process, if it is at its end.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);

/// A process that serves, and that gives its place.
#[derive(Debug)]
pub(crate) struct Taking {
    channel: Channel,
    offer: Offer,
    process: Arc<Peer>,
    /// The socket to which browsers come.
    http: Option<TcpListener>,
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
    /// The process that serves again; `None`: it is this one's place for good.
    given_back: Option<oneshot::Receiver<Arc<Peer>>>,
}

impl Bond {
    /// Waits until the other process serves again.
    pub(crate) async fn given_back(&mut self) -> Arc<Peer> {
        if let Some(told) = &mut self.given_back
            && let Ok(process) = told.await
        {
            return process;
        }
        self.given_back = None;
        std::future::pending().await
    }

    /// That process serves already.
    fn broken(process: Arc<Peer>) -> Self {
        let (give_back, given_back) = oneshot::channel();
        let _ = give_back.send(process);
        Self { leave: None, thread: None, given_back: Some(given_back) }
    }

    /// Tells whether the place is this one's, as far as is known.
    pub(crate) fn holds(&self) -> bool {
        self.leave.is_some() || self.given_back.is_none()
    }
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
        let process =
            Peer::of(&stream).map_err(|error| TakeError::Unreachable { path: path.clone(), error })?;
        let mut channel = Channel::trust(stream).map_err(|error| TakeError::Unreachable { path, error })?;
        let offer = match channel.receive(PATIENCE).map_err(TakeError::Refused)? {
            Some(Message::Offer(offer)) => offer,
            _ => return Err(TakeError::Refused(io::ErrorKind::TimedOut.into())),
        };
        if offer.protocol != PROTOCOL {
            return Err(TakeError::Version(offer.protocol));
        }
        let mut sockets: Vec<_> = channel.take_sockets().into_iter().map(TcpListener::from).collect();
        let http = sockets.pop_if(|_| offer.http);
        let names = offer.listeners.iter().map(|name| Some(name.as_str().into()));
        let given = names.zip(sockets).map(|(name, socket)| Given { name, socket }).collect();
        Ok(Some((Self { channel, offer, process: Arc::new(process), http }, given)))
    }

    /// The socket to which browsers come, if there is one.
    pub(crate) fn take_http(&mut self) -> Option<TcpListener> {
        self.http.take()
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
    pub(crate) fn accepting(mut self, gateway: &Arc<Gateway>, sources: &Arc<Sources>) -> Bond {
        let (pid, version) = (self.offer.pid, self.offer.version.clone());
        gateway.be_on_trial(true);
        let process = self.process.clone();
        let stopped = self.channel.send(&Message::Accepting, &[]).and_then(|()| self.stopped(gateway));
        match stopped {
            Ok(admin) => {
                info!(process = pid, version, "taken over");
                gateway.follow(Some(Predecessor { pid, version, admin }));
                self.listen_beside(gateway.clone(), sources.clone()).unwrap_or_else(|error| {
                    error!(%error, "no thread that hears of the old process, which goes on");
                    drop(sources.reception.pause());
                    gateway.be_over(&process);
                    Bond::broken(process)
                })
            }
            Err(error) => {
                let serves = self.lost(gateway, &sources.reception, &error);
                serves.map_or(Bond { leave: None, thread: None, given_back: None }, Bond::broken)
            }
        }
    }

    /// Hears of the other one on a thread of its own.
    fn listen_beside(self, gateway: Arc<Gateway>, sources: Arc<Sources>) -> io::Result<Bond> {
        let ((leave, left), (give_back, given_back)) = (channel(), oneshot::channel());
        let listen = move || {
            if let Some(serves) = self.listen(&gateway, &sources.reception, &left) {
                let _ = give_back.send(serves);
            }
        };
        let thread = thread::Builder::new().name("upgrade".into()).spawn(listen)?;
        Ok(Bond { leave: Some(leave), thread: Some(thread), given_back: Some(given_back) })
    }

    /// The other one is not heard any more, and has not said that it will never serve again. If it lives it does serve,
    /// and is told; two that serve would not know of each other. Nobody is accepted until that is known.
    fn lost(&self, gateway: &Gateway, reception: &Reception, error: &io::Error) -> Option<Arc<Peer>> {
        let process = self.process.pid();
        drop(reception.pause());
        gateway.forget();
        gateway.follow(None);
        if self.process.is_gone_within(GONE_TIMEOUT) {
            error!(process, %error, "the process that served is gone; its sessions are not counted");
            gateway.be_on_trial(false);
            reception.resume();
            return None;
        }
        error!(process, %error, "the process that served goes on, and this one ends");
        gateway.be_over(&self.process);
        Some(self.process.clone())
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

    /// Tells what was used here of a day's octets: sessions of the other one end as well when nothing is left.
    fn tell_used(&mut self, gateway: &Gateway) -> io::Result<()> {
        let used = gateway.accounts.news(Neighbour::Before);
        if used.is_empty() {
            return Ok(());
        }
        self.channel.send(&Message::Used { used }, &[])
    }

    /// Hears how many sessions the other one still has, to its end. Gives it if it serves again.
    fn listen(mut self, gateway: &Gateway, reception: &Reception, left: &Receiver<()>) -> Option<Arc<Peer>> {
        let process = self.offer.pid;
        let (mut is_settled, mut told) = (false, Instant::now());
        loop {
            if told.elapsed() >= TELL_USED_EVERY {
                told = Instant::now();
                // Whether it is still there is seen below.
                let _ = self.tell_used(gateway);
            }
            match self.channel.receive(LOOK_EVERY) {
                Ok(Some(Message::Counts(counts))) => gateway.learn(counts),
                Ok(Some(Message::Settled)) => {
                    is_settled = true;
                    gateway.be_on_trial(false);
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    if left.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) {
                        // It is not lost: nobody has to serve in its place.
                        let told = self.tell_used(gateway);
                        let told = told.and_then(|()| self.channel.send(&Message::Leaving, &[]));
                        if let Err(error) = told {
                            warn!(process, %error, "the old process does not hear that this one ends");
                        }
                        return None;
                    }
                }
                Err(error) if !is_settled => return self.lost(gateway, reception, &error),
                Err(error) => {
                    info!(process, %error, "the old process has ended");
                    gateway.forget();
                    gateway.follow(None);
                    return None;
                }
            }
        }
    }
}
