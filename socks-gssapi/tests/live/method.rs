//! The authentication method over a pipe, against a client of ours.

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use socks_auth::{
    AuthError, AuthSession, Authenticated, Authenticator, AuthenticatorFactory, BuildContext, ClientInfo,
};
use socks_core::{Level, Levels, Protection, Sealing};
use socks_gssapi::negotiation::client::{Client, Stepped};
use socks_gssapi::negotiation::{Action, Limits};
use socks_gssapi::{ClientRules, GssapiFactory, Initiated, Initiator, Message, Oddity, Options, TargetName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::stage::{in_realm, ordinary, rules};

fn build(options: &str) -> Arc<dyn Authenticator> {
    let options: Options =
        serde_json::from_str(&options.replace("KEYTAB", rules().keytab.to_str().unwrap())).unwrap();
    let context = BuildContext::new("gssapi", Path::new("/"), None);
    GssapiFactory.build(options, &context).unwrap()
}

/// Runs the method against a client, each until it ends.
async fn meet<T>(
    method: &dyn Authenticator,
    levels: Levels,
    client: impl AsyncFnOnce(DuplexStream) -> T,
) -> (Result<Authenticated, AuthError>, T) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 17);
    let address = "192.0.2.1:1".parse().unwrap();
    let policy = move |_: &socks_core::Identity| levels.clone();
    let server = async {
        let mut received = BytesMut::new();
        let info = ClientInfo::new(address, address);
        let mut session = AuthSession::new(&mut theirs, &mut received, info, &policy);
        let result = method.authenticate(&mut session).await;
        theirs.shutdown().await.unwrap();
        result
    };
    tokio::join!(server, client(ours))
}

/// Plays the client's part; the protection that was agreed, or what the server said instead.
pub(crate) async fn negotiate(
    pipe: DuplexStream,
    asked: Level,
    accepted: Levels,
) -> Result<Option<Protection>, String> {
    negotiate_as(None, pipe, asked, accepted).await
}

/// The same as a client that may be odd.
async fn negotiate_as(
    oddity: Option<Oddity>,
    mut pipe: DuplexStream,
    asked: Level,
    accepted: Levels,
) -> Result<Option<Protection>, String> {
    let target = TargetName::HostBased("socks@localhost".into());
    let rules = ClientRules { oddity, ..ClientRules::default() };
    let initiator = Initiator::new(&target, &rules).unwrap();
    let mut client = Client::new(Limits::default(), asked, accepted);
    let mut received = BytesMut::new();
    let (stepped, mut next) = step(initiator, &[]);
    let mut action = client.stepped(stepped).unwrap();
    loop {
        action = match action {
            Action::Receive { send } => {
                pipe.write_all(&send).await.unwrap();
                let message = loop {
                    if let Some((message, len)) = Message::read(&received, client.most_token()).unwrap() {
                        let _ = received.split_to(len);
                        break message;
                    }
                    if pipe.read_buf(&mut received).await.unwrap() == 0 {
                        return Err("hung up".to_owned());
                    }
                };
                client.receive(message).map_err(|refusal| refusal.to_string())?
            }
            Action::Step { token } => {
                let stepped;
                (stepped, next) = step(next.take().unwrap(), &token);
                client.stepped(stepped).unwrap()
            }
            Action::Finish { protection, .. } => return Ok(protection),
        };
    }
}

fn step(initiator: Initiator, token: &[u8]) -> (Stepped, Option<Initiator>) {
    match initiator.step(token).unwrap() {
        Initiated::Continue { token, initiator } => (Stepped::Continue { token }, Some(*initiator)),
        Initiated::Complete { token, halves, .. } => (Stepped::Complete { token, halves }, None),
    }
}

fn run(test: &str, body: impl Future<Output = ()>) {
    in_realm(test, ordinary, || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body);
    });
}

const OPTIONS: &str = r#"{ "keytab": "KEYTAB" }"#;

fn only(levels: &[Level]) -> Levels {
    Levels::Only(levels.to_vec())
}

#[test]
fn a_client_is_let_in_at_the_level_that_it_asks_for() {
    run("method::a_client_is_let_in_at_the_level_that_it_asks_for", async {
        for options in [OPTIONS, r#"{ "keytab": "KEYTAB", "engine": "mit" }"#] {
            let method = build(options);
            for asked in [Level::Integrity, Level::Confidentiality, Level::Selective] {
                let client = async |pipe| negotiate(pipe, asked, Levels::Unrestricted).await;
                let (granted, agreed) = meet(&*method, only(&[asked]), client).await;
                let granted = granted.unwrap();
                assert_eq!(granted.identity.to_string(), "alice@EXAMPLE.TEST");
                assert!(granted.identity.valid_until.is_some());
                assert_eq!(granted.level(), asked);
                let (mut ours, mut theirs) = (granted.protection.unwrap(), agreed.unwrap().unwrap());
                talk(&mut ours, &mut theirs);
                talk(&mut theirs, &mut ours);
            }
        }
    });
}

