//! Our engine and the library's, one on each side.

use krb_testenv::{Conf, Enctype, Environment, Realm};
use socks_core::{Level, Open, OpenError, Seal, Sealing, Sequence};
use socks_gssapi::{ClientRules, Engine, Halves, Rules, Traffic, WeakEnctypes};

use crate::stage::{acceptor, both_sides, establish, in_realm, initiator, ordinary, rules};

const LEVELS: [Level; 2] = [Level::Integrity, Level::Confidentiality];
/// Octets of a frame's head and of a token's.
const HEADS: usize = 20;

/// A realm whose keys and session keys are of one type.
fn of_enctype(enctype: Enctype) -> (Realm, Environment) {
    let builder = Realm::builder("EXAMPLE.TEST").enctypes(&[enctype]);
    let realm = builder.user("alice", "secret").service("socks/localhost").start().unwrap();
    let conf = Conf::new().permitted_enctypes(&[enctype]).libdefault("allow_weak_crypto", "true");
    let conf = realm.conf("one-type", &conf).unwrap();
    let environment = both_sides(&realm, &realm.kinit("alice").unwrap()).config(conf);
    (realm, environment)
}

/// The halves of a client and of a server, with the engines that are asked for.
fn halves(client: Engine, server: Engine) -> (Halves, Halves, u32) {
    let mut acceptor = acceptor(Rules { engine: server, weak_enctypes: WeakEnctypes::Accept, ..rules() });
    let rules = ClientRules { engine: client, ..ClientRules::default() };
    let (client, established) = establish(&mut acceptor, initiator(&rules)).unwrap();
    (client, established.halves, established.enctype)
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + len) as u8).collect()
}

fn frame(seal: &mut dyn Seal, plaintext: &[u8], level: Level) -> Vec<u8> {
    let room = seal.room();
    let mut buffer = vec![0xEE; room.head + plaintext.len() + room.tail];
    let range = room.head..room.head + plaintext.len();
    buffer[range.clone()].copy_from_slice(plaintext);
    let mut message = Sealing { buffer: &mut buffer, range };
    seal.seal(&mut message, level).unwrap();
    let range = message.range;
    buffer[range].to_vec()
}

/// Messages of all sizes from one side to the other, whole and turned.
fn exchange(seal: &mut dyn Seal, open: &mut dyn Open, turned: bool) {
    let most = seal.max_plaintext();
    for len in (0..70).chain([255, 256, 1000, 4095, 16384, 61440, most - 1, most]) {
        for level in LEVELS {
            let mut frame = frame(seal, &text(len), level);
            if turned && frame.len() > HEADS {
                let body = frame.len() - HEADS;
                let count = 28 + len % 1000;
                frame[HEADS..].rotate_right(count % body);
                frame[10..12].copy_from_slice(&(count as u16).to_be_bytes());
            }
            assert_eq!(open.frame_len(&frame[..4]), Ok(Some(frame.len())));
            let opened = open.open(&mut frame).unwrap_or_else(|error| panic!("{len} {level}: {error}"));
            assert_eq!(frame[opened.plaintext], text(len), "{len} {level}");
            assert_eq!((opened.level, opened.sequence), (level, Sequence::Next));
        }
    }
}

/// No changed octet of either engine's messages is taken by the other.
fn tamper(seal: &mut dyn Seal, open: &mut dyn Open) {
    for level in LEVELS {
        let whole = frame(seal, b"hello", level);
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            assert!(open.open(&mut changed).is_err(), "{level} octet {position}");
        }
        open.open(&mut whole.clone()).unwrap();
        assert_eq!(open.open(&mut whole.clone()), Err(OpenError::Duplicate));
    }
}

fn every_pair(expected: u32) {
    for (client, server) in [(Engine::Own, Engine::Mit), (Engine::Mit, Engine::Own)] {
        let (mut client, mut server, enctype) = halves(client, server);
        assert_eq!(enctype, expected);
        exchange(&mut *client.seal, &mut *server.open, false);
        exchange(&mut *server.seal, &mut *client.open, false);
        exchange(&mut *client.seal, &mut *server.open, true);
        exchange(&mut *server.seal, &mut *client.open, true);
        tamper(&mut *client.seal, &mut *server.open);
        tamper(&mut *server.seal, &mut *client.open);
    }
}

