//! Tickets that are not what they should be, and the keytab that goes with them.

use std::fs;
use std::path::Path;

use krb_testenv::{Ccache, Conf, Kinit, OldKeys, Realm};
use socks_core::Level;
use socks_gssapi::Message;
use tests::client::connect_request;
use tests::kerberos::{ABORT, Peer, Plan, SERVICE, Site, alone, tokens};
use tests::{Client, Record};

const REFUSED: &str = "authentication-refused";

/// Sends the first token that these tickets give, and gives the connection.
#[track_caller]
fn request_with(site: &Site, user: &Ccache, service: &str) -> Client {
    let mut client = site.greeted();
    client.send(&Message::Authentication(tokens(user, service).0).octets().expect("it fits"));
    client
}

/// Checks that a token is aborted, and what the record says to it.
#[track_caller]
fn expect_refused(site: &Site, mut client: Client, cause: &str, details: &[&str]) -> Record {
    client.expect_last(ABORT);
    let record = site.gateway.session_of(client.local());
    record.expect(&[("cause", cause), ("method", "gssapi"), ("identity", "")]);
    for detail in details {
        assert!(record.text("detail").contains(detail), "`{detail}` in {record}");
    }
    record
}

fn service() -> String {
    format!("{SERVICE}@EXAMPLE.TEST")
}

#[test]
fn tickets_out_of_their_time_are_refused_with_their_reason() {
    alone("tickets_out_of_their_time_are_refused_with_their_reason", || {
        let site = Plan::new().start();
        let expired = site.realm.expired("alice", &[SERVICE]).expect("a ticket of the past");
        let client = request_with(&site, &expired, &service());
        expect_refused(&site, client, REFUSED, &["ticket has expired", "`kinit"]);
        let future = site.realm.not_yet_valid("alice", &[SERVICE]).expect("a ticket of the future");
        let client = request_with(&site, &future, &service());
        expect_refused(&site, client, REFUSED, &["ticket is not valid yet", "compare the clocks"]);
        let skewed = site.realm.skewed("alice", &[SERVICE]).expect("a client with a wrong clock");
        let client = request_with(&site, &skewed, &service());
        let record = expect_refused(&site, client, REFUSED, &["clocks", "seconds behind", "synchronise"]);
        let words: Vec<&str> = record.text("detail").split(' ').collect();
        let behind = words.windows(2).find(|pair| pair[1] == "seconds").and_then(|pair| pair[0].parse().ok());
        assert!(behind.is_some_and(|seconds: u32| (590..=640).contains(&seconds)), "ten minutes: {record}");
        site.expect_service();
    });
}

#[test]
fn a_ticket_for_another_service_is_refused() {
    alone("a_ticket_for_another_service_is_refused", || {
        let site = Plan::new().start();
        let client = request_with(&site, &site.alice, "other/localhost@EXAMPLE.TEST");
        expect_refused(&site, client, REFUSED, &["ticket is for a service whose key is not in the keytab"]);
        // With its key in the keytab, the list of services still leaves it out.
        site.realm.keytab(&[SERVICE, "other/localhost"], site.keytab()).expect("both are there");
        Peer::establish_for(site.greeted(), &site.alice, "other/localhost@EXAMPLE.TEST");
        site.expect_service();
    });
}

#[test]
fn a_service_that_is_not_listed_is_refused_although_its_key_is_there() {
    alone("a_service_that_is_not_listed_is_refused_although_its_key_is_there", || {
        let site = Plan::new().option("services: [socks]").start();
        site.realm.keytab(&[SERVICE, "other/localhost"], site.keytab()).expect("both are there");
        let client = request_with(&site, &site.alice, "other/localhost@EXAMPLE.TEST");
        expect_refused(
            &site,
            client,
            REFUSED,
            &["`other/localhost@EXAMPLE.TEST`", "none of the services allowed"],
        );
        site.expect_service();
    });
}

