//! `socksd doctor` in throw-away realms: what it says of each mistake, and how it ends.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use krb_testenv::{Clock, Enctype, Environment, OldKeys, Realm};
use tests::command::{Finished, run};
use tests::{DEADLINE, Folder, program};

const CONFIG: &str = "\
listeners:
  - address: 127.0.0.1:0
auth:
  - kind: gssapi
    options: { keytab: socks.keytab }
policy: policy.yaml
";

fn doctor(folder: &Folder, environment: &Environment, config: &str) -> Finished {
    folder.write("socksd.yaml", config);
    let mut command = Command::new(program::built("socksd"));
    environment.apply(&mut command);
    run(command.args(["doctor", "--json", "--config"]).arg(folder.file("socksd.yaml")), DEADLINE)
}

/// The severities of a check's findings.
#[track_caller]
fn severities(finished: &Finished, id: &str) -> Vec<String> {
    let answer: serde_json::Value = serde_json::from_slice(&finished.stdout)
        .unwrap_or_else(|error| panic!("no JSON, {error}: {finished}"));
    let findings = answer.get("findings").and_then(serde_json::Value::as_array).expect("findings are a list");
    let found = findings.iter().filter(|finding| text(finding, "id") == id);
    found.map(|finding| text(finding, "severity").to_owned()).collect()
}

fn text<'a>(finding: &'a serde_json::Value, key: &str) -> &'a str {
    finding.get(key).and_then(serde_json::Value::as_str).unwrap_or_default()
}

#[track_caller]
fn expect(finished: &Finished, code: i32, table: &[(&str, &str)]) {
    assert_eq!(finished.code, Some(code), "{finished}");
    for (id, severity) in table {
        let found = severities(finished, id);
        assert!(found.iter().any(|found| found == severity), "`{id}` is {found:?}: {finished}");
    }
}

/// A folder with the keytab of one service.
fn keytab(realm: &Realm, service: &str) -> (Folder, Environment) {
    let folder = Folder::new();
    realm.keytab(&[service], folder.file("socks.keytab")).expect("a keytab");
    let environment = realm.server_env(folder.file("socks.keytab"));
    (folder, environment)
}

fn realm(service: &str) -> Realm {
    Realm::builder("EXAMPLE.TEST").service(service).start().expect("a realm")
}

#[test]
fn a_gateway_that_is_set_up_well_has_no_mistakes() {
    let realm = realm("socks/localhost");
    let (folder, environment) = keytab(&realm, "socks/localhost");
    let ids = [
        "keytab-file",
        "keytab-mode",
        "keytab-owner",
        "keytab-enctypes",
        "key-versions",
        "permitted-enctypes",
        "service-names",
        "credential",
        "spn-address",
        "clock",
        "replay-cache",
        "krb5-conf",
    ];
    let finished = doctor(&folder, &environment, CONFIG);
    expect(&finished, 0, &ids.map(|id| (id, "ok")));
    realm.rotate("socks/localhost", OldKeys::Keep).expect("new keys");
    realm.keytab(&["socks/localhost"], folder.file("socks.keytab")).expect("a keytab");
    realm.stop_kdc();
    let finished = doctor(&folder, &environment, CONFIG);
    expect(&finished, 0, &[("key-versions", "note"), ("clock", "note")]);
}

#[test]
fn a_keytab_that_is_missing_or_open_to_all_is_a_mistake() {
    let realm = realm("socks/localhost");
    let (folder, environment) = keytab(&realm, "socks/localhost");
    folder.set_mode("socks.keytab", 0o640);
    expect(&doctor(&folder, &environment, CONFIG), 0, &[("keytab-mode", "warning")]);
    folder.set_mode("socks.keytab", 0o644);
    expect(&doctor(&folder, &environment, CONFIG), 1, &[("keytab-mode", "mistake"), ("keytab-file", "ok")]);
    folder.write("socks.keytab", "this is no keytab");
    expect(&doctor(&folder, &environment, CONFIG), 1, &[("keytab-file", "mistake")]);
    std::fs::remove_file(folder.file("socks.keytab")).expect("own file");
    expect(&doctor(&folder, &environment, CONFIG), 1, &[("keytab-file", "mistake")]);
}

#[test]
fn a_keytab_of_rc4_alone_is_a_mistake_unless_it_is_allowed() {
    let realm = Realm::builder("EXAMPLE.TEST").enctypes(&[Enctype::Rc4]).service("socks/localhost");
    let realm = realm.start().expect("a realm");
    let (folder, environment) = keytab(&realm, "socks/localhost");
    expect(&doctor(&folder, &environment, CONFIG), 1, &[("keytab-enctypes", "mistake")]);
    let allowed = CONFIG.replace("socks.keytab", "socks.keytab, allow-weak-enctypes: true");
    expect(&doctor(&folder, &environment, &allowed), 0, &[("keytab-enctypes", "warning")]);
}

#[test]
fn a_clock_that_is_wrong_is_measured() {
    let table = [
        (Clock::Ahead(Duration::from_secs(120)), 0, "warning", "behind"),
        (Clock::Behind(Duration::from_secs(900)), 1, "mistake", "ahead of"),
    ];
    for (clock, code, severity, which) in table {
        let realm = Realm::builder("EXAMPLE.TEST").clock(clock).service("socks/localhost");
        let realm = realm.start().expect("a realm");
        let (folder, environment) = keytab(&realm, "socks/localhost");
        let finished = doctor(&folder, &environment, CONFIG);
        expect(&finished, code, &[("clock", severity)]);
        assert!(finished.text().contains(which), "{finished}");
    }
}

#[test]
fn a_service_of_another_host_or_name_is_a_warning() {
    let realm = realm("host/gw.elsewhere.invalid");
    let (folder, environment) = keytab(&realm, "host/gw.elsewhere.invalid");
    let finished = doctor(&folder, &environment, CONFIG);
    let warnings = ["host-name", "spn-address", "service-names"].map(|id| (id, "warning"));
    expect(&finished, 0, &warnings);
    let only = CONFIG.replace("socks.keytab", "socks.keytab, services: [socks]");
    expect(&doctor(&folder, &environment, &only), 1, &[("service-names", "mistake")]);
}

#[test]
fn the_replay_cache_is_looked_at_where_the_option_says() {
    let realm = realm("socks/localhost");
    let (folder, environment) = keytab(&realm, "socks/localhost");
    let table =
        [("none", 0, "warning"), ("cache", 0, "ok"), ("nonesuch/cache", 1, "mistake"), (".", 1, "mistake")];
    for (option, code, severity) in table {
        let config = CONFIG.replace("socks.keytab", &format!("socks.keytab, replay-cache: {option}"));
        expect(&doctor(&folder, &environment, &config), code, &[("replay-cache", severity)]);
    }
    assert!(!Path::new(&folder.file("cache")).exists(), "looking makes nothing");
}

#[test]
fn lines_for_people_carry_remedies_and_a_bad_configuration_is_none() {
    let folder = Folder::new();
    folder.write("socksd.yaml", CONFIG);
    let mut command = Command::new(program::built("socksd"));
    let finished = run(command.args(["doctor", "--config"]).arg(folder.file("socksd.yaml")), DEADLINE);
    assert_eq!(finished.code, Some(1), "{finished}");
    let is_told =
        |line: &str| line.starts_with("mistake  gssapi keytab-file: ") && line.contains("; remedy: ");
    assert!(finished.text().lines().any(is_told), "{finished}");
    let finished = doctor(&folder, &Environment::default(), &CONFIG.replace("keytab", "keytap"));
    assert_eq!(finished.code, Some(78), "{finished}");
}
