//! FTP through the gateway, whose active mode is what BIND is for: clients behind Dante's against pyftpdlib.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use tests::command::{Finished, tool};
use tests::dante::Socksify;
use tests::ftp::{self, Exchange, FtpServer, Mode};
use tests::pattern::{Digest, Pattern};
use tests::site::Site;
use tests::{Folder, Gateway, Setup, namespace};

const LEN: u64 = 3 << 20;
const DOWN: &str = "down.bin";
const UP: &str = "up.bin";

fn digest(folder: &Folder, name: &str) -> String {
    let file = std::fs::File::open(folder.file(name)).unwrap_or_else(|error| panic!("`{name}`: {error}"));
    Digest::of(file).expect("a file").text()
}

fn fill(folder: &Folder, name: &str, len: u64) {
    let mut file = std::fs::File::create(folder.file(name)).expect("a folder of ours");
    std::io::copy(&mut Pattern::new(len), &mut file).expect("room for it");
}

/// Fetches one file and stores another, both of some MiB, and compares them with what they shall be.
#[track_caller]
fn expect_exchange(server: &FtpServer, mode: Mode, client: impl FnOnce(&Exchange<'_>) -> Finished) {
    let folder = Folder::new();
    fill(server.folder(), DOWN, LEN);
    fill(&folder, UP, LEN + 1);
    drop(std::fs::remove_file(server.folder().file(UP)));
    let exchange = Exchange { server: server.address(), mode, folder: folder.path(), down: DOWN, up: UP };
    let told = format!("{mode:?}: {}\n{}", client(&exchange), server.log());
    assert!(folder.file(DOWN).exists() && server.folder().file(UP).exists(), "{told}");
    assert_eq!(digest(&folder, DOWN), digest(server.folder(), DOWN), "{told}");
    assert_eq!(digest(server.folder(), UP), digest(&folder, UP), "{told}");
}

/// Stores a file in active mode.
///
/// Dante's client loses protected octets that reach it together with the second reply of a BIND: it has read them
/// for the control connection, and hands out another descriptor. A server that speaks first is not to be tried.
#[track_caller]
fn expect_stored(server: &FtpServer, client: &mut Command) {
    let folder = Folder::new();
    fill(&folder, UP, LEN + 1);
    drop(std::fs::remove_file(server.folder().file(UP)));
    let (server_address, mode) = (server.address(), Mode::Active);
    let exchange = Exchange { server: server_address, mode, folder: folder.path(), down: "-", up: UP };
    let told = format!("{}\n{}", exchange.by_ftplib(client), server.log());
    assert!(server.folder().file(UP).exists(), "{told}");
    assert_eq!(digest(server.folder(), UP), digest(&folder, UP), "{told}");
}

/// Checks that one session carried the conversation, and others so many files, by that command.
#[track_caller]
fn expect_sessions(gateway: &Gateway, command: &str, protection: &str, count: usize) {
    let sessions = gateway.sessions(1 + count);
    let files: Vec<_> = sessions.iter().filter(|record| record.up().max(record.down()) >= LEN).collect();
    assert_eq!((sessions.len(), files.len()), (1 + count, count), "{sessions:#?}");
    for record in files {
        record.expect(&[("command", command), ("protection", protection), ("verdict", "permit")]);
        assert_eq!(record.0.get("peer").is_some(), command == "bind", "{record}");
    }
}

fn command_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Passive => "connect",
        Mode::Active => "bind",
    }
}

#[test]
fn files_come_and_go_in_both_modes() {
    let server = FtpServer::start(Ipv4Addr::LOCALHOST.into());
    for mode in [Mode::Passive, Mode::Active] {
        let gateway = Setup::new().start();
        let socksify = Socksify::anonymous(gateway.address());
        expect_exchange(&server, mode, |exchange| exchange.by_tnftp(&mut socksify.command(&tool("tnftp"))));
        expect_sessions(&gateway, command_of(mode), "none", 2);
    }
}

#[test]
fn files_come_and_go_in_both_modes_at_each_level_that_protects() {
    let server = FtpServer::start(Ipv4Addr::LOCALHOST.into());
    for level in ["integrity", "confidentiality"] {
        for mode in [Mode::Passive, Mode::Active] {
            let site = Site::start(level);
            let socksify = Socksify::new(site.gateway().address().port()).levels(&[level]);
            let mut client = socksify.command(ftp::python());
            site.alice().env().apply(&mut client);
            match mode {
                Mode::Passive => {
                    expect_exchange(&server, mode, |exchange| exchange.by_ftplib(&mut client));
                    expect_sessions(site.gateway(), command_of(mode), level, 2);
                }
                Mode::Active => {
                    expect_stored(&server, &mut client);
                    expect_sessions(site.gateway(), command_of(mode), level, 1);
                }
            }
        }
    }
}

#[test]
fn an_ftp_server_in_another_network_comes_to_the_gateways_address_there() {
    if !namespace::inside("an_ftp_server_in_another_network_comes_to_the_gateways_address_there") {
        return;
    }
    namespace::two_networks();
    let server = FtpServer::start(IpAddr::from([10, 2, 0, 2]));
    let rules = "version: 1\nrules:\n  - { name: there, action: permit, destination: 10.2.0.2 }\n";
    let gateway = Setup::new().policy(rules).listener("10.1.0.1:0").start();
    let socksify = Socksify::anonymous(gateway.address());
    expect_exchange(&server, Mode::Active, |exchange| {
        exchange.by_tnftp(&mut socksify.command(&tool("tnftp")))
    });
    expect_sessions(&gateway, "bind", "none", 2);
    for record in gateway.records().iter().filter(|record| record.text("command") == "bind") {
        assert!(record.text("bound").starts_with("10.2.0.1:"), "{record}");
        assert!(record.text("peer").starts_with("10.2.0.2:"), "{record}");
        assert_eq!(record.text("target"), "10.2.0.2:0", "whom Dante's client expects");
    }
}
