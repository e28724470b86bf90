use super::listener::Advertised;
use super::*;

fn read(text: &str) -> (Settings, Vec<Listener>, Vec<Arc<str>>, Findings) {
    let document = Document::parse("socksd.yaml", text.to_owned()).unwrap();
    let mut findings = Findings::default();
    let config = Config::read(&document, Path::new("/etc/socksd"), &mut findings);
    let names = config.auth.iter().map(|entry| entry.name.clone()).collect();
    (config.settings, config.listeners, names, findings)
}

const LEAST: &str = "listeners: [{ address: '127.0.0.1:0' }]\nauth: [{ kind: none }]\npolicy: policy.yaml\n";

#[test]
fn what_is_left_out_has_a_default() {
    let (settings, listeners, names, findings) = read(LEAST);
    assert!(findings.is_empty(), "{findings}");
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(&*listeners[0].name, "127.0.0.1:0");
    assert_eq!(names, ["none".into()]);
}

#[test]
fn every_key_of_the_reference_is_read() {
    let text = format!(
        "{LEAST}limits:\n  handshake-timeout: 1s\n  resolve-timeout: 2s\n  connect-timeout: 3s\n  \
         idle-timeout: 4s\n  bind-timeout: 9s\n  udp-idle-timeout: 10s\n  \
         destinations-per-association: 11\n  max-sessions: 5\n  max-sessions-per-source: 6\n  max-pending-headers: 12\n  descriptors-kept-free: 7\n\
         audit: {{ file: a.jsonl, on-failure: continue, refusals-every: 8s, start: true }}\n\
         log: {{ format: json, level: debug }}\nnat64: 64:ff9b::/96\n"
    );
    let (settings, _, _, findings) = read(&text);
    assert!(findings.is_empty(), "{findings}");
    let limits = settings.limits;
    let times = [
        limits.handshake_timeout,
        limits.resolve_timeout,
        limits.connect_timeout,
        limits.idle_timeout,
        limits.bind_timeout,
        limits.udp_idle_timeout,
    ];
    assert_eq!(times.map(|time| time.as_secs()), [1, 2, 3, 4, 9, 10]);
    let counts = [
        limits.max_sessions,
        limits.max_sessions_per_source,
        limits.descriptors_kept_free,
        limits.destinations_per_association,
        limits.max_pending_headers,
    ];
    assert_eq!(counts, [5, 6, 7, 11, 12]);
    assert_eq!(settings.nat64, "64:ff9b::/96".parse().ok());
    assert_eq!(settings.audit.targets.len(), 1);
    assert_eq!(settings.audit.targets[0].terms.on_failure, OnAuditFailure::Continue);
    assert_eq!((settings.audit.refusals_every.as_secs(), settings.audit.start), (8, true));
    assert_eq!((settings.log.format, settings.log.level), (LogFormat::Json, LevelFilter::DEBUG));
}

#[test]
fn one_mistake_hides_no_other() {
    let text = "listeners:\n  - address: 127.0.0.1\n  - { adress: '127.0.0.1:1' }\nauth: []\npolcy: p.yaml\n\
                limits: { idle-timeout: 5, max-sessions: 0, max-sesions: 3 }\nlog: { format: xml }\n";
    let (_, _, _, findings) = read(text);
    let shown = findings.to_string();
    for part in [
        "`127.0.0.1`",
        "unknown key `adress`",
        "`address`",
        "the list is empty",
        "unknown key `polcy`",
        "`policy`",
        "unit",
        "must be at least 1",
        "unknown key `max-sesions`",
        "`xml` is not one of `text`, `json`",
    ] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
}

#[test]
fn two_of_one_name_are_a_mistake() {
    let text = "listeners: [{ address: '127.0.0.1:1' }, { address: '127.0.0.1:1' }]\n\
                auth: [{ kind: none }, { kind: none }, { kind: none, name: 'a:b' }, { kind: none, name: group }]\npolicy: p\n";
    let (_, _, _, findings) = read(text);
    assert_eq!(findings.mistakes().count(), 4, "{findings}");
}

#[test]
fn advertised_addresses_stand_in_for_those_of_their_family() {
    let text = LEAST.replace("'127.0.0.1:0'", "'127.0.0.1:0', advertise: [203.0.113.5, '2001:db8::5']");
    let (_, listeners, _, findings) = read(&text);
    assert!(findings.is_empty(), "{findings}");
    let table = [
        ("10.0.0.1:7", "203.0.113.5:7"),
        ("[::ffff:10.0.0.1]:7", "203.0.113.5:7"),
        ("[fd00::1]:7", "[2001:db8::5]:7"),
    ];
    for (own, told) in table {
        let told: std::net::SocketAddr = told.parse().unwrap();
        assert_eq!(listeners[0].advertise.instead_of(own.parse().unwrap()), told, "{own}");
        let plain = Advertised { v6: None, v4: None }.instead_of(own.parse().unwrap());
        assert_eq!(
            plain.to_string(),
            own.replace("::ffff:10.0.0.1", "10.0.0.1").replace("[10.0.0.1]", "10.0.0.1")
        );
    }
}

