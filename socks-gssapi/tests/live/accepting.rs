//! What contexts tell, and which are refused.

use std::sync::Arc;

use krb_testenv::{Conf, Enctype, OldKeys, Realm};
use socks_core::Timestamp;
use socks_gssapi::{
    AcceptError, Accepted, Acceptor, ClientRules, Initiated, Pool, PoolSize, ReplayCache, Rules, Spnego,
    TicketGroups, Unfit,
};

use crate::stage::{SERVICE, acceptor, both_sides, establish, in_realm, initiator, ordinary, rules};

#[test]
fn a_context_tells_who_the_client_is() {
    let prepare = || {
        let builder = Realm::builder("EXAMPLE.TEST").user("alice", "secret").service(SERVICE);
        let realm = builder.indicator("strong").local_name("alice", "al").start().unwrap();
        let environment = both_sides(&realm, &realm.kinit("alice").unwrap());
        (realm, environment)
    };
    in_realm("accepting::a_context_tells_who_the_client_is", prepare, || {
        let (_, established) = establish(&mut acceptor(rules()), initiator(&ClientRules::default())).unwrap();
        let identity = established.identity();
        assert_eq!(identity.to_string(), "alice@EXAMPLE.TEST");
        let attributes: Vec<_> =
            identity.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let expected = [
            "enctype=aes256-cts-hmac-sha1-96",
            "indicators=strong",
            "local-name=al",
            "service=socks/localhost@EXAMPLE.TEST",
        ];
        assert_eq!(attributes, expected);
        let left = identity.valid_until.unwrap().as_second() - Timestamp::now().as_second();
        assert!((3600..=24 * 3600 + 1).contains(&left), "the ticket's own end: {left} seconds");
        assert_eq!(
            established.ticket.groups,
            TicketGroups::Absent,
            "this key distribution centre knows no groups"
        );
        let missing = identity.groups_missing.expect("a reason");
        assert!(missing.starts_with("source `pac`: ticket has no groups"), "{missing}");
        assert!(identity.groups.is_empty());
    });
}

#[test]
fn a_ticket_is_asked_about_once_by_each_acceptor() {
    in_realm("accepting::a_ticket_is_asked_about_once_by_each_acceptor", ordinary, || {
        let mut acceptors = [acceptor(rules()), acceptor(rules())];
        let mut told = |which: usize| {
            let acceptor = acceptors.get_mut(which).unwrap();
            establish(acceptor, initiator(&ClientRules::default())).unwrap().1.ticket
        };
        let (first, again, elsewhere) = (told(0), told(0), told(1));
        assert!(Arc::ptr_eq(&first, &again), "the same ticket in another request");
        assert!(!Arc::ptr_eq(&first, &elsewhere), "another acceptor asks itself");
        assert_eq!(first, elsewhere);
    });
}

#[test]
fn a_principal_without_local_name_has_none() {
    let prepare = || {
        let builder = Realm::builder("EXAMPLE.TEST").user("svc/batch", "secret").service(SERVICE);
        let realm = builder.start().unwrap();
        let environment = both_sides(&realm, &realm.kinit("svc/batch").unwrap());
        (realm, environment)
    };
    in_realm("accepting::a_principal_without_local_name_has_none", prepare, || {
        let (_, established) = establish(&mut acceptor(rules()), initiator(&ClientRules::default())).unwrap();
        assert_eq!(established.ticket.client.components(), ["svc".into(), "batch".into()]);
        assert_eq!(established.ticket.local_name, None);
    });
}

#[test]
fn a_service_that_is_not_listed_is_refused() {
    in_realm("accepting::a_service_that_is_not_listed_is_refused", ordinary, || {
        let listing = |service: &str| Rules { services: Some(vec![service.into()]), ..rules() };
        let refused = establish(&mut acceptor(listing("rcmd")), initiator(&ClientRules::default()));
        let name = "socks/localhost@EXAMPLE.TEST";
        assert_eq!(refused.unwrap_err(), AcceptError::Unfit(Unfit::Service(name.into())));
        establish(&mut acceptor(listing("socks")), initiator(&ClientRules::default())).unwrap();
    });
}

#[test]
fn a_weak_key_is_refused() {
    let prepare = || {
        let builder = Realm::builder("EXAMPLE.TEST").enctypes(&[Enctype::Rc4]);
        let realm = builder.user("alice", "secret").service(SERVICE).start().unwrap();
        let conf = Conf::new().permitted_enctypes(&[Enctype::Rc4]).libdefault("allow_weak_crypto", "true");
        let conf = realm.conf("weak", &conf).unwrap();
        let environment = both_sides(&realm, &realm.kinit("alice").unwrap()).config(conf);
        (realm, environment)
    };
    in_realm("accepting::a_weak_key_is_refused", prepare, || {
        let refused = establish(&mut acceptor(rules()), initiator(&ClientRules::default()));
        assert_eq!(refused.unwrap_err(), AcceptError::Unfit(Unfit::Weak(23)));
    });
}

#[test]
fn a_context_that_spnego_negotiates_is_taken_only_where_it_is_allowed() {
    in_realm(
        "accepting::a_context_that_spnego_negotiates_is_taken_only_where_it_is_allowed",
        ordinary,
        || {
            let with = Rules { spnego: Spnego::Accept, ..rules() };
            establish(&mut acceptor(with), initiator(&ClientRules::default())).expect("Kerberos itself, too");
            // An empty NegTokenInit: not Kerberos' own, and nothing to agree on.
            let spnego = [0x60, 0x06, 0x06, 0x04, 0x2b, 0x06, 0x01, 0x05];
            assert!(acceptor(rules()).step(None, &spnego).is_err());
        },
    );
}

