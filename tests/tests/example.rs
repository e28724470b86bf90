//! The shipped examples, as a newcomer meets them.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use krb_testenv::Realm;
use rustix::process::Signal;
use tests::command::{run, tool};
use tests::lines::Lines;
use tests::{DEADLINE, Folder, process, program};

/// The example's files, with the keytab that `make run` puts beside them.
fn example() -> Folder {
    let folder = Folder::new();
    for name in ["socksd.yaml", "policy.yaml", "users.yaml"] {
        let file = program::workspace().join("deploy/example").join(name);
        fs::copy(file, folder.file(name)).expect("a file of the example");
    }
    let realm = Realm::builder("EXAMPLE.TEST").service("socks/localhost").start().expect("a realm");
    realm.keytab(&["socks/localhost"], folder.file("gateway.keytab")).expect("a keytab");
    folder
}

fn explain(identity: &str, to: &str) -> String {
    let (folder, mut command) = (example(), Command::new(program::built("socksd")));
    command.args(["policy", "explain", "--config"]).arg(folder.file("socksd.yaml"));
    command.args(["--from", "127.0.0.1", "--identity", identity, "--to", to]);
    run(&mut command, DEADLINE).succeeded().text()
}

#[test]
fn the_example_has_no_mistake_and_its_own_tests_pass() {
    let folder = example();
    for words in [&["check"][..], &["policy", "test"]] {
        let mut command = Command::new(program::built("socksd"));
        run(command.args(words).arg("--config").arg(folder.file("socksd.yaml")), DEADLINE).succeeded();
    }
}

#[test]
fn explain_tells_which_rule_decides_and_why_the_others_do_not() {
    let permitted = explain("password:demo", "127.0.0.1:8080");
    assert!(permitted.contains("demo-to-web") && permitted.contains("permit"), "{permitted}");
    assert!(permitted.contains("no-mail"), "the rule before it, and why not: {permitted}");
    let denied = explain("password:demo", "127.0.0.1:25");
    assert!(denied.contains("no-mail") && denied.contains("deny"), "{denied}");
}

#[test]
fn explain_judges_each_address_of_a_name() {
    let text = explain("password:demo", "localhost:8081");
    assert!(text.contains("localhost") && text.contains("127.0.0.1"), "{text}");
}

#[test]
fn explain_looks_up_no_name_for_a_client_that_is_not_admitted() {
    // A ticket is not enough: the example wants it encrypted.
    let text = explain("alice@EXAMPLE.TEST", "localhost:8080");
    assert!(text.contains("verdict: denied: not-admitted"), "{text}");
    assert!(!text.contains("resolves to"), "{text}");
}

#[test]
fn make_run_prints_lines_that_do_what_it_says() {
    let tour = Tour::start();
    let lines = tour.commands();
    let [permitted, denied, export, kinit, forward, by_ticket, against, why] = &lines[..] else {
        panic!("eight lines to paste: {lines:#?}");
    };

    tour.permitted(permitted);
    tour.denied(denied);
    tour.record(&["identity=\"password:demo\"", "protection=\"none\"", "rule=\"demo-to-web\""]);
    tour.record(&["identity=\"password:demo\"", "rule=\"no-mail\"", "verdict=\"deny\""]);

    assert!(kinit.starts_with("kinit alice@EXAMPLE.TEST"), "{kinit}");
    let forwarder = Shell::run(&[export, kinit, forward], &tour.password());
    let listening = forwarder.out.find(DEADLINE, |line| line.contains("listening on").then_some(()));
    assert!(listening.is_some(), "{}\n{}", forwarder.out.text(), forwarder.log.text());
    tour.permitted(by_ticket);
    tour.denied(against);
    let alice = "identity=\"alice@EXAMPLE.TEST\"";
    tour.record(&[alice, "protection=\"confidentiality\"", "rule=\"alice-to-web\"", "verdict=\"permit\""]);
    tour.record(&[alice, "protection=\"confidentiality\"", "rule=\"no-mail\"", "verdict=\"deny\""]);
    // What it promised of the line stands in it.
    let promise =
        tour.out.find(DEADLINE, |line| line.contains("The gateway's line").then(|| line.to_owned()));
    let promise = promise.expect("a promise");
    let fields = promise.split([' ', ',']).filter(|word| word.contains('='));
    let fields: Vec<_> = fields.map(|word| word.trim_end_matches('.')).collect();
    assert_eq!(fields.len(), 3, "{promise}");
    tour.record(&fields);

    let reasons = run(&mut shell(&[why]), DEADLINE).succeeded().text();
    assert!(reasons.contains("rule `no-mail`") && reasons.contains("verdict: denied"), "{reasons}");

    let traces = tour.traces();
    assert_eq!(traces.len(), 4, "two ports, two folders: {traces:?}");
    process::signal_group(tour.group(), Signal::INT);
    tour.expect_end();
    let folders = traces.iter().filter(|trace| matches!(trace, Trace::Folder(_)));
    assert!(folders.clone().all(|folder| !folder.is_there()), "left: {:?}", folders.collect::<Vec<_>>());
    expect_gone(&traces);
}

#[test]
fn what_make_run_starts_ends_together() {
    let mut ended = 0;
    for name in ["krb-testenv", "demo-web", "socksd"] {
        let tour = Tour::start();
        let traces = tour.traces();
        process::kill(tour.process(name));
        tour.expect_end();
        assert!(tour.log.text().contains("has ended: ending the others"), "{}", tour.log.text());
        // A realm that was killed is cleared up by a process that nobody waits for.
        expect_gone(&traces);
        ended += 1;
    }
    assert_eq!(ended, 3);
}

