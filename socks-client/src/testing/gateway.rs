//! A gateway on loopback that hears and says what a test wants.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socks_core::wire::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The client must send exactly these octets.
    Hears(Vec<u8>),
    /// The gateway sends these octets with one write.
    Says(Vec<u8>),
    /// The gateway sends these octets one by one.
    Dribbles(Vec<u8>),
    /// The gateway sends back what it hears, and ends when the client has ended.
    Echoes,
    /// The client must end the connection, in order or not, without another octet.
    HearsTheEnd,
    /// The gateway ends its half of the connection.
    Ends,
    /// The gateway resets the connection.
    Resets,
}

/// A gateway that plays one script for each connection, one after the other.
#[derive(Debug)]
pub struct FakeGateway {
    address: SocketAddr,
    playing: JoinHandle<Result<(), String>>,
}

impl FakeGateway {
    /// A gateway for one connection.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn play(script: Vec<Line>) -> io::Result<Self> {
        Self::play_all(vec![script]).await
    }

    /// A gateway for as many connections as there are scripts.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn play_all(scripts: Vec<Vec<Line>>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let playing = tokio::spawn(async move {
            for (connection, script) in scripts.into_iter().enumerate() {
                let (socket, _) = listener.accept().await.map_err(|error| error.to_string())?;
                perform(socket, connection, script).await?;
            }
            Ok(())
        });
        Ok(Self { address, playing })
    }

    /// A gateway for as many connections as there are scripts, all of which may be open at the same time.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn play_at_once(scripts: Vec<Vec<Line>>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let playing = tokio::spawn(async move {
            let mut open = JoinSet::new();
            for (connection, script) in scripts.into_iter().enumerate() {
                let (socket, _) = listener.accept().await.map_err(|error| error.to_string())?;
                open.spawn(perform(socket, connection, script));
            }
            while let Some(played) = open.join_next().await {
                played.map_err(|error| error.to_string())??;
            }
            Ok(())
        });
        Ok(Self { address, playing })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a client's builder takes it.
    pub fn target(&self) -> Target {
        self.address.into()
    }

    /// Waits until all scripts were played to their end.
    ///
    /// # Errors
    /// The line that was not, and why.
    pub async fn finish(self) -> Result<(), String> {
        self.playing.await.map_err(|error| error.to_string())?
    }
}

async fn perform(mut socket: TcpStream, connection: usize, script: Vec<Line>) -> Result<(), String> {
    for (position, line) in script.iter().enumerate() {
        let played = play(&mut socket, line).await;
        played.map_err(|why| format!("connection {connection}, line {position} {line:02x?}: {why}"))?;
    }
    Ok(())
}

async fn play(socket: &mut TcpStream, line: &Line) -> Result<(), String> {
    match line {
        Line::Hears(octets) => hear(socket, octets).await,
        Line::Says(octets) => socket.write_all(octets).await.map_err(|error| error.to_string()),
        Line::Dribbles(octets) => dribble(socket, octets).await.map_err(|error| error.to_string()),
        Line::Echoes => echo(socket).await.map_err(|error| error.to_string()),
        Line::HearsTheEnd => match socket.read_u8().await {
            Ok(octet) => Err(format!("client has sent {octet:#04x}")),
            Err(_) => Ok(()),
        },
        Line::Ends => socket.shutdown().await.map_err(|error| error.to_string()),
        Line::Resets => socket.set_zero_linger().map_err(|error| error.to_string()),
    }
}

async fn hear(socket: &mut TcpStream, expected: &[u8]) -> Result<(), String> {
    let mut heard = vec![0; expected.len()];
    socket.read_exact(&mut heard).await.map_err(|error| error.to_string())?;
    if heard == expected { Ok(()) } else { Err(format!("client has sent {heard:02x?}")) }
}

async fn dribble(socket: &mut TcpStream, octets: &[u8]) -> io::Result<()> {
    socket.set_nodelay(true)?;
    for octet in octets {
        socket.write_all(&[*octet]).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn echo(socket: &mut TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = socket.split();
    copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}
