//! What a decision costs with 10, 10,000 and 100,000 rules, at each step of a session.
//!
//! The rules are a mix as large sites have it: branch offices that reach certain networks, names and suffixes,
//! identities and groups, ports, deny lists, and a few rules for everybody. `same-but` is the shape that no
//! choice of one condition helps with: all rules name the same source, and differ in combinations only.

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use socks_config::Document;
use socks_core::wire::Target;
use socks_core::{Identity, Level, Timestamp};
use socks_policy::{Context, Operation, Query, Ruleset};

const SIZES: [usize; 3] = [10, 10_000, 100_000];

fn load(rules: &str) -> Ruleset {
    let text = format!("version: 1\nclients: [{{ methods: [gssapi, password, none] }}]\nrules:\n{rules}");
    let document = Document::parse("bench.yaml", text).expect("the rules are YAML");
    Ruleset::load(&document, &Context::default()).expect("the rules have no mistake").ruleset
}

/// A realistic mix of `count` rules.
fn mixed(count: usize) -> Ruleset {
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
    load(&text)
}

/// Rules that differ in the combination of identity, port and destination only.
fn same_but(count: usize) -> Ruleset {
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
    load(&text)
}

struct Case {
    name: &'static str,
    identity: Option<Identity>,
    target: Option<Target>,
    address: Option<IpAddr>,
}

fn cases(count: usize) -> Vec<Case> {
    let mut user =
        Identity::principal("user-4@CORP.EXAMPLE".parse().expect("a principal")).by("gssapi".into());
    user.level = Level::Confidentiality;
    user.groups = (0..8).map(|at| format!("team-{}", at * 11).into()).collect();
    let target = |text: String| text.parse().expect("a target");
    let last = (count - 1) / 10 * 10 + 4;
    let case = |name, target: Option<Target>, address: Option<&str>| Case {
        name,
        identity: Some(user.clone()),
        target,
        address: address.map(|address| address.parse().expect("an address")),
    };
    vec![
        Case { name: "accepted", identity: None, target: None, address: None },
        case("authenticated", None, None),
        case("name", Some(target("www.example.org:443".into())), None),
        case("name at an address", Some(target("www.example.org:443".into())), Some("203.0.113.9")),
        case("name of a rule", Some(target("host-4.corp.example:22".into())), Some("203.0.113.9")),
        case(
            "name of nobody's rule",
            Some(target(format!("a.team-{last}.corp.example:22"))),
            Some("203.0.113.9"),
        ),
        case("address", Some(target("172.1.2.3:443".into())), None),
        case("address nowhere", Some(target("192.0.2.77:7".into())), None),
        case("IPv6 address nowhere", Some(target("[64:ff9b::192.0.2.77]:7".into())), None),
    ]
}

fn ask(criterion: &mut Criterion, title: &str, ruleset: &Ruleset, count: usize) {
    let client: SocketAddr = "10.42.1.1:50000".parse().expect("an address");
    let gateway: Vec<SocketAddr> = vec!["10.0.0.1:1080".parse().expect("an address")];
    let mut group = criterion.benchmark_group(title);
    for case in &cases(count) {
        let query = Query {
            listener: "127.0.0.1:1080",
            client,
            identity: case.identity.as_ref(),
            operation: case.target.as_ref().map(Operation::Connect),
            address: case.address,
            gateway: &gateway,
            now: Timestamp::UNIX_EPOCH,
        };
        group.bench_with_input(BenchmarkId::new(case.name, count), &query, |bencher, query| {
            bencher.iter(|| ruleset.decide(black_box(query)));
        });
    }
    group.finish();
}

fn decide(criterion: &mut Criterion) {
    for count in SIZES {
        ask(criterion, "mixed", &mixed(count), count);
    }
    ask(criterion, "same-but", &same_but(10_000), 10_000);
}

criterion_group!(benches, decide);
criterion_main!(benches);
