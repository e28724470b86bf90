//! The admin listener: what an operator asks the running gateway, and tells it.
//!
//! It has a thread and a reactor of its own, so that no question ever holds up a session.

mod access;
mod act;
mod api;
mod elsewhere;
mod html;
mod listener;
mod listing;
mod page;
mod places;
mod refused;
mod rows;
mod status;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::config::AdminConfig;
use crate::gateway::Gateway;
use crate::server::Sources;
use crate::socket_file::SocketFile;
use crate::workers;

use listener::{Doors, Presence};
pub(crate) use listing::{Listing, MOST_ROWS, Order};
use refused::RefusedActs;
pub(crate) use rows::{Filter, LockFilter, Row};
pub(crate) use status::{Earlier, Status};

/// What every answer may need.
pub(crate) struct Desk {
    gateway: Arc<Gateway>,
    sources: Arc<Sources>,
    refused: RefusedActs,
}

impl Desk {
    pub(crate) fn new(gateway: Arc<Gateway>, sources: Arc<Sources>) -> Self {
        Self { gateway, sources, refused: RefusedActs::default() }
    }
}

/// The running listener; it ends when this is dropped.
pub(crate) struct Admin {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    socket: Option<SocketFile>,
    /// Another descriptor of the socket to which browsers come.
    http: Mutex<Option<Arc<OwnedFd>>>,
    presence: watch::Sender<Presence>,
}

impl Admin {
    /// Opens what the configuration names, and answers until it is dropped.
    ///
    /// # Errors
    /// The system's, with the address or path.
    pub(crate) fn start(config: &AdminConfig, desk: Desk) -> Result<Self, OpenError> {
        Self::start_as(config, desk, Presence::Here, None)
    }

    /// The same beside a process that still has the addresses; they are taken over when this one
    /// [appears](Self::appear). `http`: its socket for browsers.
    ///
    /// # Errors
    /// The system's, with the address or path.
    pub(crate) fn start_beside(
        config: &AdminConfig,
        desk: Desk,
        http: Option<TcpListener>,
    ) -> Result<Self, OpenError> {
        Self::start_as(config, desk, Presence::Aside, http)
    }

    fn start_as(
        config: &AdminConfig,
        desk: Desk,
        presence: Presence,
        http: Option<TcpListener>,
    ) -> Result<Self, OpenError> {
        let (presence, told) = watch::channel(presence);
        let runtime = workers::runtime().map_err(OpenError::Thread)?;
        let (doors, socket) = {
            let _entered = runtime.enter();
            Doors::open(config, told, http)?
        };
        let http = doors.http_copy().map_err(OpenError::Thread)?.map(Arc::new);
        if let Some(path) = &config.socket {
            info!(socket = %path.display(), "admin listening");
        }
        if let Some(address) = doors.http_address() {
            info!(%address, "admin listening");
        }
        let (stop, stopped) = oneshot::channel();
        let desk = Arc::new(desk);
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = doors.serve(desk.clone()) => {}
                    () = desk.tell_of_refused_acts() => {}
                    _ = stopped => {}
                }
                desk.tell_of_more_refused_acts();
            });
            runtime.shutdown_background();
        });
        let thread = thread.map_err(OpenError::Thread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), socket, http: Mutex::new(http), presence })
    }

    /// Takes the addresses, from another process too.
    pub(crate) fn appear(&self) -> io::Result<()> {
        let is_new = self.presence.send_replace(Presence::Here) != Presence::Here;
        match self.socket.as_ref().filter(|_| is_new) {
            Some(socket) => socket.appear(),
            None => Ok(()),
        }
    }

    /// Leaves the addresses to another process; gives the path at which this one is still asked.
    pub(crate) fn step_aside(&self) -> Option<PathBuf> {
        self.presence.send_replace(Presence::Aside);
        let aside = self.socket.as_ref()?.step_aside();
        let aside = aside.inspect_err(|error| warn!(%error, "nobody can ask this process any more"));
        aside.ok().map(Path::to_owned)
    }
}

impl Admin {
    /// The socket to which browsers come, to be passed on.
    pub(crate) fn http(&self) -> Option<Arc<OwnedFd>> {
        self.http.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes it here: another process has it for good.
    pub(crate) fn leave(&self) {
        self.presence.send_replace(Presence::Gone);
        drop(self.http.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic was reported by the panic hook.
            drop(thread.join());
        }
    }
}

/// Why the admin listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// No thread, or no reactor for it.
    #[error("no thread for the admin listener: {0}")]
    Thread(io::Error),
    /// The Unix socket.
    #[error("admin socket `{path}`: {error}")]
    Socket { path: String, error: io::Error },
    /// The loopback address.
    #[error("admin address `{address}`: {error}")]
    Http { address: SocketAddr, error: io::Error },
}
