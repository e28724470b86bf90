//! Dante built with GSSAPI: its server as a child process, and its client before any program.
//!
//! `make dante` builds it into a cache outside the tree; see `scripts/dante`.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use krb_testenv::Realm;

use crate::rivals::{Rival, free_address, own_name};
use crate::{Folder, site};

/// The folder of Dante's in the user's cache.
const CACHED: &str = "socksd/dante-1.4.2-gssapi";
/// All levels of protection by Dante's names, for [`Sockd::levels`] and [`Socksify::levels`].
pub const LEVELS: [&str; 3] = ["clear", "integrity", "confidentiality"];

/// A server of Dante's that lets in whoever has a ticket for it, to be started with [`start`](Self::start).
///
/// It permits everything on loopback to everybody who logs in.
#[derive(Debug, Clone)]
pub struct Sockd {
    keytab: PathBuf,
    service: String,
    levels: Vec<String>,
    log: bool,
    environment: Vec<(OsString, OsString)>,
}

impl Sockd {
    /// For tickets to `socks/HOST`, with its key in a keytab, at the levels integrity and confidentiality.
    pub fn new(keytab: &Path) -> Self {
        Self {
            keytab: keytab.to_owned(),
            service: "socks".into(),
            levels: vec!["integrity".into(), "confidentiality".into()],
            log: false,
            environment: Vec::new(),
        }
    }

    /// For tickets to another service than `socks`.
    pub fn service(mut self, service: &str) -> Self {
        self.service = service.into();
        self
    }

    /// The levels that it grants, of [`LEVELS`].
    pub fn levels(mut self, levels: &[&str]) -> Self {
        self.levels = levels.iter().map(|&level| level.into()).collect();
        self
    }

    /// Writes each connection to its log, the file `sockd.log` in [`Rival::folder`]; costs time.
    pub fn logging(mut self) -> Self {
        self.log = true;
        self
    }