#[track_caller]
fn expect_gone(traces: &[Trace]) {
    let until = Instant::now() + DEADLINE;
    loop {
        // A port may be the next tour's for a while: the tests run side by side, and each tries the same one first.
        let left: Vec<_> = traces.iter().filter(|trace| trace.is_there()).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "something is left: {left:?}");
        std::thread::yield_now();
    }
}

/// `make run`, with all that it prints.
struct Tour {
    shell: Shell,
}

impl std::ops::Deref for Tour {
    type Target = Shell;

    fn deref(&self) -> &Shell {
        &self.shell
    }
}

impl Tour {
    fn start() -> Self {
        let mut make = Command::new(tool("make"));
        make.arg("run").current_dir(program::workspace());
        // What this test was started with is not for a build of somebody else's.
        make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env("CARGO_TARGET_DIR", target_folder());
        let tour = Self { shell: Shell::start(make, "") };
        let ready =
            tour.out.find(Duration::from_secs(600), |line| line.contains("Ctrl-C ends").then_some(()));
        assert!(ready.is_some(), "nothing was printed:\n{}\n{}", tour.out.text(), tour.log.text());
        tour
    }

    /// The lines to paste: those that are indented by four.
    fn commands(&self) -> Vec<String> {
        let lines = self.out.all();
        lines.iter().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
    }

    fn password(&self) -> String {
        let text = self.out.text();
        let (_, rest) = text.split_once("password is `").expect("a password");
        format!("{}\n", rest.split('`').next().expect("its end"))
    }

    #[track_caller]
    fn permitted(&self, line: &str) {
        let answer = run(&mut shell(&[line]), DEADLINE).succeeded();
        assert!(answer.text().contains("Hello"), "{line}: {answer}");
    }

    #[track_caller]
    fn denied(&self, line: &str) {
        let answer = run(&mut shell(&[line]), DEADLINE);
        // CURLE_PROXY; 2 is RFC 1928's "connection not allowed by ruleset".
        assert_eq!(answer.code, Some(97), "{line}: {answer}");
        assert!(answer.stderr.contains("(2)"), "{line}: {answer}");
    }

    /// The gateway's own line for a session.
    #[track_caller]
    fn record(&self, parts: &[&str]) {
        let is_told = |line: &str| line.contains("session") && parts.iter().all(|part| line.contains(part));
        let told = self.log.find(DEADLINE, |line| is_told(line).then_some(()));
        assert!(told.is_some(), "no line with {parts:?}:\n{}", self.log.text());
    }

    /// The process of that name that it has started.
    fn process(&self, name: &str) -> u32 {
        let mut below = process::children(self.group());
        while let Some(pid) = below.pop() {
            if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim() == name) {
                return pid;
            }
            below.extend(process::children(pid));
        }
        panic!("`{name}` does not run");
    }

    /// The ports and folders that the printed lines name.
    fn traces(&self) -> Vec<Trace> {
        let lines = self.commands();
        let [permitted, _, export, _, _, _, _, why] = &lines[..] else { panic!("{lines:#?}") };
        let port = |line: &str, at: &str| {
            let word = line.split(at).nth(1).and_then(|rest| rest.split(['/', ' ']).next());
            Trace::Port(word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}")))
        };
        let folder = |path: &str| Trace::Folder(Path::new(path).parent().expect("a folder").to_owned());
        let realm = export.split("KRB5_CONFIG='").nth(1).and_then(|rest| rest.split('\'').next());
        let config = why.split_whitespace().find(|word| word.ends_with("socksd.yaml")).expect("a file");
        vec![
            port(permitted, "@"),
            port(permitted, "http://"),
            folder(realm.expect("a file of the realm")),
            folder(config),
        ]
    }

    #[track_caller]
    fn expect_end(&self) {
        let ended = self.out.wait_for_end(DEADLINE) && self.log.wait_for_end(DEADLINE);
        assert!(ended, "it goes on:\n{}", self.log.text());
    }
}

/// Something that must be gone when the tour is over.
#[derive(Debug)]
enum Trace {
    Port(SocketAddr),
    Folder(PathBuf),
}

impl Trace {
    fn is_there(&self) -> bool {
        match self {
            Self::Port(address) => tests::targets::is_open(*address),
            Self::Folder(path) => path.exists(),
        }
    }
}

/// A process group that does not outlive the test, and what it writes.
struct Shell {
    child: Child,
    out: Lines,
    log: Lines,
}

impl Shell {
    /// Runs lines in the folder in which a reader stands, as one pastes them.
    fn run(lines: &[&str], input: &str) -> Self {
        Self::start(shell(lines), input)
    }

    fn start(mut command: Command, input: &str) -> Self {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it is there");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("it fits into the pipe");
        let out = Lines::collect(child.stdout.take().expect("a pipe"));
        let log = Lines::collect(child.stderr.take().expect("a pipe"));
        Self { child, out, log }
    }

    fn group(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        process::signal_group(self.child.id(), Signal::KILL);
        drop(self.child.wait());
    }
}

fn shell(lines: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(lines.join("\n")).current_dir(program::workspace());
    command
}

fn target_folder() -> PathBuf {
    let program = program::built("socksd");
    program.ancestors().nth(2).expect("TARGET/PROFILE/socksd").to_owned()
}

#[test]
fn the_example_speaks_of_no_file_that_is_not_there() {
    let mut text = String::new();
    fs::File::open(program::workspace().join("README.md"))
        .and_then(|mut file| file.read_to_string(&mut text))
        .expect("the README");
    for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = link.split('#').next().unwrap_or_default();
        if !path.is_empty() && !path.contains("://") {
            assert!(program::workspace().join(path).exists(), "README.md links to `{path}`");
        }
    }
}