fn talk(from: &mut Protection, to: &mut Protection) {
    let room = from.seal.room();
    let mut buffer = vec![7; room.head + 5 + room.tail];
    let mut message = Sealing { buffer: &mut buffer, range: room.head..room.head + 5 };
    from.seal(&mut message).unwrap();
    let frame = &mut message.buffer[message.range];
    let opened = to.open(frame).unwrap();
    assert_eq!(frame[opened.plaintext], [7; 5]);
}

#[test]
fn a_level_that_is_not_allowed_is_refused_with_an_abort() {
    run("method::a_level_that_is_not_allowed_is_refused_with_an_abort", async {
        let method = build(OPTIONS);
        let table = [
            (Level::Integrity, only(&[Level::Confidentiality])),
            (Level::Confidentiality, only(&[Level::Integrity])),
            (Level::None, Levels::Unrestricted),
            (Level::Integrity, only(&[])),
        ];
        for (asked, allowed) in table {
            let client = async |pipe| negotiate(pipe, asked, only(&Level::ALL)).await;
            let (granted, agreed) = meet(&*method, allowed, client).await;
            let Err(AuthError::LevelRefused { claimed }) = granted else { panic!("{granted:?}") };
            assert_eq!(claimed.as_deref(), Some("alice@EXAMPLE.TEST"));
            assert_eq!(agreed.unwrap_err(), "peer has aborted the negotiation");
        }
    });
}

#[test]
fn a_row_with_none_alone_answers_none_to_anything() {
    run("method::a_row_with_none_alone_answers_none_to_anything", async {
        let method = build(OPTIONS);
        let client = async |pipe| negotiate(pipe, Level::Confidentiality, only(&[Level::None])).await;
        let (granted, agreed) = meet(&*method, only(&[Level::None]), client).await;
        assert!(granted.unwrap().protection.is_none() && agreed.unwrap().is_none());
    });
}

#[test]
fn a_client_that_wraps_kerberos_into_spnego_is_let_in_only_where_it_is_allowed() {
    run("method::a_client_that_wraps_kerberos_into_spnego_is_let_in_only_where_it_is_allowed", async {
        for engine in ["own", "mit"] {
            let options = format!(r#"{{ "keytab": "KEYTAB", "spnego": true, "engine": "{engine}" }}"#);
            let client = async |pipe| {
                negotiate_as(Some(Oddity::Spnego), pipe, Level::Confidentiality, Levels::Unrestricted).await
            };
            let (granted, agreed) = meet(&*build(&options), Levels::Unrestricted, client).await;
            let granted = granted.unwrap();
            assert_eq!(granted.identity.to_string(), "alice@EXAMPLE.TEST");
            let (mut ours, mut theirs) = (granted.protection.unwrap(), agreed.unwrap().unwrap());
            talk(&mut ours, &mut theirs);
            talk(&mut theirs, &mut ours);
        }
        let client = async |pipe| {
            negotiate_as(Some(Oddity::Spnego), pipe, Level::Integrity, Levels::Unrestricted).await
        };
        let (refused, heard) = meet(&*build(OPTIONS), Levels::Unrestricted, client).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("token is not of Kerberos") && refused.contains("`spnego: true`"),
            "{refused}"
        );
        assert_eq!(heard.unwrap_err(), "peer has aborted the negotiation");
    });
}

#[test]
fn a_client_that_proves_itself_with_a_third_token_is_let_in() {
    run("method::a_client_that_proves_itself_with_a_third_token_is_let_in", async {
        let method = build(OPTIONS);
        let client = async |pipe| {
            negotiate_as(Some(Oddity::ThreeTokens), pipe, Level::Confidentiality, Levels::Unrestricted).await
        };
        let (granted, agreed) = meet(&*method, Levels::Unrestricted, client).await;
        let granted = granted.unwrap();
        assert_eq!(granted.identity.to_string(), "alice@EXAMPLE.TEST");
        let (mut ours, mut theirs) = (granted.protection.unwrap(), agreed.unwrap().unwrap());
        talk(&mut ours, &mut theirs);
        talk(&mut theirs, &mut ours);
    });
}

#[test]
fn a_context_without_confidentiality_serves_integrity_alone() {
    run("method::a_context_without_confidentiality_serves_integrity_alone", async {
        let method = build(OPTIONS);
        for asked in [Level::Integrity, Level::Confidentiality, Level::Selective] {
            let client = async |pipe| {
                negotiate_as(Some(Oddity::NoConfidentiality), pipe, asked, Levels::Unrestricted).await
            };
            let (granted, heard) = meet(&*method, Levels::Unrestricted, client).await;
            if asked == Level::Integrity {
                assert_eq!(granted.unwrap().level(), asked);
                continue;
            }
            let Err(AuthError::Refused { claimed, reason }) = granted else { panic!("{granted:?}") };
            assert_eq!(claimed.as_deref(), Some("alice@EXAMPLE.TEST"));
            assert!(reason.contains("no confidentiality"), "{reason}");
            assert_eq!(heard.unwrap_err(), "peer has aborted the negotiation");
        }
    });
}

