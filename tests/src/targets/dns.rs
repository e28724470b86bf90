//! A real name server as a target.

use std::process::Command;

use crate::rivals::{Rival, free_address};
use crate::{Folder, command};

/// A name server of Debian's (dnsmasq) on a free port of 127.0.0.1, for UDP and TCP. It knows this name with
/// this address, and asks nobody else.
///
/// # Panics
/// When it does not come up.
#[track_caller]
pub fn dns(name: &str, address: &str) -> Rival {
    let place = free_address();
    let mut server = Command::new(command::tool("dnsmasq"));
    server.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--no-resolv",
        "--no-hosts",
    ]);
    server.args(["--bind-interfaces", "--listen-address=127.0.0.1"]);
    server.arg(format!("--port={}", place.port())).arg(format!("--address=/{name}/{address}"));
    server.arg(format!("--user={}", crate::rivals::own_name()));
    Rival::start(&mut server, place, Folder::new())
}
