use std::sync::Arc;

use socks_auth::testing::{Client, End, FakeSession, check};
use socks_core::Levels;
use tokio::io::AsyncWriteExt;

use super::*;

fn authenticator() -> Arc<dyn Authenticator> {
    let token = Token {
        user: "bob".into(),
        token: "sesame".into(),
        groups: vec!["build".into()],
        valid_hours: Some(1),
    };
    let options = Options { tokens: vec![token], cipher_key: 42 };
    let context = BuildContext::new("acme-token", ".", None);
    Factory.build(options, &context).expect("the options are right")
}

#[tokio::test]
async fn the_right_token_is_granted_however_it_arrives() {
    let client = Client::new().sends(b"\x01\x06sesame").hears([0x01, 0x00]);
    check(&*authenticator(), &client, End::Granted).await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_hears_its_refusal() {
    let client = Client::new().sends(b"\x01\x05wrong").hears([0x01, 0x01]);
    check(&*authenticator(), &client, End::Refused).await.unwrap();
}

#[tokio::test]
async fn a_policy_without_confidentiality_keeps_everybody_out() {
    let (mut session, mut client) = FakeSession::new(Levels::Only(vec![Level::Integrity]));
    client.write_all(b"\x01\x06sesame").await.unwrap();
    let error = authenticator().authenticate(&mut session.session()).await.unwrap_err();
    assert!(matches!(error, AuthError::LevelRefused { .. }), "{error}");
}

#[tokio::test]
async fn an_identity_carries_groups_and_an_expiry() {
    let (mut session, mut client) = FakeSession::new(Levels::Unrestricted);
    client.write_all(b"\x01\x06sesame").await.unwrap();
    let authenticated = authenticator().authenticate(&mut session.session()).await.unwrap();
    assert_eq!(authenticated.level(), Level::Confidentiality);
    assert_eq!(authenticated.identity.groups, ["build".into()]);
    assert!(!authenticated.identity.has_expired(Timestamp::now()));
    assert!(authenticated.identity.valid_until.is_some());
}
