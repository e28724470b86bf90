//! The local forwarder as a child process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::lines::Lines;
use crate::{DEADLINE, Folder, command, process, program};

/// A running `socks-forward`; it is killed when this is dropped.
#[derive(Debug)]
pub struct Forwarder {
    child: Child,
    address: SocketAddr,
    out: Lines,
    log: Lines,
}

/// The command `socks-forward` towards a gateway, without anything else.
pub fn command(gateway: &str) -> Command {
    let mut command = Command::new(program::built_of("socks-client", "socks-forward"));
    command.args(["--gateway", gateway]).env_remove("RUST_LOG");
    command
}

/// A file with a password, as `--password-file` wants it.
pub fn password_file(folder: &Folder, password: &str) -> PathBuf {
    let file = folder.write("password", &format!("{password}\n"));
    folder.set_mode("password", 0o600);
    file
}

impl Forwarder {
    /// Starts it on a free port, without logging in at the gateway, and waits until it listens.
    ///
    /// # Panics
    /// When it does not come up, with all that it said.
    #[track_caller]
    pub fn start(gateway: SocketAddr) -> Self {
        let mut forwarder = command(&gateway.to_string());
        forwarder.args(["--method", "none"]);
        Self::start_as(forwarder)
    }

    /// As [`start`](Self::start), and answers questions for names.
    ///
    /// # Panics
    /// When it does not come up, with all that it said.
    #[track_caller]
    pub fn naming(gateway: SocketAddr) -> Self {
        let mut forwarder = command(&gateway.to_string());
        forwarder.args(["--method", "none", "--dns", "127.0.0.1:0"]);
        Self::start_as(forwarder)
    }

    /// Starts a command that [`command()`] began, on a free port, and waits until it listens.
    ///
    /// # Panics
    /// When it does not come up, with all that it said.
    #[track_caller]
    pub fn start_as(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it was built");
        let log = Lines::collect(child.stderr.take().expect("standard error is a pipe"));
        let out = Lines::collect(child.stdout.take().expect("standard output is a pipe"));
        let address = out.find(DEADLINE, |line| line.strip_prefix("listening on ")?.parse().ok());
        let Some(address) = address else {
            process::kill(child.id());
            panic!("the forwarder does not listen:\n{}", log.text());
        };
        Self { child, address, out, log }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks it for a name's IPv4 address, which it answers with a fake one.
    ///
    /// # Panics
    /// When it does not answer names, or not this one.
    #[track_caller]
    pub fn look_up(&self, name: &str) -> Ipv4Addr {
        let address = |line: &str| line.strip_prefix("answering names on ")?.parse().ok();
        let server: SocketAddr = self.out.find(DEADLINE, address).expect("the forwarder answers names");
        let mut drill = Command::new(command::tool("drill"));
        drill.args(["-p", &server.port().to_string(), &format!("@{}", server.ip()), name]);
        let done = command::run(&mut drill, DEADLINE).succeeded();
        let text = done.text();
        let answer = text.lines().find_map(|line| line.strip_prefix(name)?.split_once("\tA\t"));
        let (_, address) = answer.unwrap_or_else(|| panic!("no address of `{name}`: {done}"));
        address.trim().parse().expect("an address")
    }

    /// The URL of the proxy for curl: `scheme` is `socks5`, `socks5h` or `http`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// Its log so far, and what comes.
    pub fn log(&self) -> &Lines {
        &self.log
    }

    /// Waits for a line of the log.
    ///
    /// # Panics
    /// When there is none in time, with all that are there.
    #[track_caller]
    pub fn expect_line(&self, parts: &[&str]) -> String {
        let matching = |line: &str| parts.iter().all(|part| line.contains(part)).then(|| line.to_owned());
        let found = self.log.find(DEADLINE, matching);
        found.unwrap_or_else(|| panic!("no line with {parts:?}:\n{}", self.log.text()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }

    /// Waits until it has ended by itself, and gives its exit code.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn wait(mut self) -> Option<i32> {
        assert!(self.log.wait_for_end(DEADLINE), "the forwarder has not ended:\n{}", self.log.text());
        self.child.wait().expect("a child of ours can be waited for").code()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            process::kill(self.child.id());
            drop(self.child.wait());
        }
    }
}
