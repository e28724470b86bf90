//! `socks-forward` for programs that look names up before they ask.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use tests::command::{run, tool};
use tests::forwarder::{self, Forwarder};
use tests::{Client, DEADLINE, Setup, targets};

#[test]
fn a_program_that_looks_a_name_up_first_reaches_it_by_its_fake_address() {
    let (gateway, web) = (Setup::new().start(), targets::http());
    let forwarder = Forwarder::naming(gateway.address());
    let fake = forwarder.look_up("localhost");
    assert_eq!(fake, Ipv4Addr::new(198, 18, 0, 1));
    // `socks5` is curl's word for names, or here an address, that it has looked up itself.
    for scheme in ["socks5", "http"] {
        let mut curl = Command::new(tool("curl"));
        curl.args(["--disable", "--silent", "--show-error", "--noproxy", "", "--proxytunnel"]);
        curl.args(["--proxy", &forwarder.url(scheme)]);
        curl.arg(format!("http://{fake}:{}/", web.address.port()));
        assert_eq!(run(&mut curl, DEADLINE).succeeded().text(), "hello\n");
    }
    for record in gateway.sessions(2) {
        record.expect(&[("target", &format!("localhost:{}", web.address.port()))]);
    }
}

#[test]
fn a_fake_address_without_a_name_stays_here() {
    let gateway = Setup::new().start();
    let forwarder = Forwarder::naming(gateway.address());
    let mut client = Client::connect(forwarder.address());
    client.greet(&[0x00]);
    let fake: SocketAddr = "198.18.0.7:80".parse().expect("an address");
    assert_eq!(client.connect_to(fake).code, 0x04);
    forwarder.expect_line(&["refused", "`198.18.0.7` is a fake address without a name"]);
}

#[test]
fn names_are_answered_on_loopback_only_unless_told_otherwise() {
    let mut command = forwarder::command("127.0.0.1:1");
    command.args(["--method", "none", "--dns", "0.0.0.0:0"]);
    let done = run(command.args(["--listen", "127.0.0.1:0"]), DEADLINE);
    assert_eq!(done.code, Some(64), "{done}");
    assert!(done.stderr.contains("`0.0.0.0:0` can be reached by other machines"), "{done}");
}
