//! Every state times every message, and both sides against each other.

use socks_core::{Level, Levels, OpenError};

use super::testing::{client_at_level, established, halves, server_at_level, server_with, token};
use super::*;
use crate::cfx::Role;

const TURN: &str = "out of turn";

fn both() -> Levels {
    Levels::Only(vec![Level::Confidentiality, Level::Integrity])
}

/// The outcome in one word.
fn word(result: Result<Action, Refusal>) -> String {
    match result {
        Ok(Action::Receive { send }) if send.is_empty() => "wait".to_owned(),
        Ok(Action::Receive { .. }) => "send".to_owned(),
        Ok(Action::Step { .. }) => "step".to_owned(),
        Ok(Action::Finish { protection, .. }) => match protection {
            None => "none".to_owned(),
            Some(protection) => protection.level.to_string(),
        },
        Err(Refusal::OutOfTurn(_)) => TURN.to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

/// Every message that a peer can send.
fn messages(sender: Role) -> Vec<(&'static str, Message)> {
    let sealed = |octets: &[u8]| Message::Level(token(sender, octets, Level::Integrity));
    vec![
        ("token", Message::Authentication(vec![9; 40])),
        ("empty", Message::Authentication(vec![])),
        ("level 0", sealed(&[0])),
        ("level 1", sealed(&[1])),
        ("level 2", sealed(&[2])),
        ("level 3", sealed(&[3])),
        ("level 4", sealed(&[4])),
        ("encrypted 2", Message::Level(token(sender, &[2], Level::Confidentiality))),
        ("two octets", sealed(&[2, 2])),
        ("no octet", sealed(&[])),
        ("bare 2", Message::Level(vec![2])),
        ("bare 0", Message::Level(vec![0])),
        ("empty level", Message::Level(vec![])),
        ("garbage", Message::Level(vec![9; 40])),
        ("abort", Message::Abort),
    ]
}

fn check(
    state: &str,
    sender: Role,
    expected: &[&str],
    mut receive: impl FnMut(Message) -> Result<Action, Refusal>,
) {
    let messages = messages(sender);
    assert_eq!(messages.len(), expected.len(), "{state}: the table is complete");
    for ((message, octets), expected) in messages.into_iter().zip(expected) {
        assert_eq!(word(receive(octets)), *expected, "{state}, {message}");
    }
}

const ABORTED: &str = "peer has aborted the negotiation";
const NO_FRAME: &str = "protection level cannot be read: octets are no protected frame";
const TWO: &str = "protection level has 2 octets instead of 1";
const ZERO: &str = "protection level has 0 octets instead of 1";
const FOUR: &str = "protection level is none of RFC 1961: `4`";
const EMPTY: &str = "peer's token is empty";

#[test]
fn a_server_that_wants_a_token_takes_nothing_else() {
    let expected =
        ["step", EMPTY, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, ABORTED];
    check("token", Role::Initiator, &expected, |message| {
        Server::new(Limits::default(), BareLevels::Accept).receive(message)
    });
}

#[test]
fn a_server_whose_context_is_busy_or_that_has_ended_takes_nothing() {
    let expected =
        [TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, ABORTED];
    check("stepping", Role::Initiator, &expected, |message| {
        let mut server = Server::new(Limits::default(), BareLevels::Accept);
        server.receive(Message::Authentication(vec![1])).unwrap();
        server.receive(message)
    });
    check("over", Role::Initiator, &expected, |message| {
        let mut server = server_at_level(both(), BareLevels::Accept);
        server.receive(Message::Level(vec![1])).unwrap();
        server.receive(message)
    });
}

#[test]
fn a_server_answers_the_levels_that_are_allowed() {
    let refused = |level| format!("protection level `{level}` is not allowed");
    let (none, selective) = (refused("none"), refused("selective"));
    let rest = [FOUR, "confidentiality", TWO, ZERO];
    let [four, encrypted, two, zero] = rest;
    let expected = [
        TURN,
        "wait",
        &none,
        "integrity",
        "confidentiality",
        &selective,
        four,
        encrypted,
        two,
        zero,
        NO_FRAME,
        NO_FRAME,
        NO_FRAME,
        NO_FRAME,
        ABORTED,
    ];
    check("level", Role::Initiator, &expected, |message| {
        server_at_level(both(), BareLevels::Refuse).receive(message)
    });
    let expected = [
        TURN, "wait", "none", "none", "none", "none", four, "none", two, zero, "none", "none", NO_FRAME,
        NO_FRAME, ABORTED,
    ];
    check("level, only none allowed, bare ones too", Role::Initiator, &expected, |message| {
        server_at_level(Levels::Only(vec![Level::None]), BareLevels::Accept).receive(message)
    });
}

#[test]
fn a_context_without_encryption_serves_no_level_that_encrypts() {
    let (all, sealed) = (Levels::Only(Level::ALL.to_vec()), BareLevels::Refuse);
    for asked in Level::ALL {
        let message = Message::Level(token(Role::Initiator, &[asked as u8], Level::Integrity));
        let answer = server_with(all.clone(), sealed, Encryption::Unavailable).receive(message);
        match asked {
            Level::None | Level::Integrity => assert_eq!(word(answer), asked.as_str()),
            _ => assert_eq!(answer.unwrap_err(), Refusal::CannotEncrypt(asked)),
        }
    }
}

#[test]
fn a_client_that_wants_a_token_takes_nothing_else() {
    let expected =
        ["step", EMPTY, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, ABORTED];
    check("token", Role::Acceptor, &expected, |message| {
        let mut client = Client::new(Limits::default(), Level::Integrity, both());
        client.stepped(client::Stepped::Continue { token: vec![1] }).unwrap();
        client.receive(message)
    });
}

#[test]
fn a_client_that_waits_for_the_servers_readiness_takes_only_that() {
    let expected =
        [TURN, "send", TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, TURN, ABORTED];
    check("ready", Role::Acceptor, &expected, |message| {
        let mut client = Client::new(Limits::default(), Level::Integrity, both());
        let halves = halves(Role::Initiator);
        client.stepped(client::Stepped::Complete { token: vec![1], halves }).unwrap();
        client.receive(message)
    });
}

#[test]
fn a_client_goes_on_with_what_it_asked_for_or_accepts() {
    let imposed = |level| format!("server insists on protection level `{level}`");
    let (none, selective, integrity) = (imposed("none"), imposed("selective"), imposed("integrity"));
    let expected = [
        TURN,
        TURN,
        &none,
        "integrity",
        "confidentiality",
        &selective,
        FOUR,
        "confidentiality",
        TWO,
        ZERO,
        NO_FRAME,
        NO_FRAME,
        NO_FRAME,
        NO_FRAME,
        ABORTED,
    ];
    check("level", Role::Acceptor, &expected, |message| {
        client_at_level(Level::Confidentiality, both()).receive(message)
    });
    let expected = [
        TURN,
        TURN,
        &none,
        &integrity,
        "confidentiality",
        &selective,
        FOUR,
        "confidentiality",
        TWO,
        ZERO,
        NO_FRAME,
        NO_FRAME,
        NO_FRAME,
        NO_FRAME,
        ABORTED,
    ];
    check("level, nothing else accepted", Role::Acceptor, &expected, |message| {
        client_at_level(Level::Confidentiality, Levels::Unrestricted).receive(message)
    });
}

#[test]
fn the_context_is_asked_only_when_it_has_a_token() {
    let mut server = Server::new(Limits::default(), BareLevels::Refuse);
    let continued = server.stepped(server::Stepped::Continue { token: vec![] });
    assert_eq!(word(continued), TURN);
    let mut client = Client::new(Limits::default(), Level::Integrity, both());
    client.stepped(client::Stepped::Continue { token: vec![1] }).unwrap();
    assert_eq!(word(client.stepped(client::Stepped::Continue { token: vec![1] })), TURN);
}

/// The octets that an action sends.
fn sent(action: &Action) -> &[u8] {
    match action {
        Action::Receive { send } | Action::Finish { send, .. } => send,
        Action::Step { .. } => &[],
    }
}

#[test]
fn a_server_that_has_nothing_more_to_say_sends_an_empty_token() {
    let mut server = Server::new(Limits::default(), BareLevels::Refuse);
    server.receive(Message::Authentication(vec![1])).unwrap();
    let established = established(both());
    let action = server.stepped(server::Stepped::Complete { token: vec![], established }).unwrap();
    assert_eq!(sent(&action), [1, 1, 0, 0]);
}

#[test]
fn several_rounds_are_taken_up_to_the_bound() {
    let limits = Limits { messages: 3, octets: 1000 };
    let mut server = Server::new(limits, BareLevels::Refuse);
    for round in 0..3 {
        assert_eq!(word(server.receive(Message::Authentication(vec![1; 10]))), "step");
        let action = server.stepped(server::Stepped::Continue { token: vec![round] }).unwrap();
        assert_eq!(sent(&action), [1, 1, 0, 1, round]);
    }
    let refusal = server.receive(Message::Authentication(vec![1])).unwrap_err();
    assert_eq!(refusal, Refusal::TooMuch("messages"));
}

#[test]
fn octets_of_all_tokens_together_are_bounded() {
    let limits = Limits { messages: 9, octets: 100 };
    let mut server = Server::new(limits, BareLevels::Refuse);
    assert_eq!(server.most_token(), 100);
    server.receive(Message::Authentication(vec![1; 60])).unwrap();
    server.stepped(server::Stepped::Continue { token: vec![] }).unwrap();
    assert_eq!(server.most_token(), 40);
    let refusal = server.receive(Message::Authentication(vec![1; 41])).unwrap_err();
    assert_eq!(refusal, Refusal::TooMuch("octets"));
}

#[test]
fn empty_tokens_before_the_level_are_bounded_too() {
    let mut server = server_at_level(both(), BareLevels::Refuse);
    let ended = (0..100).map(|_| server.receive(Message::Authentication(vec![]))).find(Result::is_err);
    assert_eq!(ended.map(word), Some("peer has sent more than the messages allowed".to_owned()));
}

#[test]
fn a_context_token_that_fits_no_message_ends_the_negotiation() {
    let mut server = Server::new(Limits::default(), BareLevels::Refuse);
    server.receive(Message::Authentication(vec![1])).unwrap();
    let stepped = server.stepped(server::Stepped::Continue { token: vec![0; 65536] });
    assert_eq!(stepped.unwrap_err(), Refusal::Malformed(MessageError::Unfit(65536)));
}

#[test]
fn a_server_says_goodbye_unless_the_client_has() {
    assert_eq!(Refusal::EmptyToken.farewell(), [1, 0xFF]);
    assert_eq!(Refusal::LevelSealed(OpenError::Forged).farewell(), [1, 0xFF]);
    assert!(Refusal::Aborted.farewell().is_empty());
}

#[test]
fn a_level_of_another_context_is_refused() {
    let mut server = server_at_level(both(), BareLevels::Refuse);
    let mut echoed = token(Role::Acceptor, &[1], Level::Integrity);
    echoed[2] &= !1;
    assert_eq!(server.receive(Message::Level(echoed)).unwrap_err(), Refusal::LevelSealed(OpenError::Forged));
}

#[test]
fn both_sides_agree_and_can_talk() {
    for asked in [Level::Integrity, Level::Confidentiality, Level::Selective, Level::None] {
        let mut client = Client::new(Limits::default(), asked, Levels::Unrestricted);
        let mut server = Server::new(Limits::default(), BareLevels::Refuse);
        let read = |octets: &[u8]| Message::read(octets, 65535).unwrap().unwrap().0;

        let first = client.stepped(client::Stepped::Continue { token: vec![7] }).unwrap();
        assert_eq!(word(server.receive(read(sent(&first)))), "step");
        let established = established(Levels::Only(vec![asked]));
        let reply = server.stepped(server::Stepped::Complete { token: vec![8], established }).unwrap();
        assert_eq!(word(client.receive(read(sent(&reply)))), "step");
        let halves = halves(Role::Initiator);
        let level = client.stepped(client::Stepped::Complete { token: vec![], halves }).unwrap();
        let answer = server.receive(read(sent(&level))).unwrap();
        let agreed = client.receive(read(sent(&answer))).unwrap();

        let (Action::Finish { protection: ours, .. }, Action::Finish { protection: theirs, .. }) =
            (answer, agreed)
        else {
            panic!("both have agreed")
        };
        assert_eq!(ours.is_some(), asked != Level::None);
        if let (Some(mut ours), Some(mut theirs)) = (ours, theirs) {
            assert_eq!((ours.level, theirs.level), (asked, asked));
            let level = theirs.sealing_level();
            let mut frame = crate::cfx::testing::frame(&mut *theirs.seal, b"request", level);
            let opened = ours.open(&mut frame).unwrap();
            assert_eq!(&frame[opened.plaintext], b"request");
        }
    }
}
