use socks_config::Document;

use super::*;

fn read(text: &str) -> (AuditConfig, Findings) {
    let document = Document::parse("socksd.yaml", text.to_owned()).expect("YAML");
    let mut findings = Findings::default();
    let config = AuditConfig::read(&document.root, Path::new("/etc/socksd"), &mut findings);
    (config, findings)
}

fn kinds(text: &str) -> Vec<TargetKind> {
    let (config, findings) = read(text);
    assert!(findings.is_empty(), "{findings}");
    config.targets.into_iter().map(|target| target.kind).collect()
}

#[test]
fn a_file_alone_is_synchronised_each_second_and_keeps_new_sessions_out_when_it_fails() {
    let (config, findings) = read("file: a.jsonl");
    assert!(findings.is_empty(), "{findings}");
    let kind = TargetKind::File { path: "/etc/socksd/a.jsonl".into(), fsync: Fsync::Every(FSYNC) };
    let terms =
        TargetTerms { queue: 65_536, on_failure: OnAuditFailure::Refuse, on_overflow: OnOverflow::Block };
    assert_eq!(config.targets, [TargetConfig { kind, terms }]);
    assert_eq!((config.refusals_every, config.start), (REFUSALS_EVERY, false));
}

#[test]
fn each_target_may_differ_from_what_holds_for_all() {
    let (config, findings) = read(
        "queue: 100\non-overflow: count\nfsync: never\ntargets:\n  - { kind: file, path: a }\n  \
         - { kind: file, path: b, fsync: always, queue: 200, on-overflow: block, on-failure: continue }\n",
    );
    assert!(findings.is_empty(), "{findings}");
    let terms: Vec<_> =
        config.targets.iter().map(|target| (target.terms.queue, target.terms.on_overflow)).collect();
    assert_eq!(terms, [(100, OnOverflow::Count), (200, OnOverflow::Block)]);
    assert_eq!(
        config.targets[0].kind,
        TargetKind::File { path: "/etc/socksd/a".into(), fsync: Fsync::Never }
    );
    assert_eq!(
        config.targets[1].kind,
        TargetKind::File { path: "/etc/socksd/b".into(), fsync: Fsync::Always }
    );
    assert_eq!(config.targets[1].terms.on_failure, OnAuditFailure::Continue);
}

#[test]
fn every_kind_of_target_has_its_own_keys_and_defaults() {
    let syslog = |address, facility, message| TargetKind::Syslog(SyslogConfig { address, facility, message });
    let text = "targets:\n  - { kind: stdout }\n  - { kind: journald }\n  - { kind: syslog }\n  \
                - { kind: syslog, address: 'udp:192.0.2.1:514', facility: local3, message: structured }\n  \
                - { kind: syslog, address: 'tcp:[2001:db8::1]:601' }\n  - { kind: syslog, address: 'unix:log' }\n";
    let expected = [
        TargetKind::Stdout,
        TargetKind::Journald { socket: JOURNAL.into() },
        syslog(SyslogAddress::Unix(SYSLOG.into()), 10, SyslogMessage::Json),
        syslog(SyslogAddress::Udp("192.0.2.1:514".into()), 19, SyslogMessage::Structured),
        syslog(SyslogAddress::Tcp("[2001:db8::1]:601".into()), 10, SyslogMessage::Json),
        syslog(SyslogAddress::Unix("/etc/socksd/log".into()), 10, SyslogMessage::Json),
    ];
    assert_eq!(kinds(text), expected);
    assert_eq!(
        kinds("targets: [{ kind: journald, socket: /j }]"),
        [TargetKind::Journald { socket: "/j".into() }]
    );
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let (_, findings) = read(
        "queue: 3\nfsync: often\nstart: perhaps\nfile: a\ntargets:\n  - { kind: file, path: a }\n  \
         - { kind: smoke }\n  - { kind: file }\n  - { kind: syslog, address: 'udp:here', facility: kern }\n  \
         - { kind: stdout, path: x }\n  - { path: x }\n",
    );
    let shown = findings.to_string();
    for part in [
        "1:8: mistake: `queue` must be at least 16",
        "2:8: mistake: expected `never`, `always` or a time such as `1s`, found `often`",
        "found `perhaps`",
        "6:5: mistake: records go to this place already",
        "7:13: mistake: `smoke` is not one of `file`, `stdout`, `journald`, `syslog`",
        "8:5: mistake: missing key `path`",
        "`udp:here`",
        "`kern` is not one of `authpriv`",
        "unknown key `path`",
        "missing key `kind`",
    ] {
        assert!(shown.contains(part), "`{part}` is not in\n{shown}");
    }
}
