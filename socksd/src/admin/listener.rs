//! The sockets of the admin listener, and the connections that come in by them.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tracing::debug;

use crate::config::AdminConfig;
use crate::server::EXHAUSTED_PAUSE;

use super::access::{Caller, Guests, Way};
use super::{Desk, OpenError, api};

/// Connections at once by each way; others wait.
const MOST_CONNECTIONS: usize = 32;
/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection in all: a page fetches its data again and again on new ones.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// The open sockets.
pub(super) struct Doors {
    unix: Option<UnixListener>,
    http: Option<TcpListener>,
}

impl Doors {
    pub(super) fn open(config: &AdminConfig) -> Result<(Self, Option<SocketFile>), OpenError> {
        let unix = config.socket.as_deref().map(|path| open_unix(path, config.mode)).transpose()?;
        let http = config.http.map(open_http).transpose()?;
        let (unix, file) = unix.unzip();
        Ok((Self { unix, http }, file))
    }

    /// Where browsers reach it.
    pub(super) fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref()?.local_addr().ok()
    }

    /// Answers for ever.
    pub(super) async fn serve(self, desk: Arc<Desk>) {
        // Those who may only look cannot keep operators out.
        let [unix_places, http_places] = [0, 1].map(|_| Arc::new(Semaphore::new(MOST_CONNECTIONS)));
        let Self { unix, http } = self;
        let router = api::router(desk.clone());
        // By the configuration in force: who is struck off the list is not let in again.
        let guests = || Arc::new(Guests::of(desk.gateway.snapshot.load().settings.admin.as_ref()));
        let visit = |way, place| Visit { way, guests: guests(), router: router.clone(), _place: place };
        let by_unix = async {
            let Some(unix) = unix else { return };
            loop {
                let place = place(&unix_places).await;
                match unix.accept().await {
                    Ok((socket, _)) => {
                        let peer = socket.peer_cred().map(|peer| (peer.uid(), peer.gid()));
                        tokio::spawn(visit(Way::Unix(peer.ok()), place).answer(socket));
                    }
                    Err(error) => pause(&error).await,
                }
            }
        };
        let by_http = async {
            let Some(http) = http else { return };
            loop {
                let place = place(&http_places).await;
                match http.accept().await {
                    Ok((socket, peer)) => drop(tokio::spawn(visit(Way::Http(peer), place).answer(socket))),
                    Err(error) => pause(&error).await,
                }
            }
        };
        tokio::join!(by_unix, by_http);
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
    _place: Option<OwnedSemaphorePermit>,
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

fn open_unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), OpenError> {
    SocketFile::open(path, mode)
        .map_err(|error| OpenError::Socket { path: path.display().to_string(), error })
}

/// The file of a Unix socket; dropping it removes the file, unless somebody else has put his own in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Opens the socket. Nobody finds it before it has its mode: it gets its name last.
    fn open(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            let text = "another gateway listens there";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        let mut own = path.as_os_str().to_owned();
        own.push(format!(".{}", std::process::id()));
        let own = PathBuf::from(own);
        // What an earlier process of the same number left behind.
        let _ = fs::remove_file(&own);
        let named = Self::open_as(&own, path, mode);
        if named.is_err() {
            let _ = fs::remove_file(&own);
        }
        named
    }

    fn open_as(own: &Path, path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        let listener = UnixListener::bind(own)?;
        fs::set_permissions(own, Permissions::from_mode(mode))?;
        let inode = fs::symlink_metadata(own)?.ino();
        fs::rename(own, path)?;
        Ok((listener, Self { path: path.to_owned(), inode }))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_file_that_nobody_serves_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_listener, file) = SocketFile::open(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(SocketFile::open(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
