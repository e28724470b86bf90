//! The one who serves: it waits for somebody who takes over.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::config::UpgradeConfig;
use crate::gateway::Gateway;
use crate::server::Sources;
use crate::socket_file::SocketFile;

use super::channel::{Channel, Message, Offer, PROTOCOL};

/// For reading and compiling files, which costs the one who serves nothing.
const LOAD_TIMEOUT: Duration = Duration::from_secs(300);
/// From then on to the first client that it accepts.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);
/// A new process that is lost within this time is replaced by the old one.
const TRIAL: Duration = Duration::from_secs(5);
/// How often changed counts are told.
const TELL_EVERY: Duration = Duration::from_millis(50);
/// For accept loops to end.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The socket at which somebody may take over; its file goes when this is dropped.
pub(crate) struct Successors {
    file: Arc<SocketFile>,
    /// The number of the process that has taken over.
    taken: oneshot::Receiver<u32>,
}

/// What the thread that waits has.
struct Giving {
    listener: UnixListener,
    file: Arc<SocketFile>,
    gateway: Arc<Gateway>,
    sources: Arc<Sources>,
    admin: Option<Arc<Admin>>,
}

impl Successors {
    /// Opens the socket, which nobody finds before it [appears](Self::appear).
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn wait(
        config: &UpgradeConfig,
        gateway: &Arc<Gateway>,
        sources: &Arc<Sources>,
        admin: Option<Arc<Admin>>,
    ) -> io::Result<Self> {
        let (listener, file) = SocketFile::prepare(&config.socket, MODE)?;
        let file = Arc::new(file);
        let (gateway, sources) = (gateway.clone(), sources.clone());
        let giving = Giving { listener, file: file.clone(), gateway, sources, admin };
        let (told, taken) = oneshot::channel();
        // It ends with the process.
        thread::Builder::new().name("upgrade".into()).spawn(move || giving.run(told))?;
        Ok(Self { file, taken })
    }

    /// Takes the path, from an older process too.
    pub(crate) fn appear(&self) -> io::Result<()> {
        self.file.appear()
    }

    /// Waits until somebody has taken over for good; gives the number of his process.
    pub(crate) async fn taken(&mut self) -> u32 {
        match (&mut self.taken).await {
            Ok(process) => process,
            // The thread is gone, and with it everybody who could take over.
            Err(_) => std::future::pending().await,
        }
    }
}

/// For the gateway's own user alone; root needs no permission.
const MODE: u32 = 0o600;

