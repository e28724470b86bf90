//! Several realms at once: gateways side by side, trust between realms, and none.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use krb_testenv::{Environment, Realm};
use tests::command::{Finished, run, tool};
use tests::dante::Socksify;
use tests::forwarder::Forwarder;
use tests::pattern::{Digest, Pattern};
use tests::site::{self, SERVICES, Site};
use tests::tap::Tap;
use tests::{program, targets};

const MIB: u64 = 1 << 20;
/// For some transfers at the same time on a busy machine.
const TRANSFER: Duration = Duration::from_secs(120);

/// The programs that can log in with Kerberos.
#[derive(Debug, Clone, Copy)]
enum Client {
    Forwarder,
    Dante,
    Curl,
}

impl Client {
    /// Fetches a URL through the gateway at this port as the user of that environment.
    fn get(self, gateway: SocketAddr, user: &Environment, url: &str) -> Finished {
        match self {
            Self::Forwarder => {
                let forwarder = Forwarder::start_as(site::forwarder(gateway, user));
                let mut command = curl("");
                run(command.args(["--proxy", &forwarder.url("socks5h"), url]), TRANSFER)
            }
            Self::Dante => {
                let socksify = Socksify::new(gateway.port());
                let mut command = socksify.command(&tool("curl"));
                user.apply(&mut command);
                run(command.args(["--disable", "--silent", "--noproxy", "*", url]), TRANSFER)
            }
            Self::Curl => {
                let mut command = Command::new(program::built("gssapi-curl"));
                user.apply(&mut command);
                run(command.args([&format!("socks5h://localhost:{}", gateway.port()), url]), TRANSFER)
            }
        }
    }
}

fn curl(noproxy: &str) -> Command {
    let mut command = Command::new(tool("curl"));
    command.args(["--disable", "--silent", "--show-error", "--noproxy", noproxy]);
    command
}

/// A realm of users whose hosts are elsewhere, so that `localhost` is the gateway's realm's alone.
fn realm_of_users(name: &str, domain: &str) -> Realm {
    Realm::builder(name).domains(&[domain]).user("alice", "other").start().expect("a realm")
}

/// Fetches the same with each of these clients at the same time, and checks that all of it has come.
fn all_get(who: &[(Client, SocketAddr, Environment)], url: &str, len: u64) {
    let digest = |octets: &[u8]| Digest::of(octets).expect("reading from memory").text();
    let whole = Digest::of(Pattern::new(len)).expect("a pattern").text();
    thread::scope(|scope| {
        let fetching: Vec<_> = who
            .iter()
            .map(|(client, gateway, user)| (client, scope.spawn(move || client.get(*gateway, user, url))))
            .collect();
        for (client, done) in fetching {
            let done = done.join().expect("it ends in time").succeeded();
            assert_eq!(digest(&done.stdout), whole, "{client:?}");
        }
    });
}

#[test]
fn realms_with_a_gateway_each_are_served_at_the_same_time() {
    let (web, len) = (targets::http(), 4 * MIB);
    // A row for curl would be one without protection: here it has a gateway of its own.
    let sites = [
        (Site::named("NORTH.TEST", "confidentiality"), [Client::Forwarder, Client::Dante]),
        (Site::named("SOUTH.TEST", "confidentiality, integrity"), [Client::Forwarder, Client::Dante]),
        (Site::named("WEST.TEST", "none"), [Client::Curl, Client::Curl]),
    ];
    let who: Vec<_> = sites
        .iter()
        .flat_map(|(site, clients)| clients.map(|client| (client, site.gateway().address(), site.alice())))
        .collect();
    let users: Vec<_> = who.iter().map(|(client, gateway, user)| (*client, *gateway, user.env())).collect();
    all_get(&users, &format!("http://{}/octets/{len}", web.address), len);
    for (site, _) in &sites {
        for record in site.gateway().sessions(2) {
            let identity = format!("alice@{}", site.realm().name());
            record.expect(&[("identity", &identity), ("rule", "users"), ("cause", "closed")]);
        }
    }
}

