//! The client's side of a session as a stream of messages, protected or not.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protection::{Level, OpenError, Opened, Opening, Protection, SealError, Sealing};
use crate::wire::{Decode, DecodeError, Encode};

/// Octets read from a client at a time, before it is known how much it will send.
const READ_CHUNK: usize = 512;

/// A client's socket with the octets that were read from it and not yet used.
#[derive(Debug)]
pub struct ClientIo {
    /// The socket.
    pub socket: TcpStream,
    /// Octets that the client sent and nobody has taken yet.
    pub received: BytesMut,
}

impl ClientIo {
    /// A socket from which nothing was read.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, received: BytesMut::new() }
    }

    /// Receives one message; octets behind it stay in `received`.
    ///
    /// # Errors
    /// [`ReceiveError`]; after [`ReceiveError::Decode`] a refusal can still be sent.
    pub async fn receive<M: Decode>(&mut self) -> Result<M, ReceiveError> {
        loop {
            if let Some(message) = M::decode(&mut self.received)? {
                return Ok(message);
            }
            // No message is longer than that, so decoding has said something before it is full.
            let most = M::MAX_LEN.max(READ_CHUNK).saturating_sub(self.received.len());
            if self.fill(most).await? == 0 {
                return Err(ReceiveError::HungUp);
            }
        }
    }

    /// Waits for the client to end the stream, and tells how it did: `UnexpectedEof` for an end in order.
    ///
    /// What the client sends meanwhile is kept in `received` for whoever reads next. With `most` octets there
    /// nothing more is read, and an end is not noticed any more. Can be cancelled without loss.
    pub async fn hung_up(&mut self, most: usize) -> io::Error {
        loop {
            let room = most.saturating_sub(self.received.len()).min(READ_CHUNK);
            if room == 0 {
                return std::future::pending().await;
            }
            match self.fill(room).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Reads once and appends to `received`; `Ok(0)` is the client's end.
    async fn fill(&mut self, most: usize) -> io::Result<usize> {
        self.received.reserve(most);
        let mut limited = (&mut self.received).limit(most);
        self.socket.read_buf(&mut limited).await
    }
}

/// Why no message came from a client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client ended the stream before or inside a message.
    #[error("client hung up")]
    HungUp,
    /// The octets are no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The octets are no valid protected frame.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A client's stream after authentication.
#[derive(Debug)]
pub enum ClientStream {
    /// Octets as they are; gives up its socket for splice(2).
    Plain(ClientIo),
    /// Octets in protected frames.
    Protected(Box<ProtectedStream>),
}

impl ClientStream {
    /// A stream with the protection that authentication brought, if it brought one.
    pub fn new(io: ClientIo, protection: Option<Protection>) -> Self {
        match protection {
            None => Self::Plain(io),
            Some(protection) => Self::Protected(Box::new(ProtectedStream::new(io, protection))),
        }
    }

    /// The socket underneath.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(io) => &io.socket,
            Self::Protected(stream) => &stream.io.socket,
        }
    }

    /// The socket underneath, to be closed; octets written to it are not protected.
    pub fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(io) => &mut io.socket,
            Self::Protected(stream) => &mut stream.io.socket,
        }
    }

    /// Waits for the client to end the stream, as [`ClientIo::hung_up`] does; frames are not opened.
    pub async fn hung_up(&mut self, most: usize) -> io::Error {
        match self {
            Self::Plain(io) => io.hung_up(most).await,
            Self::Protected(stream) => stream.io.hung_up(most).await,
        }
    }

    /// Receives one message.
    ///
    /// # Errors
    /// [`ReceiveError`]; after [`ReceiveError::Decode`] a refusal can still be sent.
    pub async fn receive<M: Decode>(&mut self) -> Result<M, ReceiveError> {
        match self {
            Self::Plain(io) => io.receive().await,
            Self::Protected(stream) => stream.receive().await,
        }
    }

    /// Sends one message with one write, in one frame if the stream is protected.
    ///
    /// # Errors
    /// Whatever the socket says; `InvalidData` when the message cannot be sealed.
    pub async fn send<M: Encode>(&mut self, message: &M) -> io::Result<()> {
        match self {
            Self::Plain(io) => {
                let mut octets = BytesMut::new();
                message.encode(&mut octets);
                io.socket.write_all(&octets).await
            }
            Self::Protected(stream) => {
                let mut octets = stream.plaintext_buffer();
                message.encode(&mut octets);
                stream.write_sealed(octets).await
            }
        }
    }
}

/// A client's stream whose octets travel in protected frames.
#[derive(Debug)]
pub struct ProtectedStream {
    /// The socket, with octets of frames that are not yet whole.
    pub io: ClientIo,
    /// The two halves.
    pub protection: Protection,
    /// Opened octets that nobody has taken yet.
    pub plaintext: BytesMut,
}

