//! The sockets of the admin listener, and the connections that come in by them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tracing::debug;

use crate::config::AdminConfig;
use crate::server::EXHAUSTED_PAUSE;
use crate::socket_file::SocketFile;

use super::access::{Caller, Guests, Way};
use super::api::Refused;
use super::places::{Place, Places};
use super::{Desk, OpenError, api};

/// Connections at once by HTTP; others wait.
const MOST_CONNECTIONS: usize = 32;
/// Connections by the Unix socket that are told at once that there are too many; others are told nothing.
const MOST_TURNED_AWAY: usize = 8;
/// How long that may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection in all: a page fetches its data again and again on new ones.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// The open sockets.
pub(super) struct Doors {
    unix: Option<UnixListener>,
    http: Option<TcpListener>,
    presence: watch::Receiver<Presence>,
}

/// Whether browsers are to come to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Another process has the addresses.
    Aside,
    Here,
    /// Another process has them for good.
    Gone,
}

impl Doors {
    /// `given`: what the process has passed on that this one takes over from, if there is one.
    pub(super) fn open(
        config: &AdminConfig,
        presence: watch::Receiver<Presence>,
        given: Option<std::net::TcpListener>,
    ) -> Result<(Self, Option<SocketFile>), OpenError> {
        let is_first = *presence.borrow() == Presence::Here;
        let open = |path| open_unix(path, config.mode, is_first);
        let unix = config.socket.as_deref().map(open).transpose()?;
        let http = config.http.map(|address| open_http(address, given)).transpose()?;
        let (unix, file) = unix.unzip();
        Ok((Self { unix, http, presence }, file))
    }

    /// Where browsers reach it.
    pub(super) fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref()?.local_addr().ok()
    }

    /// Another descriptor of the socket to which browsers come, to be passed on.
    pub(super) fn http_copy(&self) -> io::Result<Option<OwnedFd>> {
        self.http.as_ref().map(|http| http.as_fd().try_clone_to_owned()).transpose()
    }

    /// Answers for ever.
    pub(super) async fn serve(self, desk: Arc<Desk>) {
        // Those who may only look cannot keep operators out.
        let (unix_places, http_places) = (Places::new(), Arc::new(Semaphore::new(MOST_CONNECTIONS)));
        let doorstep = Arc::new(Semaphore::new(MOST_TURNED_AWAY));
        let Self { unix, http, mut presence } = self;
        let router = api::router(desk.clone());
        // By the configuration in force: who is struck off the list is not let in again.
        let guests = || Arc::new(Guests::of(desk.gateway.snapshot.load().settings.admin.as_ref()));
        let visit = |way, place| Visit { way, guests: guests(), router: router.clone(), _place: place };
        let by_unix = async {
            let Some(unix) = unix else { return };
            loop {
                let (socket, peer) = match unix.accept().await {
                    Ok((socket, _)) => {
                        let peer = socket.peer_cred().map(|peer| (peer.uid(), peer.gid()));
                        (socket, peer.ok())
                    }
                    Err(error) => {
                        pause(&error).await;
                        continue;
                    }
                };
                match (unix_places.take(peer.map(|(user, _)| user)), doorstep.clone().try_acquire_owned()) {
                    (Some(place), _) => {
                        drop(tokio::spawn(visit(Way::Unix(peer), Held::Unix(place)).answer(socket)));
                    }
                    (None, Ok(step)) => drop(tokio::spawn(turn_away(socket, step))),
                    (None, Err(_)) => {}
                }
            }
        };
        let by_http = async {
            let Some(http) = http else { return };
            loop {
                // Who would change that is gone only when the gateway ends.
                let now = presence.wait_for(|now| *now != Presence::Aside).await.map(|now| *now);
                if matches!(now, Ok(Presence::Gone)) {
                    return;
                }
                // The socket stays open while another process accepts on it: nobody else gets the address.
                tokio::select! {
                    () = accept(&http, &http_places, &visit) => {}
                    _ = presence.wait_for(|now| *now != Presence::Here) => {}
                }
            }
        };
        tokio::join!(by_unix, by_http);
    }
}

/// Answers those who come by HTTP, for ever.
async fn accept(http: &TcpListener, places: &Arc<Semaphore>, visit: &impl Fn(Way, Held) -> Visit) {
    loop {
        let place = place(places).await;
        match http.accept().await {
            Ok((socket, peer)) => {
                drop(tokio::spawn(visit(Way::Http(peer), Held::Http(place)).answer(socket)));
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    // It is never closed.
    places.clone().acquire_owned().await.ok()
}

async fn pause(error: &io::Error) {
    debug!(%error, "admin connection lost before it was accepted");
    sleep(EXHAUSTED_PAUSE).await;
}

/// A connection before it was looked at.
struct Visit {
    way: Way,
    guests: Arc<Guests>,
    router: Router,
    _place: Held,
}

/// The place of a connection.
#[expect(dead_code, reason = "it is held, not looked at")]
enum Held {
    Unix(Place),
    Http(Option<OwnedSemaphorePermit>),
}

/// Tells somebody that there is no place for him.
async fn turn_away(socket: impl AsyncRead + AsyncWrite + Unpin, _step: OwnedSemaphorePermit) {
    let service = service_fn(async |_: hyper::Request<Incoming>| {
        let text = "too many connections are open at once: wait until some of yours have ended";
        Ok::<_, Infallible>(Refused(StatusCode::SERVICE_UNAVAILABLE, text.into()).into_response())
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(FAREWELL).keep_alive(false);
    let connection = server.serve_connection(TokioIo::new(socket), service);
    if let Ok(Err(error)) = timeout(FAREWELL, connection).await {
        debug!(%error, "admin connection failed");
    }
}

impl Visit {
    /// Answers the connection's requests, for as long as it may stay.
    async fn answer(self, socket: impl AsyncRead + AsyncWrite + Unpin) {
        // Names of users may come over a network that does not answer.
        let Ok(caller) = timeout(HEAD_TIMEOUT, Caller::of(self.way, &self.guests)).await else { return };
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(caller.clone());
            let answer = self.router.clone().oneshot(request);
            async { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let connection = server.serve_connection(TokioIo::new(socket), service);
        if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, connection).await {
            debug!(%error, "admin connection failed");
        }
    }
}

/// Takes the socket that was passed on, if it listens there, and else opens one.
fn open_http(address: SocketAddr, given: Option<std::net::TcpListener>) -> Result<TcpListener, OpenError> {
    let is_there = |given: &std::net::TcpListener| {
        given.local_addr().is_ok_and(|bound| {
            bound.ip() == address.ip() && (address.port() == 0 || bound.port() == address.port())
        })
    };
    let open = || {
        let socket = match given.filter(is_there) {
            Some(given) => given,
            None => std::net::TcpListener::bind(address)?,
        };
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    };
    open().map_err(|error| OpenError::Http { address, error })
}

fn open_unix(path: &Path, mode: u32, is_first: bool) -> Result<(UnixListener, SocketFile), OpenError> {
    let open = || {
        let (listener, file) = match is_first {
            true => SocketFile::open(path, mode)?,
            false => SocketFile::prepare(path, mode)?,
        };
        listener.set_nonblocking(true)?;
        Ok((UnixListener::from_std(listener)?, file))
    };
    open().map_err(|error| OpenError::Socket { path: path.display().to_string(), error })
}