#[test]
fn messages_pass_between_the_engines_with_enctype_17() {
    let test = "engines::messages_pass_between_the_engines_with_enctype_17";
    in_realm(test, || of_enctype(Enctype::Aes128Sha1), || every_pair(17));
}

#[test]
fn messages_pass_between_the_engines_with_enctype_18() {
    let test = "engines::messages_pass_between_the_engines_with_enctype_18";
    in_realm(test, || of_enctype(Enctype::Aes256Sha1), || every_pair(18));
}

#[test]
fn messages_pass_between_the_engines_with_enctype_19() {
    let test = "engines::messages_pass_between_the_engines_with_enctype_19";
    in_realm(test, || of_enctype(Enctype::Aes128Sha2), || every_pair(19));
}

#[test]
fn messages_pass_between_the_engines_with_enctype_20() {
    let test = "engines::messages_pass_between_the_engines_with_enctype_20";
    in_realm(test, || of_enctype(Enctype::Aes256Sha2), || every_pair(20));
}

/// Encryption types that the library alone knows. It gives the session key of triple DES as one of 6, without check
/// values.
fn fallback(expected: u32) {
    let (mut client, mut server, enctype) = halves(Engine::Own, Engine::Own);
    assert_eq!(enctype, expected);
    for (seal, open) in [(&mut client.seal, &mut server.open), (&mut server.seal, &mut client.open)] {
        exchange(&mut **seal, &mut **open, false);
        let frames: Vec<_> = (0..3).map(|_| frame(&mut **seal, b"x", Level::Confidentiality)).collect();
        open.open(&mut frames[0].clone()).unwrap();
        assert_eq!(open.open(&mut frames[0].clone()), Err(OpenError::Duplicate));
        open.accept_any_order();
        assert_eq!(open.open(&mut frames[2].clone()).unwrap().sequence, Sequence::Moved);
        assert_eq!(open.open(&mut frames[1].clone()).unwrap().sequence, Sequence::Moved);
        let mut changed = frame(&mut **seal, b"x", Level::Confidentiality);
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(open.open(&mut changed), Err(OpenError::Forged));
    }
}

#[test]
fn camellia_falls_back_to_the_library() {
    let test = "engines::camellia_falls_back_to_the_library";
    in_realm(test, || of_enctype(Enctype::Camellia256), || fallback(26));
}

#[test]
fn rc4_falls_back_to_the_library_where_it_is_allowed() {
    let test = "engines::rc4_falls_back_to_the_library_where_it_is_allowed";
    in_realm(test, || of_enctype(Enctype::Rc4), || fallback(23));
}

#[test]
fn triple_des_falls_back_to_the_library_where_it_is_allowed() {
    let test = "engines::triple_des_falls_back_to_the_library_where_it_is_allowed";
    in_realm(test, || of_enctype(Enctype::Des3), || fallback(6));
}

#[test]
fn datagrams_of_the_library_are_taken_in_any_order() {
    in_realm("engines::datagrams_of_the_library_are_taken_in_any_order", ordinary, || {
        for (client, server) in [(Engine::Own, Engine::Mit), (Engine::Mit, Engine::Own)] {
            let mut acceptor = acceptor(Rules { engine: server, ..rules() });
            let rules = ClientRules { engine: client, traffic: Traffic::Datagrams, ..ClientRules::default() };
            let (mut client, established) = establish(&mut acceptor, initiator(&rules)).unwrap();
            let mut open = established.halves.open;
            let request = frame(&mut *client.seal, b"request", Level::Confidentiality);
            open.open(&mut request.clone()).unwrap();
            open.accept_any_order();
            let frames: Vec<_> =
                (0..100).map(|_| frame(&mut *client.seal, b"datagram", Level::Integrity)).collect();
            for frame in frames.iter().rev() {
                let opened = open.open(&mut frame.clone());
                // The library itself forgets what is more than 64 behind.
                assert!(opened.is_ok() || server == Engine::Mit, "{opened:?}");
            }
            for frame in frames.iter().chain([&request]) {
                assert!(open.open(&mut frame.clone()).is_err(), "none is taken twice");
            }
        }
    });
}
