//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ipnet::IpNet;
use socks_client::{Level, ServiceName, Target, Timeouts};
use socks_core::wire::Host;

/// The port of a gateway that is named without one (RFC 1928 section 3).
const SOCKS_PORT: u16 = 1080;

/// Carry connections of local programs through a SOCKS5 gateway, with Kerberos and encryption
#[derive(Debug, Parser)]
#[command(name = "socks-forward", version)]
pub(crate) struct Arguments {
    /// The gateway; the port is 1080 if left out
    #[arg(long, short, value_name = "HOST:PORT", value_parser = gateway)]
    pub(crate) gateway: Target,

    /// Where local programs connect, by SOCKS 5 or HTTP CONNECT; port 0 takes a free one
    #[arg(long, short, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1080")]
    pub(crate) listen: SocketAddr,

    /// Let --listen name an address that other machines reach: whoever does goes out in your name
    #[arg(long)]
    pub(crate) allow_remote: bool,

    /// Answer DNS questions there with fake addresses, which stand for the names in requests to --listen
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "stdio")]
    pub(crate) dns: Option<SocketAddr>,

    /// The network of the fake addresses, which must lead nowhere else; twice for both families
    #[arg(long, value_name = "NETWORK", requires = "dns", default_value = "198.18.0.0/15")]
    pub(crate) fake_addresses: Vec<IpNet>,

    /// Carry one connection over standard input and output, for ssh's ProxyCommand
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["listen", "allow_remote"])]
    pub(crate) stdio: Option<Target>,

    /// How to log in [default: gssapi, or password with --user]
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<LoginMethod>,

    /// How octets between here and the gateway are protected with Kerberos, and nothing else is accepted:
    /// confidentiality, integrity, selective or none [default: confidentiality]
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub(crate) level: Option<Level>,

    /// The Kerberos service of the gateway: a ticket for SERVICE@HOST is used
    #[arg(long, value_name = "SERVICE", default_value = "socks")]
    pub(crate) service: String,

    /// The Kerberos service in full, such as rcmd/gateway.example@REALM or rcmd@gateway.example
    #[arg(long, value_name = "NAME", conflicts_with = "service")]
    pub(crate) spn: Option<ServiceName>,

    /// The ticket cache, such as FILE:/run/user/1000/krb5cc, if it is not the usual one
    #[arg(long, value_name = "CACHE")]
    pub(crate) ccache: Option<String>,

    /// Log in with this user name; the password is asked for
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Take the password from the first line of this file in place of asking
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,

    /// Connections carried at a time; one more is closed at once
    #[arg(long, value_name = "COUNT", default_value_t = 512)]
    pub(crate) max_connections: usize,

    /// How long the gateway may take to answer at all
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    pub(crate) connect_timeout: Duration,

    /// How long logging in may take
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    pub(crate) handshake_timeout: Duration,

    /// How long the gateway may take to reach a target
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "75s")]
    pub(crate) request_timeout: Duration,

    /// How long a BIND may wait for its peer; the gateway has its own bound
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10m")]
    pub(crate) arrival_timeout: Duration,

    /// End connections over which nothing has moved for so long [default: never]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) idle_timeout: Option<Duration>,

    /// How long open connections may go on after SIGTERM or SIGINT; a second one ends them
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    pub(crate) drain: Duration,

    /// How much to log: error, warn, info, debug [default: info, with --stdio: error]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<LogLevel>,
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoginMethod {
    /// With a Kerberos ticket
    Gssapi,
    /// With user name and password, in the clear
    Password,
    /// Not at all
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl Arguments {
    /// The method to log in with.
    pub(crate) fn method(&self) -> LoginMethod {
        let usual = if self.user.is_some() { LoginMethod::Password } else { LoginMethod::Gssapi };
        self.method.unwrap_or(usual)
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: self.connect_timeout,
            handshake: self.handshake_timeout,
            request: self.request_timeout,
            arrival: self.arrival_timeout,
        }
    }

    pub(crate) fn log_filter(&self) -> &'static str {
        match (self.log, &self.stdio) {
            (Some(LogLevel::Error), _) | (None, Some(_)) => "error",
            (Some(LogLevel::Warn), _) => "warn",
            (Some(LogLevel::Info), _) | (None, None) => "info",
            (Some(LogLevel::Debug), _) => "debug",
        }
    }
}

fn gateway(text: &str) -> Result<Target, String> {
    if let Ok(target) = text.parse() {
        return Ok(target);
    }
    let host = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let host: Host = host.parse().map_err(|why| format!("`{text}` {why}"))?;
    Ok(Target { host, port: SOCKS_PORT })
}

fn level(text: &str) -> Result<Level, String> {
    let known = Level::ALL.map(Level::as_str).join(", ");
    Level::ALL.into_iter().find(|level| level.as_str() == text).ok_or_else(|| format!("it is one of {known}"))
}

fn time(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| duration.try_into().ok());
    duration.filter(|time| *time > Duration::ZERO).ok_or_else(|| "it is written like `30s` or `5m`".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(format!("socks-forward {words}").split_whitespace())
    }

    #[test]
    fn the_command_line_is_put_together_rightly() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_gateway_alone_means_kerberos_and_encryption() {
        let arguments = parse("--gateway gw.example").unwrap();
        assert_eq!(arguments.gateway.to_string(), "gw.example:1080");
        assert_eq!((arguments.method(), arguments.level), (LoginMethod::Gssapi, None));
        assert_eq!((arguments.service.as_str(), arguments.log_filter()), ("socks", "info"));
        assert_eq!(arguments.timeouts(), Timeouts::default());
    }

    #[test]
    fn gateways_have_names_or_addresses_with_a_port_or_without() {
        let table = [
            ("gw:9", "gw:9"),
            ("10.0.0.1", "10.0.0.1:1080"),
            ("[::1]:9", "[::1]:9"),
            ("::1", "[::1]:1080"),
            ("[::1]", "[::1]:1080"),
        ];
        for (text, expected) in table {
            assert_eq!(gateway(text).unwrap().to_string(), expected);
        }
        for text in ["", "gw:", "gw:70000", "a b", "gw:1080:1"] {
            assert!(gateway(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_user_means_a_password_unless_a_method_is_named() {
        assert_eq!(parse("-g gw --user alice").unwrap().method(), LoginMethod::Password);
        assert_eq!(parse("-g gw --user alice --method gssapi").unwrap().method(), LoginMethod::Gssapi);
        assert_eq!(parse("-g gw --method none").unwrap().method(), LoginMethod::None);
    }

    #[test]
    fn fake_addresses_are_those_for_benchmarks_unless_said_otherwise() {
        let networks = |words: &str| {
            let arguments = parse(&format!("-g gw --dns 127.0.0.1:53 {words}")).unwrap();
            arguments.fake_addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(networks(""), ["198.18.0.0/15"]);
        let both = networks("--fake-addresses 10.9.0.0/16 --fake-addresses fd00::/64");
        assert_eq!(both, ["10.9.0.0/16", "fd00::/64"]);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for words in [
            "",
            "-g gw --spn a/b --service c",
            "-g gw --spn nonsense",
            "-g gw --stdio web:80 --listen 127.0.0.1:1",
            "-g gw --level strong",
            "-g gw --password-file f",
            "-g gw --drain 5",
            "-g gw --drain -5s",
            "-g gw --idle-timeout 0s",
            "-g gw --fake-addresses 10.0.0.0/8",
            "-g gw --dns 127.0.0.1:53 --fake-addresses 10.0.0.0",
            "-g gw --dns 127.0.0.1:53 --stdio web:80",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
