//! The sockets of the admin listener, and the connections that come in by them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
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
    http_address: Option<SocketAddr>,
    /// Whether browsers are to come to this process.
    is_here: watch::Receiver<bool>,
}

impl Doors {
    /// `is_here`: whether this process has the addresses, or is yet to take them over.
    pub(super) fn open(
        config: &AdminConfig,
        is_here: watch::Receiver<bool>,
    ) -> Result<(Self, Option<SocketFile>), OpenError> {
        let is_first = *is_here.borrow();
        let open = |path| open_unix(path, config.mode, is_first);
        let unix = config.socket.as_deref().map(open).transpose()?;
        let http = config.http.filter(|_| is_first).map(open_http).transpose()?;
        let (unix, file) = unix.unzip();
        let bound = http.as_ref().and_then(|http| http.local_addr().ok());
        Ok((Self { unix, http, http_address: bound.or(config.http), is_here }, file))
    }

    /// Where browsers reach it.
    pub(super) fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Answers for ever.
    pub(super) async fn serve(self, desk: Arc<Desk>) {
        // Those who may only look cannot keep operators out.
        let (unix_places, http_places) = (Places::new(), Arc::new(Semaphore::new(MOST_CONNECTIONS)));
        let doorstep = Arc::new(Semaphore::new(MOST_TURNED_AWAY));
        let Self { unix, http, http_address, mut is_here } = self;
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
            let (Some(address), mut first) = (http_address, http) else { return };
            loop {
                // Who would change that is gone only when the gateway ends.
                let _ = is_here.wait_for(|is_here| *is_here).await;
                let http = match first.take() {
                    Some(first) => first,
                    None => again(address).await,
                };
                tokio::select! {
                    () = accept(&http, &http_places, &visit) => {}
                    _ = is_here.wait_for(|is_here| !*is_here) => {}
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

/// The address, as soon as the other process has left it.
async fn again(address: SocketAddr) -> TcpListener {
    loop {
        match open_http(address) {
            Ok(http) => return http,
            Err(error) => debug!(%error, "the admin address is not yet free"),
        }
        sleep(EXHAUSTED_PAUSE).await;
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

fn open_http(address: SocketAddr) -> Result<TcpListener, OpenError> {
    let open = || {
        let socket = std::net::TcpListener::bind(address)?;
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
