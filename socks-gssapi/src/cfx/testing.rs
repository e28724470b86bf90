//! What the tests of this module share.

use socks_core::{Level, Seal, Sealing};

use super::{ContextKeys, Enctype, KeyOrigin, Opener, Role, Sealer, halves};

/// Reads hexadecimal digits; blanks are passed over.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A key of that encryption type, the same each time.
pub(crate) fn keys(enctype: Enctype, role: Role, origin: KeyOrigin) -> ContextKeys {
    let protocol_key: Vec<u8> = (0..enctype.key_len()).map(|index| (index * 31 + 5) as u8).collect();
    let (send_sequence, receive_sequence) = match role {
        Role::Initiator => (100, 200),
        Role::Acceptor => (200, 100),
    };
    ContextKeys {
        role,
        enctype: enctype.number(),
        protocol_key: protocol_key.into(),
        origin,
        send_sequence,
        receive_sequence,
    }
}

/// A side that seals and the other that opens.
pub(crate) fn one_way(enctype: Enctype, sender: Role) -> (Sealer, Opener) {
    let receiver = match sender {
        Role::Initiator => Role::Acceptor,
        Role::Acceptor => Role::Initiator,
    };
    let half = |role| halves(&keys(enctype, role, KeyOrigin::AcceptorSubkey)).unwrap();
    (half(sender).0, half(receiver).1)
}

/// A frame with that plaintext.
pub(crate) fn frame(seal: &mut dyn Seal, plaintext: &[u8], level: Level) -> Vec<u8> {
    let room = seal.room();
    let mut buffer = vec![0xEE; room.head + plaintext.len() + room.tail];
    let range = room.head..room.head + plaintext.len();
    buffer[range.clone()].copy_from_slice(plaintext);
    let mut message = Sealing { buffer: &mut buffer, range };
    seal.seal(&mut message, level).unwrap();
    let range = message.range;
    buffer[range].to_vec()
}
