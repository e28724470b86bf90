//! The two halves against each other.

use proptest::prelude::*;
use socks_core::{Level, Open, OpenError, Opening, Seal as _, SealError, Sealing, Sequence};

use super::testing::{frame, keys, one_way, unhex};
use super::token::HEADER;
use super::*;

const LEVELS: [Level; 2] = [Level::Integrity, Level::Confidentiality];
/// Octets of a frame's head and a token's.
const HEADS: usize = crate::frame::HEAD + HEADER;

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + len) as u8).collect()
}

/// Turns the body of a token to the right, as peers do that fill it from behind.
fn turn_right(frame: &mut [u8], count: u16) {
    let body = &mut frame[HEADS..];
    body.rotate_right(usize::from(count) % body.len());
    frame[10..12].copy_from_slice(&count.to_be_bytes());
}

#[test]
fn messages_of_every_size_survive_in_both_directions() {
    for enctype in Enctype::ALL {
        for sender in [Role::Initiator, Role::Acceptor] {
            let (mut seal, mut open) = one_way(enctype, sender);
            let most = seal.max_plaintext();
            for len in (0..200).chain([255, 256, 1000, 4095, 16384, 61440, most - 1, most]) {
                for level in LEVELS {
                    let mut frame = frame(&mut seal, &text(len), level);
                    assert_eq!(open.frame_len(&frame[..4]), Ok(Some(frame.len())));
                    let opened = open.open(&mut frame).unwrap();
                    assert_eq!(frame[opened.plaintext], text(len), "{enctype} {len} {level}");
                    assert_eq!((opened.level, opened.sequence), (level, Sequence::Next));
                }
            }
        }
    }
}

#[test]
fn sizes_are_those_that_other_implementations_have() {
    let table = [
        (Enctype::Aes128Sha1, 65475, 60, 28),
        (Enctype::Aes256Sha1, 65475, 60, 28),
        (Enctype::Aes128Sha256, 65471, 64, 32),
        (Enctype::Aes256Sha384, 65463, 72, 40),
    ];
    for (enctype, most, encrypted, signed) in table {
        let (mut seal, open) = one_way(enctype, Role::Acceptor);
        assert_eq!(seal.max_plaintext(), most);
        assert_eq!(frame(&mut seal, b"", Level::Confidentiality).len(), 4 + encrypted);
        assert_eq!(frame(&mut seal, b"", Level::Integrity).len(), 4 + signed);
        let largest = frame(&mut seal, &text(most), Level::Confidentiality);
        assert_eq!(largest.len(), open.max_frame(), "the length field is full");
    }
}

#[test]
fn a_plaintext_without_room_or_too_long_is_refused() {
    let (mut seal, _) = one_way(Enctype::Aes256Sha1, Role::Acceptor);
    let most = seal.max_plaintext();
    for (size, range) in [(100, 35..50), (100, 36..80), (10, 20..30), (most + 100, 36..most + 37)] {
        let mut buffer = vec![0; size];
        let mut message = Sealing { buffer: &mut buffer, range: range.clone() };
        assert_eq!(seal.seal(&mut message, Level::Confidentiality), Err(SealError::Room), "{range:?}");
    }
}

#[test]
fn a_changed_bit_is_refused_wherever_it_is() {
    for enctype in Enctype::ALL {
        for level in LEVELS {
            let (mut seal, mut open) = one_way(enctype, Role::Initiator);
            let whole = frame(&mut seal, b"hello, world", level);
            for bit in 0..whole.len() * 8 {
                let mut changed = whole.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let body = changed.len() - HEADS;
                let turn = usize::from(u16::from_be_bytes([changed[10], changed[11]]));
                // A whole turn changes nothing.
                if turn != 0 && turn % body == 0 {
                    continue;
                }
                assert!(open.open(&mut changed).is_err(), "{enctype} {level} bit {bit}");
            }
            open.open(&mut whole.clone()).expect("what was refused changed nothing");
        }
    }
}

/// Opens copies of frames together; gives the plaintexts and what was said of the first that was refused.
fn together(open: &mut dyn Open, frames: &[Vec<u8>]) -> (Vec<Vec<u8>>, Result<(), OpenError>) {
    let mut copies = frames.to_vec();
    let mut openings: Vec<Opening<'_>> =
        copies.iter_mut().map(|frame| Opening { frame, opened: None }).collect();
    let result = open.open_all(&mut openings);
    let plaintexts = openings.iter().map_while(|it| Some(it.frame[it.opened.clone()?.plaintext].to_vec()));
    let plaintexts: Vec<_> = plaintexts.collect();
    assert!(openings[plaintexts.len()..].iter().all(|it| it.opened.is_none()), "nothing behind a gap");
    (plaintexts, result)
}

