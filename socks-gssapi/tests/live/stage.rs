//! Runs a test's body as a child process in a realm of its own: the library reads its environment, and changing
//! that in a threaded program is not allowed.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use krb_testenv::{Ccache, Environment, Realm};
use socks_gssapi::{
    AcceptError, Accepted, Acceptor, ClientRules, Established, Halves, Initiated, Initiator, Rules,
    TargetName,
};

/// The variable that tells a child that it is one.
const CHILD: &str = "SOCKS_GSSAPI_CHILD";
/// The variable that names the keytab.
const KEYTAB: &str = "SOCKS_GSSAPI_KEYTAB";

pub(crate) const SERVICE: &str = "socks/localhost";

/// Prepares a realm in this process, and runs `body` in a child with the environment that comes of it.
///
/// `test` is the test's own name with its module, as the child is told to run it alone.
pub(crate) fn in_realm(test: &str, prepare: impl FnOnce() -> (Realm, Environment), body: impl FnOnce()) {
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let (_realm, environment) = prepare();
    let mut command = Command::new(env::current_exe().unwrap());
    environment.apply(&mut command);
    let output = command.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    print!("{said}");
    assert!(output.status.success(), "the child has failed");
    assert!(said.contains("1 passed"), "the child has run no test of that name");
}

/// The environment of a user with these tickets, and of a server with all keys of the service.
pub(crate) fn both_sides(realm: &Realm, client: &Ccache) -> Environment {
    let keytab = realm.folder().join("socks.keytab");
    realm.keytab(&[SERVICE], &keytab).unwrap();
    with_keytab(realm, client, keytab)
}

/// The environment of a user with these tickets, and of a server with that keytab.
pub(crate) fn with_keytab(realm: &Realm, client: &Ccache, keytab: PathBuf) -> Environment {
    let cache = realm.folder().join("rcache");
    client.env().with(KEYTAB, keytab).with("KRB5RCACHENAME", format!("file2:{}", cache.display()))
}

/// A realm with alice, who is logged in, and a server.
pub(crate) fn ordinary() -> (Realm, Environment) {
    let realm = Realm::start().unwrap();
    let environment = both_sides(&realm, &realm.kinit("alice").unwrap());
    (realm, environment)
}

/// In the child: the rules of a server with the keytab that was prepared.
pub(crate) fn rules() -> Rules {
    Rules::new(env::var_os(KEYTAB).unwrap())
}

pub(crate) fn acceptor(rules: Rules) -> Acceptor {
    Acceptor::acquire(Arc::new(rules)).unwrap()
}

pub(crate) fn initiator(rules: &ClientRules) -> Initiator {
    Initiator::new(&TargetName::HostBased("socks@localhost".into()), rules).unwrap()
}

/// Runs a context's establishment; what the acceptor refuses is the result.
pub(crate) fn establish(
    acceptor: &mut Acceptor,
    mut initiator: Initiator,
) -> Result<(Halves, Box<Established>), AcceptError> {
    let (mut for_client, mut pending, mut accepted) = (Vec::new(), None, None);
    loop {
        let for_server = match initiator.step(&for_client).unwrap() {
            Initiated::Continue { token, initiator: next } => {
                initiator = *next;
                token
            }
            // With mutual authentication the server is done before the client.
            Initiated::Complete { halves, .. } => return Ok((halves, accepted.expect("server is done"))),
        };
        match acceptor.step(pending.take(), &for_server)? {
            Accepted::Continue { token, pending: next } => (for_client, pending) = (token, Some(next)),
            Accepted::Complete { token, established } => (for_client, accepted) = (token, Some(established)),
        }
    }
}