#[test]
fn mistakes_of_advertised_addresses_and_prefixes_have_their_places() {
    let table = [
        (
            "advertise: [203.0.113.5, 203.0.113.6]",
            "1:64: mistake: a second advertised address of the same family",
        ),
        ("advertise: []", "1:50: mistake: an empty list advertises no address"),
        (
            "advertise: 0.0.0.0",
            "1:50: mistake: expected an address at which the gateway is reached, found `0.0.0.0`",
        ),
        ("advertise: '::ffff:10.0.0.1'", "1:50: mistake: expected an address at which"),
        ("advertise: gateway.example", "1:50: mistake: `gateway.example`"),
    ];
    for (keys, expected) in table {
        let (_, _, _, findings) = read(&LEAST.replace("'127.0.0.1:0'", &format!("'127.0.0.1:0', {keys}")));
        assert!(findings.to_string().contains(&format!("socksd.yaml:{expected}")), "{keys}: {findings}");
    }
    let (_, _, _, findings) = read(&format!("{LEAST}nat64: 64:ff9b::/90\n"));
    assert!(
        findings.to_string().contains("socksd.yaml:4:8: mistake: `64:ff9b::/90`: is no NAT64 prefix"),
        "{findings}"
    );
}

#[test]
fn balancers_are_networks_and_the_whole_world_is_warned_of() {
    let read_listener = |keys: &str| read(&LEAST.replace("'127.0.0.1:0'", &format!("'127.0.0.1:0', {keys}")));
    let (_, listeners, _, findings) = read_listener("proxy-protocol: { from: [10.0.0.8, '2001:db8::/64'] }");
    assert!(findings.is_empty(), "{findings}");
    for (address, is_one) in
        [("10.0.0.8", true), ("2001:db8::9", true), ("10.0.0.9", false), ("2001:db8:1::", false)]
    {
        assert_eq!(listeners[0].balancers.include(address.parse().unwrap()), is_one, "{address}");
    }
    let (_, _, _, findings) = read_listener("proxy-protocol: { from: 0.0.0.0/0 }");
    assert!(findings.has_mistakes(), "a list: {findings}");
    let (_, _, _, findings) = read_listener("proxy-protocol: { from: [0.0.0.0/0] }");
    assert!(!findings.has_mistakes() && findings.len() == 1, "{findings}");
    for keys in
        ["{}", "{ from: [] }", "{ from: [10.0.0.1/8] }", "{ from: [lb.example] }", "{ form: [10.0.0.1] }"]
    {
        assert!(read_listener(&format!("proxy-protocol: {keys}")).3.has_mistakes(), "{keys}");
    }
}

fn read_upstreams(text: &str) -> (Vec<(Arc<str>, String, u64)>, Findings) {
    let text = format!("{}upstreams: {text}\n", LEAST.replace("127.0.0.1:0", "127.0.0.1:1080"));
    let document = Document::parse("socksd.yaml", text).unwrap();
    let mut findings = Findings::default();
    let config = Config::read(&document, Path::new("/etc/socksd"), &mut findings);
    let upstreams = config.upstreams.iter();
    (upstreams.map(|it| (it.name.clone(), it.address.to_string(), it.timeout.as_secs())).collect(), findings)
}

#[test]
fn upstreams_have_names_and_are_somebody_else() {
    let (upstreams, findings) = read_upstreams(
        "[{ name: hq, address: 'gw.hq.example:1080', auth: { kind: none } }, \
         { name: lab, address: '[2001:db8::1]:1081', auth: { kind: none, options: {} }, timeout: 3s }]",
    );
    assert!(findings.is_empty(), "{findings}");
    let expected =
        [("hq".into(), "gw.hq.example:1080".into(), 5), ("lab".into(), "[2001:db8::1]:1081".into(), 3)];
    assert_eq!(upstreams, expected);
    let table = [
        ("{ name: HQ, address: 'a:1', auth: { kind: none } }", "name `HQ`"),
        ("{ name: hq, address: 'a', auth: { kind: none } }", "expected a host and a port"),
        ("{ name: hq, address: 'a:0', auth: { kind: none } }", "port 0"),
        ("{ name: hq, address: '127.0.0.1:1080', auth: { kind: none } }", "is this gateway itself"),
        ("{ name: hq, address: 'a:1', auth: { kind: none }, port: 1 }", "unknown key `port`"),
        ("{ name: hq, address: 'a:1', auth: {} }", "`kind`"),
        ("{ name: hq, address: 'a:1' }", "`auth`"),
        (
            "{ name: hq, address: 'a:1', auth: { kind: none } }, { name: hq, address: 'b:1', auth: { kind: none } }",
            "upstream `hq` is there twice",
        ),
    ];
    for (text, expected) in table {
        let (_, findings) = read_upstreams(&format!("[{text}]"));
        assert!(findings.to_string().contains(expected), "{text}: {findings}");
    }
}
