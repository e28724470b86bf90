use async_trait::async_trait;
use socks_core::wire::{DecodeError, Method};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::{AuthError, AuthSession, Authenticated};

/// What is wrong with an authenticator that should read `AB`, answer `0`, and grant.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    TakesMore,
    GrantsHalf,
    Silent,
    Chatty,
    Grumpy,
}

struct Sample(Fault);

#[async_trait]
impl Authenticator for Sample {
    fn method(&self) -> Method {
        Method(0x80)
    }

    async fn authenticate(&self, session: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
        let fault = self.0;
        let mut word = [0; 2];
        if fault == Fault::GrantsHalf {
            let (first, second) = word.split_at_mut(1);
            session.read_exact(first).await?;
            let _ = session.read_exact(second).await;
        } else {
            session.read_exact(&mut word).await?;
        }
        let granted = word == *b"AB" || fault == Fault::GrantsHalf;
        if fault != Fault::Silent {
            session.write_all(if granted { b"0" } else { b"1" }).await?;
        }
        if fault == Fault::Chatty {
            session.write_all(b"welcome").await?;
        }
        if fault == Fault::TakesMore {
            let _ = session.read_exact(&mut [0]).await;
        }
        match granted {
            true if fault == Fault::Grumpy => Err(AuthError::Malformed(DecodeError::Method("no"))),
            true => Ok(Authenticated::new(Identity::user("sample"))),
            false => Err(AuthError::refused("wrong word")),
        }
    }
}

async fn verdict(fault: Fault) -> String {
    let client = Client::new().sends("AB").hears("0");
    check(&Sample(fault), &client, End::Granted)
        .await
        .map_or_else(|it| it.to_string(), |()| "passes".to_owned())
}

#[tokio::test]
async fn a_well_behaved_method_passes() {
    assert_eq!(verdict(Fault::None).await, "passes");
    let client = Client::new().sends("AX").hears("1");
    check(&Sample(Fault::None), &client, End::Refused).await.unwrap();
    check(&Sample(Fault::None), &Client::new().sends("AX").hears_any(1), End::Refused).await.unwrap();
}

#[tokio::test]
async fn each_fault_is_found() {
    for (fault, expected) in [
        (
            Fault::TakesMore,
            "trailing octets: leaves [01, 00, 03, FF] of [05, 01, 00, 03, FF] for the request",
        ),
        (Fault::GrantsHalf, "hang-up after 1 octets: ends as granted instead of hung up"),
        (Fault::Silent, "whole messages: the client hears [] instead of [30]; it ended as granted"),
        (
            Fault::Chatty,
            "whole messages: the client hears [77, 65, 6C, 63, 6F, 6D, 65] at the end; it ended as granted",
        ),
        (Fault::Grumpy, "whole messages: ends as malformed (malformed message: no) instead of granted"),
    ] {
        assert_eq!(verdict(fault).await, expected);
    }
}

#[tokio::test]
async fn octets_arrive_one_by_one_where_asked() {
    let (fake, mut client) = FakeSession::new(socks_core::Levels::Unrestricted);
    client.write_all(b"abc").await.unwrap();
    let mut fake = fake.octet_by_octet();
    let mut octet = [0; 8];
    assert_eq!(fake.pipe.read(&mut octet).await.unwrap(), 1);
}
