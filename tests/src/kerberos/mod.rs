//! A realm, a gateway in it, and clients that say exactly what a test wants said (RFC 1961).
//!
//! The Kerberos library reads its configuration's name from the environment, which a threaded program must not
//! change. So a test's body runs in a child process of its own ([`alone`]).

mod peer;
mod site;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

pub use peer::{Peer, flipped, tokens};
pub use site::{Plan, SERVICE, Site};

use crate::Folder;

/// What the record calls the user of every site.
pub const ALICE: &str = "alice@EXAMPLE.TEST";
/// The abort message (RFC 1961 section 3.8).
pub const ABORT: &[u8] = &[0x01, 0xFF];

/// The variable that tells a child that it is one.
const CHILD: &str = "SOCKSD_TEST_ALONE";

/// Runs `body` in a child process that has a `krb5.conf` of its own, which a [`Site`] will fill.
///
/// `test` is the test's own name with its module: the child is told to run it and nothing else.
///
/// # Panics
/// When the child fails, or knows no such test.
#[track_caller]
pub fn alone(test: &str, body: impl FnOnce()) {
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let folder = Folder::new();
    let mut command = Command::new(env::current_exe().expect("a test knows where it lies"));
    for (name, _) in env::vars_os().filter(|(name, _)| is_kerberos(name)) {
        command.env_remove(name);
    }
    command.args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, "1").env("KRB5_CONFIG", folder.file("krb5.conf"));
    command.env("KRB5CCNAME", format!("FILE:{}", folder.file("nothing").display()));
    let output = command.output().expect("a test can be started");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    print!("{said}");
    assert!(output.status.success(), "the child has failed:\n{said}");
    assert!(said.contains("1 passed"), "the child knows no test `{test}`");
}

fn is_kerberos(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b"KRB5")
}

/// The `krb5.conf` that this child's library reads.
fn own_configuration() -> PathBuf {
    let path = env::var_os("KRB5_CONFIG").filter(|_| env::var_os(CHILD).is_some());
    path.expect("a site stands in the body of `alone`").into()
}