#[test]
fn a_ticket_of_a_realm_without_trust_is_refused() {
    alone("a_ticket_of_a_realm_without_trust_is_refused", || {
        let site = Plan::new().start();
        let far =
            Realm::builder("FAR.TEST").user("mallory", "secret").service(SERVICE).start().expect("a realm");
        let mallory = far.kinit("mallory").expect("the password is right");
        mallory.ticket(SERVICE).expect("their own service of that name");
        let client = request_with(&site, &mallory, &format!("{SERVICE}@FAR.TEST"));
        expect_refused(&site, client, REFUSED, &["FAR.TEST"]);
        site.expect_service();
    });
}

#[test]
fn a_user_of_a_trusted_realm_is_known_by_that_name() {
    alone("a_user_of_a_trusted_realm_is_known_by_that_name", || {
        let site = Plan::new().start();
        let near = Realm::builder("NEAR.TEST").user("bob", "secret").domains(&[".near.test"]).start();
        let near = near.expect("a realm");
        site.realm.trust(&near).expect("both run");
        let bob = near.kinit("bob").expect("the password is right");
        bob.ticket(&service()).expect("there is trust");
        let mut peer = Peer::establish(site.greeted(), &bob);
        assert_eq!(peer.agree(Level::Integrity), Level::Integrity);
        peer.say(&connect_request(site.echo.address));
        assert_eq!(peer.hear().get(1), Some(&0x02), "the policy knows alice alone");
        let record = site.gateway.session_of(peer.client.local());
        record.expect(&[("identity", "bob@NEAR.TEST"), ("verdict", "deny")]);
    });
}

#[test]
fn a_repeated_login_is_refused_and_the_record_says_what_to_look_for() {
    alone("a_repeated_login_is_refused_and_the_record_says_what_to_look_for", || {
        let site = Plan::new().start();
        let (token, initiator) = tokens(&site.alice, &service());
        let request = Message::Authentication(token).octets().expect("it fits");
        let mut first = site.greeted();
        first.send(&request);
        let mut peer = Peer::complete(first, initiator);
        assert_eq!(peer.agree(Level::Integrity), Level::Integrity);
        let mut second = site.greeted();
        second.send(&request);
        expect_refused(&site, second, REFUSED, &["login was used before", "from which address"]);
        // Who was there first is not troubled.
        peer.say(&connect_request(site.echo.address));
        assert_eq!(peer.hear().get(1), Some(&0x00));
        site.expect_service();
    });
}

#[test]
fn a_recorded_conversation_is_worth_nothing_without_a_replay_cache_either() {
    alone("a_recorded_conversation_is_worth_nothing_without_a_replay_cache_either", || {
        for levels in ["confidentiality, integrity", "none"] {
            let site = Plan::new().levels(levels).option("replay-cache: none");
            replay_all(&site.start());
            return_to_another_site();
        }
    });
}

/// One process can have one site after the other.
fn return_to_another_site() {
    fs::remove_file(std::env::var_os("KRB5_CONFIG").expect("a child has one")).expect("a link");
}

fn replay_all(site: &Site) {
    let (token, initiator) = tokens(&site.alice, &service());
    let request = Message::Authentication(token).octets().expect("it fits");
    let mut client = site.greeted();
    client.send(&request);
    let mut peer = Peer::complete(client, initiator);
    let level = peer.level_message(&[Level::Integrity as u8], Level::Integrity);
    peer.client.send(&level);
    peer.granted();
    let mut other = site.greeted();
    other.send(&request);
    let &[_, _, high, low] = other.receive(4).as_slice() else { panic!("four octets") };
    other.receive(usize::from(u16::from_be_bytes([high, low])));
    other.send(&level);
    expect_refused(site, other, REFUSED, &["made with another key"]);
    site.expect_service();
}