    /// Variables of its environment: those of the realm's `server_env`.
    pub fn environment<'a>(mut self, variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>) -> Self {
        self.environment.extend(variables.map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Starts it on a free port of 127.0.0.1 and waits until it listens.
    ///
    /// The result names the address and the process; its CPU time is that of [`process::cpu_time`], which
    /// adds the children that do the work.
    ///
    /// # Panics
    /// When Dante was not built, or does not come up.
    ///
    /// [`process::cpu_time`]: crate::process::cpu_time
    #[track_caller]
    pub fn start(&self) -> Rival {
        let (folder, address) = (Folder::new(), free_address());
        let config = folder.write("sockd.conf", &self.config(address, &folder));
        let mut command = Command::new(program("sbin/sockd"));
        command.arg("-f").arg(config).arg("-p").arg(folder.file("sockd.pid"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Rival::start(&mut command, address, folder)
    }

    fn config(&self, address: SocketAddr, folder: &Folder) -> String {
        let (own, port) = (own_name(), address.port());
        let log = folder.file("sockd.log").display().to_string();
        let (output, what) =
            if self.log { (log.as_str(), "connect disconnect error") } else { ("/dev/null", "") };
        // What a client rule does not say about GSSAPI is not taken from the socks rule but from the defaults.
        let gssapi = format!(
            "gssapi.keytab: FILE:{}\n  gssapi.servicename: {}\n  gssapi.enctype: {}",
            self.keytab.display(),
            self.service,
            self.levels.join(" ")
        );
        let everything = "from: 127.0.0.0/8 to: 127.0.0.0/8";
        let log = if what.is_empty() { String::new() } else { format!("\n  log: {what}") };
        format!(
            "logoutput: {output}\ninternal: 127.0.0.1 port = {port}\nexternal: 127.0.0.1\n\
             clientmethod: none\nsocksmethod: gssapi\nuser.privileged: {own}\nuser.unprivileged: {own}\n\
             client pass {{\n  {everything}{log}\n  {gssapi}\n}}\n\
             socks pass {{\n  {everything}{log}\n  socksmethod: gssapi\n  {gssapi}\n}}\n"
        )
    }
}

/// Dante's server in a realm of its own, and alice in it.
#[derive(Debug)]
pub struct DanteSite {
    server: Rival,
    realm: Realm,
    folder: Folder,
}

impl DanteSite {
    /// A server that grants these levels, of [`LEVELS`].
    ///
    /// # Panics
    /// When realm or server does not come up.
    #[track_caller]
    pub fn start(levels: &[&str]) -> Self {
        let (realm, folder) = (site::realm("EXAMPLE.TEST"), Folder::new());
        let keytab = folder.file("sockd.keytab");
        realm.keytab(&site::SERVICES, &keytab).expect("the services are there");
        let environment = realm.server_env(&keytab);
        let server = Sockd::new(&keytab).levels(levels).environment(environment.iter()).logging().start();
        Self { server, realm, folder }
    }

    /// The forwarder's command with a ticket of alice's, at one of our levels.
    ///
    /// # Panics
    /// When the realm gives no ticket.
    #[track_caller]
    pub fn forwarder(&self, level: &str) -> Command {
        let alice = self.realm.kinit("alice").expect("the password is right");
        let mut command = site::forwarder(self.server.address(), &alice.env());
        command.args(["--level", level]);
        command
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The realm of both.
    pub fn realm(&self) -> &Realm {
        &self.realm
    }

    /// A folder for files of the test's own; it holds the server's keytab, too.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What the server says of itself, for a test that fails.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.server.folder().file("sockd.log")).unwrap_or_default()
    }
}

/// Dante's client: what it is put before connects through a gateway without knowing of it.
#[derive(Debug)]
pub struct Socksify {
    folder: Folder,
    gateway: String,
    service: String,
    levels: Vec<String>,
    method: &'static str,
}

impl Socksify {
    /// Towards the gateway at `localhost` and this port, with tickets to `socks/localhost`, at any level that is
    /// not clear, confidentiality first: Dante's default.
    pub fn new(port: u16) -> Self {
        let levels = vec!["integrity".into(), "confidentiality".into()];
        Self {
            folder: Folder::new(),
            gateway: format!("localhost port = {port}"),
            service: "socks".into(),
            levels,
            method: "gssapi",
        }
    }

    /// Towards the gateway at an address, without authentication.
    pub fn anonymous(gateway: SocketAddr) -> Self {
        let address = format!("{} port = {}", gateway.ip(), gateway.port());
        Self { gateway: address, method: "none", ..Self::new(gateway.port()) }
    }

    /// The levels that it accepts, of [`LEVELS`]; it asks for the strongest.
    pub fn levels(mut self, levels: &[&str]) -> Self {
        self.levels = levels.iter().map(|&level| level.into()).collect();
        self
    }

    /// With tickets to another service than `socks`; Dante's own default is `rcmd`.
    pub fn service(mut self, service: &str) -> Self {
        self.service = service.into();
        self
    }

    /// A command that runs a program, by its path, behind Dante's client.
    ///
    /// The caller adds the realm's variables. It must not outlive this value, whose files it reads.
    ///
    /// # Panics
    /// When Dante was not built.
    #[track_caller]
    pub fn command(&self, inner: &Path) -> Command {
        let config = self.folder.write("socks.conf", &self.config());
        let mut command = Command::new(program("bin/socksify"));
        command.arg(inner).env("SOCKS_CONF", config);
        // On loopback everything is "local", and what is local would be reached without the gateway.
        command.env("SOCKS_AUTOADD_LANROUTES", "no");
        command
    }

    /// What Dante's client has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.file("socks.log")).unwrap_or_default()
    }

    fn config(&self) -> String {
        format!(
            "logoutput: {}\nroute {{\n  from: 0.0.0.0/0 to: 0.0.0.0/0 via: {}\n  \
             proxyprotocol: socks_v5\n  protocol: tcp udp\n  command: connect bind udpassociate\n  method: {}\n  \
             gssapi.servicename: {}\n  gssapi.enctype: {}\n}}\n",
            self.folder.file("socks.log").display(),
            self.gateway,
            self.method,
            self.service,
            self.levels.join(" ")
        )
    }
}

/// A program of Dante's.
///
/// # Panics
/// When Dante was not built: a test that cannot run says so.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let place = variable("SOCKSD_DANTE").or_else(|| Some(cache()?.join(CACHED)));
    let place = place.expect("`HOME` or `SOCKSD_DANTE` tells where Dante lies");
    let file = place.join(name);
    assert!(file.is_file(), "Dante with GSSAPI is not in {}: run `make dante`", place.display());
    file
}
