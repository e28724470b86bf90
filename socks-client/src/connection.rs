//! A connection through the gateway, as a stream of octets.

mod protected;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use socks_core::wire::{Method, Target};
use socks_core::{ClientIo, ClientStream, Level};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::protected::Protected;

/// An open connection to a target, through the gateway and protected as was agreed.
///
/// Writing seals at once and may keep sealed octets until the next write or flush. An end inside a protected
/// frame is an error of the kind `UnexpectedEof`; a frame that is refused is one of the kind `InvalidData`.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    bound: Target,
    method: Method,
}

#[derive(Debug)]
enum Stream {
    Plain(ClientIo),
    Protected(Box<Protected>),
}

/// What a connection is made of, for those who carry its octets by themselves.
#[derive(Debug)]
pub struct Parts {
    /// The stream, with everything that was received and not yet read.
    pub stream: ClientStream,
    /// Sealed octets that the socket has not yet taken: to be written to it before anything else.
    pub unsent: BytesMut,
    /// As [`Connection::bound`].
    pub bound: Target,
    /// As [`Connection::method`].
    pub method: Method,
}

impl Connection {
    pub(crate) fn new(stream: ClientStream, bound: Target, method: Method) -> Self {
        let stream = match stream {
            ClientStream::Plain(io) => Stream::Plain(io),
            ClientStream::Protected(stream) => Stream::Protected(Box::new(Protected::new(*stream))),
        };
        Self { stream, bound, method }
    }

    /// Gives up the stream; nothing received is lost, and `unsent` holds what was written and not flushed.
    ///
    /// A connection of which a read has failed has nothing more to give.
    pub fn into_parts(self) -> Parts {
        let Self { stream, bound, method } = self;
        let (stream, unsent) = match stream {
            Stream::Plain(io) => (ClientStream::Plain(io), BytesMut::new()),
            Stream::Protected(stream) => {
                let (stream, unsent) = stream.into_parts();
                (ClientStream::Protected(Box::new(stream)), unsent)
            }
        };
        Parts { stream, unsent, bound, method }
    }

    /// The gateway's own end of the connection to the target, as its reply named it.
    pub fn bound(&self) -> &Target {
        &self.bound
    }

    /// The method that the gateway chose.
    pub fn method(&self) -> Method {
        self.method
    }

    /// How the octets between us and the gateway are protected.
    pub fn level(&self) -> Level {
        match &self.stream {
            Stream::Plain(_) => Level::None,
            Stream::Protected(stream) => stream.level(),
        }
    }

    /// The gateway's address.
    ///
    /// # Errors
    /// Whatever the socket says.
    pub fn gateway(&self) -> io::Result<SocketAddr> {
        match &self.stream {
            Stream::Plain(io) => io.socket.peer_addr(),
            Stream::Protected(stream) => stream.socket().peer_addr(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(io) if io.received.is_empty() => Pin::new(&mut io.socket).poll_read(cx, buffer),
            Stream::Plain(io) => {
                give(&mut io.received, buffer);
                Poll::Ready(Ok(()))
            }
            Stream::Protected(stream) => {
                let opened = ready!(stream.poll_plaintext(cx))?;
                give(opened, buffer);
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// Moves as many octets as there are and as fit.
fn give(from: &mut BytesMut, to: &mut ReadBuf<'_>) {
    let count = from.len().min(to.remaining());
    to.put_slice(from.get(..count).unwrap_or_default());
    from.advance(count);
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(io) => Pin::new(&mut io.socket).poll_write(cx, octets),
            Stream::Protected(stream) => stream.poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(io) => Pin::new(&mut io.socket).poll_flush(cx),
            Stream::Protected(stream) => stream.poll_drain(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(io) => Pin::new(&mut io.socket).poll_shutdown(cx),
            Stream::Protected(stream) => {
                ready!(stream.poll_drain(cx))?;
                Pin::new(stream.socket_mut()).poll_shutdown(cx)
            }
        }
    }
}

#[cfg(test)]
mod tests;
