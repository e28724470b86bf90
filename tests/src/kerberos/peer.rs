//! A client with a context of RFC 1961, message by message.

use krb_testenv::Ccache;
use socks_core::{Level, Sealing};
use socks_gssapi::{ClientRules, Halves, Initiated, Initiator, Message, TargetName};

use super::SERVICE;
use crate::Client;

/// A client whose context is established.
#[derive(Debug)]
pub struct Peer {
    /// The connection.
    pub client: Client,
    halves: Halves,
    level: Level,
}

/// The first token of a user for the gateway, and what takes the answer.
///
/// # Panics
/// When the user has no ticket for it.
#[track_caller]
pub fn tokens(user: &Ccache, service: &str) -> (Vec<u8>, Initiator) {
    let rules = ClientRules {
        ccache: Some(format!("FILE:{}", user.path().display()).into()),
        ..ClientRules::default()
    };
    let initiator = Initiator::new(&TargetName::Principal(service.into()), &rules);
    match initiator.and_then(|initiator| initiator.step(&[])) {
        Ok(Initiated::Continue { token, initiator }) => (token, *initiator),
        other => panic!("no token for `{service}`: {other:?}"),
    }
}

/// The octets of a frame with one bit turned.
pub fn flipped(frame: &[u8], position: usize) -> Vec<u8> {
    let mut octets = frame.to_vec();
    *octets.get_mut(position).expect("a position within the frame") ^= 0x10;
    octets
}

impl Peer {
    /// Goes through the first stage over a connection for which the method was chosen.
    ///
    /// # Panics
    /// When the gateway does not accept the context.
    #[track_caller]
    pub fn establish(client: Client, user: &Ccache) -> Self {
        Self::establish_for(client, user, &format!("{SERVICE}@EXAMPLE.TEST"))
    }

    /// The same for another of the gateway's services.
    ///
    /// # Panics
    /// When the gateway does not accept the context.
    #[track_caller]
    pub fn establish_for(mut client: Client, user: &Ccache, service: &str) -> Self {
        let (token, initiator) = tokens(user, service);
        client.send(&Message::Authentication(token).octets().expect("it fits"));
        Self::complete(client, initiator)
    }

    /// Takes the gateway's token and completes the context.
    ///
    /// # Panics
    /// When it sends none, or one that proves nothing.
    #[track_caller]
    pub fn complete(mut client: Client, initiator: Initiator) -> Self {
        let token = message(&mut client, 0x01);
        match initiator.step(&token) {
            Ok(Initiated::Complete { halves, .. }) => Self { client, halves, level: Level::None },
            other => panic!("the context is not complete: {other:?}"),
        }
    }

    /// The octets of a level message (RFC 1961 section 4.3) that holds these octets.
    pub fn level_message(&mut self, octets: &[u8], sealed: Level) -> Vec<u8> {
        let mut frame = self.seal(octets, sealed);
        if let Some(kind) = frame.get_mut(1) {
            *kind = 0x02;
        }
        frame
    }

    /// Asks for a level, and gives what is granted.
    ///
    /// # Panics
    /// When the gateway's answer cannot be opened.
    #[track_caller]
    pub fn agree(&mut self, level: Level) -> Level {
        let frame = self.level_message(&[level as u8], Level::Integrity);
        self.client.send(&frame);
        self.granted()
    }

    /// Takes the gateway's answer to a level message; everything behind it is at that level.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[track_caller]
    pub fn granted(&mut self) -> Level {
        let token = message(&mut self.client, 0x02);
        let octets = self.opened(&token);
        let &[octet] = octets.as_slice() else { panic!("no level: {octets:02x?}") };
        self.level = Level::from_octet(octet).expect("a level");
        self.level
    }

    /// A frame that holds these octets.
    ///
    /// # Panics
    /// When they are too many for a frame.
    pub fn seal(&mut self, octets: &[u8], level: Level) -> Vec<u8> {
        let room = self.halves.seal.room();
        let mut buffer = vec![0; room.head];
        buffer.extend_from_slice(octets);
        buffer.resize(buffer.len() + room.tail, 0);
        let mut sealing = Sealing { buffer: &mut buffer, range: room.head..room.head + octets.len() };
        self.halves.seal.seal(&mut sealing, level).expect("they fit into a frame");
        let range = sealing.range;
        buffer.get(range).expect("a frame lies in its buffer").to_vec()
    }

    /// A frame that holds these octets, at the level agreed.
    pub fn sealed(&mut self, octets: &[u8]) -> Vec<u8> {
        self.seal(octets, self.level)
    }

    /// The most octets that fit into one frame.
    pub fn most(&self) -> usize {
        self.halves.seal.max_plaintext()
    }

    /// Sends octets in one frame.
    #[track_caller]
    pub fn say(&mut self, octets: &[u8]) {
        let frame = self.sealed(octets);
        self.client.send(&frame);
    }

    /// Receives one frame as it comes.
    #[track_caller]
    pub fn frame(&mut self) -> Vec<u8> {
        let token = message(&mut self.client, 0x03);
        let len = u16::try_from(token.len()).expect("it came with such a length").to_be_bytes();
        [&[0x01, 0x03], len.as_slice(), &token].concat()
    }

    /// Receives one frame, and gives what is in it.
    #[track_caller]
    pub fn hear(&mut self) -> Vec<u8> {
        let frame = self.frame();
        self.opened(frame.get(4..).unwrap_or_default())
    }

    #[track_caller]
    fn opened(&mut self, token: &[u8]) -> Vec<u8> {
        let len = u16::try_from(token.len()).expect("it came with such a length").to_be_bytes();
        let mut frame = [&[0x01, 0x03], len.as_slice(), token].concat();
        let opened = self.halves.open.open(&mut frame).expect("the gateway has the same keys");
        let least = if self.level == Level::None { Level::Integrity } else { self.level };
        assert!(opened.level.is_at_least(least), "sealed at {} instead of {least}", opened.level);
        frame.get(opened.plaintext).expect("it lies in its frame").to_vec()
    }
}

/// Receives the token of a message of that type.
#[track_caller]
fn message(client: &mut Client, kind: u8) -> Vec<u8> {
    let head = client.receive(4);
    let &[0x01, found, high, low] = head.as_slice() else { panic!("no message: {head:02x?}") };
    assert_eq!(found, kind, "the message's type");
    client.receive(usize::from(u16::from_be_bytes([high, low])))
}