#[test]
fn a_repeated_request_is_refused_unless_nobody_remembers() {
    in_realm("accepting::a_repeated_request_is_refused_unless_nobody_remembers", ordinary, || {
        let request = || match initiator(&ClientRules::default()).step(&[]).unwrap() {
            Initiated::Continue { token, .. } => token,
            Initiated::Complete { .. } => panic!("the server has yet to answer"),
        };
        let first = request();
        acceptor(rules()).step(None, &first).unwrap();
        let Err(AcceptError::Refused(diagnosis)) = acceptor(rules()).step(None, &first) else {
            panic!("the request was repeated")
        };
        assert_eq!(diagnosis.cause(), socks_gssapi::Cause::Replay);
        let mut forgetful = acceptor(Rules { replay_cache: ReplayCache::None, ..rules() });
        forgetful.step(None, &first).expect("nobody remembers");
        let second = request();
        forgetful.step(None, &second).unwrap();
        forgetful.step(None, &second).unwrap();
    });
}

#[test]
fn a_replay_cache_of_its_own_remembers_too() {
    in_realm("accepting::a_replay_cache_of_its_own_remembers_too", ordinary, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        let rules = Rules { replay_cache: ReplayCache::File(path.clone()), ..rules() };
        establish(&mut acceptor(rules), initiator(&ClientRules::default())).unwrap();
        assert!(path.exists());
    });
}

#[test]
fn random_tokens_are_refused_without_a_crash() {
    in_realm("accepting::random_tokens_are_refused_without_a_crash", ordinary, || {
        let mut acceptor = acceptor(rules());
        let good = match initiator(&ClientRules::default()).step(&[]).unwrap() {
            Initiated::Continue { token, .. } => token,
            Initiated::Complete { .. } => panic!("the server has yet to answer"),
        };
        for len in [0, 1, 2, 16, 100, good.len() - 1] {
            assert!(acceptor.step(None, &good[..len]).is_err(), "cut at {len}");
        }
        for position in (0..good.len()).step_by(7) {
            let mut changed = good.clone();
            changed[position] ^= 0x55;
            // What is not signed (kvno, say) may be changed; most of it may not.
            let _ = acceptor.step(None, &changed);
        }
        assert!(acceptor.step(None, b"NTLMSSP\0\x01\0\0\0\0\0\0\0").is_err());
        assert!(acceptor.step(None, &vec![0x60; 65535]).is_err());
    });
}

#[test]
fn a_keytab_that_is_renamed_to_its_place_counts_at_once() {
    let prepare = || {
        let realm = Realm::start().unwrap();
        let environment = both_sides(&realm, &realm.kinit("alice").unwrap());
        realm.rotate(SERVICE, OldKeys::Keep).unwrap();
        let newer = realm.folder().join("newer.keytab");
        realm.keytab(&[SERVICE], &newer).unwrap();
        (realm, environment.with("NEWER", newer))
    };
    in_realm("accepting::a_keytab_that_is_renamed_to_its_place_counts_at_once", prepare, || {
        let mut acceptor = acceptor(rules());
        let refused = establish(&mut acceptor, initiator(&ClientRules::default()));
        let Err(AcceptError::Refused(diagnosis)) = refused else { panic!("the key is newer: {refused:?}") };
        assert_eq!(diagnosis.cause(), socks_gssapi::Cause::KeyVersion, "{diagnosis}");
        std::fs::rename(std::env::var_os("NEWER").unwrap(), &rules().keytab).unwrap();
        establish(&mut acceptor, initiator(&ClientRules::default())).unwrap();
    });
}

fn request() -> Vec<u8> {
    match initiator(&ClientRules::default()).step(&[]).unwrap() {
        Initiated::Continue { token, .. } => token,
        Initiated::Complete { .. } => panic!("the server has yet to answer"),
    }
}

#[test]
fn a_pool_accepts_many_at_a_time() {
    in_realm("accepting::a_pool_accepts_many_at_a_time", ordinary, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(async {
            let pool = Arc::new(Pool::new(Arc::new(rules()), PoolSize { threads: 2, queue: 100 }));
            pool.check().unwrap();
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let (pool, request) = (Arc::clone(&pool), request());
                    tokio::spawn(async move { pool.step(None, request).await })
                })
                .collect();
            for task in tasks {
                assert!(matches!(task.await.unwrap(), Ok(Accepted::Complete { .. })));
            }
        });
    });
}

#[test]
fn a_keytab_that_vanishes_is_reported_and_may_come_back() {
    in_realm("accepting::a_keytab_that_vanishes_is_reported_and_may_come_back", ordinary, || {
        let keytab = rules().keytab;
        let away = keytab.with_extension("away");
        let mut held = acceptor(rules());
        std::fs::rename(&keytab, &away).unwrap();
        let Err(diagnosis) = Acceptor::acquire(Arc::new(rules())) else { panic!("there is no keytab") };
        assert_eq!(diagnosis.cause(), socks_gssapi::Cause::KeytabMissing, "{diagnosis}");
        let refused = establish(&mut held, initiator(&ClientRules::default())).unwrap_err();
        println!("a vanished keytab: {refused}");
        let AcceptError::Refused(diagnosis) = refused else { panic!("{refused}") };
        assert_eq!(diagnosis.cause(), socks_gssapi::Cause::KeytabMissing, "{diagnosis}");
        std::fs::rename(&away, &keytab).unwrap();
        establish(&mut held, initiator(&ClientRules::default())).unwrap();
    });
}
