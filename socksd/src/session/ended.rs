//! The end of a session that never became a tunnel: what the client is still told, and how it is closed.

use std::time::Duration;

use socks_core::wire::Reply;
use socks_core::{ClientIo, ClientStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::outcome::End;
use crate::record::Record;

/// Time for the client to take what it is told.
///
/// RFC 1928 section 6: the server closes within 10 seconds of a failure.
const FAREWELL: Duration = Duration::from_secs(5);
/// Octets of a refused client that are read and thrown away, so that closing does not reset the connection
/// and destroy the refusal on its way.
const MOST_DISCARDED: usize = 256 * 1024;

/// How a session ended before any octet was relayed, with the stream on which that can still be said.
pub(crate) struct Ended {
    farewell: Farewell,
    end: End,
}

enum Farewell {
    Nothing,
    Octets(Box<ClientIo>, &'static [u8]),
    Reply(Box<ClientStream>),
}

impl Ended {
    /// Nothing is said any more.
    pub(super) fn silently(end: End) -> Self {
        Self { farewell: Farewell::Nothing, end }
    }

    /// Some octets are said outside of any protection (none, if the method has said all).
    pub(super) fn with_octets(io: ClientIo, octets: &'static [u8], end: End) -> Self {
        Self { farewell: Farewell::Octets(Box::new(io), octets), end }
    }

    /// The request is refused with the end's reply code, if it has one.
    pub(super) fn with_reply(stream: ClientStream, end: End) -> Self {
        Self { farewell: Farewell::Reply(Box::new(stream)), end }
    }

    /// Writes the record, tells the client, and closes.
    pub(super) async fn close(self, record: &mut Record) {
        record.finish(&self.end);
        // A client that does not take its refusal has had its time.
        let _ = timeout(FAREWELL, self.say()).await;
    }

    async fn say(self) -> std::io::Result<()> {
        match self.farewell {
            Farewell::Nothing => Ok(()),
            Farewell::Octets(mut io, octets) => {
                io.socket.write_all(octets).await?;
                hang_up(&mut io.socket).await
            }
            Farewell::Reply(mut stream) => {
                if let Some(code) = self.end.reply() {
                    stream.send(&Reply::refused(code)).await?;
                }
                hang_up(stream.socket_mut()).await
            }
        }
    }
}

/// Ends our side, and reads until the client has ended its own.
async fn hang_up(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.shutdown().await?;
    let mut scratch = [0; 1024];
    let mut left = MOST_DISCARDED;
    while left > 0 {
        match socket.read(&mut scratch).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}
