//! `socks-forward` with Kerberos against the real gateway and a realm of the test's own.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use tests::command::{Finished, run, run_with_input, tool};
use tests::forwarder::{self, Forwarder};
use tests::pattern::{Digest, Pattern};
use tests::site::{self, Site};
use tests::tap::Tap;
use tests::{Folder, targets};

const MIB: u64 = 1 << 20;
/// For a transfer of some ten MiB on a busy machine.
const TRANSFER: Duration = Duration::from_secs(120);

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
        let mut command = site.forwarder(&site.alice().env());
        command.args(["--level", level]);
        let forwarder = Forwarder::start_as(command);
        let url = format!("http://{}/octets/{}", web.address, 8 * MIB);
        let answer = get(&forwarder, &url).succeeded();
        assert_eq!(digest(&answer.stdout[..]), digest(Pattern::new(8 * MIB)), "{level}");
        forwarder.expect_line(&["closed", &format!("level={level}"), "end=\"closed in order\""]);
        site.gateway().session().expect(&[
            ("identity", "alice@EXAMPLE.TEST"),
            ("protection", level),
            ("rule", "users"),
            ("cause", "closed"),
        ]);
    }
}

#[test]
fn large_transfers_go_both_ways_over_standard_input_and_output() {
    let (site, echo) = (Site::start("confidentiality"), targets::echo());
    let mut command = site.forwarder(&site.alice().env());
    command.args(["--stdio", &echo.address.to_string()]);
    let mut octets = Vec::new();
    Pattern::new(4 * MIB).read_to_end(&mut octets).expect("a pattern");
    let finished = run_with_input(&mut command, &octets, TRANSFER).succeeded();
    assert!(finished.stdout == octets, "octets were changed on the way");
}

#[test]
fn nothing_is_readable_on_the_way_to_the_gateway() {
    let (site, web) = (Site::start("confidentiality"), targets::http());
    let tap = Tap::before(site.gateway().address());
    let forwarder = Forwarder::start_as(site::forwarder(tap.address(), &site.alice().env()));
    let url = format!("http://localhost:{}/octets/100000", web.address.port());
    let answer = get(&forwarder, &url).succeeded();
    site.gateway().session();
    let seen = tap.seen();
    assert!(seen.len() > 100_000, "the tap has seen {} octets", seen.len());
    for secret in [&b"localhost:"[..], b"GET /octets", b"Content-Length", &answer.stdout[500..532]] {
        assert!(!seen.windows(secret.len()).any(|part| part == secret), "{}", secret.escape_ascii());
    }
    // The request: version, command, reserved, name of nine octets.
    assert!(!seen.windows(5).any(|part| part == b"\x05\x01\0\x03\x09"), "the request is readable");
}

#[test]
fn a_level_that_the_policy_does_not_allow_is_refused_on_both_sides() {
    let site = Site::start("integrity");
    let forwarder = Forwarder::start_as(site.forwarder(&site.alice().env()));
    assert_eq!(
        refusal(&forwarder),
        "socks-forward: protection level: gateway does not allow the level `confidentiality`, or not this user\n"
    );
    site.gateway().session().expect(&[("verdict", "deny")]);
}

#[test]
fn a_gateway_that_answers_none_to_everything_gets_no_request() {
    let site = Site::start("none");
    let forwarder = Forwarder::start_as(site.forwarder(&site.alice().env()));
    assert_eq!(
        refusal(&forwarder),
        "socks-forward: protection level: gateway insists on the level `none`, which is not accepted here\n"
    );
    site.gateway().session().expect(&[("target", "")]);
}

#[test]
fn who_has_no_ticket_hears_what_to_do_and_needs_no_restart_afterwards() {
    let (site, web, folder) = (Site::start("confidentiality"), targets::http(), Folder::new());
    let cache = folder.file("ccache");
    let mut command = site.forwarder(&site.realm().client_env());
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
    let expired = site.realm().expired("alice", &[]).expect("a ticket of the past");
    let forwarder = Forwarder::start_as(site.forwarder(&expired.env()));
    let text = refusal(&forwarder);
    assert!(text.contains("expired") && text.contains("`kinit"), "{text}");
}

#[test]
fn a_service_that_the_realm_does_not_know_is_named() {
    let site = Site::start("confidentiality");
    let mut command = site.forwarder(&site.alice().env());
    command.args(["--service", "imap"]);
    let text = refusal(&Forwarder::start_as(command));
    assert!(text.contains("does not know the service") && text.contains("imap/localhost"), "{text}");
}

#[test]
fn a_gateway_known_by_its_address_takes_a_named_service() {
    let (site, web) = (Site::start("confidentiality"), targets::http());
    let mut command = forwarder::command(&site.gateway().address().to_string());
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
    let forwarder = Forwarder::start_as(site.forwarder(&alice.env()));
    let url = format!("http://{}/", web.address);
    // With this connection a ticket for the gateway comes into the cache.
    get(&forwarder, &url).succeeded();
    site.realm().stop_kdc();
    assert_eq!(get(&forwarder, &url).succeeded().text(), "hello\n");
    let mut other = site.forwarder(&alice.env());
    other.args(["--service", "rcmd"]);
    let text = refusal(&Forwarder::start_as(other));
    assert!(text.starts_with("socks-forward: authentication: "), "{text}");
}

fn digest(octets: impl Read) -> String {
    Digest::of(octets).expect("reading from memory").text()
}
