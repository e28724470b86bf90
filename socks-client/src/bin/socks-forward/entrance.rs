//! What a local program asks for, in SOCKS 5 or HTTP CONNECT, whichever its first octet begins.

use std::io;

use bytes::{Buf, BufMut};
use socks_client::Target;
use socks_core::wire::{Command, Greeting, Method, Request, VERSION};
use socks_core::{ClientIo, ReceiveError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::answer::{Via, code_of_mistake, refusal};
use crate::http::{self, MAX_HEAD};

/// The first octet of SOCKS 4, and the answer that its programs understand as a refusal.
const SOCKS4: u8 = 0x04;
const SOCKS4_REFUSED: [u8; 8] = [0x00, 0x5B, 0, 0, 0, 0, 0, 0];

/// What a program asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) via: Via,
    pub(crate) command: Command,
    pub(crate) target: Target,
}

/// A program that cannot be served.
#[derive(Debug)]
pub(crate) struct Declined {
    /// Why, for the log.
    pub(crate) why: String,
    /// What it hears before the end; may be empty.
    pub(crate) answer: Vec<u8>,
}

impl Declined {
    fn new(why: impl Into<String>, answer: impl Into<Vec<u8>>) -> Self {
        Self { why: why.into(), answer: answer.into() }
    }
}

impl From<io::Error> for Declined {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string(), [])
    }
}

/// Reads what a program asks for; octets behind that stay in `io`.
pub(crate) async fn read(io: &mut ClientIo) -> Result<Asked, Declined> {
    while io.received.is_empty() {
        fill(io).await?;
    }
    match io.received.first() {
        Some(&VERSION) => socks(io).await,
        Some(&SOCKS4) => Err(Declined::new("program speaks SOCKS 4", SOCKS4_REFUSED)),
        Some(first) if first.is_ascii_alphabetic() => connect(io).await,
        _ => Err(Declined::new("program speaks neither SOCKS 5 nor HTTP", [])),
    }
}

async fn socks(io: &mut ClientIo) -> Result<Asked, Declined> {
    let greeting: Greeting = io.receive().await.map_err(|error| Declined::new(error.to_string(), []))?;
    if !greeting.offers(Method::NONE) {
        let answer = [VERSION, Method::NO_ACCEPTABLE.0];
        return Err(Declined::new("program wants to authenticate itself to the forwarder", answer));
    }
    io.socket.write_all(&[VERSION, Method::NONE.0]).await?;
    let request: Request = io.receive().await.map_err(|error| match &error {
        ReceiveError::Decode(mistake) => {
            Declined::new(mistake.to_string(), refusal(code_of_mistake(mistake)))
        }
        _ => Declined::new(error.to_string(), []),
    })?;
    Ok(Asked { via: Via::Socks5, command: request.command, target: request.target })
}

async fn connect(io: &mut ClientIo) -> Result<Asked, Declined> {
    loop {
        let head = http::read_head(&io.received);
        match head.map_err(|mistake| Declined::new(mistake.to_string(), mistake.answer()))? {
            Some((target, len)) => {
                io.received.advance(len);
                return Ok(Asked { via: Via::HttpConnect, command: Command::Connect, target });
            }
            None => fill(io).await?,
        }
    }
}

/// Waits until the program has gone, and keeps what it says before; beyond a bound nothing more is read.
pub(crate) async fn gone(io: &mut ClientIo) {
    while io.received.len() < MAX_HEAD {
        if fill(io).await.is_err() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Reads once, and keeps no more than the longest head.
async fn fill(io: &mut ClientIo) -> Result<(), Declined> {
    let most = MAX_HEAD.saturating_sub(io.received.len());
    io.received.reserve(most.min(1024));
    let mut limited = (&mut io.received).limit(most);
    match io.socket.read_buf(&mut limited).await? {
        0 => Err(Declined::new("program hung up", [])),
        _ => Ok(()),
    }
}
