//! What `socksd check` says of options that are risky only together with the policy.

use std::process::Command;

use krb_testenv::{Environment, Realm};
use tests::command::{Finished, run};
use tests::{DEADLINE, Folder, program};

fn check(folder: &Folder, environment: &Environment, options: &str, levels: &str) -> Finished {
    let options = format!("    options: {{ keytab: socks.keytab{options} }}\n");
    let head = "listeners:\n  - address: 127.0.0.1:0\nauth:\n  - kind: gssapi\n";
    folder.write("socksd.yaml", &format!("{head}{options}policy: policy.yaml\n"));
    let row = format!("  - methods: [gssapi]\n    protection: {levels}\n");
    folder.write("policy.yaml", &format!("version: 1\nclients:\n{row}rules: []\n"));
    let mut command = Command::new(program::built("socksd"));
    environment.apply(&mut command);
    run(command.args(["check", "--config"]).arg(folder.file("socksd.yaml")), DEADLINE)
}

#[test]
fn what_leaves_repeated_logins_to_the_replay_cache_alone_is_warned_of() {
    let realm = Realm::builder("EXAMPLE.TEST").service("socks/localhost").start().expect("a realm");
    let folder = Folder::new();
    let keytab = folder.file("socks.keytab");
    realm.keytab(&["socks/localhost"], &keytab).expect("a keytab");
    let environment = realm.server_env(&keytab);
    let table = [
        ("", "[none]", None),
        (", nec: true", "[confidentiality, integrity]", None),
        (", nec: true", "[integrity, none]", Some("`nec` where the policy allows the level `none`")),
        (", allow-weak-enctypes: true", "[integrity]", None),
        (", allow-weak-enctypes: true", "none", Some("`allow-weak-enctypes` where the policy allows")),
    ];
    for (options, levels, warning) in table {
        let finished = check(&folder, &environment, options, levels).succeeded();
        match warning {
            Some(text) => {
                assert!(finished.stderr.contains(text), "{options} {levels}: {finished}");
                assert!(finished.stderr.contains("socksd.yaml:5"), "its place is told: {finished}");
            }
            None => assert!(!finished.stderr.contains("where the policy"), "{options} {levels}: {finished}"),
        }
    }
    for options in [", nec: true, replay-cache: none", ", allow-weak-enctypes: true, replay-cache: none"] {
        let finished = check(&folder, &environment, options, "[integrity]");
        assert_eq!(finished.code, Some(78), "{options}: {finished}");
    }
}
