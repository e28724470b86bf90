//! The listener and the signals: where programs come from, and when they stop coming.

use std::fmt::Display;
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socks_client::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::arguments::Arguments;
use crate::forwarder::Forwarder;
use crate::names::{Names, Responder};
use crate::{Exit, fail};

/// Pause of a listener that has no descriptor or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Listens and serves until a signal says stop; then open connections have the drain's time to end.
pub(crate) async fn run(arguments: &Arguments, client: Client) -> Result<Exit, Exit> {
    for address in iter::once(arguments.listen).chain(arguments.dns) {
        if !address.ip().is_loopback() && !arguments.allow_remote {
            let text =
                format_args!("`{address}` can be reached by other machines: --allow-remote if you mean it");
            return Err(fail(Exit::Usage, text));
        }
    }
    raise_descriptors();
    let address = arguments.listen;
    let cannot = |error| fail(Exit::Unavailable, format_args!("cannot listen on `{address}`: {error}"));
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let local = listener.local_addr().map_err(cannot)?;
    let names = match arguments.dns {
        Some(address) => Some(answer_names(address, arguments).await?),
        None => None,
    };
    let stop = Stop::new().map_err(|error| fail(Exit::System, format_args!("signals: {error}")))?;
    let gateway = client.gateway().clone();
    let forwarder = Forwarder::new(client, arguments.idle_timeout);
    let server = Server {
        forwarder: Arc::new(match names {
            Some(names) => forwarder.with_names(names),
            None => forwarder,
        }),
        sessions: JoinSet::new(),
        most: arguments.max_connections,
    };
    info!(address = %local, %gateway, "listening");
    announce(format_args!("listening on {local}"));
    server.serve(listener, stop, arguments.drain).await;
    Ok(Exit::Done)
}

/// Tells scripts where it listens; a closed pipe is nobody's mistake.
fn announce(what: impl Display) {
    use std::io::Write;
    let mut out = io::stdout();
    let _ = writeln!(out, "{what}").and_then(|()| out.flush());
}

/// Begins to answer questions for names, until the program ends.
async fn answer_names(address: SocketAddr, arguments: &Arguments) -> Result<Arc<Names>, Exit> {
    let names = Names::new(&arguments.fake_addresses);
    let names = names.map_err(|why| fail(Exit::Usage, format_args!("--fake-addresses: {why}")))?;
    let names = Arc::new(names);
    let cannot = |error| fail(Exit::Unavailable, format_args!("cannot answer on `{address}`: {error}"));
    let responder = Responder::bind(address, Arc::clone(&names)).await.map_err(cannot)?;
    announce(format_args!("answering names on {}", responder.address().map_err(cannot)?));
    tokio::spawn(responder.run());
    Ok(names)
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

struct Server {
    forwarder: Arc<Forwarder>,
    sessions: JoinSet<()>,
    most: usize,
}

impl Server {
    async fn serve(mut self, listener: TcpListener, mut stop: Stop, drain: Duration) {
        loop {
            tokio::select! {
                () = stop.wait() => break,
                accepted = listener.accept() => self.admit(accepted).await,
                Some(ended) = self.sessions.join_next() => note(ended),
            }
        }
        drop(listener);
        info!(connections = self.sessions.len(), "stopping");
        let draining = timeout(drain, async {
            while let Some(ended) = self.sessions.join_next().await {
                note(ended);
            }
        });
        tokio::select! {
            _ = draining => {}
            () = stop.wait() => {}
        }
        if !self.sessions.is_empty() {
            warn!(connections = self.sessions.len(), "connections are cut off");
        }
    }

    async fn admit(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        while let Some(ended) = self.sessions.try_join_next() {
            note(ended);
        }
        match accepted {
            Ok((_, program)) if self.sessions.len() >= self.most => {
                warn!(%program, most = self.most, "all connections are taken: closed at once");
            }
            Ok((socket, program)) => {
                let forwarder = Arc::clone(&self.forwarder);
                self.sessions.spawn(async move { forwarder.serve(socket, program).await });
            }
            Err(error) if is_exhausted(&error) => {
                warn!(%error, "no resources to accept connections");
                sleep(EXHAUSTED_PAUSE).await;
            }
            // The connection was gone before it was taken.
            Err(_) => {}
        }
    }
}

/// One connection's bug ends that connection; it must not go by unseen.
fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        error!(%panic, "connection ended by a fault of the forwarder");
    }
}

/// Errors that waiting may cure, and that come back at once without it.
fn is_exhausted(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Raises the limit of open files as far as the system lets us: each connection takes two.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "descriptor limit cannot be raised");
    }
}
