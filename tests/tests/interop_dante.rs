//! Dante with GSSAPI: its client against the gateway, and our client against its server.

use std::process::Command;
use std::time::Duration;

use krb_testenv::Environment;
use tests::command::{run, run_with_input, tool};
use tests::dante::{DanteSite, Socksify};
use tests::forwarder::Forwarder;
use tests::pattern::{Digest, Pattern};
use tests::site::Site;
use tests::{DEADLINE, Folder, targets};

const MIB: u64 = 1 << 20;
/// For a transfer of some ten MiB on a busy machine.
const TRANSFER: Duration = Duration::from_secs(120);

/// A pattern's file to upload, and what the web server answers to it.
struct Upload {
    file: std::path::PathBuf,
    answer: String,
}

impl Upload {
    fn of(folder: &Folder, len: u64) -> Self {
        let file = folder.file("upload");
        let mut out = std::fs::File::create(&file).expect("a folder of ours");
        std::io::copy(&mut Pattern::new(len), &mut out).expect("room for it");
        Self { file, answer: digest(len) }
    }
}

fn digest(len: u64) -> String {
    Digest::of(Pattern::new(len)).expect("a pattern").text()
}

fn digest_of(octets: &[u8]) -> String {
    Digest::of(octets).expect("reading from memory").text()
}

/// curl behind Dante's client, without any proxy of its own.
fn curl(socksify: &Socksify, user: &Environment) -> Command {
    let mut command = socksify.command(&tool("curl"));
    user.apply(&mut command);
    command.args(["--disable", "--silent", "--show-error", "--noproxy", "*"]);
    command
}

#[test]
fn dantes_client_carries_large_transfers_both_ways_at_each_level_that_protects() {
    let (web, len) = (targets::http(), 24 * MIB);
    for level in ["integrity", "confidentiality"] {
        let site = Site::start("integrity, confidentiality");
        let (user, upload) = (site.alice().env(), Upload::of(site.folder(), len));
        let socksify = Socksify::new(site.gateway().address().port()).levels(&[level]);
        let url = format!("http://{}/octets/{len}", web.address);
        let down = run(curl(&socksify, &user).arg(&url), TRANSFER).succeeded();
        assert_eq!(digest_of(&down.stdout), digest(len), "{level}: {}", socksify.log());
        let mut command = curl(&socksify, &user);
        command.arg("--upload-file").arg(&upload.file).arg(format!("http://{}/", web.address));
        assert_eq!(run(&mut command, TRANSFER).succeeded().text(), upload.answer, "{level}");
        for record in site.gateway().sessions(2) {
            record.expect(&[
                ("method", "gssapi"),
                ("identity", "alice@EXAMPLE.TEST"),
                ("protection", level),
                ("rule", "users"),
                ("target", &web.address.to_string()),
                ("cause", "closed"),
            ]);
            assert!(record.up().max(record.down()) >= len, "{record}");
        }
    }
}

#[test]
fn our_client_carries_large_transfers_both_ways_through_dantes_server_at_each_of_its_levels() {
    let (web, len) = (targets::http(), 24 * MIB);
    for (ours, theirs) in
        [("none", "clear"), ("integrity", "integrity"), ("confidentiality", "confidentiality")]
    {
        let dante = DanteSite::start(&[theirs]);
        let upload = Upload::of(dante.folder(), len);
        let forwarder = Forwarder::start_as(dante.forwarder(ours));
        let curl = |rest: &[&std::ffi::OsStr]| {
            let mut command = Command::new(tool("curl"));
            command.args(["--disable", "--silent", "--show-error", "--noproxy", ""]);
            command.args(["--proxy", &forwarder.url("socks5h")]).args(rest);
            let done = run(&mut command, TRANSFER);
            assert_eq!(done.code, Some(0), "{theirs}: {done}\n{}\n{}", forwarder.log().text(), dante.log());
            done
        };
        let down = curl(&[format!("http://{}/octets/{len}", web.address).as_ref()]);
        assert_eq!(digest_of(&down.stdout), digest(len), "{theirs}");
        let url = format!("http://{}/", web.address);
        let up = curl(&["--upload-file".as_ref(), upload.file.as_os_str(), url.as_ref()]);
        assert_eq!(up.text(), upload.answer, "{theirs}");
        forwarder.expect_line(&["closed", &format!("level={ours}"), "end=\"closed in order\""]);
        assert!(dante.log().contains("alice"), "{}", dante.log());
    }
}