impl Giving {
    fn run(self, told: oneshot::Sender<u32>) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "nobody can take over for a moment");
                    thread::sleep(TELL_EVERY);
                    continue;
                }
            };
            match self.hand_over(stream) {
                Ok((channel, successor)) => {
                    let _ = told.send(successor);
                    self.tell_of_sessions(channel);
                    return;
                }
                Err(error) => warn!(%error, "nobody has taken over: this process goes on"),
            }
            self.gateway.tell_nobody();
        }
    }

    fn hand_over(&self, stream: UnixStream) -> io::Result<(Channel, u32)> {
        let successor = rustix::net::sockopt::socket_peercred(&stream)?.pid.as_raw_nonzero().get();
        let successor = u32::try_from(successor).unwrap_or_default();
        let mut channel = Channel::trust(stream)?;
        let offered = self.offer(&mut channel)?;
        expect(&mut channel, LOAD_TIMEOUT, |message| matches!(message, Message::Ready))?;
        // From here on nothing takes long. The listeners must stay what they are.
        let _no_reload = self.sources.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.entrances() != offered {
            return Err(io::Error::other("the listeners have changed meanwhile; try again"));
        }
        let mut last = (usize::MAX, 0);
        self.wait_for_accept(&mut channel, &mut last)?;
        self.give(&mut channel, successor)?;
        match self.watch(&mut channel, &mut last) {
            Ok(()) => Ok((channel, successor)),
            Err(lost) => {
                error!(process = successor, error = %lost, "the process that had taken over is gone");
                self.take_back();
                Err(lost)
            }
        }
    }

    fn offer(&self, channel: &mut Channel) -> io::Result<Vec<crate::listeners::Entrance>> {
        let listeners = self.sources.reception.listeners();
        let names = listeners.iter().map(|open| open.entry().name.to_string()).collect();
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION").to_owned());
        let sockets: Vec<_> = listeners.iter().map(|open| open.as_fd()).collect();
        let offer = Offer { protocol: PROTOCOL, pid, version, listeners: names };
        channel.send(&Message::Offer(offer), &sockets)?;
        Ok(listeners.iter().map(|open| open.entrance()).collect())
    }

    fn entrances(&self) -> Vec<crate::listeners::Entrance> {
        self.sources.reception.listeners().iter().map(|open| open.entrance()).collect()
    }

    /// Tells how many sessions there are until the other one accepts.
    fn wait_for_accept(&self, channel: &mut Channel, last: &mut (usize, usize)) -> io::Result<()> {
        let until = Instant::now() + ACCEPT_TIMEOUT;
        while Instant::now() < until {
            self.tell(channel, last)?;
            match channel.receive(TELL_EVERY)? {
                Some(Message::Accepting) => return Ok(()),
                Some(other) => return Err(unexpected(&other)),
                None => {}
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the new process does not accept clients"))
    }

    /// Accepts nobody any more, and lets others have the paths.
    fn give(&self, channel: &mut Channel, successor: u32) -> io::Result<()> {
        info!(process = successor, "another process accepts clients");
        if !self.sources.reception.pause().wait(PAUSE_TIMEOUT) {
            warn!("a listener still accepts: its thread is busy");
        }
        self.gateway.hand_over(successor);
        let admin = self.admin.as_deref().and_then(Admin::step_aside);
        if let Err(error) = self.file.step_aside() {
            warn!(%error, "the upgrade socket could not be kept for the case that the new process is lost");
        }
        channel.send(&Message::Stopped { admin }, &[]).inspect_err(|_| self.take_back())
    }

    /// Tells how many sessions there are until the other one has shown that it lives.
    fn watch(&self, channel: &mut Channel, last: &mut (usize, usize)) -> io::Result<()> {
        let until = Instant::now() + TRIAL;
        while Instant::now() < until {
            self.tell(channel, last)?;
            match channel.receive(TELL_EVERY)? {
                Some(Message::Leaving) => return Ok(()),
                Some(other) => return Err(unexpected(&other)),
                None => {}
            }
        }
        Ok(())
    }

    /// Serves again, as if nothing had been.
    fn take_back(&self) {
        self.gateway.hand_over(0);
        self.sources.reception.resume();
        let admin = self.admin.as_deref().map_or(Ok(()), Admin::appear);
        if let Err(error) = admin.and_then(|()| self.file.appear()) {
            error!(%error, "the admin or upgrade socket is lost; restart to have it again");
        }
    }

    /// Tells how many sessions there are, to the end.
    fn tell_of_sessions(&self, mut channel: Channel) {
        let mut last = (usize::MAX, 0);
        loop {
            let told = self.tell(&mut channel, &mut last).and_then(|()| channel.receive(TELL_EVERY));
            if told.is_err() {
                // Who took over has ended in its turn, and nobody is left who wants to know.
                self.gateway.tell_nobody();
                return;
            }
        }
    }

    fn tell(&self, channel: &mut Channel, last: &mut (usize, usize)) -> io::Result<()> {
        let counts = self.gateway.news();
        let now = (counts.total, counts.unknown);
        if now == *last && counts.is_empty() {
            return Ok(());
        }
        *last = now;
        channel.send(&Message::Counts(counts), &[])
    }
}

/// Waits for one message.
fn expect(channel: &mut Channel, within: Duration, wanted: impl Fn(&Message) -> bool) -> io::Result<()> {
    match channel.receive(within)? {
        Some(message) if wanted(&message) => Ok(()),
        Some(other) => Err(unexpected(&other)),
        None => Err(io::Error::new(io::ErrorKind::TimedOut, "the new process does not become ready")),
    }
}

fn unexpected(message: &Message) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message out of order: {message:?}"))
}
