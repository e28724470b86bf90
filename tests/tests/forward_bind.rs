//! `socks-forward` carrying BIND.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use tests::command::tool;
use tests::dante::Socksify;
use tests::forwarder::Forwarder;
use tests::ftp::{Exchange, FtpServer, Mode};
use tests::pattern::{Digest, Pattern};
use tests::site::Site;
use tests::{Client, DEADLINE, Folder, Setup};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Octets of a file.
const LEN: u64 = 3 << 20;

#[test]
fn a_peer_of_a_bind_reaches_the_program() {
    let gateway = Setup::new().start();
    let forwarder = Forwarder::start(gateway.address());
    let mut client = Client::connect(forwarder.address());
    client.greet(&[0x00]);
    let first = client.bind(SocketAddr::new(V4, 0));
    assert_eq!(first.code, 0x00, "the gateway listens");
    let mut peer = TcpStream::connect(first.bound).expect("the gateway listens there");
    peer.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let second = client.reply();
    assert_eq!((second.code, second.bound), (0x00, peer.local_addr().expect("it is connected")));
    client.send(b"hello");
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).expect("the program is there");
    peer.write_all(&heard).expect("the program is there");
    assert_eq!(client.receive(5), b"hello");
    client.finish();
    drop(peer);
    forwarder.expect_line(&["closed", "command=\"bind\"", "up=5 down=5"]);
    gateway.session().expect(&[("command", "bind"), ("cause", "closed")]);
}

/// What tells whether a file is whole.
fn digest(folder: &Folder, name: &str) -> String {
    let file = std::fs::File::open(folder.file(name)).unwrap_or_else(|error| panic!("`{name}`: {error}"));
    Digest::of(file).expect("a file").text()
}

#[test]
fn active_ftp_works_with_a_program_that_knows_no_kerberos() {
    let (site, server, own) = (Site::start("confidentiality"), FtpServer::start(V4), Folder::new());
    let forwarder = Forwarder::start_as(site.forwarder(&site.alice().env()));
    for (folder, name, len) in [(server.folder(), "down.bin", LEN), (&own, "up.bin", LEN + 1)] {
        let mut file = std::fs::File::create(folder.file(name)).expect("a folder of ours");
        std::io::copy(&mut Pattern::new(len), &mut file).expect("room for it");
    }
    let socksify = Socksify::anonymous(forwarder.address());
    let client = &mut socksify.command(&tool("tnftp"));
    let exchange = Exchange {
        server: server.address(),
        mode: Mode::Active,
        folder: own.path(),
        down: "down.bin",
        up: "up.bin",
    };
    let done = exchange.by_tnftp(client);
    assert!(server.folder().file("up.bin").exists(), "{done}\n{}\n{}", server.log(), forwarder.log().text());
    assert_eq!(digest(&own, "down.bin"), digest(server.folder(), "down.bin"));
    assert_eq!(digest(server.folder(), "up.bin"), digest(&own, "up.bin"));
    let sessions = site.gateway().sessions(3);
    let binds = sessions.iter().filter(|record| record.text("command") == "bind");
    assert_eq!(binds.count(), 2, "{sessions:#?}");
    for record in &sessions {
        record.expect(&[("protection", "confidentiality"), ("identity", "alice@EXAMPLE.TEST")]);
    }
}
