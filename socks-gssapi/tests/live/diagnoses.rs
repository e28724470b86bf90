//! The mistakes that operators and users meet, each with its sentence.

use krb_testenv::{Ccache, Environment, Keytab, OldKeys, Realm};
use socks_gssapi::{AcceptError, Cause, ClientRules, Diagnosis, Initiator, TargetName};

use crate::stage::{SERVICE, acceptor, both_sides, establish, in_realm, initiator, rules, with_keytab};

/// A realm whose server gets tickets that `login` makes.
fn with_tickets(login: impl FnOnce(&Realm) -> Ccache) -> (Realm, Environment) {
    let realm = Realm::start().unwrap();
    let cache = login(&realm);
    let environment = both_sides(&realm, &cache);
    (realm, environment)
}

/// What the acceptor says to the ticket that was prepared.
fn diagnosis() -> Diagnosis {
    match establish(&mut acceptor(rules()), initiator(&ClientRules::default())) {
        Err(AcceptError::Refused(diagnosis)) => {
            println!("{:?}: {diagnosis}: {}", diagnosis.cause(), diagnosis.remedy());
            diagnosis
        }
        other => panic!("the ticket is refused: {other:?}"),
    }
}

#[test]
fn an_expired_ticket() {
    let prepare = || with_tickets(|realm| realm.expired("alice", &[SERVICE]).unwrap());
    in_realm("diagnoses::an_expired_ticket", prepare, || assert_eq!(diagnosis().cause(), Cause::Expired));
}

#[test]
fn a_ticket_from_the_future() {
    let prepare = || with_tickets(|realm| realm.not_yet_valid("alice", &[SERVICE]).unwrap());
    in_realm("diagnoses::a_ticket_from_the_future", prepare, || {
        assert_eq!(diagnosis().cause(), Cause::NotYetValid);
    });
}

#[test]
fn a_client_with_a_wrong_clock() {
    let prepare = || with_tickets(|realm| realm.skewed("alice", &[SERVICE]).unwrap());
    in_realm("diagnoses::a_client_with_a_wrong_clock", prepare, || {
        let diagnosis = diagnosis();
        assert_eq!(diagnosis.cause(), Cause::ClockSkew);
        let ahead = diagnosis.client_ahead().expect("the request tells the client's time");
        assert!((-610..=-590).contains(&ahead), "ten minutes behind, and not {ahead} seconds");
        assert!(!diagnosis.error_token().is_empty());
    });
}

#[test]
fn a_keytab_that_is_out_of_date() {
    let prepare = || {
        let realm = Realm::start().unwrap();
        let keytab = realm.folder().join("old.keytab");
        realm.keytab(&[SERVICE], &keytab).unwrap();
        realm.rotate(SERVICE, OldKeys::Drop).unwrap();
        let environment = with_keytab(&realm, &realm.kinit("alice").unwrap(), keytab);
        (realm, environment)
    };
    in_realm("diagnoses::a_keytab_that_is_out_of_date", prepare, || {
        let diagnosis = diagnosis();
        assert_eq!(diagnosis.cause(), Cause::KeyVersion);
        assert!(
            diagnosis.to_string().contains("kvno 2"),
            "the thread that failed has the detail: {diagnosis}"
        );
    });
}

#[test]
fn a_keytab_for_another_service() {
    let prepare = || {
        let realm = Realm::start().unwrap();
        let keytab = realm.folder().join("other.keytab");
        realm.keytab(&["rcmd/localhost"], &keytab).unwrap();
        let environment = with_keytab(&realm, &realm.kinit("alice").unwrap(), keytab);
        (realm, environment)
    };
    in_realm("diagnoses::a_keytab_for_another_service", prepare, || {
        assert_eq!(diagnosis().cause(), Cause::WrongService);
    });
}

#[test]
fn a_keytab_with_the_wrong_key() {
    let prepare = || {
        let realm = Realm::start().unwrap();
        let keytab = realm.folder().join("wrong.keytab");
        realm.write_keytab(&Keytab::default().wrong_key(SERVICE, 1), &keytab).unwrap();
        let environment = with_keytab(&realm, &realm.kinit("alice").unwrap(), keytab);
        (realm, environment)
    };
    in_realm("diagnoses::a_keytab_with_the_wrong_key", prepare, || {
        assert_eq!(diagnosis().cause(), Cause::WrongKey);
    });
}

/// What the client's side says before anything is sent.
fn client_diagnosis(target: &str) -> Diagnosis {
    let name = TargetName::HostBased(target.into());
    let stepped = Initiator::new(&name, &ClientRules::default()).and_then(|initiator| initiator.step(&[]));
    let diagnosis = stepped.map(drop).unwrap_err();
    println!("{:?}: {diagnosis}: {}", diagnosis.cause(), diagnosis.remedy());
    diagnosis
}

#[test]
fn a_user_without_ticket() {
    let prepare = || {
        let realm = Realm::start().unwrap();
        let environment = realm.client_env();
        (realm, environment)
    };
    in_realm("diagnoses::a_user_without_ticket", prepare, || {
        assert_eq!(client_diagnosis("socks@localhost").cause(), Cause::NoTicket);
    });
}

#[test]
fn a_service_that_nobody_knows() {
    let prepare = || with_tickets(|realm| realm.kinit("alice").unwrap());
    in_realm("diagnoses::a_service_that_nobody_knows", prepare, || {
        assert_eq!(client_diagnosis("nope@localhost").cause(), Cause::UnknownService);
    });
}

#[test]
fn a_key_distribution_centre_that_is_down() {
    let prepare = || {
        let realm = Realm::start().unwrap();
        let environment = realm.kinit("alice").unwrap().env();
        realm.stop_kdc();
        (realm, environment)
    };
    in_realm("diagnoses::a_key_distribution_centre_that_is_down", prepare, || {
        assert_eq!(client_diagnosis("socks@localhost").cause(), Cause::Unreachable);
    });
}
