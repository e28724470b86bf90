//! The one who serves: it waits for somebody who takes over.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::account::{Neighbour, Owner};
use crate::admin::Admin;
use crate::audit::Agent;
use crate::config::UpgradeConfig;
use crate::gateway::Gateway;
use crate::listeners::Entrance;
use crate::reload;
use crate::server::Sources;
use crate::socket_file::SocketFile;

use super::channel::{Channel, Message, Offer, PROTOCOL};
use super::peer::Peer;

/// For reading and compiling files, which costs the one who serves nothing.
const LOAD_TIMEOUT: Duration = Duration::from_secs(300);
/// From then on to the first client that it accepts.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);
/// A new process that is lost within this time is replaced by the old one.
pub(super) const TRIAL: Duration = Duration::from_secs(5);
/// How often changed counts are told.
const TELL_EVERY: Duration = Duration::from_millis(50);
/// How often one process tells the other of octets: it looks at every account then.
pub(super) const TELL_USED_EVERY: Duration = Duration::from_secs(1);
/// For accept loops to end.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The socket at which somebody may take over; its file goes when this is dropped.
pub(crate) struct Successors {
    file: Arc<SocketFile>,
    /// Told when a process has taken over.
    taken: oneshot::Receiver<()>,
    is_taken: bool,
    /// Told when that process is gone before this one.
    lost: oneshot::Receiver<()>,
    is_leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Successors {
    /// Tells who has taken over what the last sessions have used.
    fn drop(&mut self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take().filter(|_| self.is_taken) {
            // Its panic was reported by the panic hook.
            drop(thread.join());
        }
    }
}

/// What the new process has been told.
#[derive(Debug, Default)]
struct Told {
    /// Sessions, and connections whose source is not known.
    sessions: Option<(usize, usize)>,
    /// When it was told of octets.
    used: Option<Instant>,
}

/// What the thread that waits has.
struct Giving {
    listener: UnixListener,
    file: Arc<SocketFile>,
    gateway: Arc<Gateway>,
    sources: Arc<Sources>,
    admin: Option<Arc<Admin>>,
    /// This process is at its end.
    is_leaving: Arc<AtomicBool>,
}

/// What must be in force still when the new process has read the files.
#[derive(Debug, PartialEq, Eq)]
struct Offered {
    /// Each reload has another one.
    policy: u64,
    entrances: Vec<Entrance>,
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
        let is_leaving = Arc::new(AtomicBool::new(false));
        let giving =
            Giving { listener, file: file.clone(), gateway, sources, admin, is_leaving: is_leaving.clone() };
        let ((told, taken), (tell_lost, lost)) = (oneshot::channel(), oneshot::channel());
        // It ends with the process, or when it has told everything.
        let thread =
            thread::Builder::new().name("upgrade".into()).spawn(move || giving.run(told, tell_lost))?;
        Ok(Self { file, taken, is_taken: false, lost, is_leaving, thread: Some(thread) })
    }

    /// Takes the path, from an older process too.
    pub(crate) fn appear(&self) -> io::Result<()> {
        self.file.appear()
    }

    /// Waits until somebody has taken over for good.
    pub(crate) async fn taken(&mut self) {
        if (&mut self.taken).await.is_err() {
            // The thread is gone, and with it everybody who could take over.
            std::future::pending::<()>().await;
        }
        self.is_taken = true;
    }

