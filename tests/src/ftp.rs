//! FTP with real programs: pyftpdlib as the server, tnftp and Python's ftplib as clients.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::command::{self, Finished};
use crate::lines::Lines;
use crate::{DEADLINE, Folder, process};

/// Debian's Python; another one would not find Debian's modules.
const PYTHON: &str = "/usr/bin/python3";
/// A client on Python's ftplib.
const FTPLIB: &str = include_str!("ftp.py");
const USER: &str = "alice";
const PASSWORD: &str = "sesame";
/// For some transfers on a busy machine.
const SESSION: Duration = Duration::from_secs(120);

/// A running FTP server; it is killed when this is dropped.
#[derive(Debug)]
pub struct FtpServer {
    child: Child,
    address: SocketAddr,
    folder: Folder,
    log: Lines,
}

impl FtpServer {
    /// Starts a server on a free port of that address, with an empty folder that its user may write to.
    ///
    /// # Panics
    /// When it is not installed, or does not come up.
    #[track_caller]
    pub fn start(ip: IpAddr) -> Self {
        let folder = Folder::new();
        let mut server = Command::new(PYTHON);
        server.args(["-u", "-m", "pyftpdlib", "--write", "--port", "0", "--interface", &ip.to_string()]);
        server.arg("--directory").arg(folder.file("")).args(["--username", USER, "--password", PASSWORD]);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = server.spawn().unwrap_or_else(|error| panic!("cannot start {server:?}: {error}"));
        let log = Lines::collect(child.stderr.take().expect("standard error is a pipe"));
        let Some(address) = log.find(DEADLINE, listening) else {
            process::kill(child.id());
            panic!("the FTP server does not listen:\n{}", log.text());
        };
        Self { child, address, folder, log }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder that it serves.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.log.text()
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        process::kill(self.child.id());
        drop(self.child.wait());
    }
}

/// `... starting FTP server on 127.0.0.1:40123, pid=1 <<<`
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("starting FTP server on ")?;
    rest.split(',').next()?.parse().ok()
}

/// Who opens the connections that files come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The client.
    Passive,
    /// The server.
    Active,
}

/// Fetching one file and storing another.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// Where the server listens.
    pub server: SocketAddr,
    /// Who opens the connections for the files.
    pub mode: Mode,
    /// The client's own folder.
    pub folder: &'a Path,
    /// The file to fetch, a name without a path.
    pub down: &'a str,
    /// The file to store, a name without a path.
    pub up: &'a str,
}

impl Exchange<'_> {
    /// Lets `client` do it, which is tnftp or a command that runs it.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn by_tnftp(&self, client: &mut Command) -> Finished {
        let Self { server, mode, folder, down, up } = *self;
        let passive = if mode == Mode::Passive { "on" } else { "off" };
        let (host, port) = (server.ip(), server.port());
        let script = format!(
            "epsv4 off\nopen {host} {port}\nuser {USER} {PASSWORD}\nbinary\npassive {passive}\n\
             get {down}\nput {up}\nbye\n"
        );
        client.args(["-n", "-v"]).current_dir(folder);
        command::run_with_input(client, script.as_bytes(), SESSION)
    }

    /// Lets `client` do it, which is [`python`] or a command that runs it.
    ///
    /// Under Dante's client what tnftp writes through C's streams is not protected, so with GSSAPI it is of no use.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn by_ftplib(&self, client: &mut Command) -> Finished {
        let Self { server, mode, folder, down, up } = *self;
        let mode = if mode == Mode::Passive { "passive" } else { "active" };
        client.args(["-c", FTPLIB, &server.ip().to_string(), &server.port().to_string()]);
        client.args([USER, PASSWORD, mode, down, up]).current_dir(folder);
        command::run(client, SESSION)
    }
}

/// Python, where Debian's modules are.
pub fn python() -> &'static Path {
    Path::new(PYTHON)
}
