//! `socks-forward` with Kerberos against the real gateway and a realm of the test's own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use krb_testenv::{Ccache, Environment, Realm};
use tests::command::{Finished, run, run_with_input, tool};
use tests::forwarder::{self, Forwarder};
use tests::pattern::{Digest, Pattern};
use tests::{Folder, Gateway, Setup, targets};

const MIB: u64 = 1 << 20;
/// For a transfer of some ten MiB on a busy machine.
const TRANSFER: Duration = Duration::from_secs(120);

/// A realm with a user, and a gateway in it that allows these levels.
struct Site {
    realm: Realm,
    gateway: Gateway,
    _folder: Folder,
}

impl Site {
    fn start(levels: &str) -> Self {
        let realm = Realm::builder("EXAMPLE.TEST").user("alice", "secret").service("socks/localhost");
        let (realm, folder) = (realm.start().expect("a realm"), Folder::new());
        let keytab = folder.file("socks.keytab");
        realm.keytab(&["socks/localhost"], &keytab).expect("the service is there");
        let auth = format!("  - kind: gssapi\n    options: {{ keytab: {} }}\n", keytab.display());
        let policy = format!(
            "version: 1\nclients:\n  - methods: [gssapi]\n    protection: [{levels}]\nrules:\n  \
             - name: alice\n    action: permit\n    identity: alice@EXAMPLE.TEST\n    special-use: permit\n"
        );
        let environment = realm.server_env(&keytab);
        let gateway = Setup::new().auth(&auth).policy(&policy).environment(environment.iter()).start();
        Self { realm, gateway, _folder: folder }
    }

    fn alice(&self) -> Ccache {
        self.realm.kinit("alice").expect("the password is right")
    }

    /// The command towards the gateway by the name that its service has.
    fn command(&self, user: &Environment) -> Command {
        command_to(self.gateway.address(), user)
    }
}

fn command_to(gateway: SocketAddr, user: &Environment) -> Command {
    let mut command = forwarder::command(&format!("localhost:{}", gateway.port()));
    user.apply(&mut command);
    command
}

fn get(forwarder: &Forwarder, url: &str) -> Finished {
    let mut command = Command::new(tool("curl"));
    command.args(["--disable", "--silent", "--show-error", "--noproxy", ""]);
    command.args(["--proxy", &forwarder.url("socks5h"), url]);
    run(&mut command, TRANSFER)
}

/// The text of a refused HTTP CONNECT.
fn refusal(forwarder: &Forwarder) -> String {
    let mut client = tests::Client::connect(forwarder.address());
    client.send(b"CONNECT web.example:80 HTTP/1.1\r\n\r\n");
    let answer = String::from_utf8(client.receive_all().0).expect("text");
    answer.split_once("\r\n\r\n").expect("head and text").1.to_owned()
}

#[test]
fn every_level_carries_transfers_under_the_users_name() {
    let web = targets::http();
    for level in ["confidentiality", "integrity", "selective", "none"] {
        let site = Site::start(level);
        let mut command = site.command(&site.alice().env());
        command.args(["--level", level]);
        let forwarder = Forwarder::start_as(command);
        let url = format!("http://{}/octets/{}", web.address, 8 * MIB);
        let answer = get(&forwarder, &url).succeeded();
        assert_eq!(digest(&answer.stdout[..]), digest(Pattern::new(8 * MIB)), "{level}");
        forwarder.expect_line(&["closed", &format!("level={level}"), "end=\"closed in order\""]);
        site.gateway.session().expect(&[
            ("identity", "alice@EXAMPLE.TEST"),
            ("protection", level),
            ("rule", "alice"),
            ("cause", "closed"),
        ]);
    }
}

#[test]
fn large_transfers_go_both_ways_over_standard_input_and_output() {
    let (site, echo) = (Site::start("confidentiality"), targets::echo());
    let mut command = site.command(&site.alice().env());
    command.args(["--stdio", &echo.address.to_string()]);
    let mut octets = Vec::new();
    Pattern::new(4 * MIB).read_to_end(&mut octets).expect("a pattern");
    let finished = run_with_input(&mut command, &octets, TRANSFER).succeeded();
    assert!(finished.stdout == octets, "octets were changed on the way");
}

#[test]
fn nothing_is_readable_on_the_way_to_the_gateway() {
    let (site, web) = (Site::start("confidentiality"), targets::http());
    let tap = Tap::before(site.gateway.address());
    let forwarder = Forwarder::start_as(command_to(tap.address, &site.alice().env()));
    let url = format!("http://localhost:{}/octets/100000", web.address.port());
    let answer = get(&forwarder, &url).succeeded();
    site.gateway.session();
    let seen = tap.seen.lock().expect("no copier panics").clone();
    assert!(seen.len() > 100_000, "the tap has seen {} octets", seen.len());
    for secret in [&b"localhost:"[..], b"GET /octets", b"Content-Length", &answer.stdout[500..532]] {
        assert!(!seen.windows(secret.len()).any(|part| part == secret), "{}", secret.escape_ascii());
    }
    // The request: version, command, reserved, name of nine octets.
    assert!(!seen.windows(5).any(|part| part == b"\x05\x01\0\x03\x09"), "the request is readable");
}

