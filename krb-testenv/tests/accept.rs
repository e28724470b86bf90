//! What an acceptor says to the realm's tickets, by MIT's own sample programs.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::io::{Read, Seek};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Command, Stdio};

use krb_testenv::{Ccache, Conf, Enctype, Environment, Keytab, Kinit, OldKeys, Realm};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

const SERVICE: &str = "socks/localhost";
const MISSING: &str = "timeout (coreutils) and gss-client (krb5-gss-samples) are installed";

/// Has a client with this cache call a server with this environment, and returns what the server said.
fn accept(server: &Environment, client: &Ccache) -> String {
    // Bound, not listening: the port stays ours until the server, which sets SO_REUSEADDR, listens there.
    let held = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .unwrap();
    sockopt::set_socket_reuseaddr(&held, true).unwrap();
    // On all addresses, as the server binds it: free on one of them is not enough.
    rustix::net::bind(&held, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = SocketAddr::try_from(rustix::net::getsockname(&held).unwrap()).unwrap().port().to_string();
    let mut said = tempfile::tempfile().unwrap();
    let program = |environment: &Environment, name: &str| {
        let mut command = Command::new("timeout");
        environment.apply(&mut command);
        command.args(["20", name, "-port", &port]).stdin(Stdio::null());
        command
    };
    let mut command = program(server, "gss-server");
    command.args(["-once", "-verbose", "socks@localhost"]);
    command.stdout(said.try_clone().unwrap()).stderr(said.try_clone().unwrap());
    let mut child = command.spawn().expect(MISSING);
    // The server does not tell when it listens; until then the client says that it is refused, and ends.
    loop {
        let mut command = program(&client.env(), "gss-client");
        let output = command.args(["localhost", "socks@localhost", "hello"]).output().expect(MISSING);
        let refused = String::from_utf8_lossy(&output.stderr).contains("Connection refused");
        if !refused || child.try_wait().unwrap().is_some() {
            break;
        }
    }
    child.wait().unwrap();
    let mut text = String::new();
    said.rewind().unwrap();
    said.read_to_string(&mut text).unwrap();
    // Tokens are dumped in hex, which nobody wants to read when a test fails.
    let dumped = |line: &&str| line.split_whitespace().all(|word| u8::from_str_radix(word, 16).is_ok());
    text.lines().filter(|line| !dumped(line)).collect::<Vec<_>>().join("\n")
}

/// A server's environment with a keytab of all keys that the realm has now.
fn server(realm: &Realm) -> Environment {
    let keytab = realm.folder().join("socks.keytab");
    realm.keytab(&[SERVICE], &keytab).unwrap();
    realm.server_env(keytab)
}

/// A cache of the user with a ticket for the service.
fn with_ticket(realm: &Realm, user: &str) -> Ccache {
    let cache = realm.kinit(user).unwrap();
    cache.ticket(SERVICE).unwrap();
    cache
}

#[test]
fn good_ticket_is_accepted_with_its_pac() {
    let realm = Realm::start().unwrap();
    let said = accept(&server(&realm), &with_ticket(&realm, "alice"));
    assert!(said.contains("Accepted connection: \"alice@EXAMPLE.TEST\""), "{said}");
    assert!(said.contains("urn:mspac:client-info"), "{said}");
    assert!(said.contains("localname: alice"), "{said}");
}

#[test]
fn expired_ticket_is_such() {
    let realm = Realm::start().unwrap();
    let cache = realm.expired("alice", &[SERVICE]).unwrap();
    assert!(cache.clock_offset().unwrap() < -24 * 3600);
    let said = accept(&server(&realm), &cache);
    assert!(said.contains("Ticket expired"), "{said}");
}

#[test]
fn ticket_from_the_future_is_not_yet_valid() {
    let realm = Realm::start().unwrap();
    let said = accept(&server(&realm), &realm.not_yet_valid("alice", &[SERVICE]).unwrap());
    assert!(said.contains("Ticket not yet valid"), "{said}");
}

#[test]
fn client_with_a_wrong_clock_is_told_so() {
    let realm = Realm::start().unwrap();
    let cache = realm.skewed("alice", &[SERVICE]).unwrap();
    let said = accept(&server(&realm), &cache);
    assert!(said.contains("Clock skew too great"), "{said}");
    let tolerant =
        realm.conf("tolerant", &Conf::new().clock_skew(std::time::Duration::from_secs(900))).unwrap();
    let said = accept(&server(&realm).config(tolerant), &cache);
    assert!(said.contains("Accepted connection"), "{said}");
}

#[test]
fn wrong_clocks_work_without_preauthentication_and_with_keys() {
    let builder = Realm::builder("A.TEST").without_preauth().user_with_key("batch");
    let realm = builder.service(SERVICE).start().unwrap();
    let server = server(&realm);
    let said = accept(&server, &realm.expired("batch", &[SERVICE]).unwrap());
    assert!(said.contains("Ticket expired"), "{said}");
    let said = accept(&server, &realm.not_yet_valid("batch", &[SERVICE]).unwrap());
    assert!(said.contains("Ticket not yet valid"), "{said}");
}

#[test]
fn realm_with_a_wrong_clock_issues_such_tickets() {
    let clock = krb_testenv::Clock::Behind(std::time::Duration::from_secs(600));
    let realm = Realm::builder("A.TEST").user("a", "a").service(SERVICE).clock(clock).start().unwrap();
    let said = accept(&server(&realm), &with_ticket(&realm, "a"));
    assert!(said.contains("Clock skew too great"), "{said}");
}

#[test]
fn key_version_after_the_keytabs_is_missing() {
    let realm = Realm::start().unwrap();
    let server = server(&realm);
    realm.rotate(SERVICE, OldKeys::Keep).unwrap();
    let said = accept(&server, &with_ticket(&realm, "alice"));
    assert!(said.contains("kvno 2 not found in keytab"), "{said}");
}

#[test]
fn ticket_from_before_a_rotation_is_accepted_with_kept_keys() {
    let realm = Realm::start().unwrap();
    let cache = with_ticket(&realm, "alice");
    realm.rotate(SERVICE, OldKeys::Keep).unwrap();
    let said = accept(&server(&realm), &cache);
    assert!(said.contains("Accepted connection"), "{said}");
}

#[test]
fn wrong_key_of_the_same_version_does_not_open() {
    let realm = Realm::start().unwrap();
    let keytab = realm.folder().join("wrong.keytab");
    realm.write_keytab(&Keytab::default().wrong_key(SERVICE, 1), &keytab).unwrap();
    let said = accept(&realm.server_env(keytab), &with_ticket(&realm, "alice"));
    assert!(said.contains("cannot decrypt ticket"), "{said}");
}

#[test]
fn indicator_is_in_the_ticket_unless_kept_out() {
    let builder = Realm::builder("A.TEST").indicator("strong").user("a", "a").service(SERVICE);
    let realm = builder.start().unwrap();
    let server = server(&realm);
    let said = accept(&server, &with_ticket(&realm, "a"));
    assert!(said.contains("auth-indicators"), "{said}");
    let conf = realm.conf("timestamp", &Conf::new().without_indicator()).unwrap();
    let cache = realm.kinit_with("a", &Kinit::new().conf(conf)).unwrap();
    let said = accept(&server, &cache);
    assert!(said.contains("Accepted connection") && !said.contains("auth-indicators"), "{said}");
}

#[test]
fn pac_can_be_left_out() {
    let realm = Realm::builder("A.TEST").without_pac().user("a", "a").service(SERVICE).start().unwrap();
    let said = accept(&server(&realm), &with_ticket(&realm, "a"));
    assert!(said.contains("Accepted connection") && !said.contains("urn:mspac"), "{said}");
}

#[test]
fn local_names_follow_the_rules() {
    let builder = Realm::builder("A.TEST").user("bob", "b").user("svc/batch", "s").service(SERVICE);
    let builder = builder.local_name("bob", "robert").auth_to_local("RULE:[2:$1](svc)s/svc/service/");
    let realm = builder.auth_to_local("DEFAULT").start().unwrap();
    let server = server(&realm);
    for (user, local) in [("bob", "robert"), ("svc/batch", "service")] {
        let said = accept(&server, &with_ticket(&realm, user));
        assert!(said.contains(&format!("localname: {local}")), "{said}");
    }
}

#[test]
fn user_of_a_trusted_realm_is_accepted() {
    let home = Realm::builder("HOME.TEST").domains(&[".home.test"]).user("alice", "a").start().unwrap();
    let other = Realm::builder("OTHER.TEST").service(SERVICE).start().unwrap();
    other.trust(&home).unwrap();
    let said = accept(&server(&other), &home.kinit("alice").unwrap());
    assert!(said.contains("Accepted connection: \"alice@HOME.TEST\""), "{said}");
}

#[test]
fn enctype_that_the_server_does_not_permit_is_refused() {
    let builder = Realm::builder("A.TEST").enctypes(&[Enctype::Rc4, Enctype::Aes256Sha1]);
    let realm = builder.user("a", "a").service(SERVICE).start().unwrap();
    let weak = realm.conf("weak", &Conf::new().permitted_enctypes(&[Enctype::Rc4])).unwrap();
    let strict = realm.conf("strict", &Conf::new().permitted_enctypes(&[Enctype::Aes256Sha1])).unwrap();
    let cache = realm.kinit_with("a", &Kinit::new().conf(weak)).unwrap();
    let said = accept(&server(&realm).config(strict), &cache);
    assert!(!said.contains("Accepted connection") && said.contains("error"), "{said}");
    let said = accept(&server(&realm), &cache);
    assert!(said.contains("Accepted connection"), "{said}");
}
