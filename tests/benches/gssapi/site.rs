//! A realm around this program, and the servers in it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use krb_testenv::{Enctype, Realm};
use socks_client::{Client, Gssapi, Level};
use tests::dante::Sockd;
use tests::measure::Contender;
use tests::{Folder, Setup};

/// The service that all servers are, by its principal: no name has to be looked up.
pub(crate) const SERVICE: &str = "socks/localhost@EXAMPLE.TEST";
/// Names the servers' keytab to the child that does the work.
const KEYTAB: &str = "BENCH_KEYTAB";
const POLICY: &str = "\
version: 1
clients:
  - methods: [gssapi]
    protection: [integrity, confidentiality]
rules:
  - name: users
    action: permit
    identity: \"*@EXAMPLE.TEST\"
    special-use: permit
";

/// Starts the realm and runs this program once more in it: MIT's library reads its environment, and no process
/// may change its own.
pub(crate) fn run_in_realm() -> ExitCode {
    let realm = Realm::builder("EXAMPLE.TEST").enctypes(&[Enctype::Aes256Sha1]);
    let realm = realm.user("alice", "secret").service("socks/localhost").start().expect("a realm");
    let keytab = realm.folder().join("bench.keytab");
    realm.keytab(&["socks/localhost"], &keytab).expect("the service is there");
    let alice = realm.kinit("alice").expect("the password is right");
    alice.ticket("socks/localhost").expect("the service is there");
    let mut child = Command::new(env::current_exe().expect("a program knows where it lies"));
    alice.env().apply(&mut child);
    child.args(env::args_os().skip(1)).env(KEYTAB, keytab);
    let done = child.status().expect("this program can be started");
    if done.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The realm around this program, where alice has a ticket.
#[derive(Debug)]
pub(crate) struct Site {
    /// The servers' keytab.
    pub(crate) keytab: PathBuf,
    folder: Folder,
}

impl Site {
    /// `None`: there is no realm around.
    pub(crate) fn around() -> Option<Self> {
        Some(Self { keytab: env::var_os(KEYTAB)?.into(), folder: Folder::new() })
    }

    /// A gateway of ours with one of its engines, `own` or `mit`.
    pub(crate) fn gateway(&self, name: &'static str, engine: &str) -> Contender {
        let keytab = self.keytab.display();
        let auth = format!("  - kind: gssapi\n    options: {{ keytab: {keytab}, engine: {engine} }}\n");
        let setup = Setup::new().auth(&auth).policy(POLICY).limit("max-sessions", "10000");
        let replay_cache = self.replay_variable(name);
        Contender::ours(name, setup.environment(variable(&replay_cache)).start())
    }

    /// Dante's server, which grants the same levels.
    pub(crate) fn dante(&self) -> Contender {
        let replay_cache = self.replay_variable("dante");
        let sockd = Sockd::new(&self.keytab).environment(variable(&replay_cache));
        Contender::theirs("dante", sockd.start())
    }

    /// A replay cache of its own, so that nobody waits for anybody else's lock.
    pub(crate) fn replay_cache(&self, name: &str) -> PathBuf {
        self.folder.file(&format!("replay-{}", name.replace(' ', "-")))
    }

    fn replay_variable(&self, name: &str) -> OsString {
        format!("file2:{}", self.replay_cache(name).display()).into()
    }
}

fn variable(replay_cache: &OsStr) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    std::iter::once((OsStr::new("KRB5RCACHENAME"), replay_cache))
}

/// Alice at a server, with a level.
pub(crate) fn alice(server: SocketAddr, level: Level) -> Client {
    let gssapi = Gssapi::new(level).service_name(SERVICE.parse().expect("a principal"));
    Client::builder(server.into()).method(gssapi).build().expect("one method that needs no host name")
}
