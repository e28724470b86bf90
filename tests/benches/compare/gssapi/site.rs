//! A realm around this program, and the servers in it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use krb_testenv::{Enctype, Realm};
use socks_client::{Client, Gssapi, Level};
use tests::Folder;
use tests::bench::{Contender, rules};
use tests::dante::Sockd;

use crate::bench::Bench;

/// The service that all servers are, by its principal: no name has to be looked up.
pub(super) const SERVICE: &str = "socks/localhost@EXAMPLE.TEST";
/// The gateway with MIT's library in place of its own engine.
pub(super) const MIT: &str = "socksd-mit";
/// Dante's server with GSSAPI.
pub(super) const DANTE: &str = "dante";
/// Names the servers' keytab to the child that does the work.
const KEYTAB: &str = "BENCH_KEYTAB";
const CLIENTS: &str = "clients: [{ methods: [gssapi], protection: [integrity, confidentiality] }]\n";

/// Starts the realm and runs this program once more in it: MIT's library reads its environment, and no process
/// may change its own.
pub(crate) fn run_in_realm() -> Option<ExitCode> {
    if env::var_os(KEYTAB).is_some() {
        return None;
    }
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
    Some(if done.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The realm around this program, where alice has a ticket.
#[derive(Debug)]
pub(super) struct Site {
    /// The servers' keytab.
    pub(super) keytab: PathBuf,
    folder: Folder,
}

impl Site {
    /// `None`: there is no realm around.
    pub(super) fn around() -> Option<Self> {
        Some(Self { keytab: env::var_os(KEYTAB)?.into(), folder: Folder::new() })
    }

    /// The gateway, the gateway with records and many rules, and Dante, as far as they are wanted.
    pub(super) fn servers<T>(&self, bench: &mut Bench, scenarios: &[T]) -> Vec<Contender> {
        self.start(bench, scenarios, &[Contender::OURS, Contender::FULL, DANTE])
    }

    /// Those of these names which are wanted; none without a scenario.
    pub(super) fn start<T>(
        &self,
        bench: &mut Bench,
        scenarios: &[T],
        names: &[&'static str],
    ) -> Vec<Contender> {
        let wanted = names.iter().filter(|name| !scenarios.is_empty() && bench.options.want_contender(name));
        let wanted: Vec<_> = wanted.copied().collect();
        wanted.iter().for_each(|name| bench.name_version(name));
        wanted.into_iter().map(|name| if name == DANTE { self.dante() } else { self.gateway(name) }).collect()
    }

    /// A gateway of ours, by what its name says of it.
    pub(super) fn gateway(&self, name: &'static str) -> Contender {
        let (keytab, engine) = (self.keytab.display(), if name == MIT { "mit" } else { "own" });
        let auth = format!("  - kind: gssapi\n    options: {{ keytab: {keytab}, engine: {engine} }}\n");
        let count = if name == Contender::FULL { Contender::MANY } else { 1 };
        let policy = format!("{}{CLIENTS}", rules(count));
        let replay_cache = self.replay_variable(name);
        let setup = Contender::setup(name).auth(&auth).policy(&policy);
        Contender::of(name, setup.environment(variable(&replay_cache)).start_quiet())
    }

    /// Dante's server, which grants the same levels.
    fn dante(&self) -> Contender {
        let replay_cache = self.replay_variable(DANTE);
        Contender::of(DANTE, Sockd::new(&self.keytab).environment(variable(&replay_cache)).start())
    }

    /// A replay cache of its own, so that nobody waits for anybody else's lock.
    pub(super) fn replay_cache(&self, name: &str) -> PathBuf {
        self.folder.file(&format!("replay-{name}"))
    }

    fn replay_variable(&self, name: &str) -> OsString {
        format!("file2:{}", self.replay_cache(name).display()).into()
    }
}

fn variable(replay_cache: &OsStr) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    std::iter::once((OsStr::new("KRB5RCACHENAME"), replay_cache))
}

/// Alice at a server, with a level.
pub(super) fn alice(server: SocketAddr, level: Level) -> Client {
    let gssapi = Gssapi::new(level).service_name(SERVICE.parse().expect("a principal"));
    Client::builder(server.into()).method(gssapi).build().expect("one method that needs no host name")
}
