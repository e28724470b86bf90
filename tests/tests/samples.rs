//! The sample configurations under `deploy/samples`, as an operator takes them over.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use krb_testenv::Realm;
use rustix::process::Signal;
use tests::command::run;
use tests::lines::Lines;
use tests::{DEADLINE, Folder, process, program};

/// What a reader is told to find there.
const SITUATIONS: [&str; 5] =
    ["ci-runners", "curl-only", "jump-host", "office-to-internet", "partner-access"];

/// A copy of a sample with all that it names: a keytab, and a folder for the audit file.
struct Sample {
    name: String,
    folder: Folder,
}

impl Sample {
    /// All samples, with one keytab that has every service.
    fn all() -> Vec<Self> {
        let (services, keys) = (["socks/gw.corp.example", "rcmd/gw.corp.example"], Folder::new());
        let realm = services.iter().fold(Realm::builder("CORP.EXAMPLE"), |realm, name| realm.service(*name));
        let keytab = keys.file("socksd.keytab");
        realm.start().and_then(|realm| realm.keytab(&services, &keytab)).expect("a keytab");
        let folders = folders();
        folders.iter().map(|folder| Self::copy(folder, &keytab)).collect()
    }

    fn copy(from: &PathBuf, keytab: &PathBuf) -> Self {
        let folder = Folder::new();
        for file in fs::read_dir(from).expect("a sample") {
            let file = file.expect("an entry");
            let name = file.file_name().into_string().expect("a name in UTF-8");
            assert!(name.ends_with(".yaml"), "{}: who reads it?", file.path().display());
            fs::copy(file.path(), folder.file(&name)).expect("a file of the sample");
            if name == "users.yaml" {
                folder.set_mode(&name, 0o600);
            }
        }
        fs::copy(keytab, folder.file("socksd.keytab")).expect("a keytab");
        Self { name: from.file_name().expect("a name").to_string_lossy().into_owned(), folder }
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.file(file)).expect("a file of the sample")
    }

    /// A command of the gateway's with the sample's configuration.
    fn socksd(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program::built("socksd"));
        command.args(words).arg("--config").arg(self.folder.file("socksd.yaml"));
        command
    }
}

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(program::workspace().join("deploy/samples")).expect("the samples");
    let mut folders: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    folders
}

#[test]
fn there_is_a_sample_for_each_situation() {
    let names = folders();
    let names: Vec<_> = names.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, SITUATIONS);
}

#[test]
fn every_sample_has_neither_mistakes_nor_warnings_and_its_own_tests_pass() {
    for sample in Sample::all() {
        let checked = run(&mut sample.socksd(&["check"]), DEADLINE);
        assert_eq!(checked.code, Some(0), "{}: {checked}", sample.name);
        assert_eq!(checked.stderr, "", "{}", sample.name);
        let tested = run(&mut sample.socksd(&["policy", "test"]), DEADLINE).succeeded().text();
        let passed = tested.lines().filter(|line| line.starts_with("ok: ")).count();
        assert!(passed >= 7, "{}: {tested}", sample.name);
    }
}

// A rule that no test expects may say anything.
#[test]
fn every_rule_of_a_sample_is_expected_by_one_of_its_tests() {
    for sample in Sample::all() {
        let policy = sample.text("policy.yaml");
        let (rules, tests) = policy.split_once("\ntests:").expect("tests");
        let rules = rules.lines().filter_map(|line| line.strip_prefix("  - name: "));
        let rules: Vec<_> = rules.filter_map(|rest| rest.split_whitespace().next()).collect();
        let expected = tests.lines().filter_map(|line| line.trim().strip_prefix("expect: {"));
        let expected: BTreeSet<_> =
            expected.filter_map(|line| Some(line.split_once(": ")?.1.trim_end_matches([' ', '}']))).collect();
        assert!(rules.len() > 1, "{}: {rules:?}", sample.name);
        for rule in rules {
            assert!(expected.contains(rule), "{}: no test expects `{rule}` of {expected:?}", sample.name);
        }
    }
}

#[test]
fn every_sample_starts_and_listens_at_each_of_its_doors() {
    for sample in Sample::all() {
        let config = sample.text("socksd.yaml");
        let doors = config.lines().filter(|line| line.trim().starts_with("address: ")).count();
        // What depends on the machine: its addresses and folders.
        let lines = config.lines().map(|line| match line.split_once("address: ") {
            Some((head, _)) => format!("{head}address: 127.0.0.1:0\n"),
            None => format!("{line}\n"),
        });
        let here: String = lines.collect();
        sample.folder.write("socksd.yaml", &here.replace("/var/log/socksd/", "").replace("/run/socksd/", ""));
        let mut command = sample.socksd(&["run"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it is built");
        let log = Lines::collect(child.stderr.take().expect("a pipe"));
        let mut open = 0;
        let all = log.find(DEADLINE, |line| {
            open += usize::from(line.contains("listening"));
            (open == doors).then_some(())
        });
        process::signal(child.id(), Signal::TERM);
        let code = child.wait().expect("a child of ours").code();
        assert!(doors > 0 && all.is_some(), "{}: {doors} doors:\n{}", sample.name, log.text());
        assert_eq!(code, Some(0), "{}:\n{}", sample.name, log.text());
    }
}