#[test]
fn of_frames_opened_together_those_before_a_changed_one_are_good_and_none_behind_it() {
    for enctype in Enctype::ALL {
        for level in LEVELS {
            let (mut seal, _) = one_way(enctype, Role::Initiator);
            let texts: Vec<_> = (0..19).map(|number| text(40 * number)).collect();
            let frames: Vec<_> = texts.iter().map(|text| frame(&mut seal, text, level)).collect();
            for bad in 0..frames.len() {
                let (_, mut open) = one_way(enctype, Role::Initiator);
                let mut changed = frames.clone();
                let position = changed[bad].len() - 1 - bad;
                changed[bad][position] ^= 0x10;
                let (good, result) = together(&mut open, &changed);
                assert_eq!((&good[..], result), (&texts[..bad], Err(OpenError::Forged)), "{enctype} {level}");
                assert_eq!(together(&mut open, &frames[bad..]), (texts[bad..].to_vec(), Ok(())));
            }
        }
    }
}

#[test]
fn frames_opened_together_must_be_in_order() {
    let (mut seal, mut open) = one_way(Enctype::Aes256Sha1, Role::Initiator);
    let frames: Vec<_> = (0..6).map(|len| frame(&mut seal, &text(len), Level::Confidentiality)).collect();
    let pick =
        |numbers: &[usize]| -> Vec<_> { numbers.iter().map(|&number| frames[number].clone()).collect() };
    assert_eq!(together(&mut open, &pick(&[0, 1, 1])), (vec![text(0), text(1)], Err(OpenError::Duplicate)));
    assert_eq!(together(&mut open, &pick(&[2, 4, 3])), (vec![text(2)], Err(OpenError::OutOfOrder)));
    assert_eq!(together(&mut open, &pick(&[3, 4, 5])), (vec![text(3), text(4), text(5)], Ok(())));
}

#[test]
fn a_cut_message_is_refused_wherever_it_is_cut() {
    for level in LEVELS {
        let (mut seal, mut open) = one_way(Enctype::Aes256Sha384, Role::Initiator);
        let whole = frame(&mut seal, b"hello, world", level);
        for len in 0..whole.len() {
            let mut cut = whole[..len].to_vec();
            assert!(open.open(&mut cut).is_err(), "{len}");
            if let Some(token_len) = len.checked_sub(4) {
                cut[2..4].copy_from_slice(&(token_len as u16).to_be_bytes());
                assert!(open.open(&mut cut).is_err(), "{len} with the length set right");
            }
        }
    }
}

#[test]
fn turned_tokens_are_opened() {
    for enctype in Enctype::ALL {
        for level in LEVELS {
            let (mut seal, mut open) = one_way(enctype, Role::Initiator);
            for count in [1, 12, 28, 44, 500, u16::MAX] {
                let mut turned = frame(&mut seal, b"from another system", level);
                turn_right(&mut turned, count);
                let opened = open.open(&mut turned).unwrap();
                assert_eq!(&turned[opened.plaintext], b"from another system", "{enctype} {level} {count}");
            }
        }
    }
}

#[test]
fn a_message_of_our_own_that_comes_back_is_refused() {
    for enctype in Enctype::ALL {
        for level in LEVELS {
            let context = keys(enctype, Role::Acceptor, KeyOrigin::AcceptorSubkey);
            let (mut seal, mut open) =
                halves(&ContextKeys { receive_sequence: context.send_sequence, ..context }).unwrap();
            assert_eq!(open.open(&mut frame(&mut seal, b"echo", level)), Err(OpenError::Forged));
        }
    }
}

#[test]
fn the_key_that_a_message_names_must_be_the_one_agreed() {
    for (sent, expected) in
        [(KeyOrigin::Context, KeyOrigin::AcceptorSubkey), (KeyOrigin::AcceptorSubkey, KeyOrigin::Context)]
    {
        let (mut seal, _) = halves(&keys(Enctype::Aes256Sha1, Role::Initiator, sent)).unwrap();
        let (_, mut open) = halves(&keys(Enctype::Aes256Sha1, Role::Acceptor, expected)).unwrap();
        assert_eq!(open.open(&mut frame(&mut seal, b"x", Level::Integrity)), Err(OpenError::Forged));
    }
}

#[test]
fn a_stream_refuses_what_comes_twice_or_too_early() {
    let (mut seal, mut open) = one_way(Enctype::Aes256Sha1, Role::Initiator);
    let frames: Vec<_> = (0..3).map(|_| frame(&mut seal, b"x", Level::Confidentiality)).collect();
    open.open(&mut frames[0].clone()).unwrap();
    assert_eq!(open.open(&mut frames[0].clone()), Err(OpenError::Duplicate));
    assert_eq!(open.open(&mut frames[2].clone()), Err(OpenError::OutOfOrder));
    open.open(&mut frames[1].clone()).unwrap();
}

