//! What holds of any octets from a peer, for the fuzzer and for tests over its seeds.

use socks_core::{Level, Levels, Protection};

use crate::cfx::{self, ContextKeys, Enctype, KeyOrigin, Role};
use crate::message::Message;
use crate::negotiation::server::{Encryption, Established, Stepped};
use crate::negotiation::{Action, BareLevels, Limits, Server};
use crate::pac::LogonSids;
use crate::protect::Halves;

/// Reads octets as a ticket's authorization data: there are never more groups than octets that could name them,
/// and each is a SID. Gives their number.
///
/// # Panics
/// When that does not hold.
pub fn pac(octets: &[u8]) -> Option<usize> {
    let read = LogonSids::read(octets);
    assert_eq!(read, LogonSids::read(octets), "the same again");
    let sids = read.ok()?;
    assert!(sids.groups.len() <= octets.len() / 4, "{} groups", sids.groups.len());
    let mut all = sids.groups.iter().chain([&sids.user]);
    assert!(all.all(|sid| sid.starts_with("S-1-") && sid.len() <= MOST_SID), "{sids:?}");
    Some(sids.groups.len())
}

/// Revision, authority, and 16 numbers: those of a domain and one more.
const MOST_SID: usize = "S-1-".len() + 15 + 16 * "-4294967295".len();

/// Plays octets to the server's side of a negotiation, and to the protection that it ends with. Gives the level
/// that was agreed.
///
/// # Panics
/// When a message is written otherwise than it came, or the negotiation is longer than its bounds.
pub fn negotiation(octets: &[u8]) -> Option<Level> {
    let mut server = Server::new(Limits::default(), BareLevels::Refuse);
    let mut rest = octets;
    for _ in 0..=Limits::default().messages {
        let (message, len) = Message::read(rest, server.most_token()).ok()??;
        let (whole, behind) =
            rest.split_at_checked(len).expect("a message has no more octets than there are");
        assert_eq!(message.octets().as_deref(), Ok(whole), "written as it came");
        rest = behind;
        match receive(&mut server, message)? {
            Action::Receive { .. } => {}
            Action::Step { .. } => panic!("a step asks for another"),
            Action::Finish { protection, .. } => {
                let protection = protection.expect("no protection was not allowed");
                let level = protection.level;
                data(protection, rest);
                return Some(level);
            }
        }
    }
    panic!("more messages than the bounds allow");
}

/// Gives a message to the server, and what a context might say to its token: odd ones want another.
fn receive(server: &mut Server, message: Message) -> Option<Action> {
    let action = server.receive(message).ok()?;
    let Action::Step { token } = action else { return Some(action) };
    let stepped = match token.len() % 2 {
        1 => Stepped::Continue { token },
        _ => Stepped::Complete { token, established: established() },
    };
    server.stepped(stepped).ok()
}

/// Opens octets as frames of a session of which the peer knows everything but the key.
///
/// # Panics
/// When a plaintext lies outside of its frame.
pub fn frames(octets: &[u8]) {
    for level in [Level::Integrity, Level::Confidentiality] {
        data(established().halves.at(level).expect("a level that protects"), octets);
    }
}

fn data(mut protection: Protection, octets: &[u8]) {
    let mut rest = octets;
    while let Ok(Some(len)) = protection.frame_len(rest) {
        let Some((frame, behind)) = rest.split_at_checked(len) else { return };
        let mut frame = frame.to_vec();
        let Ok(opened) = protection.open(&mut frame) else { return };
        assert!(frame.get(opened.plaintext).is_some(), "a plaintext lies in its frame");
        rest = behind;
    }
}

/// A context with keys that are the same each time.
fn established() -> Established {
    let keys = ContextKeys {
        role: Role::Acceptor,
        enctype: Enctype::Aes256Sha1.number(),
        protocol_key: vec![0x5A; Enctype::Aes256Sha1.key_len()].into(),
        origin: KeyOrigin::AcceptorSubkey,
        send_sequence: 200,
        receive_sequence: 100,
    };
    let (seal, open) = cfx::halves(&keys).expect("a key of the right length");
    Established {
        halves: Halves::new(seal, open),
        levels: Levels::Unrestricted,
        encryption: Encryption::Available,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
        fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn it_holds_of_the_fuzzers_seeds() {
        let groups = seeds("pac").iter().filter_map(|seed| pac(seed)).max();
        assert!(groups > Some(1), "some seed has several groups: {groups:?}");
        let seeds = seeds("gssapi_frame");
        seeds.iter().for_each(|seed| frames(seed));
        let agreed: Vec<_> = seeds.iter().filter_map(|seed| negotiation(seed)).collect();
        assert!(agreed.contains(&Level::Confidentiality), "some seed reaches the data: {agreed:?}");
    }
}
