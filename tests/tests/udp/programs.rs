//! Programs that know nothing of SOCKS, behind Dante's client.

use std::process::Command;

use tests::command::{run, tool};
use tests::dante::Socksify;
use tests::{DEADLINE, targets};

use crate::gateway;

#[test]
fn a_resolver_behind_dantes_client_asks_a_real_name_server() {
    let (gateway, dns) = (gateway(""), targets::dns("wiki.corp.example", "192.0.2.80"));
    let socksify = Socksify::anonymous(gateway.address());
    let mut drill: Command = socksify.command(&tool("drill"));
    drill.args(["-p", &dns.address().port().to_string(), "@127.0.0.1", "wiki.corp.example"]);
    let done = run(&mut drill, DEADLINE).succeeded();
    assert!(done.text().contains("IN\tA\t192.0.2.80"), "{done}\n{}", socksify.log());
    let record = gateway.session();
    record.expect(&[("command", "udp-associate"), ("cause", "closed"), ("rule", "everything")]);
    assert_eq!((record.number("datagrams-up"), record.number("datagrams-down")), (1, 1), "{record}");
}