/// Stands between forwarder and gateway, and keeps what it sees.
struct Tap {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn before(gateway: SocketAddr) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let server = targets::serve(move |near, _| {
            let far = TcpStream::connect(gateway).expect("the gateway listens");
            let back = (far.try_clone().expect("a socket"), near.try_clone().expect("a socket"));
            let other = Arc::clone(&kept);
            let backward = thread::spawn(move || copy(&back.0, &back.1, &other));
            copy(&near, &far, &kept);
            drop(backward.join());
        });
        Self { address: server.address, seen }
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let octets = buffer.get(..len).unwrap_or_default();
        seen.lock().expect("no copier panics").extend_from_slice(octets);
        if to.write_all(octets).is_err() {
            return;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

#[test]
fn a_level_that_the_policy_does_not_allow_is_refused_on_both_sides() {
    let site = Site::start("integrity");
    let forwarder = Forwarder::start_as(site.command(&site.alice().env()));
    assert_eq!(
        refusal(&forwarder),
        "socks-forward: protection level: gateway does not allow the level `confidentiality`, or not this user\n"
    );
    site.gateway.session().expect(&[("verdict", "deny")]);
}

#[test]
fn a_gateway_that_answers_none_to_everything_gets_no_request() {
    let site = Site::start("none");
    let forwarder = Forwarder::start_as(site.command(&site.alice().env()));
    assert_eq!(
        refusal(&forwarder),
        "socks-forward: protection level: gateway insists on the level `none`, which is not accepted here\n"
    );
    site.gateway.session().expect(&[("target", "")]);
}

#[test]
fn who_has_no_ticket_hears_what_to_do_and_needs_no_restart_afterwards() {
    let (site, web, folder) = (Site::start("confidentiality"), targets::http(), Folder::new());
    let cache = folder.file("ccache");
    let mut command = site.command(&site.realm.client_env());
    command.args(["--ccache", &format!("FILE:{}", cache.display())]);
    let forwarder = Forwarder::start_as(command);
    let text = refusal(&forwarder);
    assert!(text.starts_with("socks-forward: authentication: there is no ticket"), "{text}");
    assert!(text.ends_with("run `kinit`\n"), "{text}");
    std::fs::copy(site.alice().path(), &cache).expect("a file");
    let url = format!("http://{}/", web.address);
    assert_eq!(get(&forwarder, &url).succeeded().text(), "hello\n");
}

#[test]
fn an_expired_ticket_is_told_as_such() {
    let site = Site::start("confidentiality");
    let expired = site.realm.expired("alice", &[]).expect("a ticket of the past");
    let forwarder = Forwarder::start_as(site.command(&expired.env()));
    let text = refusal(&forwarder);
    assert!(text.contains("expired") && text.contains("`kinit"), "{text}");
}

#[test]
fn a_service_that_the_realm_does_not_know_is_named() {
    let site = Site::start("confidentiality");
    let mut command = site.command(&site.alice().env());
    command.args(["--service", "rcmd"]);
    let text = refusal(&Forwarder::start_as(command));
    assert!(text.contains("does not know the service") && text.contains("rcmd/localhost"), "{text}");
}

#[test]
fn a_gateway_known_by_its_address_takes_a_named_service() {
    let (site, web) = (Site::start("confidentiality"), targets::http());
    let mut command = forwarder::command(&site.gateway.address().to_string());
    site.alice().env().apply(&mut command);
    command.args(["--spn", "socks/localhost@EXAMPLE.TEST"]);
    let forwarder = Forwarder::start_as(command);
    let url = format!("http://{}/", web.address);
    assert_eq!(get(&forwarder, &url).succeeded().text(), "hello\n");
}

#[test]
fn a_key_distribution_centre_that_is_down_is_told_and_ends_nothing() {
    let (site, web) = (Site::start("confidentiality"), targets::http());
    let alice = site.alice();
    let forwarder = Forwarder::start_as(site.command(&alice.env()));
    let url = format!("http://{}/", web.address);
    // With this connection a ticket for the gateway comes into the cache.
    get(&forwarder, &url).succeeded();
    site.realm.stop_kdc();
    assert_eq!(get(&forwarder, &url).succeeded().text(), "hello\n");
    let mut other = site.command(&alice.env());
    other.args(["--service", "rcmd"]);
    let text = refusal(&Forwarder::start_as(other));
    assert!(text.starts_with("socks-forward: authentication: "), "{text}");
}

fn digest(octets: impl Read) -> String {
    Digest::of(octets).expect("reading from memory").text()
}