#[test]
fn a_ticket_of_nearly_64_kib_is_accepted() {
    alone("a_ticket_of_nearly_64_kib_is_accepted", || {
        let site = Plan::new().start();
        let conf = site.realm.conf("large", &Conf::new().extra_addresses(4200)).expect("a file");
        let large = site.realm.kinit_with("alice", &Kinit::new().conf(conf).addresses()).expect("a ticket");
        large.ticket(SERVICE).expect("the service is there");
        let (token, _) = tokens(&large, &service());
        assert!((60_000..=65_535).contains(&token.len()), "a token of {} octets", token.len());
        let mut peer = Peer::establish(site.greeted(), &large);
        assert_eq!(peer.agree(Level::Confidentiality), Level::Confidentiality);
        // Its owner may bound what clients send; then it is refused before it is read.
    });
}

#[test]
fn a_token_beyond_the_bound_is_refused_before_it_is_there() {
    alone("a_token_beyond_the_bound_is_refused_before_it_is_there", || {
        let site = Plan::new().option("max-token: 4KiB").start();
        let mut client = site.greeted();
        client.send(&[0x01, 0x01, 0x10, 0x01]);
        expect_refused(&site, client, REFUSED, &["token of 4097 octets is longer than the 4096 allowed"]);
        site.expect_service();
    });
}

#[test]
fn nothing_of_the_gateway_needs_the_key_distribution_centre() {
    alone("nothing_of_the_gateway_needs_the_key_distribution_centre", || {
        let site = Plan::new().start();
        site.realm.stop_kdc();
        site.expect_service();
    });
}

/// Puts a file in another's place at once.
fn replace(path: &Path, octets: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, octets).expect("a folder of ours");
    fs::rename(&beside, path).expect("the same folder");
}

#[test]
fn a_keytab_that_vanishes_or_is_spoiled_is_told_and_may_come_back() {
    alone("a_keytab_that_vanishes_or_is_spoiled_is_told_and_may_come_back", || {
        let site = Plan::new().start();
        let whole = fs::read(site.keytab()).expect("it is there");
        let mut tunnel = site.tunnel(Level::Confidentiality);
        fs::remove_file(site.keytab()).expect("it is there");
        let client = request_with(&site, &site.alice, &service());
        expect_refused(
            &site,
            client,
            "authenticator-failed",
            &["keytab is missing or empty", "see the path"],
        );
        site.gateway
            .log()
            .find(tests::DEADLINE, |line| {
                (line.contains("WARN") && line.contains("keytab is missing")).then_some(())
            })
            .expect("the operator is warned");
        let spoiled: [(&[u8], &str); 4] = [
            (b"", "keytab cannot be read"),
            (b"\x05\x02", "keytab is missing or empty"),
            (b"not a keytab", "keytab cannot be read"),
            (&whole[..20], "keytab cannot be read"),
        ];
        for (octets, detail) in spoiled {
            replace(site.keytab(), octets);
            let client = request_with(&site, &site.alice, &service());
            expect_refused(&site, client, "authenticator-failed", &[detail, "see "]);
        }
        // Who is in stays in.
        tunnel.say(b"still here");
        assert_eq!(tunnel.hear(), b"still here");
        replace(site.keytab(), &whole);
        site.expect_service();
    });
}

#[test]
fn a_keytab_that_is_rotated_by_renaming_serves_old_and_new_tickets() {
    alone("a_keytab_that_is_rotated_by_renaming_serves_old_and_new_tickets", || {
        let site = Plan::new().start();
        site.realm.rotate(SERVICE, OldKeys::Keep).expect("the service is there");
        let newer = site.realm.kinit("alice").expect("the password is right");
        newer.ticket(SERVICE).expect("a ticket of the new key");
        let client = request_with(&site, &newer, &service());
        expect_refused(
            &site,
            client,
            REFUSED,
            &["another version of the service's key", "export the keytab anew"],
        );
        // Written beside and renamed, with both versions.
        site.realm.keytab(&[SERVICE], site.keytab()).expect("the service is there");
        for user in [&newer, &site.alice] {
            let mut peer = Peer::establish(site.greeted(), user);
            assert_eq!(peer.agree(Level::Integrity), Level::Integrity);
        }
    });
}
