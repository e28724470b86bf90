//! One realm: logins, tickets, keytabs, settings, and its end.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use krb_testenv::{Conf, Enctype, Error, Keytab, KeytabEntry, Kinit, OldKeys, Realm};

/// Only the enctype's number and version of each key of a principal.
fn keys(path: &Path, principal: &str) -> Vec<(u32, u16)> {
    let entries = KeytabEntry::read(path).unwrap();
    let mine = entries.into_iter().filter(|entry| entry.principal == principal);
    mine.map(|entry| (entry.version, entry.enctype)).collect()
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn user_with_password_gets_tickets() {
    let realm = Realm::start().unwrap();
    let alice = realm.kinit("alice").unwrap();
    assert_eq!(alice.principal(), "alice@EXAMPLE.TEST");
    assert_eq!(alice.ticket("socks/localhost").unwrap(), 1);
    let tickets = alice.tickets().unwrap();
    let names: Vec<_> = tickets.iter().map(|ticket| ticket.service.as_str()).collect();
    assert_eq!(names, ["krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "socks/localhost@EXAMPLE.TEST"]);
    let now = SystemTime::now();
    assert!(tickets.iter().all(|ticket| ticket.starts <= now && !ticket.expired_at(now)));
}

#[test]
fn wrong_password_is_refused() {
    let realm = Realm::start().unwrap();
    let error = realm.kinit_with("alice", &Kinit::new().password("guess")).unwrap_err();
    assert!(error.to_string().contains("Password incorrect"), "{error}");
}

#[test]
fn unknown_user_and_service_are_named() {
    let realm = Realm::start().unwrap();
    assert!(matches!(realm.kinit("nobody"), Err(Error::UnknownUser(name)) if name == "nobody"));
    let error = realm.kinit("alice").unwrap().ticket("http/localhost").unwrap_err();
    assert!(error.to_string().contains("not found in Kerberos database"), "{error}");
    let error = realm.keytab(&["http/localhost"], realm.folder().join("kt")).unwrap_err();
    assert!(error.to_string().contains("http/localhost"), "{error}");
}

#[test]
fn odd_names_and_passwords_work() {
    let password = r#"a "quoted" \ $HOME 'pass' ü"#;
    let realm = Realm::builder("ODD-1.TEST").user("alice/admin", password).start().unwrap();
    realm.add_user("bob smith", "-x").unwrap_err();
    realm.add_user("bob", "b\"").unwrap();
    assert_eq!(realm.kinit("alice/admin").unwrap().principal(), "alice/admin@ODD-1.TEST");
    realm.kinit("bob").unwrap();
}

#[test]
fn user_with_key_logs_in_without_password() {
    let realm = Realm::builder("A.TEST").user_with_key("batch").service("socks/localhost").start().unwrap();
    realm.kinit("batch").unwrap().ticket("socks/localhost").unwrap();
}

#[test]
fn added_and_removed_principals_count_at_once() {
    let realm = Realm::start().unwrap();
    realm.add_service("http/localhost").unwrap();
    let alice = realm.kinit("alice").unwrap();
    alice.ticket("http/localhost").unwrap();
    realm.remove("http/localhost").unwrap();
    realm.kinit("alice").unwrap().ticket("http/localhost").unwrap_err();
    realm.remove("alice").unwrap();
    assert!(matches!(realm.kinit("alice"), Err(Error::UnknownUser(_))));
}

#[test]
fn keytab_holds_all_services_and_klist_reads_it() {
    let realm = Realm::start().unwrap();
    let path = realm.folder().join("kt");
    realm.keytab(&["socks/localhost", "rcmd/localhost"], &path).unwrap();
    for service in ["socks/localhost@EXAMPLE.TEST", "rcmd/localhost@EXAMPLE.TEST"] {
        let mut keys = keys(&path, service);
        keys.sort_unstable();
        assert_eq!(keys, [(1, 18), (1, 20)]);
    }
    let klist = Command::new("klist").arg("-ke").arg(&path).output().unwrap();
    let text = String::from_utf8(klist.stdout).unwrap();
    assert_eq!(text.matches("   1 socks/localhost@EXAMPLE.TEST").count(), 2, "{text}");
}

#[test]
fn rotated_service_keeps_old_versions_when_asked() {
    let realm = Realm::builder("A.TEST")
        .enctypes(&[Enctype::Aes256Sha1])
        .user("a", "a")
        .service("s/h")
        .start()
        .unwrap();
    let path = realm.folder().join("kt");
    let issued = |user: &str| realm.kinit(user).unwrap().ticket("s/h").unwrap();
    assert_eq!(issued("a"), 1);
    assert_eq!(realm.rotate("s/h", OldKeys::Keep).unwrap(), 2);
    realm.keytab(&["s/h"], &path).unwrap();
    assert_eq!(keys(&path, "s/h@A.TEST"), [(2, 18), (1, 18)]);
    assert_eq!(issued("a"), 2);
    assert_eq!(realm.rotate("s/h", OldKeys::Drop).unwrap(), 3);
    realm.keytab(&["s/h"], &path).unwrap();
    assert_eq!(keys(&path, "s/h@A.TEST"), [(3, 18)]);
}

#[test]
fn keytab_can_hold_very_many_and_wrong_keys() {
    let realm = Realm::builder("A.TEST")
        .enctypes(&[Enctype::Aes256Sha1])
        .user("a", "a")
        .service("s/h")
        .start()
        .unwrap();
    let path = realm.folder().join("kt");
    let plan = Keytab::of(&["s/h"]).unusable(1500).wrong_key("s/h", 1);
    realm.write_keytab(&plan, &path).unwrap();
    let entries = KeytabEntry::read(&path).unwrap();
    assert_eq!(entries.len(), 1502);
    assert_eq!(keys(&path, "s/h@A.TEST"), [(1, 18), (1, 18)]);
    assert_eq!(entries[1501].principal, "s/h@A.TEST");
}

#[test]
fn each_enctype_can_be_the_only_one() {
    for enctype in Enctype::ALL {
        let realm =
            Realm::builder("A.TEST").enctypes(&[enctype]).user("a", "a").service("s/h").start().unwrap();
        let cache = realm.kinit("a").unwrap();
        cache.ticket("s/h").unwrap();
        let tickets = cache.tickets().unwrap();
        assert!(tickets.iter().all(|ticket| ticket.session_enctype == enctype.number()), "{tickets:?}");
        let path = realm.folder().join("kt");
        realm.keytab(&["s/h"], &path).unwrap();
        assert_eq!(keys(&path, "s/h@A.TEST"), [(1, enctype.number())]);
    }
}

#[test]
fn client_with_another_conf_gets_another_session_enctype() {
    let realm = Realm::start().unwrap();
    let conf = Conf::new().permitted_enctypes(&[Enctype::Aes256Sha2]);
    let conf = realm.conf("sha2", &conf).unwrap();
    let cache = realm.kinit_with("alice", &Kinit::new().conf(conf)).unwrap();
    cache.ticket("socks/localhost").unwrap();
    assert!(cache.tickets().unwrap().iter().all(|ticket| ticket.session_enctype == 20));
}

#[test]
fn lifetimes_are_those_asked_for_within_the_realms() {
    let hour = Duration::from_secs(3600);
    let realm = Realm::builder("A.TEST").user("a", "a").ticket_life(2 * hour).renew_life(5 * hour);
    let realm = realm.start().unwrap();
    let first = |login: &Kinit| realm.kinit_with("a", login).unwrap().tickets().unwrap().remove(0);
    let ticket = first(&Kinit::new().lifetime(9 * hour).renewable(9 * hour));
    assert_eq!(ticket.ends.duration_since(ticket.starts).unwrap(), 2 * hour);
    assert_eq!(ticket.renewable_until.unwrap().duration_since(ticket.starts).unwrap(), 5 * hour);
    let ticket = first(&Kinit::new().lifetime(Duration::from_secs(3)).forwardable());
    assert_eq!(ticket.ends.duration_since(ticket.starts).unwrap(), Duration::from_secs(3));
    assert!(ticket.forwardable());
}

#[test]
fn renewable_ticket_is_renewed() {
    let realm = Realm::start().unwrap();
    let login = Kinit::new().renewable(Duration::from_secs(24 * 3600));
    let cache = realm.kinit_with("alice", &login).unwrap();
    cache.renew().unwrap();
    realm.kinit("alice").unwrap().renew().unwrap_err();
}

#[test]
fn tickets_can_be_made_large() {
    let realm = Realm::start().unwrap();
    let conf = realm.conf("large", &Conf::new().extra_addresses(4200)).unwrap();
    let cache = realm.kinit_with("alice", &Kinit::new().conf(conf).addresses()).unwrap();
    cache.ticket("socks/localhost").unwrap();
    let size = cache.tickets().unwrap()[1].size;
    assert!((60_000..65_535).contains(&size), "{size} octets");
}

#[test]
fn stopped_kdc_refuses_and_started_one_answers() {
    let realm = Realm::start().unwrap();
    realm.stop_kdc();
    assert_eq!(realm.kdc_pid(), None);
    assert!(TcpStream::connect(("127.0.0.1", realm.port())).is_err());
    let error = realm.kinit("alice").unwrap_err().to_string();
    assert!(error.contains("Cannot contact any KDC"), "{error}");
    realm.start_kdc().unwrap();
    realm.kinit("alice").unwrap();
}

#[test]
fn nothing_is_left_after_drop() {
    let realm = Realm::start().unwrap();
    let (folder, pid) = (realm.folder().to_owned(), realm.kdc_pid().unwrap());
    let cache = realm.kinit("alice").unwrap();
    assert!(folder.exists() && alive(pid));
    drop(realm);
    assert!(!folder.exists() && !alive(pid) && !cache.path().exists());
}

#[test]
fn nothing_is_left_after_a_panic() {
    let outcome = std::thread::spawn(|| {
        let realm = Realm::start().unwrap();
        let left = (realm.folder().to_owned(), realm.kdc_pid().unwrap());
        std::panic::panic_any(left);
    });
    let left = outcome.join().unwrap_err().downcast::<(std::path::PathBuf, u32)>().unwrap();
    assert!(!left.0.exists() && !alive(left.1));
}

#[test]
fn failed_start_leaves_nothing_and_says_why() {
    let twice = Realm::builder("A.TEST").user("a", "a").user("a", "b").start();
    let error = twice.unwrap_err().to_string();
    assert!(error.contains("already exists"), "{error}");
    let late = Realm::builder("A.TEST").limit(Duration::ZERO).start();
    assert!(matches!(late, Err(Error::Late { .. })), "{late:?}");
}

#[test]
fn many_realms_of_one_name_live_side_by_side() {
    let start = |number: u32| {
        move || {
            let user = format!("user{number}");
            let realm = Realm::builder("A.TEST").user(&user, "x").service("s/h").start().unwrap();
            realm.kinit(&user).unwrap().ticket("s/h").unwrap();
            realm
        }
    };
    let threads: Vec<_> = (0..8).map(|number| std::thread::spawn(start(number))).collect();
    let realms: Vec<Realm> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (number, realm) in realms.iter().enumerate() {
        realm.kinit(&format!("user{number}")).unwrap();
    }
}

#[test]
fn environment_names_only_files_of_the_realm() {
    let realm = Realm::start().unwrap();
    let environments = [
        realm.client_env(),
        realm.server_env(realm.folder().join("kt")),
        realm.kinit("alice").unwrap().env(),
    ];
    for (name, value) in environments.iter().flat_map(krb_testenv::Environment::iter) {
        let value = value.to_str().unwrap();
        assert!(value.contains(realm.folder().to_str().unwrap()), "{name:?} is {value}");
    }
    let conf = fs::read_to_string(realm.client_env().value("KRB5_CONFIG").unwrap()).unwrap();
    for line in ["rdns = false", "dns_lookup_kdc = false", "dns_canonicalize_hostname = false"] {
        assert!(conf.contains(line), "{conf}");
    }
}