impl ProtectedStream {
    /// A stream whose frames begin with what `io` has already received.
    pub fn new(io: ClientIo, protection: Protection) -> Self {
        Self { io, protection, plaintext: BytesMut::new() }
    }

    /// Receives one message, from as many frames as it is spread over.
    async fn receive<M: Decode>(&mut self) -> Result<M, ReceiveError> {
        loop {
            if let Some(message) = M::decode(&mut self.plaintext)? {
                return Ok(message);
            }
            if self.fill().await? == 0 {
                return Err(ReceiveError::HungUp);
            }
        }
    }

    /// Reads and opens one frame, and appends what was in it to `plaintext`.
    ///
    /// `Ok(0)` is the client's end between two frames. A frame without octets is passed over.
    ///
    /// # Errors
    /// [`ReceiveError`]; an end inside a frame is [`ReceiveError::HungUp`].
    pub async fn fill(&mut self) -> Result<usize, ReceiveError> {
        loop {
            let before = self.plaintext.len();
            if self.open_received()? {
                let opened = self.plaintext.len() - before;
                if opened > 0 {
                    return Ok(opened);
                }
                continue;
            }
            let most = self.missing()?;
            if self.io.fill(most).await? == 0 {
                return if self.io.received.is_empty() { Ok(0) } else { Err(ReceiveError::HungUp) };
            }
        }
    }

    /// Opens the frame at the front of what was received, if it is whole.
    fn open_received(&mut self) -> Result<bool, OpenError> {
        let Some(len) = self.protection.frame_len(&self.io.received)? else { return Ok(false) };
        if self.io.received.len() < len {
            return Ok(false);
        }
        let mut frame = self.io.received.split_to(len);
        let opened = self.protection.open(&mut frame)?;
        frame.truncate(opened.plaintext.end);
        frame.advance(opened.plaintext.start.min(frame.len()));
        self.plaintext.unsplit(frame);
        Ok(true)
    }

    /// How many octets to read next: no more than the frame that has begun still wants.
    fn missing(&self) -> Result<usize, OpenError> {
        let have = self.io.received.len();
        Ok(match self.protection.frame_len(&self.io.received)? {
            Some(len) => len.saturating_sub(have).max(1),
            None => READ_CHUNK,
        })
    }

    /// A buffer with room for the head of a frame; a plaintext is appended to it.
    pub fn plaintext_buffer(&self) -> BytesMut {
        let mut octets = BytesMut::new();
        octets.put_bytes(0, self.protection.seal.room().head);
        octets
    }

    /// Seals the plaintext of such a buffer and writes the frame with one write.
    async fn write_sealed(&mut self, mut octets: BytesMut) -> io::Result<()> {
        let room = self.protection.seal.room();
        let end = octets.len();
        octets.put_bytes(0, room.tail);
        let mut message = Sealing { buffer: &mut octets, range: room.head..end };
        self.protection.seal(&mut message).map_err(io::Error::other)?;
        let frame = message.range;
        self.io.socket.write_all(octets.get(frame).unwrap_or_default()).await
    }
}

impl Protection {
    /// Seals a message at the session's level; selective sessions encrypt.
    ///
    /// # Errors
    /// As [`Seal::seal`](crate::Seal::seal).
    pub fn seal(&mut self, message: &mut Sealing<'_>) -> Result<(), SealError> {
        let level = self.sealing_level();
        self.seal.seal(message, level)
    }

