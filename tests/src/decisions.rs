//! What decisions are measured with: rules as large sites have them, as many as are asked for, and what is asked of them.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socks_config::Document;
use socks_core::wire::Target;
use socks_core::{Identity, Level, Timestamp};
use socks_policy::{Context, Operation, Query, Ruleset};

/// Compiles those rules, for clients with any method.
///
/// # Panics
/// When they have a mistake.
pub fn ruleset(rules: &str) -> Ruleset {
    let text = format!("version: 1\nclients: [{{ methods: [gssapi, password, none] }}]\nrules:\n{rules}");
    let document = Document::parse("policy.yaml", text).expect("the rules are YAML");
    Ruleset::load(&document, &Context::default()).expect("the rules have no mistake").ruleset
}

/// A realistic mix of `count` rules, and one behind them that lets everybody inside into the web: branch offices that
/// reach certain networks, names and suffixes, identities and groups, ports, deny lists.
pub fn mixed(count: usize) -> String {
    let mut text = String::new();
    for at in 0..count {
        let (high, low, site) = (at / 250 % 250, at % 250, at % 97);
        let keys = match at % 10 {
            0 => format!("action: deny, destination: 100.{high}.{low}.0/24"),
            1 => format!("action: deny, destination: '*.tracker-{at}.example'"),
            2 | 3 => format!(
                "action: permit, source: 10.{site}.0.0/16, destination: 172.{high}.{low}.0/24, port: [443, 8000-8999]"
            ),
            4 => format!(
                "action: permit, identity: 'user-{at}@CORP.EXAMPLE', destination: host-{at}.corp.example, port: 22"
            ),
            5 => format!(
                "action: permit, identity: 'group:team-{site}', destination: '*.team-{at}.corp.example'"
            ),
            6 => format!(
                "action: permit, identity: 'password:user-{at}', method: password, destination: 198.51.100.{low}"
            ),
            7 => format!(
                "action: permit, source: 'fd12:{high:x}:{low:x}::/48', destination: '2001:db8:{high:x}:{low:x}::/64', command: [connect, udp-associate]"
            ),
            8 => format!(
                "action: permit, identity: '*@SITE-{at}.EXAMPLE', protection: integrity, port: 1024-65535"
            ),
            _ => format!(
                "action: permit, destination: service-{at}.example, port: {}, protection: integrity",
                1000 + site
            ),
        };
        writeln!(text, "  - {{ name: rule-{at}, {keys} }}").expect("text grows");
    }
    text.push_str("  - { name: web, action: permit, source: 10.0.0.0/8, destination: [0.0.0.0/0, '::/0'], port: [80, 443] }\n");
    text
}

/// The shape that no choice of one condition helps with: `count` rules that all name the same source, and differ in the
/// combination of identity, port and destination only.
pub fn same_but(count: usize) -> String {
    let mut text = String::new();
    for at in 0..count {
        let (user, port, network) = (at % 47, at / 47 % 47, at / 47 / 47);
        writeln!(
            text,
            "  - {{ name: rule-{at}, action: permit, source: 10.0.0.0/8, identity: 'user-{user}@R', \
             port: {port}, destination: 172.16.{}.0/24 }}",
            network % 250
        )
        .expect("text grows");
    }
    text
}

/// A step of a session at which the rules are asked.
#[derive(Debug)]
pub struct Case {
    /// Its name in tables.
    pub name: &'static str,
    identity: Option<Identity>,
    target: Option<Target>,
    address: Option<IpAddr>,
    gateway: [SocketAddr; 1],
}

impl Case {
    /// The steps that go with [`mixed`] rules of that count.
    pub fn all(count: usize) -> Vec<Self> {
        let last = (count - 1) / 10 * 10 + 4;
        let elsewhere = Some("203.0.113.9");
        vec![
            Self::of("accepted", None, None, None),
            Self::of("authenticated", Some(user()), None, None),
            Self::connect("name", "www.example.org:443", None),
            Self::connect("name at an address", "www.example.org:443", elsewhere),
            Self::connect("name of a rule", "host-4.corp.example:22", elsewhere),
            Self::connect("name of a group's rule", "a.team-5.corp.example:22", elsewhere),
            Self::connect("name of nobody's rule", &format!("a.team-{last}.corp.example:22"), elsewhere),
            Self::connect("address", "172.1.2.3:443", None),
            Self::connect("address nowhere", "192.0.2.77:7", None),
            Self::connect("IPv6 address nowhere", "[64:ff9b::192.0.2.77]:7", None),
        ]
    }

    /// What is asked then.
    pub fn query(&self) -> Query<'_> {
        Query {
            listener: "127.0.0.1:1080",
            client: (Ipv4Addr::new(10, 42, 1, 1), 50000).into(),
            identity: self.identity.as_ref(),
            operation: self.target.as_ref().map(Operation::Connect),
            address: self.address,
            gateway: &self.gateway,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn connect(name: &'static str, target: &str, address: Option<&str>) -> Self {
        let address = address.map(|address| address.parse().expect("an address"));
        Self::of(name, Some(user()), Some(target.parse().expect("a target")), address)
    }

    fn of(
        name: &'static str,
        identity: Option<Identity>,
        target: Option<Target>,
        address: Option<IpAddr>,
    ) -> Self {
        let gateway = [(Ipv4Addr::new(10, 0, 0, 1), 1080).into()];
        Self { name, identity, target, address, gateway }
    }
}

/// A person with a ticket and eight groups.
fn user() -> Identity {
    let mut user =
        Identity::principal("user-4@CORP.EXAMPLE".parse().expect("a principal")).by("gssapi".into());
    user.level = Level::Confidentiality;
    user.groups = (0..8).map(|at| format!("team-{}", at * 11).into()).collect();
    user
}
