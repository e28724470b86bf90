//! A gateway in a Kerberos realm of its own, for clients that are programs.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use krb_testenv::{Ccache, Environment, Realm};

use crate::{DEADLINE, Folder, Gateway, Record, Setup, audit, command, forwarder};

/// The services that the gateway's realm has, and its keytab holds.
pub const SERVICES: [&str; 2] = ["socks/localhost", "rcmd/localhost"];

/// Tell a child which test it is to run, where the gateway is, and where its records are.
const INSIDE: &str = "SOCKSD_TEST_IN_REALM";
const GATEWAY: &str = "SOCKSD_TEST_GATEWAY";
const AUDIT: &str = "SOCKSD_TEST_AUDIT";
const LEVEL: &str = "SOCKSD_TEST_LEVEL";

/// A realm whose user is `alice`, and a gateway in it whose rule `users` permits the realm's users everything.
#[derive(Debug)]
pub struct Site {
    realm: Realm,
    gateway: Gateway,
    folder: Folder,
}

impl Site {
    /// In the realm `EXAMPLE.TEST`, at the levels that the policy's words name, such as `integrity, confidentiality`.
    ///
    /// # Panics
    /// When realm or gateway does not come up.
    #[track_caller]
    pub fn start(levels: &str) -> Self {
        Self::named("EXAMPLE.TEST", levels)
    }

    /// In a realm of another name.
    ///
    /// # Panics
    /// When realm or gateway does not come up.
    #[track_caller]
    pub fn named(name: &str, levels: &str) -> Self {
        Self::trusting(&[], realm(name), levels)
    }

    /// In a realm that begins to trust others; users of the realm `OTHER.TEST` are permitted by the rule
    /// `other-test`, those of the gateway's own by `users`.
    ///
    /// # Panics
    /// When there can be no trust, or the gateway does not come up.
    #[track_caller]
    pub fn trusting(others: &[&Realm], realm: Realm, levels: &str) -> Self {
        let folder = Folder::new();
        let keytab = folder.file("socksd.keytab");
        realm.keytab(&SERVICES, &keytab).expect("the services are there");
        let mut rules = rule("users", realm.name());
        for other in others {
            realm.trust(other).expect("both run");
            rules += &rule(&other.name().to_lowercase().replace('.', "-"), other.name());
        }
        let policy = format!(
            "version: 1\nclients:\n  - methods: [gssapi]\n    protection: [{levels}]\nrules:\n{rules}"
        );
        let auth = format!("  - kind: gssapi\n    options: {{ keytab: {} }}\n", keytab.display());
        let environment = realm.server_env(&keytab);
        let gateway = Setup::new().auth(&auth).policy(&policy).environment(environment.iter()).start();
        Self { realm, gateway, folder }
    }

    /// The realm.
    pub fn realm(&self) -> &Realm {
        &self.realm
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// A folder for files of the test's own; it holds the gateway's keytab, too.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Alice with a new ticket.
    ///
    /// # Panics
    /// When the realm gives none.
    #[track_caller]
    pub fn alice(&self) -> Ccache {
        self.realm.kinit("alice").expect("the password is right")
    }

    /// The forwarder's command towards the gateway by the name that its service has, in a user's environment.
    pub fn forwarder(&self, user: &Environment) -> Command {
        forwarder(self.gateway.address(), user)
    }
}

/// What a test knows that runs as alice, who has a ticket.
#[derive(Debug)]
pub struct Inside {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// The one level that the gateway allows, by the policy's word.
    pub level: String,
    audit: PathBuf,
}

impl Inside {
    /// Waits for the record of a client's session.
    ///
    /// # Panics
    /// When there is none in time.
    #[track_caller]
    pub fn session_of(&self, client: SocketAddr) -> Record {
        let found = audit::wait_for(&self.audit, DEADLINE, |records| {
            records.iter().find(|record| record.is_of(client)).cloned()
        });
        found.unwrap_or_else(|| panic!("no record of {client}"))
    }
}

/// Runs the test `name` once for each of these levels as a process of alice's, beside a gateway that allows that
/// level; to be called first in that test. `None`: this is the process that has done so, and all went well.
///
/// MIT's library reads the environment, and no process may change its own.
///
/// # Panics
/// When the test failed inside.
#[track_caller]
pub fn inside(name: &str, levels: &[&str]) -> Option<Inside> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    if variable(INSIDE) == name {
        let gateway = variable(GATEWAY).parse().expect("an address");
        return Some(Inside { gateway, level: variable(LEVEL), audit: variable(AUDIT).into() });
    }
    for level in levels {
        let site = Site::start(level);
        let mut child = Command::new(env::current_exe().expect("a test knows where it lies"));
        site.alice().env().apply(&mut child);
        child.args(["--exact", name, "--include-ignored", "--nocapture"]);
        child.env(INSIDE, name).env(GATEWAY, site.gateway().address().to_string()).env(LEVEL, level);
        child.env(AUDIT, site.gateway().folder().file("audit.jsonl"));
        let finished = command::run(&mut child, DEADLINE * 4).succeeded();
        assert!(finished.text().contains("1 passed"), "`{name}` did not run inside: {finished}");
    }
    None
}

/// The forwarder's command towards what listens at this port, by the name that the service has.
pub fn forwarder(gateway: SocketAddr, user: &Environment) -> Command {
    let mut command = forwarder::command(&format!("localhost:{}", gateway.port()));
    user.apply(&mut command);
    command
}

/// A realm with the user `alice` and the services [`SERVICES`], without a gateway.
///
/// # Panics
/// When it does not come up.
#[track_caller]
pub fn realm(name: &str) -> Realm {
    let builder = Realm::builder(name).user("alice", "secret");
    SERVICES.into_iter().fold(builder, |builder, service| builder.service(service)).start().expect("a realm")
}

fn rule(name: &str, realm: &str) -> String {
    format!("  - name: {name}\n    action: permit\n    identity: \"*@{realm}\"\n    special-use: permit\n")
}