    /// Waits until the process that has taken over is gone.
    pub(crate) async fn lost(&mut self) {
        if (&mut self.lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// For the gateway's own user alone; root needs no permission.
const MODE: u32 = 0o600;

impl Giving {
    fn run(self, told: oneshot::Sender<()>, lost: oneshot::Sender<()>) {
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
                Ok(channel) => {
                    let _ = told.send(());
                    if self.tell_of_sessions(channel).is_err() {
                        // Nobody is left who wants to know.
                        self.gateway.tell_nobody();
                        let _ = lost.send(());
                    }
                    return;
                }
                Err(error) => warn!(%error, "nobody has taken over: this process goes on"),
            }
            self.gateway.tell_nobody();
        }
    }

    fn hand_over(&self, stream: UnixStream) -> io::Result<Channel> {
        // Who was to serve again could not know of a third one that does.
        while self.gateway.is_on_trial() {
            thread::sleep(TELL_EVERY);
        }
        if let Some(other) = self.gateway.successor() {
            return Err(io::Error::other(format!("process {} serves", other.pid())));
        }
        let successor = Arc::new(Peer::of(&stream)?);
        let mut channel = Channel::trust(stream)?;
        let offered = self.offer(&mut channel)?;
        expect(&mut channel, LOAD_TIMEOUT, |message| matches!(message, Message::Ready))?;
        // From here on nothing takes long, and all must stay what it is: the new one has read the files behind the offer.
        let no_reload = self.sources.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.offered() != offered {
            return Err(io::Error::other("there was a reload meanwhile; try again"));
        }
        let mut told = Told::default();
        self.wait_for_accept(&mut channel, &mut told)?;
        let given = self.give(&mut channel, &successor).and_then(|()| self.watch(&mut channel, &mut told));
        match given {
            Ok(()) => {
                // Before anybody can pass a reload on, of which the manager hears from the new one only.
                self.sources.supervisor.hand_over(successor.pid());
                if let Some(admin) = &self.admin {
                    admin.leave();
                }
                Ok(channel)
            }
            Err(lost) => {
                error!(process = successor.pid(), error = %lost, "the process that had taken over is gone");
                self.gateway.hand_over(None);
                drop(no_reload);
                self.take_back();
                Err(lost)
            }
        }
    }

    fn offer(&self, channel: &mut Channel) -> io::Result<Offered> {
        // Before anything is sent: what comes into force from here on must be noticed.
        let offered = self.offered();
        let listeners = self.sources.reception.listeners();
        let names = listeners.iter().map(|open| open.entry().name.to_string()).collect();
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION").to_owned());
        let http = self.admin.as_deref().and_then(Admin::http);
        let sockets = listeners.iter().map(|open| open.as_fd()).chain(http.as_ref().map(|http| http.as_fd()));
        let sockets: Vec<_> = sockets.collect();
        let offer = Offer { protocol: PROTOCOL, pid, version, listeners: names, http: http.is_some() };
        channel.send(&Message::Offer(offer), &sockets)?;
        Ok(offered)
    }

    fn offered(&self) -> Offered {
        let policy = self.gateway.snapshot.load().ruleset.generation();
        let entrances = self.sources.reception.listeners().iter().map(|open| open.entrance()).collect();
        Offered { policy, entrances }
    }

    /// Tells how many sessions there are until the other one accepts.
    fn wait_for_accept(&self, channel: &mut Channel, told: &mut Told) -> io::Result<()> {
        // The first time it is told everything, which may take its time.
        self.tell(channel, told)?;
        let until = Instant::now() + ACCEPT_TIMEOUT;
        while Instant::now() < until {
            self.tell(channel, told)?;
            match channel.receive(TELL_EVERY)? {
                Some(Message::Accepting) => return Ok(()),
                Some(other) => return Err(unexpected(&other)),
                None => {}
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the new process does not accept clients"))
    }

    /// Accepts nobody any more, and lets others have the paths.
    fn give(&self, channel: &mut Channel, successor: &Arc<Peer>) -> io::Result<()> {
        info!(process = successor.pid(), "another process accepts clients");
        if !self.sources.reception.pause().wait(PAUSE_TIMEOUT) {
            warn!("a listener still accepts: its thread is busy");
        }
        self.gateway.hand_over(Some(successor.clone()));
        let admin = self.admin.as_deref().and_then(Admin::step_aside);
        if let Err(error) = self.file.step_aside() {
            warn!(%error, "the upgrade socket could not be kept for the case that the new process is lost");
        }
        channel.send(&Message::Stopped { admin }, &[])
    }

    /// Tells how many sessions there are until the other one has shown that it lives, and leaves it everything then.
    fn watch(&self, channel: &mut Channel, told: &mut Told) -> io::Result<()> {
        let until = Instant::now() + TRIAL;
        while Instant::now() < until {
            self.tell(channel, told)?;
            match channel.receive(TELL_EVERY)? {
                Some(Message::Leaving) => return Ok(()),
                Some(Message::Used { used }) => self.learn_used(used),
                Some(other) => return Err(unexpected(&other)),
                None => {}
            }
        }
        channel.send(&Message::Settled, &[])
    }

    /// Serves again, by the files that the other one has served by.
    fn take_back(&self) {
        // That one may have reloaded; what was taken away then must not come back. Its mistakes are told where they are found.
        drop(reload::run(&self.gateway, &self.sources, Agent::TakeBack));
        self.sources.reception.resume();
        let admin = self.admin.as_deref().map_or(Ok(()), Admin::appear);
        if let Err(error) = admin.and_then(|()| self.file.appear()) {
            error!(%error, "the admin or upgrade socket is lost; restart to have it again");
        }
    }

    /// Tells how many sessions there are, to the end of this process. Fails when the other one's comes first.
    fn tell_of_sessions(&self, mut channel: Channel) -> io::Result<()> {
        let mut told = Told::default();
        loop {
            let is_last = self.is_leaving.load(Ordering::Relaxed);
            if is_last {
                // What the last sessions have used.
                told.used = None;
            }
            self.tell(&mut channel, &mut told)?;
            if is_last {
                return Ok(());
            }
            if let Some(Message::Used { used }) = channel.receive(TELL_EVERY)? {
                self.learn_used(used);
            }
        }
    }

    fn learn_used(&self, used: Vec<(Owner, u64)>) {
        let accounts = &self.gateway.accounts;
        used.into_iter()
            .for_each(|(owner, octets)| accounts.learn_used(owner, octets, Some(Neighbour::After)));
    }

    fn tell(&self, channel: &mut Channel, told: &mut Told) -> io::Result<()> {
        let mut counts = self.gateway.news();
        if told.used.is_none_or(|at| at.elapsed() >= TELL_USED_EVERY) {
            told.used = Some(Instant::now());
            counts.used = self.gateway.accounts.news(Neighbour::After);
        }
        let now = Some((counts.total, counts.unknown));
        if now == told.sessions && counts.is_empty() {
            return Ok(());
        }
        told.sessions = now;
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
