//! Groups of Kerberos users, from the real gateway's sources to its rules and records.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use krb_testenv::Realm;
use serde_json::Value;
use tests::command::{Finished, run, tool};
use tests::forwarder::{self, Forwarder};
use tests::{DEADLINE, Folder, Gateway, Record, Setup, program, targets};

const STAFF: &str = "groups: { staff: [alice@EXAMPLE.TEST] }\n";

const POLICY: &str = "\
version: 1
clients:
  - methods: [gssapi]
    protection: [confidentiality]
rules:
  - name: no-contractors
    action: deny
    identity: \"group:contractors\"
  - name: staff
    action: permit
    identity: \"group:staff\"
    special-use: permit
  - name: everybody
    action: permit
    identity: \"*@EXAMPLE.TEST\"
    special-use: permit
";

/// A realm with alice, whom the local system knows as `root`, and a gateway that takes groups from `sources`.
struct Site {
    realm: Realm,
    gateway: Gateway,
    folder: Folder,
}

impl Site {
    /// `sources` is the value of `groups`, where `FILE` stands for the groups file.
    fn start(sources: &str) -> Self {
        let realm = Realm::builder("EXAMPLE.TEST").user("alice", "secret").service("socks/localhost");
        let realm = realm.local_name("alice", "root").start().expect("a realm");
        let folder = Folder::new();
        folder.write("groups.yaml", STAFF);
        let keytab = folder.file("socks.keytab");
        realm.keytab(&["socks/localhost"], &keytab).expect("the service is there");
        let sources = sources.replace("FILE", &folder.file("groups.yaml").display().to_string());
        let auth = format!(
            "  - kind: gssapi\n    options:\n      keytab: {}\n      groups: {sources}\n",
            keytab.display()
        );
        let environment = realm.server_env(&keytab);
        let gateway = Setup::new().auth(&auth).policy(POLICY).environment(environment.iter()).start();
        Self { realm, gateway, folder }
    }

    fn groups_file(&self) -> PathBuf {
        self.folder.file("groups.yaml")
    }

    /// Asks for something at a name as alice, and gives the answer with the record of the session.
    fn get(&self, web: SocketAddr) -> (Finished, Record) {
        let mut command = forwarder::command(&format!("localhost:{}", self.gateway.address().port()));
        self.realm.kinit("alice").expect("the password is right").env().apply(&mut command);
        let forwarder = Forwarder::start_as(command);
        let mut curl = Command::new(tool("curl"));
        curl.args(["--disable", "--silent", "--show-error", "--noproxy", ""]);
        curl.args(["--proxy", &forwarder.url("socks5h"), &format!("http://localhost:{}/", web.port())]);
        let finished = run(&mut curl, DEADLINE);
        (finished, self.gateway.session())
    }
}

fn attribute<'a>(record: &'a Record, name: &str) -> &'a str {
    let attributes = record.0.get("attributes");
    attributes.and_then(|all| all.get(name)).and_then(Value::as_str).unwrap_or_default()
}

fn has_group(record: &Record, name: &str) -> bool {
    let groups = record.0.get("groups").and_then(Value::as_array);
    groups.is_some_and(|groups| groups.iter().any(|group| group == name))
}

#[test]
fn who_stands_in_the_groups_file_is_permitted_as_its_group() {
    let (site, web) = (Site::start("[{ file: FILE }]"), targets::http());
    let (answer, record) = site.get(web.address);
    assert_eq!(answer.succeeded().text(), "hello\n");
    record.expect(&[("identity", "alice@EXAMPLE.TEST"), ("rule", "staff"), ("groups-missing", "")]);
    assert!(has_group(&record, "staff"), "{record}");
    assert_eq!((attribute(&record, "groups-source"), attribute(&record, "groups-age")), ("file", "0"));
}

#[test]
fn groups_of_the_local_system_and_of_the_file_stand_together() {
    let (site, web) = (Site::start("[local, { file: FILE }]"), targets::http());
    let (answer, record) = site.get(web.address);
    assert_eq!(answer.succeeded().text(), "hello\n");
    assert!(has_group(&record, "root") && has_group(&record, "staff"), "{record}");
    assert_eq!(attribute(&record, "groups-source"), "local,file");
}

#[test]
fn a_file_that_breaks_while_the_gateway_runs_denies_what_a_group_is_denied() {
    let (site, web) = (Site::start("[{ file: FILE }]"), targets::http());
    std::fs::write(site.groups_file(), "groups: { staff: alice@ }\n").expect("a file");
    let (answer, record) = site.get(web.address);
    assert_ne!(answer.code, Some(0), "{answer}");
    record.expect(&[("verdict", "deny"), ("rule", "no-contractors"), ("identity", "alice@EXAMPLE.TEST")]);
    let why = record.text("groups-missing");
    assert!(why.starts_with("source `file`: ") && why.contains("groups.yaml:1:"), "{record}");
    assert!(record.0.get("groups").is_none(), "{record}");
}

#[test]
fn a_file_with_a_mistake_keeps_the_gateway_from_starting() {
    let site = Site::start("[{ file: FILE }]");
    std::fs::write(site.groups_file(), "groups: { staff: alice@ }\n").expect("a file");
    let mut check = Command::new(program::built("socksd"));
    check.args(["check", "--config"]).arg(site.gateway.folder().file("socksd.yaml"));
    let finished = run(&mut check, DEADLINE);
    assert_eq!(finished.code, Some(78), "{finished}");
    assert!(finished.stderr.contains("groups.yaml:1:18: mistake: `alice@`"), "{finished}");
}
