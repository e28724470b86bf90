//! A curl that can log in with Kerberos against the gateway: what it can do there, and how it ends where it cannot.

use std::process::Command;
use std::time::Duration;

use krb_testenv::Environment;
use tests::command::{Finished, run};
use tests::pattern::{Digest, Pattern};
use tests::site::Site;
use tests::{program, targets};

const MIB: u64 = 1 << 20;
/// For a transfer of some ten MiB on a busy machine.
const TRANSFER: Duration = Duration::from_secs(120);
/// CURLE_PROXY: the handshake with the proxy has failed.
const PROXY: i32 = 97;

fn curl() -> Command {
    Command::new(program::built("gssapi-curl"))
}

/// curl in a user's environment, towards the gateway by the name that its service has.
fn curl_at(site: &Site, user: &Environment, rest: &[&str]) -> Finished {
    let mut command = curl();
    user.apply(&mut command);
    command.arg(format!("socks5h://localhost:{}", site.gateway().address().port()));
    run(command.args(rest), TRANSFER)
}

fn digest(len: u64) -> String {
    Digest::of(Pattern::new(len)).expect("a pattern").text()
}

// 8.17 to 8.19 hang in the login, older ones cannot do it; see docs/kerberos.md.
#[test]
fn the_curl_of_these_tests_is_one_that_can_log_in_with_kerberos() {
    let done = run(curl().arg("--version"), TRANSFER).succeeded().text();
    let (version, gssapi) = done.trim().split_once(' ').expect("version and feature");
    let mut numbers = version.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    assert!((numbers.next(), numbers.next()) >= (Some(8), Some(20)), "{version}");
    assert_eq!(gssapi, "gssapi=true");
}

#[test]
fn curl_transfers_both_ways_where_a_row_has_exactly_none() {
    let (site, web, len) = (Site::start("none"), targets::http(), 24 * MIB);
    let user = site.alice().env();
    let down = curl_at(&site, &user, &[&format!("http://{}/octets/{len}", web.address)]).succeeded();
    assert_eq!(Digest::of(&down.stdout[..]).expect("reading from memory").text(), digest(len));
    let file = site.folder().file("upload");
    std::io::copy(&mut Pattern::new(len), &mut std::fs::File::create(&file).expect("a file"))
        .expect("room for it");
    let url = format!("http://localhost:{}/", web.address.port());
    let up = curl_at(&site, &user, &[&url, &file.display().to_string()]).succeeded();
    assert_eq!(up.text(), digest(len));
    for record in site.gateway().sessions(2) {
        record.expect(&[
            ("method", "gssapi"),
            ("identity", "alice@EXAMPLE.TEST"),
            ("protection", "none"),
            ("rule", "users"),
            ("cause", "closed"),
        ]);
        assert!(record.up().max(record.down()) >= len, "{record}");
        // curl's own choice of service.
        assert!(record.to_string().contains("rcmd/localhost@EXAMPLE.TEST"), "{record}");
    }
}

#[test]
fn curl_ends_with_its_own_code_where_protection_is_wanted_and_the_record_says_so() {
    let web = targets::http();
    for levels in ["none, integrity", "integrity"] {
        let site = Site::start(levels);
        let done = curl_at(&site, &site.alice().env(), &[&format!("http://{}/", web.address)]);
        assert_eq!(done.code, Some(PROXY), "{levels}: {done}");
        assert!(done.stderr.contains("Failed to receive GSS-API"), "{levels}: {done}");
        site.gateway().session().expect(&[
            ("cause", "protection-not-allowed"),
            ("claimed-identity", "alice@EXAMPLE.TEST"),
            ("identity", ""),
            ("verdict", "deny"),
            ("target", ""),
        ]);
    }
    assert_eq!(web.accepted(), 0, "connections at the target");
}

// Asked for confidentiality and granted it, curl has already sent its request in the clear.
#[test]
fn curl_ends_with_its_own_code_where_confidentiality_is_granted() {
    let (site, web) = (Site::start("confidentiality"), targets::http());
    let done = curl_at(&site, &site.alice().env(), &[&format!("http://{}/", web.address)]);
    assert_eq!(done.code, Some(PROXY), "{done}");
    assert!(done.stderr.contains("protection not yet implemented"), "{done}");
    let record = site.gateway().session();
    record.expect(&[("identity", "alice@EXAMPLE.TEST"), ("protection", "confidentiality"), ("target", "")]);
    assert_eq!(web.accepted(), 0, "connections at the target");
}

#[test]
fn curl_without_a_ticket_ends_with_its_own_code() {
    let (site, web) = (Site::start("none"), targets::http());
    let done = curl_at(&site, &site.realm().client_env(), &[&format!("http://{}/", web.address)]);
    assert_eq!(done.code, Some(PROXY), "{done}");
    site.gateway().session().expect(&[("identity", ""), ("target", "")]);
}
