//! The servers that are measured beside each other, and traffic without one.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::rivals::Rival;
use crate::{Client, DEADLINE, Setup, command, dante, process, program};

use super::rules;

/// One of them.
#[derive(Debug)]
pub struct Contender {
    name: &'static str,
    server: Option<Rival>,
}

/// Starts one; `None` when its program is not there.
type Start = fn() -> Option<Rival>;

impl Contender {
    /// Traffic without a server between: the ceiling.
    pub const DIRECT: &'static str = "direct";
    /// The bare splice loop.
    pub const SPLICE: &'static str = "splice";
    /// The gateway with one rule and a log of warnings.
    pub const OURS: &'static str = "socksd";
    /// The gateway with records in a file, and 10,000 rules before the one that permits.
    pub const FULL: &'static str = "socksd-full";
    /// How many rules that one has.
    pub const MANY: usize = 10_000;
    /// Other people's servers, by which a bound says "every peer".
    pub const PEERS: [&'static str; 6] =
        ["microsocks", "danted", "dante", "hev-socks5-server", "3proxy", "sslocal"];

    /// How the servers without authentication are started.
    const PLAIN: [(&'static str, Start); 8] = [
        (Self::SPLICE, || Some(Rival::splice())),
        (Self::OURS, || Some(Self::setup(Self::OURS).start_quiet())),
        (Self::FULL, || Some(Self::setup(Self::FULL).policy(&rules(Self::MANY)).start_quiet())),
        ("microsocks", || Some(Rival::microsocks())),
        ("danted", || Some(Rival::danted())),
        ("hev-socks5-server", Rival::hev),
        ("3proxy", Rival::three_proxy),
        ("sslocal", Rival::sslocal),
    ];

    /// The names of all that take part without authentication, traffic without a server first.
    pub fn plain() -> impl Iterator<Item = &'static str> {
        std::iter::once(Self::DIRECT).chain(Self::PLAIN.into_iter().map(|(name, _)| name))
    }

    /// Starts the one of this name without authentication; `None` when its program is not there.
    ///
    /// # Panics
    /// When nobody has this name, or its server does not come up.
    pub fn start(name: &str) -> Option<Self> {
        if name == Self::DIRECT {
            return Some(Self { name: Self::DIRECT, server: None });
        }
        let known = Self::PLAIN.into_iter().find(|(known, _)| *known == name);
        let (name, start) = known.unwrap_or_else(|| panic!("no contender has the name `{name}`"));
        Some(Self::of(name, start()?))
    }

    /// A server that runs already.
    pub fn of(name: &'static str, server: Rival) -> Self {
        Self { name, server: Some(server) }
    }

    /// The gateway's configuration, as small as can be: what other servers do not do is off. Only
    /// [`FULL`](Self::FULL) keeps records in a file; its rules are the caller's business.
    pub fn setup(name: &str) -> Setup {
        let setup = Setup::new().limit("max-sessions", "100000");
        if name == Self::FULL { setup } else { setup.without_audit() }
    }

    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where its server listens; `None` when there is none between.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Rival::address)
    }

    /// A connection to a target, through the server if there is one.
    ///
    /// # Panics
    /// When it is not granted.
    #[track_caller]
    pub fn tunnel(&self, target: SocketAddr) -> TcpStream {
        match self.address() {
            Some(server) => Client::tunnel(server, target).into_stream(),
            None => Client::connect(target).into_stream(),
        }
    }

    /// The processor time that the server has taken, its children included.
    pub fn cpu_time(&self) -> Duration {
        self.server.as_ref().map_or(Duration::ZERO, |server| process::cpu_time(server.pid()))
    }

    /// The memory of the server and its children, in octets; `None` when there is no server.
    pub fn memory(&self) -> Option<u64> {
        self.server.as_ref().map(|server| process::memory(server.pid()))
    }
}

/// What a program says of its version.
pub fn version(contender: &str) -> Option<String> {
    match contender {
        Contender::OURS => first_line(&program::built("socksd"), "--version"),
        "microsocks" => {
            let mut query = Command::new("dpkg-query");
            let found = query.args(["-W", "-f", "${Version}", "microsocks"]).output().ok()?;
            found.status.success().then(|| String::from_utf8_lossy(&found.stdout).trim().to_owned())
        }
        "danted" => first_line(&command::tool("danted"), "-v"),
        "dante" => first_line(&dante::program("sbin/sockd"), "-v"),
        name if Contender::PEERS.contains(&name) => first_line(&command::find(name)?, "--version"),
        _ => None,
    }
}

fn first_line(program: &Path, option: impl AsRef<OsStr>) -> Option<String> {
    let said = command::run(Command::new(program).arg(option), DEADLINE);
    let text = if said.stdout.is_empty() { said.stderr.clone() } else { said.text() };
    Some(text.lines().next()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets;

    #[test]
    fn every_contender_that_is_here_carries_octets_and_has_a_version() {
        let echo = targets::echo();
        for name in Contender::plain().filter(|name| *name != Contender::FULL) {
            let Some(contender) = Contender::start(name) else { continue };
            let mut client = Client::over(contender.tunnel(echo.address));
            client.expect_echo(b"hello");
            assert_eq!(contender.address().is_some(), contender.memory().is_some_and(|memory| memory > 0));
            let named = name == Contender::OURS || Contender::PEERS.contains(&name);
            assert_eq!(named, version(name).is_some_and(|version| !version.is_empty()), "{name}");
        }
    }
}