#[test]
fn datagrams_come_in_any_order_but_once() {
    let (mut seal, mut open) = one_way(Enctype::Aes256Sha1, Role::Initiator);
    let frames: Vec<_> = (0..3).map(|_| frame(&mut seal, b"x", Level::Confidentiality)).collect();
    open.open(&mut frames[0].clone()).unwrap();
    open.accept_any_order();
    assert_eq!(open.open(&mut frames[2].clone()).unwrap().sequence, Sequence::Moved);
    assert_eq!(open.open(&mut frames[1].clone()).unwrap().sequence, Sequence::Moved);
    for frame in &frames {
        assert_eq!(open.open(&mut frame.clone()), Err(OpenError::Duplicate));
    }
    open.open(&mut frame(&mut seal, b"y", Level::Integrity)).unwrap();
}

#[test]
fn the_last_number_is_used_and_none_after_it() {
    let mut context = keys(Enctype::Aes128Sha1, Role::Acceptor, KeyOrigin::Context);
    context.send_sequence = u64::MAX;
    let (mut seal, _) = halves(&context).unwrap();
    frame(&mut seal, b"x", Level::Integrity);
    let mut buffer = [0; 100];
    let mut message = Sealing { buffer: &mut buffer, range: 36..40 };
    assert_eq!(seal.seal(&mut message, Level::Integrity), Err(SealError::Exhausted));
}

#[test]
fn keys_of_other_types_or_lengths_are_refused() {
    let mut context = keys(Enctype::Aes128Sha1, Role::Acceptor, KeyOrigin::Context);
    context.enctype = 23;
    assert_eq!(halves(&context).err(), Some(UnsupportedKey { enctype: 23, len: 16 }));
    context.enctype = 18;
    assert_eq!(halves(&context).err(), Some(UnsupportedKey { enctype: 18, len: 16 }));
}

#[test]
fn a_key_is_not_printed() {
    let context = keys(Enctype::Aes128Sha1, Role::Acceptor, KeyOrigin::Context);
    let printed = format!("{context:?}");
    assert!(!printed.contains("protocol_key") && !printed.contains("36"), "{printed}");
}

/// Encrypts with a confounder of RFC 8009's appendix, and gives ciphertext and check value.
fn encrypted_with(enctype: Enctype, key: &str, confounder_and_text: &str) -> (Vec<u8>, Vec<u8>) {
    use super::derive::{DerivedKey, Purpose};
    let derive = |purpose| DerivedKey::derive(enctype, &unhex(key), 2, purpose);
    let mut body = unhex(confounder_and_text);
    let mut tag = vec![0; enctype.tag_len()];
    let encryptor = chain::Encryptor::new(derive(Purpose::Encryption).octets());
    let mac = mac::Mac::new(enctype, derive(Purpose::Integrity).octets());
    if body.len() == 16 {
        // A lone block has nothing to steal from; no token is that short.
        let mut block: cipher::Block = body.as_slice().try_into().unwrap();
        encryptor.encrypt_block(&mut block);
        body.copy_from_slice(&block);
        mac.sign_all(&mut [mac::Signing { plaintext: &[0; 16], header: block.into(), tag: &mut tag }]);
    } else {
        let mut bodies = [chain::Body { octets: &mut body, tag: &mut tag }];
        encryptor.seal(&mac, enctype.profile(), &mut bodies);
    }
    let mut checking = mac::Checking { content: &mut body, tag: &tag, ..Default::default() };
    mac.verify_all(&[0; 16], std::slice::from_mut(&mut checking));
    assert!(checking.authentic);
    (body, tag)
}

const SIX: &str = "000102030405";
const SIXTEEN: &str = "000102030405060708090a0b0c0d0e0f";
const LONG: &str = "000102030405060708090a0b0c0d0e0f1011121314";

/// Confounder, plaintext, ciphertext and check value.
type Encryption = (&'static str, &'static str, &'static str, &'static str);

fn check_encryptions(enctype: Enctype, key: &str, table: [Encryption; 4]) {
    for (confounder, plaintext, ciphertext, tag) in table {
        let sealed = encrypted_with(enctype, key, &format!("{confounder}{plaintext}"));
        assert_eq!(sealed, (unhex(ciphertext), unhex(tag)), "{enctype} {plaintext}");
    }
}

