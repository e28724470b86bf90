//! A realm that lives as long as its value.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::builder::{Login, RealmBuilder, Settings};
use crate::clock::Clock;
use crate::conf::{Common, Conf, Peer, kdc_conf};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::kadmin::{Script, word};
use crate::kdc::Kdc;
use crate::port::Reservation;
use crate::process::{Deadline, KDB5_UTIL, write_file};

/// A running throw-away realm: its KDC, its database and its files, all gone when it is dropped.
///
/// Every method takes `&self`, so that one realm can serve the threads of a test program.
#[derive(Debug)]
pub struct Realm {
    // Order matters: the KDC ends before its folder goes.
    kdc: Mutex<Service>,
    pub(crate) settings: Settings,
    pub(crate) port: u16,
    pub(crate) users: Mutex<BTreeMap<String, Login>>,
    links: Mutex<Links>,
    administration: Mutex<()>,
    next: AtomicU32,
    pub(crate) folder: Folder,
}

/// The KDC, or its port while it is down.
#[derive(Debug)]
enum Service {
    Up(Kdc),
    Down { _port: Option<Reservation> },
}

/// What may change in a realm's `krb5.conf` files while it runs.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) peers: Vec<Peer>,
    pub(crate) paths: Vec<(String, String, String)>,
    confs: BTreeMap<String, Conf>,
}

/// The name of the `krb5.conf` that everybody uses who asks for none of their own.
const OWN_CONF: &str = "krb5";

impl Realm {
    /// Starts the realm `EXAMPLE.TEST` with the user `alice`, password `secret`, and the services `socks/localhost` and
    /// `rcmd/localhost`.
    ///
    /// # Errors
    /// As [`RealmBuilder::start`].
    pub fn start() -> Result<Self> {
        let builder = Self::builder("EXAMPLE.TEST").user("alice", "secret");
        builder.service("socks/localhost").service("rcmd/localhost").start()
    }

    /// Describes a realm of that name, without users and services so far.
    pub fn builder(name: &str) -> RealmBuilder {
        RealmBuilder::new(name)
    }

    pub(crate) fn launch(builder: RealmBuilder) -> Result<Self> {
        let RealmBuilder { settings, users, services } = builder;
        let deadline = Deadline::after(settings.limit);
        let folder = Folder::create()?;
        let reservation = Reservation::any()?;
        let realm = Self {
            kdc: Mutex::new(Service::Down { _port: None }),
            port: reservation.port(),
            settings,
            users: Mutex::default(),
            links: Mutex::default(),
            administration: Mutex::default(),
            next: AtomicU32::new(0),
            folder,
        };
        realm.conf(OWN_CONF, &Conf::new())?;
        realm.create_database(deadline)?;
        let mut script = Script::default();
        for (name, login) in &users {
            script.add(name, login.password());
        }
        for name in &services {
            script.add(name, None);
        }
        realm.administer(&script, deadline)?;
        lock(&realm.users).extend(users);
        let kdc = realm.run_kdc("kdc", (reservation, deadline), realm.settings.clock)?;
        *lock(&realm.kdc) = Service::Up(kdc);
        Ok(realm)
    }

    /// The realm's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The KDC's port on 127.0.0.1, for UDP and TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The KDC's process; `None` while it is stopped.
    pub fn kdc_pid(&self) -> Option<u32> {
        match &*lock(&self.kdc) {
            Service::Up(kdc) => Some(kdc.pid()),
            Service::Down { .. } => None,
        }
    }

