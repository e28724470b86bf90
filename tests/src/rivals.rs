//! Other SOCKS servers on the same machine, to be measured beside ours.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{DEADLINE, Folder, command, process, program};

/// A running server of somebody else's; it is ended when this is dropped.
#[derive(Debug)]
pub struct Rival {
    child: Child,
    address: SocketAddr,
    folder: Folder,
}

impl Rival {
    /// Debian's microsocks, without authentication.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn microsocks() -> Self {
        let address = free_address();
        let mut command = Command::new(command::tool("microsocks"));
        command.args(["-i", "127.0.0.1", "-p"]).arg(address.port().to_string());
        Self::start(&mut command, address, Folder::new())
    }

    /// Debian's danted, without authentication and without a log.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn danted() -> Self {
        let (folder, address) = (Folder::new(), free_address());
        // It changes between these two; who is not root can only remain who he is.
        let own = own_name();
        let lowest = if process::is_root() { "nobody" } else { &own };
        let rule = "{ from: 127.0.0.0/8 to: 127.0.0.0/8 }";
        let config = folder.write(
            "danted.conf",
            &format!(
                "errorlog: stderr\ninternal: 127.0.0.1 port = {}\nexternal: 127.0.0.1\n\
                 clientmethod: none\nsocksmethod: none\nuser.privileged: {own}\nuser.unprivileged: {lowest}\n\
                 client pass {rule}\nsocks pass {rule}\n",
                address.port()
            ),
        );
        let mut command = Command::new(command::tool("danted"));
        command.arg("-f").arg(config).arg("-p").arg(folder.file("danted.pid"));
        Self::start(&mut command, address, folder)
    }

    /// The relay of a few lines that does nothing but splice(2), for what the kernel's own work costs.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn splice() -> Self {
        let address = free_address();
        let mut command = Command::new(program::built_of("tests", "splice-relay"));
        Self::start(command.arg(address.to_string()), address, Folder::new())
    }

    /// hev-socks5-server with a thread for each processor; `None` when it is not on the PATH.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn hev() -> Option<Self> {
        let program = command::find("hev-socks5-server")?;
        let (folder, address) = (Folder::new(), free_address());
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let config = folder.write(
            "hev.yml",
            &format!(
                "main:\n  workers: {workers}\n  port: {}\n  listen-address: '127.0.0.1'\n\
                 misc:\n  log-level: error\n  limit-nofile: 20000\n",
                address.port()
            ),
        );
        Some(Self::start(Command::new(program).arg(config), address, folder))
    }

    /// 3proxy without a log; `None` when it is not on the PATH.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn three_proxy() -> Option<Self> {
        let program = command::find("3proxy")?;
        let (folder, address) = (Folder::new(), free_address());
        let line = format!("socks -i127.0.0.1 -p{}", address.port());
        let config = folder.write("3proxy.cfg", &format!("maxconn 20000\nauth none\n{line}\n"));
        Some(Self::start(Command::new(program).arg(config), address, folder))
    }

    /// The client of shadowsocks-rust with a list that sends everything directly, so that its own server is
    /// never asked: a plain SOCKS server. `None` when it is not on the PATH.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn sslocal() -> Option<Self> {
        let program = command::find("sslocal")?;
        let (folder, address) = (Folder::new(), free_address());
        let list = folder.write("direct.acl", "[bypass_all]\n");
        let mut command = Command::new(program);
        command.args(["-U", "--local-addr"]).arg(address.to_string());
        command.args(["--server-addr", "127.0.0.1:9", "--encrypt-method", "none", "--acl"]).arg(list);
        Some(Self::start(&mut command, address, folder))
    }

    /// Debian's haproxy before a gateway: it comes from `source`, looks after the gateway all the time, and says
    /// by a PROXY header for whom it is, `send-proxy` or `send-proxy-v2` with what belongs to that.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn haproxy(gateway: SocketAddr, source: &str, send: &str) -> Self {
        let (folder, address) = (Folder::new(), free_address());
        let config = folder.write(
            "haproxy.cfg",
            &format!(
                "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  \
                 timeout server 1m\nlisten door\n  bind {address}\n  source {source}\n  \
                 server gateway {gateway} {send} check inter 50ms\n"
            ),
        );
        let mut command = Command::new(command::tool("haproxy"));
        command.arg("-db").arg("-f").arg(config);
        Self::start(&mut command, address, folder)
    }

    /// Starts a server that keeps its files in that folder, and waits until it listens.
    ///
    /// # Panics
    /// When it cannot be started, or does not come up.
    pub fn start(command: &mut Command, address: SocketAddr, folder: Folder) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let rival = Self { child, address, folder };
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "{command:?} does not listen on {address}");
            thread::sleep(Duration::from_millis(20));
        }
        rival
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder with its configuration, and its log where it has one.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its process; it may have children.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let children = process::children(self.pid());
        process::signal(self.pid(), Signal::TERM);
        let until = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
        process::kill(self.pid());
        drop(self.child.wait());
        // danted's mother ends its children, unless she was killed first.
        children.into_iter().filter(|&pid| process::parent(pid) == Some(1)).for_each(process::kill);
    }
}

/// The name of the user who runs this.
pub(crate) fn own_name() -> String {
    let id = command::run(Command::new(command::tool("id")).arg("-un"), DEADLINE).succeeded();
    id.text().trim().to_owned()
}

/// A port that was free a moment ago: these servers cannot choose one themselves.
pub(crate) fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    listener.local_addr().expect("a bound listener")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, targets};

    #[test]
    fn both_relay_and_their_processes_can_be_measured() {
        let echo = targets::echo();
        for rival in [Rival::microsocks(), Rival::danted()] {
            let mut client = Client::tunnel(rival.address(), echo.address);
            client.expect_echo(b"hello");
            let before = process::cpu_time(rival.pid());
            let load = vec![7; 64 * 1024];
            let until = Instant::now() + DEADLINE;
            while process::cpu_time(rival.pid()) == before {
                client.expect_echo(&load);
                assert!(Instant::now() < until, "relaying takes no time");
            }
        }
    }
}