    /// Seals several messages, in order, as [`Protection::seal`] seals one.
    ///
    /// # Errors
    /// As [`Seal::seal_all`](crate::Seal::seal_all).
    pub fn seal_all(&mut self, messages: &mut [Sealing<'_>]) -> Result<(), SealError> {
        let level = self.sealing_level();
        self.seal.seal_all(messages, level)
    }

    /// The level at which this side seals.
    pub fn sealing_level(&self) -> Level {
        match self.level {
            Level::None | Level::Integrity => Level::Integrity,
            Level::Confidentiality | Level::Selective => Level::Confidentiality,
        }
    }

    /// The length of the frame that `head` begins: at least 1, and never more than the engine's own bound.
    ///
    /// # Errors
    /// As [`Open::frame_len`](crate::Open::frame_len), and whatever that gives beyond the bounds.
    pub fn frame_len(&self, head: &[u8]) -> Result<Option<usize>, OpenError> {
        match self.open.frame_len(head)? {
            Some(0) => Err(OpenError::NotAFrame),
            Some(len) if len > self.open.max_frame() => Err(OpenError::TooLong),
            len => Ok(len),
        }
    }

    /// Opens a frame and refuses one that was only signed where encryption was agreed.
    ///
    /// # Errors
    /// As [`Open::open`](crate::Open::open), and [`OpenError::OnlySigned`].
    pub fn open(&mut self, frame: &mut [u8]) -> Result<Opened, OpenError> {
        let opened = self.open.open(frame)?;
        self.admit(&opened, frame)?;
        Ok(opened)
    }

    /// Opens several frames, in order, as [`Protection::open`] opens one: up to the first that is refused.
    ///
    /// # Errors
    /// As [`Open::open_all`](crate::Open::open_all), and [`OpenError::OnlySigned`].
    pub fn open_all(&mut self, frames: &mut [Opening<'_>]) -> Result<(), OpenError> {
        let told = self.open.open_all(frames);
        let mut result = Ok(());
        for Opening { frame, opened } in frames {
            if result.is_ok() {
                result = match opened {
                    Some(opened) => self.admit(opened, frame),
                    None => told.and(Err(OpenError::Engine("engine has left out a frame"))),
                };
            }
            // Behind a refused frame nothing counts as opened, whatever the engine says.
            opened.take_if(|_| result.is_err());
        }
        result.and(told)
    }

    /// Refuses a frame at a lower level than agreed, and a plaintext that is not inside it.
    fn admit(&self, opened: &Opened, frame: &[u8]) -> Result<(), OpenError> {
        if self.level == Level::Confidentiality && opened.level != Level::Confidentiality {
            return Err(OpenError::OnlySigned);
        }
        if opened.plaintext.start > opened.plaintext.end || opened.plaintext.end > frame.len() {
            return Err(OpenError::Engine("engine gave a plaintext outside of its frame"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Open, Room, Seal, Sequence};

    async fn connection() -> (TcpStream, ClientIo) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (far, near) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (far.unwrap(), ClientIo::new(near.unwrap().0))
    }

    #[tokio::test]
    async fn an_end_is_noticed_behind_octets_that_are_kept() {
        let (mut far, mut near) = connection().await;
        far.write_all(b"early").await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(near.hung_up(6).await.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(&*near.received, b"early");
    }

    #[tokio::test]
    async fn no_more_is_kept_than_allowed() {
        let (mut far, mut near) = connection().await;
        far.write_all(&[7; 1000]).await.unwrap();
        drop(far);
        let wait = tokio::time::timeout(std::time::Duration::from_millis(100), near.hung_up(600));
        assert!(wait.await.is_err(), "behind octets that are not read nothing is noticed");
        assert_eq!(near.received.len(), 600);
    }

    #[tokio::test]
    async fn a_reset_is_noticed() {
        let (far, mut near) = connection().await;
        socket2::SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(far);
        assert_eq!(near.hung_up(1).await.kind(), io::ErrorKind::ConnectionReset);
    }

    /// Opens the frames of one octet whose octet is even, and says that all is well.
    struct Careless;

    impl Open for Careless {
        fn max_frame(&self) -> usize {
            1
        }

        fn frame_len(&self, _: &[u8]) -> Result<Option<usize>, OpenError> {
            Ok(Some(1))
        }

        fn open(&mut self, _: &mut [u8]) -> Result<Opened, OpenError> {
            Ok(Opened { plaintext: 0..1, level: Level::Confidentiality, sequence: Sequence::Next })
        }

        fn open_all(&mut self, frames: &mut [Opening<'_>]) -> Result<(), OpenError> {
            for Opening { frame, opened } in frames {
                *opened = (frame[0] % 2 == 0).then(|| self.open(frame).unwrap());
            }
            Ok(())
        }

        fn accept_any_order(&mut self) {}
    }

    struct NoSeal;

    impl Seal for NoSeal {
        fn room(&self) -> Room {
            Room { head: 0, tail: 0 }
        }

        fn max_plaintext(&self) -> usize {
            1
        }

        fn seal(&mut self, _: &mut Sealing<'_>, _: Level) -> Result<(), SealError> {
            Err(SealError::Room)
        }
    }

    #[test]
    fn nothing_counts_as_opened_behind_a_frame_that_an_engine_left_out() {
        let (seal, open) = (Box::new(NoSeal), Box::new(Careless));
        let mut protection = Protection { level: Level::Confidentiality, seal, open };
        let mut octets = [[2], [4], [5], [6]];
        let mut frames = octets.each_mut().map(|frame| Opening { frame, opened: None });
        assert!(matches!(protection.open_all(&mut frames), Err(OpenError::Engine(_))));
        assert_eq!(frames.map(|it| it.opened.is_some()), [true, true, false, false]);
    }
}
