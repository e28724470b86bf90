//! A network of a test's own: the test runs itself again in a fresh network namespace.

use std::process::Command;

use crate::{DEADLINE, command, process, program};

/// Set in the second run.
const INSIDE: &str = "SOCKSD_TEST_INSIDE";

/// `true` in a fresh network namespace with loopback up and nothing else; to be called first in the test `name`.
///
/// Outside it runs that test again inside, and gives `false` when that went well.
///
/// # Panics
/// When the test failed inside, or no namespace can be made: without root that takes a kernel that lets
/// users make their own.
#[track_caller]
pub fn inside(name: &str) -> bool {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        ip(&["link", "set", "lo", "up"]);
        return true;
    }
    // Built here, where cargo has all it may want.
    program::built("socksd");
    let mut again = Command::new(command::tool("unshare"));
    again.arg("--net");
    if !process::is_root() {
        again.args(["--user", "--map-root-user"]);
    }
    again.arg(std::env::current_exe().expect("a test knows where it lies"));
    again.args(["--exact", name, "--include-ignored", "--nocapture"]).env(INSIDE, name);
    let finished = command::run(&mut again, DEADLINE * 4).succeeded();
    assert!(finished.text().contains("1 passed"), "`{name}` did not run inside: {finished}");
    false
}

/// Runs `ip` with these words.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn ip(words: &[&str]) {
    command::run(Command::new(command::tool("ip")).args(words), DEADLINE).succeeded();
}

/// Gives this namespace two networks, in which this machine has the first address and neighbours all others:
/// 10.1.0.0/24 and 10.2.0.0/24, and fd02::/64 beside the second.
///
/// Who binds a socket to a neighbour's address is that neighbour (not so in IPv6). To be called [`inside`].
///
/// # Panics
/// When the system does not let it.
#[track_caller]
pub fn two_networks() {
    for network in ["10.1.0", "10.2.0"] {
        let own = format!("{network}.1");
        ip(&["address", "add", &format!("{own}/32"), "dev", "lo"]);
        ip(&["route", "add", "local", &format!("{network}.0/24"), "dev", "lo", "src", &own]);
    }
    ip(&["address", "add", "fd02::1/128", "dev", "lo", "nodad"]);
    ip(&["-6", "route", "add", "local", "fd02::/64", "dev", "lo", "src", "fd02::1"]);
}