/// Sends octets, and gives all that the server answers until it closes.
async fn say(mut pipe: DuplexStream, octets: &[u8]) -> Vec<u8> {
    pipe.write_all(octets).await.unwrap();
    let mut answer = Vec::new();
    pipe.read_to_end(&mut answer).await.unwrap();
    answer
}

#[test]
fn what_is_no_negotiation_is_aborted_at_once() {
    run("method::what_is_no_negotiation_is_aborted_at_once", async {
        let method = build(OPTIONS);
        let table: [(&[u8], &[u8], &str); 8] = [
            (&[5, 1, 0, 1], &[1, 0xFF], "version octet is 0x05"),
            (&[1, 3, 0, 1, 0], &[1, 0xFF], "message type is 0x03"),
            (&[1, 2, 0, 1, 2], &[1, 0xFF], "out of turn"),
            (&[1, 1, 0, 0], &[1, 0xFF], "token is empty"),
            (&[1, 1, 0, 2, 9, 9], &[1, 0xFF], "refused"),
            (
                &[1, 1, 0, 12, b'N', b'T', b'L', b'M', b'S', b'S', b'P', 0, 1, 0, 0, 0],
                &[1, 0xFF],
                "not of Kerberos",
            ),
            (&[1, 0xFF], &[], "aborted"),
            (&[1, 1, 0xFF], &[], ""),
        ];
        for (said, heard, why) in table {
            let client = async |mut pipe: DuplexStream| {
                if why.is_empty() {
                    pipe.write_all(said).await.unwrap();
                    return Vec::new();
                }
                say(pipe, said).await
            };
            let (refused, answer) = meet(&*method, Levels::Unrestricted, client).await;
            let refused = refused.unwrap_err();
            assert_eq!(answer, heard, "{said:?}");
            assert!(refused.to_string().contains(why), "{said:?}: {refused}");
            assert_eq!(matches!(refused, AuthError::HungUp), why.is_empty());
        }
    });
}

#[test]
fn a_refusal_is_well_behaved_however_the_octets_come() {
    run("method::a_refusal_is_well_behaved_however_the_octets_come", async {
        use socks_auth::testing::{Client, End, check};
        let method = build(OPTIONS);
        let client = Client::new().sends([1, 1, 0, 3, 7, 8, 9]).hears([1, 0xFF]);
        check(&*method, &client, End::Refused).await.unwrap();
    });
}

#[test]
fn tokens_beyond_the_bound_are_refused_before_they_are_there() {
    run("method::tokens_beyond_the_bound_are_refused_before_they_are_there", async {
        let method = build(r#"{ "keytab": "KEYTAB", "max-token": "2KiB" }"#);
        let client = async |pipe| say(pipe, &[1, 1, 0x08, 0x01]).await;
        let (refused, answer) = meet(&*method, Levels::Unrestricted, client).await;
        assert_eq!(answer, [1, 0xFF]);
        assert!(refused.unwrap_err().to_string().contains("2049 octets"));
    });
}

#[test]
fn mistakes_in_the_options_are_told() {
    run("method::mistakes_in_the_options_are_told", async {
        let keytab = rules().keytab;
        let table = [
            (r#"{ "keytab": "nowhere" }"#, "keytab is missing"),
            (r#"{ "keytab": "KEYTAB", "services": [] }"#, "`services` is empty"),
            (r#"{ "keytab": "KEYTAB", "nec": true, "replay-cache": "none" }"#, "`nec`"),
            (
                r#"{ "keytab": "KEYTAB", "allow-weak-enctypes": true, "replay-cache": "none" }"#,
                "`allow-weak-enctypes`",
            ),
            (r#"{ "keytab": "KEYTAB", "max-token": "1GiB" }"#, "`max-token`"),
        ];
        for (options, why) in table {
            let options = options.replace("KEYTAB", keytab.to_str().unwrap());
            let options: Options = serde_json::from_str(&options).unwrap();
            let context = BuildContext::new("gssapi", Path::new("/"), None);
            let error = GssapiFactory.build(options, &context).map(drop).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(serde_json::from_str::<Options>(r#"{ "keytab": "k", "keytabs": "k" }"#).is_err());
        assert!(serde_json::from_str::<Options>("{}").is_err(), "a keytab must be named");
    });
}

#[test]
fn a_keytab_that_others_may_read_is_warned_of() {
    run("method::a_keytab_that_others_may_read_is_warned_of", async {
        use std::os::unix::fs::PermissionsExt;
        let keytab = rules().keytab;
        std::fs::set_permissions(&keytab, std::fs::Permissions::from_mode(0o644)).unwrap();
        let options = format!(r#"{{ "keytab": {keytab:?} }}"#);
        let context = BuildContext::new("gssapi", Path::new("/"), None);
        GssapiFactory.build(serde_json::from_str(&options).unwrap(), &context).unwrap();
        let warnings = context.warnings();
        assert!(matches!(warnings.as_slice(), [one] if one.contains("open to everybody")), "{warnings:?}");
    });
}