#[test]
fn encryptions_with_enctype_19_are_those_of_rfc_8009_appendix_a() {
    let table = [
        (
            "7e5895eaf2672435bad817f545a37148",
            "",
            "ef85fb890bb8472f4dab20394dca781d",
            "ad877eda39d50c870c0d5a0a8e48c718",
        ),
        (
            "7bca285e2fd4130fb55b1a5c83bc5b24",
            SIX,
            "84d7f30754ed987bab0bf3506beb09cfb55402cef7e6",
            "877ce99e247e52d16ed4421dfdf8976c",
        ),
        (
            "56ab21713ff62c0a1457200f6fa9948f",
            SIXTEEN,
            "3517d640f50ddc8ad3628722b3569d2ae07493fa8263254080ea65c1008e8fc2",
            "95fb4852e7d83e1e7c48c37eebe6b0d3",
        ),
        (
            "a7a4e29a4728ce10664fb64e49ad3fac",
            LONG,
            "720f73b18d9859cd6ccb4346115cd336c70f58edc0c4437c5573544c31c813bce1e6d072c1",
            "86b39a413c2f92ca9b8334a287ffcbfc",
        ),
    ];
    check_encryptions(Enctype::Aes128Sha256, "3705d96080c17728a0e800eab6e0d23c", table);
}

#[test]
fn encryptions_with_enctype_20_are_those_of_rfc_8009_appendix_a() {
    let key = "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52";
    let table = [
        (
            "f764e9fa15c276478b2c7d0c4e5f58e4",
            "",
            "41f53fa5bfe7026d91faf9be959195a0",
            "58707273a96a40f0a01960621ac612748b9bbfbe7eb4ce3c",
        ),
        (
            "b80d3251c1f6471494256ffe712d0b9a",
            SIX,
            "4ed7b37c2bcac8f74f23c1cf07e62bc7b75fb3f637b9",
            "f559c7f664f69eab7b6092237526ea0d1f61cb20d69d10f2",
        ),
        (
            "53bf8a0d105265d4e276428624ce5e63",
            SIXTEEN,
            "bc47ffec7998eb91e8115cf8d19dac4bbbe2e163e87dd37f49beca92027764f6",
            "8cf51f14d798c2273f35df574d1f932e40c4ff255b36a266",
        ),
        (
            "763e65367e864f02f55153c7e3b58af1",
            LONG,
            "40013e2df58e8751957d2878bcd2d6fe101ccfd556cb1eae79db3c3ee86429f2b2a602ac86",
            "fef6ecb647d6295fae077a1feb517508d2c16b4192e01f62",
        ),
    ];
    check_encryptions(Enctype::Aes256Sha384, key, table);
}

proptest! {
    #[test]
    fn messages_sealed_together_open_one_by_one(
        lens in prop::collection::vec(0_usize..3000, 0..20),
        enctype in prop::sample::select(&Enctype::ALL[..]),
        level in prop::sample::select(&LEVELS[..]),
    ) {
        let (mut seal, mut open) = one_way(enctype, Role::Acceptor);
        let room = seal.room();
        let mut buffers: Vec<Vec<u8>> = lens.iter().map(|len| [vec![0; room.head], text(*len), vec![0; room.tail]].concat()).collect();
        let mut messages: Vec<Sealing<'_>> = buffers
            .iter_mut()
            .map(|buffer| Sealing { range: room.head..buffer.len() - room.tail, buffer })
            .collect();
        seal.seal_all(&mut messages, level).unwrap();
        for (message, len) in messages.into_iter().zip(lens) {
            let frame = &mut message.buffer[message.range];
            let opened = open.open(frame).unwrap();
            prop_assert_eq!(opened.level, level);
            prop_assert_eq!(&frame[opened.plaintext], &text(len)[..]);
        }
    }

    #[test]
    fn messages_open_together_that_were_sealed_one_by_one(
        messages in prop::collection::vec((0_usize..3000, prop::sample::select(&LEVELS[..])), 0..20),
        enctype in prop::sample::select(&Enctype::ALL[..]),
    ) {
        let (mut seal, mut open) = one_way(enctype, Role::Acceptor);
        let frames: Vec<_> = messages.iter().map(|(len, level)| frame(&mut seal, &text(*len), *level)).collect();
        let texts: Vec<_> = messages.iter().map(|(len, _)| text(*len)).collect();
        prop_assert_eq!(together(&mut open, &frames), (texts, Ok(())));
    }

    #[test]
    fn random_octets_are_never_a_frame(
        mut octets in prop::collection::vec(any::<u8>(), 0..300),
        enctype in prop::sample::select(&Enctype::ALL[..]),
        like_a_frame in any::<bool>(),
        like_a_token in any::<bool>(),
    ) {
        let (_, mut open) = one_way(enctype, Role::Initiator);
        if like_a_frame && octets.len() >= 4 {
            let head = crate::frame::head(crate::frame::mtyp::DATA, octets.len() - 4).unwrap();
            octets[..4].copy_from_slice(&head);
        }
        if like_a_token && octets.len() >= 8 {
            octets[4..6].copy_from_slice(&[5, 4]);
            octets[6] = octets[6] & !1 | 4;
            octets[7] = 0xFF;
        }
        prop_assert!(open.open(&mut octets).is_err());
    }
}
