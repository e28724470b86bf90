//! The shipped examples, as a newcomer meets them.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tests::command::{run, tool};
use tests::lines::Lines;
use tests::{DEADLINE, process, program};

fn example(file: &str) -> std::path::PathBuf {
    program::workspace().join("deploy/example").join(file)
}

fn explain(identity: &str, to: &str) -> String {
    let mut command = Command::new(program::built("socksd"));
    command.args(["policy", "explain", "--config"]).arg(example("socksd.yaml"));
    command.args(["--from", "127.0.0.1", "--identity", identity, "--to", to]);
    run(&mut command, DEADLINE).succeeded().text()
}

#[test]
fn the_example_has_no_mistake_and_its_own_tests_pass() {
    for words in [&["check"][..], &["policy", "test"]] {
        let mut command = Command::new(program::built("socksd"));
        run(command.args(words).arg("--config").arg(example("socksd.yaml")), DEADLINE).succeeded();
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
fn make_run_prints_two_lines_that_do_what_it_says() {
    let mut make = Command::new(tool("make"));
    make.arg("run").current_dir(program::workspace()).process_group(0);
    make.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What this test was started with is not for a build of somebody else's.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env("CARGO_TARGET_DIR", target_folder());
    let mut child = make.spawn().expect("make is there");
    let group = Group(child.id());
    let out = Lines::collect(child.stdout.take().expect("a pipe"));
    let log = Lines::collect(child.stderr.take().expect("a pipe"));
    let ready = out.find(Duration::from_secs(600), |line| line.contains("Ctrl-C").then_some(()));
    assert!(ready.is_some(), "nothing was printed:\n{}\n{}", out.text(), log.text());
    let lines: Vec<_> = out.all().iter().map(|line| line.trim().to_owned()).collect();
    let curls: Vec<_> = lines.iter().filter(|line| line.starts_with("curl ")).collect();
    let [permitted, denied] = curls[..] else { panic!("two lines of curl: {lines:#?}") };

    let answer = run(Command::new("sh").args(["-c", permitted]), DEADLINE).succeeded();
    assert!(answer.text().contains("Hello"), "{answer}");
    let answer = run(Command::new("sh").args(["-c", denied]), DEADLINE);
    // CURLE_PROXY; 2 is RFC 1928's "connection not allowed by ruleset".
    assert_eq!(answer.code, Some(97), "{answer}");
    assert!(answer.stderr.contains("(2)"), "{answer}");
    for rule in ["demo-to-web", "no-mail"] {
        let told = log.find(DEADLINE, |line| (line.contains("session") && line.contains(rule)).then_some(()));
        assert!(told.is_some(), "`{rule}` in the gateway's own words:\n{}", log.text());
    }

    process::signal_group(group.0, Signal::INT);
    assert!(out.wait_for_end(DEADLINE) && log.wait_for_end(DEADLINE), "Ctrl-C ends everything");
    child.wait().expect("a child of ours");
    let port = permitted.split(['@', ' ']).nth(3).expect("the proxy's address");
    assert!(!tests::targets::is_open(port.parse().expect("an address")), "{port} is still open");
}

/// A process group that does not outlive the test.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        process::signal_group(self.0, Signal::KILL);
    }
}

fn target_folder() -> std::path::PathBuf {
    let program = program::built("socksd");
    program.ancestors().nth(2).expect("TARGET/PROFILE/socksd").to_owned()
}

#[test]
fn the_example_speaks_of_no_file_that_is_not_there() {
    let mut text = String::new();
    std::fs::File::open(program::workspace().join("README.md"))
        .and_then(|mut file| file.read_to_string(&mut text))
        .expect("the README");
    for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = link.split('#').next().unwrap_or_default();
        if !path.is_empty() && !path.contains("://") {
            assert!(program::workspace().join(path).exists(), "README.md links to `{path}`");
        }
    }
}