#[test]
fn a_level_that_dantes_server_does_not_grant_ends_at_our_client_with_the_step_named() {
    for (ours, theirs) in
        [("confidentiality", "integrity"), ("integrity", "clear"), ("none", "confidentiality")]
    {
        let (dante, echo) = (DanteSite::start(&[theirs]), targets::echo());
        let mut command = dante.forwarder(ours);
        command.args(["--stdio", &echo.address.to_string()]);
        let done = run_with_input(&mut command, b"hello", DEADLINE);
        assert_ne!(done.code, Some(0), "{done}");
        // Dante says nothing to it and hangs up.
        let told = format!("protection level: gateway hung up: it may not allow the level `{ours}`");
        assert!(done.stderr.contains(&told), "{ours} at {theirs}: {done}\n{}", dante.log());
        assert_eq!(echo.accepted(), 0, "{ours} at {theirs}");
    }
}

#[test]
fn dantes_client_ends_where_its_level_is_not_allowed_and_the_record_says_so() {
    for (allowed, asked) in
        [("confidentiality", "integrity"), ("integrity", "confidentiality"), ("integrity", "clear")]
    {
        let (site, web) = (Site::start(allowed), targets::http());
        let socksify = Socksify::new(site.gateway().address().port()).levels(&[asked]);
        let done =
            run(curl(&socksify, &site.alice().env()).arg(format!("http://{}/", web.address)), DEADLINE);
        // CURLE_COULDNT_CONNECT: Dante's connect(2) has failed.
        assert_eq!(done.code, Some(7), "{asked} where {allowed} is allowed: {done}");
        site.gateway().session().expect(&[
            ("cause", "protection-not-allowed"),
            ("claimed-identity", "alice@EXAMPLE.TEST"),
            ("identity", ""),
            ("verdict", "deny"),
            ("target", ""),
        ]);
        assert_eq!(web.accepted(), 0, "{asked} where {allowed} is allowed");
    }
}

#[test]
fn dantes_client_without_protection_is_served_where_the_policy_names_none() {
    let (site, web) = (Site::start("none"), targets::http());
    let socksify = Socksify::new(site.gateway().address().port()).levels(&["clear"]);
    let done = run(curl(&socksify, &site.alice().env()).arg(format!("http://{}/", web.address)), DEADLINE);
    assert_eq!(done.succeeded().text(), "hello\n");
    site.gateway().session().expect(&[("protection", "none"), ("identity", "alice@EXAMPLE.TEST")]);
}

// Dante's client does not look at the answer: told `none`, it goes on with frames.
#[test]
fn dantes_client_that_wants_protection_reaches_nothing_where_only_none_is_allowed() {
    let (site, web) = (Site::start("none"), targets::http());
    let socksify = Socksify::new(site.gateway().address().port());
    let done = run(curl(&socksify, &site.alice().env()).arg(format!("http://{}/", web.address)), DEADLINE);
    assert_eq!(done.code, Some(7), "{done}");
    site.gateway().session().expect(&[
        ("protection", "none"),
        ("target", ""),
        ("cause", "malformed-request"),
    ]);
    assert_eq!(web.accepted(), 0);
}

#[test]
fn dantes_client_with_its_defaults_gets_confidentiality_with_the_service_rcmd() {
    let (site, web) = (Site::start("integrity, confidentiality"), targets::http());
    let socksify = Socksify::new(site.gateway().address().port()).service("rcmd");
    let done = run(curl(&socksify, &site.alice().env()).arg(format!("http://{}/", web.address)), DEADLINE);
    assert_eq!(done.succeeded().text(), "hello\n");
    let record = site.gateway().session();
    record.expect(&[("protection", "confidentiality"), ("rule", "users"), ("cause", "closed")]);
    assert!(record.to_string().contains("rcmd/localhost@EXAMPLE.TEST"), "{record}");
}

#[test]
fn several_programs_behind_dantes_client_and_an_interactive_one_work_at_once() {
    let (site, echo) = (Site::start("confidentiality"), targets::echo());
    let socksify = Socksify::new(site.gateway().address().port());
    let user = site.alice().env();
    let commands = (0..4_u8).map(|number| {
        let mut command = socksify.command(&tool("nc"));
        user.apply(&mut command);
        command.args(["-N", "127.0.0.1", &echo.address.port().to_string()]);
        (command, vec![number; 100_000])
    });
    let commands: Vec<_> = commands.collect();
    std::thread::scope(|scope| {
        for (mut command, octets) in commands {
            scope.spawn(move || {
                let done = run_with_input(&mut command, &octets, TRANSFER).succeeded();
                assert!(done.stdout == octets, "octets were changed on the way: {done}");
            });
        }
    });
    for record in site.gateway().sessions(4) {
        record.expect(&[("protection", "confidentiality"), ("cause", "closed")]);
        assert_eq!((record.up(), record.down()), (100_000, 100_000), "{record}");
    }
}
