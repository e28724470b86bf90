//! Both sides in the states that tests want, over one context.

use socks_core::{Level, Levels};

use super::*;
use crate::cfx::{self, Enctype, KeyOrigin, Role, testing::keys};
use crate::protect::Halves;

pub(super) fn halves(role: Role) -> Halves {
    let (seal, open) = cfx::halves(&keys(Enctype::Aes256Sha1, role, KeyOrigin::AcceptorSubkey)).unwrap();
    Halves::new(seal, open)
}

/// A token that holds `octets`, from the client or from the server.
pub(super) fn token(sender: Role, octets: &[u8], level: Level) -> Vec<u8> {
    cfx::testing::frame(&mut *halves(sender).seal, octets, level)[4..].to_vec()
}

/// What a context that may encrypt gives a server.
pub(super) fn established(levels: Levels) -> server::Established {
    server::Established { halves: halves(Role::Acceptor), levels, encryption: Encryption::Available }
}

/// A server that wants a client's level.
pub(super) fn server_at_level(levels: Levels, bare: BareLevels) -> Server {
    server_with(levels, bare, Encryption::Available)
}

/// The same over a context that may or may not encrypt.
pub(super) fn server_with(levels: Levels, bare: BareLevels, encryption: Encryption) -> Server {
    let mut server = Server::new(Limits::default(), bare);
    server.receive(Message::Authentication(vec![1])).unwrap();
    let established = server::Established { encryption, ..established(levels) };
    server.stepped(server::Stepped::Complete { token: vec![2], established }).unwrap();
    server
}

/// A client that wants a server's level.
pub(super) fn client_at_level(asked: Level, accepted: Levels) -> Client {
    let mut client = Client::new(Limits::default(), asked, accepted);
    client.stepped(client::Stepped::Continue { token: vec![1] }).unwrap();
    client.receive(Message::Authentication(vec![2])).unwrap();
    let halves = halves(Role::Initiator);
    client.stepped(client::Stepped::Complete { token: vec![], halves }).unwrap();
    client
}