#[test]
fn a_gateway_serves_its_own_realm_and_those_it_trusts_at_the_same_time() {
    let (web, len) = (targets::http(), 4 * MIB);
    let partner = realm_of_users("PARTNER.TEST", ".partner.test");
    let branch = realm_of_users("BRANCH.TEST", ".branch.test");
    let site = Site::trusting(&[&partner, &branch], site::realm("EXAMPLE.TEST"), "confidentiality");
    let gateway = site.gateway().address();
    let users = [site.realm(), &partner, &branch].map(|realm| realm.kinit("alice").expect("they know alice"));
    let who: Vec<_> = users
        .iter()
        .flat_map(|user| [Client::Forwarder, Client::Dante].map(|client| (client, gateway, user.env())))
        .collect();
    all_get(&who, &format!("http://{}/octets/{len}", web.address), len);
    let mut seen: Vec<_> = site
        .gateway()
        .sessions(6)
        .iter()
        .map(|record| {
            record.expect(&[("protection", "confidentiality"), ("cause", "closed")]);
            (record.text("identity").to_owned(), record.text("rule").to_owned())
        })
        .collect();
    seen.sort();
    let expected = [
        ("alice@BRANCH.TEST", "branch-test"),
        ("alice@EXAMPLE.TEST", "users"),
        ("alice@PARTNER.TEST", "partner-test"),
    ];
    let expected = expected.map(|(identity, rule)| (identity.to_owned(), rule.to_owned()));
    assert_eq!(seen, expected.iter().flat_map(|pair| [pair.clone(), pair.clone()]).collect::<Vec<_>>());
}

#[test]
fn a_client_whose_realm_has_no_trust_gets_no_ticket_and_says_so() {
    let (site, web) = (Site::start("confidentiality"), targets::http());
    let stranger = realm_of_users("STRANGER.TEST", ".stranger.test");
    let alice = stranger.kinit("alice").expect("they know alice").env();
    let url = format!("http://{}/", web.address);
    for client in [Client::Forwarder, Client::Dante, Client::Curl] {
        let done = client.get(site.gateway().address(), &alice, &url);
        assert_ne!(done.code, Some(0), "{client:?}: {done}");
    }
    assert_eq!(web.accepted(), 0, "connections at the target");
    site.gateway().sessions(1).iter().for_each(|record| {
        record.expect(&[("identity", ""), ("target", "")]);
    });
}

#[test]
fn a_ticket_of_a_realm_without_trust_is_refused_with_an_abort_and_a_reason() {
    let web = targets::http();
    let url = format!("http://{}/", web.address);
    // Their own `socks/localhost`: same name, other realm, other key.
    let stranger = site::realm("STRANGER.TEST");
    let alice = stranger.kinit("alice").expect("they know alice");
    for (client, service, levels) in [
        (Client::Forwarder, SERVICES[0], "confidentiality"),
        (Client::Dante, SERVICES[0], "confidentiality"),
        (Client::Curl, SERVICES[1], "none"),
    ] {
        let site = Site::start(levels);
        let tap = Tap::before(site.gateway().address());
        let done = client.get(tap.address(), &alice.env(), &url);
        assert_ne!(done.code, Some(0), "{client:?}: {done}");
        let record = site.gateway().session();
        record.expect(&[("identity", ""), ("verdict", "deny"), ("target", ""), ("method", "gssapi")]);
        let detail = record.text("detail");
        assert!(detail.contains(&format!("{service}@STRANGER.TEST")), "{client:?}: {record}");
        assert!(tap.seen().ends_with(&[0x01, 0xFF]), "{client:?}: {}", tap.seen().escape_ascii());
    }
    assert_eq!(web.accepted(), 0, "connections at the target");
}