    /// The folder of all the realm's files, removed with it. Callers may put theirs there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the KDC has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("kdc.log")).unwrap_or_default()
    }

    /// What a client needs in its environment to reach the realm: the `krb5.conf`, and a cache that is still empty.
    ///
    /// For a user with tickets see [`Ccache::env`](crate::Ccache::env).
    pub fn client_env(&self) -> Environment {
        let cache = self.folder.join("caches/default");
        self.environment().with("KRB5CCNAME", format!("FILE:{}", cache.display()))
    }

    /// What a server needs in its environment to accept tickets of the realm: the `krb5.conf`, its keytab, and a replay
    /// cache of its own in the realm's folder.
    pub fn server_env(&self, keytab: impl AsRef<Path>) -> Environment {
        let cache = self.folder.join(format!("replay-{}", self.number()));
        self.environment()
            .with("KRB5_KTNAME", format!("FILE:{}", keytab.as_ref().display()))
            .with("KRB5RCACHENAME", format!("file2:{}", cache.display()))
    }

    /// Writes a `krb5.conf` with differences, for [`Environment::config`] or [`Kinit::conf`](crate::Kinit::conf).
    ///
    /// It follows the realm: one more trusted realm is written to it, too.
    ///
    /// # Errors
    /// When the name cannot be one of a file or the file cannot be written.
    pub fn conf(&self, name: &str, conf: &Conf) -> Result<PathBuf> {
        if word(name)?.contains('/') {
            return Err(Error::Text(name.to_owned()));
        }
        let mut links = lock(&self.links);
        links.confs.insert(name.to_owned(), conf.clone());
        self.write_confs(&links)?;
        Ok(self.conf_file(name))
    }

    /// Stops the KDC. Whoever calls it is refused at once; tickets already issued stay good.
    pub fn stop_kdc(&self) {
        let mut kdc = lock(&self.kdc);
        *kdc = Service::Down { _port: None };
        *kdc = Service::Down { _port: Reservation::refusing(self.port).ok() };
    }

    /// Starts the KDC again at its port; one that runs is started anew.
    ///
    /// # Errors
    /// When it fails or is late.
    pub fn start_kdc(&self) -> Result<()> {
        let mut kdc = lock(&self.kdc);
        *kdc = Service::Down { _port: None };
        let held = (Reservation::refusing(self.port)?, self.deadline());
        *kdc = Service::Up(self.run_kdc("kdc", held, self.settings.clock)?);
        Ok(())
    }

    /// Changes what the realm's `krb5.conf` files say, and writes them.
    pub(crate) fn link(&self, change: impl FnOnce(&mut Links)) -> Result<()> {
        let mut links = lock(&self.links);
        change(&mut links);
        self.write_confs(&links)
    }

    /// Has kadmin.local do something; one at a time, for it locks the database.
    pub(crate) fn administer(&self, script: &Script, deadline: Deadline) -> Result<String> {
        if script.is_empty() {
            return Ok(String::new());
        }
        let _turn = lock(&self.administration);
        script.run(self.name(), &self.kdc_environment("kdc"), deadline)
    }

    /// The deadline of what begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.settings.limit)
    }

    /// A number for a file's name, given once.
    pub(crate) fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The environment that all of the realm's programs share.
    pub(crate) fn environment(&self) -> Environment {
        Environment::default().config(self.conf_file(OWN_CONF))
    }

    /// The text of a `krb5.conf` that names a KDC at another port.
    pub(crate) fn conf_with_port(&self, port: u16) -> String {
        self.common(&lock(&self.links), port).krb5_conf(&Conf::new())
    }

    /// Runs a KDC on the realm's database, with files and a `kdc.conf` of that name.
    pub(crate) fn run_kdc(
        &self,
        name: &str,
        held: (Reservation, Deadline),
        clock: Option<Clock>,
    ) -> Result<Kdc> {
        let pid_file = self.folder.join(format!("{name}.pid"));
        Kdc::start(&self.kdc_environment(name), &pid_file, clock, held)
    }

    /// The environment of a KDC and of what works on its database.
    pub(crate) fn kdc_environment(&self, name: &str) -> Environment {
        self.environment().with("KRB5_KDC_PROFILE", self.folder.join(format!("{name}.conf")))
    }

    fn create_database(&self, deadline: Deadline) -> Result<()> {
        let text = kdc_conf(&self.settings, self.folder.path(), self.port);
        write_file(&self.folder.join("kdc.conf"), text.as_bytes())?;
        let call = KDB5_UTIL.call(&self.kdc_environment("kdc"), deadline)?;
        call.args(["-r", self.name(), "create", "-s", "-P", "not a secret"]).run().map(drop)
    }

    fn write_confs(&self, links: &Links) -> Result<()> {
        let common = self.common(links, self.port);
        links
            .confs
            .iter()
            .try_for_each(|(name, conf)| write_file(&self.conf_file(name), common.krb5_conf(conf).as_bytes()))
    }

    fn common<'a>(&'a self, links: &'a Links, port: u16) -> Common<'a> {
        let (peers, paths) = (&links.peers, &links.paths);
        Common { settings: &self.settings, folder: self.folder.path(), port, peers, paths }
    }

    fn conf_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("conf/{name}.conf"))
    }
}

impl Login {
    pub(crate) fn password(&self) -> Option<&str> {
        match self {
            Self::Password(password) => Some(password),
            Self::Key => None,
        }
    }
}

/// Locks what a panicking thread may have held: none of it is ever left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
