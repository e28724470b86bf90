//! One local program's connection: what it asks for, the connection through the gateway, the relay.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socks_client::{Client, Connection, Target};
use socks_core::ClientIo;
use socks_core::relay::{self, RelayEnd, Relayer, Terms};
use socks_core::wire::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::entrance::{self, Asked, Declined};
use crate::names::{Forgotten, Meant, Names};

/// How long a program may take to say what it wants.
const ASKING: Duration = Duration::from_secs(10);
/// How long octets that stand before the relay may take to be written.
const WRITING: Duration = Duration::from_secs(10);
/// How long a program that was refused may still send before it hears a reset, and how much.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_OCTETS: u64 = 64 * 1024;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(crate) client: Client,
    pub(crate) names: Option<Arc<Names>>,
    pub(crate) idle_timeout: Duration,
    relayer: Relayer,
}

impl Forwarder {
    /// Without an idle timeout connections may rest for ever: the gateway has its own.
    pub(crate) fn new(client: Client, idle_timeout: Option<Duration>) -> Self {
        let idle_timeout = idle_timeout.unwrap_or(Duration::MAX);
        Self { client, names: None, idle_timeout, relayer: Relayer::default() }
    }

    /// Takes fake addresses in requests for the names that they stand for.
    pub(crate) fn with_names(mut self, names: Arc<Names>) -> Self {
        self.names = Some(names);
        self
    }

    /// Serves one program to its end, and leaves one line in the log.
    pub(crate) async fn serve(&self, socket: TcpStream, program: SocketAddr) {
        let arrival = Arrival { program, at: Instant::now() };
        let mut io = ClientIo::new(socket);
        let late = || Declined { why: "program does not say what it wants".into(), answer: Vec::new() };
        match timeout(ASKING, entrance::read(&mut io)).await.unwrap_or_else(|_| Err(late())) {
            Ok(Asked { command: Command::UdpAssociate, target, .. }) => {
                self.associate(io, &target, arrival).await;
            }
            Ok(asked) => self.carry_meant(io, asked, arrival).await,
            Err(Declined { why, answer }) => {
                info!(%program, end = why, "refused");
                say_last(io.socket, &answer).await;
            }
        }
    }

    async fn carry_meant(&self, io: ClientIo, asked: Asked, arrival: Arrival) {
        let Asked { via, command, target } = asked;
        match (self.meant(target), command) {
            (Ok(meant), Command::Bind) => self.bind(io, meant, arrival).await,
            (Ok(Meant { target, .. }), _) => self.carry(io, Asked { via, command, target }, arrival).await,
            (Err(forgotten), _) => {
                info!(program = %arrival.program, end = %forgotten, "refused");
                say_last(io.socket, &via.forgotten(&forgotten)).await;
            }
        }
    }

    /// What a program means by a target.
    pub(crate) fn meant(&self, target: Target) -> Result<Meant, Forgotten> {
        match &self.names {
            Some(names) => names.meant(target),
            None => Ok(Meant::plainly(target)),
        }
    }

    async fn carry(&self, io: ClientIo, Asked { via, target, .. }: Asked, arrival: Arrival) {
        let program = arrival.program;
        let connection = match self.client.connect(target.clone()).await {
            Ok(connection) => connection,
            Err(error) => {
                info!(%program, %via, %target, end = %error, seconds = arrival.seconds(), "failed");
                return say_last(io.socket, &via.failed(&error)).await;
            }
        };
        let level = connection.level();
        debug!(%program, %via, %target, %level, bound = %connection.bound(), "connected");
        let answer = via.granted(connection.bound());
        let Relayed { up, down, end } = self.join(io, connection, &answer).await;
        info!(%program, %via, %target, %level, up, down, end, seconds = arrival.seconds(), "closed");
    }

    /// Gives the program its answer, and carries octets until both sides have ended.
    pub(crate) async fn join(&self, mut io: ClientIo, connection: Connection, answer: &[u8]) -> Relayed {
        match timeout(WRITING, begin(&mut io, connection, answer)).await {
            Ok(Ok(connection)) => self.relay(io.socket, connection).await,
            Ok(Err(error)) => Relayed::never(error.to_string()),
            Err(_) => Relayed::never("nobody takes the first octets".into()),
        }
    }

    /// Carries octets until both sides have ended.
    async fn relay(&self, program: TcpStream, connection: Connection) -> Relayed {
        let parts = connection.into_parts();
        debug_assert!(parts.unsent.is_empty(), "the connection was flushed");
        let terms = Terms::new(self.idle_timeout);
        let progress = Arc::clone(&terms.progress);
        relay::prepare(parts.stream.socket());
        // To the relay the protected side is the client's: here that is the gateway's, and up is down.
        let end = self.relayer.run(parts.stream, program, terms).await;
        Relayed { up: progress.down(), down: progress.up(), end: End(end).to_string() }
    }
}

/// Tells the program that it is connected, and sends on what it has sent already.
async fn begin(io: &mut ClientIo, mut connection: Connection, answer: &[u8]) -> std::io::Result<Connection> {
    io.socket.write_all(answer).await?;
    connection.write_all(&io.received.split()).await?;
    connection.flush().await?;
    Ok(connection)
}

/// Says something to a program that must take it in time.
pub(crate) async fn say(socket: &mut TcpStream, answer: &[u8]) -> std::io::Result<()> {
    timeout(WRITING, socket.write_all(answer)).await.map_err(|_| std::io::ErrorKind::TimedOut)?
}

/// Says the last words to a program, so that it hears them before the end: a reset would take them away.
pub(crate) async fn say_last(mut socket: TcpStream, answer: &[u8]) {
    let saying = async {
        socket.write_all(answer).await?;
        socket.shutdown().await?;
        let mut rest = socket.take(FAREWELL_OCTETS);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whether it still listens is its own business.
    let _ = timeout(FAREWELL, saying).await;
}

/// Who came, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) program: SocketAddr,
    at: Instant,
}

impl Arrival {
    /// Seconds since then, to the millisecond.
    pub(crate) fn seconds(self) -> f64 {
        (self.at.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }
}

/// What a relay has done.
pub(crate) struct Relayed {
    /// Octets from the program to the target.
    pub(crate) up: u64,
    /// Octets from the target to the program.
    pub(crate) down: u64,
    pub(crate) end: String,
}

impl Relayed {
    fn never(end: String) -> Self {
        Self { up: 0, down: 0, end }
    }
}

/// How a relay ended, in words.
struct End(RelayEnd);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            RelayEnd::Closed => f.write_str("closed in order"),
            RelayEnd::Idle => f.write_str("nothing has moved for the idle timeout"),
            RelayEnd::ClientFailed(error) => write!(f, "gateway: {error}"),
            RelayEnd::TargetFailed(error) => write!(f, "program: {error}"),
            RelayEnd::CutFrame => f.write_str("gateway hung up inside a protected frame"),
            RelayEnd::Open(error) => write!(f, "gateway: {error}"),
            RelayEnd::Seal(error) => error.fmt(f),
            other => write!(f, "{other:?}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
