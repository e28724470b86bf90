//! The command: what it prints, what it runs, and what is left when it ends or is killed.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_krb-testenv"))
}

/// A command that waits, and the variables that it printed.
struct Waiting {
    child: Child,
    folder: PathBuf,
}

impl Waiting {
    fn start(options: &[&str]) -> Self {
        let mut command = command();
        command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // The variables are in the order of their names: these two are the first and the last.
        let line = lines.find(|line| line.starts_with("export KRB5CCNAME=")).unwrap();
        assert!(lines.any(|line| line.starts_with("export KRB5_CONFIG=")));
        let cache = Path::new(line.trim_start_matches("export KRB5CCNAME='FILE:").trim_end_matches('\''));
        let folder = cache.ancestors().nth(2).unwrap().to_owned();
        assert!(folder.is_dir(), "{line}");
        Self { child, folder }
    }

    fn kdc(&self) -> u32 {
        std::fs::read_to_string(self.folder.join("kdc.pid")).unwrap().trim().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Looks again and again until it holds, for at most ten seconds.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn command_runs_in_the_realm_and_its_code_is_passed_on() {
    let script =
        "klist -s && kvno -q socks/localhost && klist -k \"$KRB5_KTNAME\" && echo \"$KRB5_CONFIG\"; exit 7";
    let folder = tempfile::tempdir().unwrap();
    let keytab = folder.path().join("kt");
    let mut command = command();
    command.args(["--user", "alice:secret", "--kinit", "alice", "--service", "socks/localhost", "--keytab"]);
    let output = command.arg(&keytab).args(["--", "sh", "-c", script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("socks/localhost@EXAMPLE.TEST"), "{text}");
    assert!(!Path::new(text.lines().last().unwrap()).exists(), "{text}");
}

#[test]
fn user_of_a_trusted_realm_reaches_the_service() {
    let mut command = command();
    command.args([
        "--trusted-realm",
        "OTHER.TEST",
        "--user",
        "bob@OTHER.TEST:b",
        "--kinit",
        "bob@OTHER.TEST",
    ]);
    command.args(["--service", "socks/localhost", "--", "kvno", "-S", "socks", "localhost"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("socks/localhost@EXAMPLE.TEST: kvno = 1"), "{output:?}");
}

#[test]
fn end_of_input_ends_the_realm() {
    let mut waiting = Waiting::start(&["--user", "alice:secret"]);
    let kdc = waiting.kdc();
    drop(waiting.child.stdin.take());
    assert!(waiting.child.wait().unwrap().success());
    assert!(!waiting.folder.exists() && !exists(kdc));
}

#[test]
fn signals_end_the_realm() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut waiting = Waiting::start(&["--until", "signal"]);
        let kdc = waiting.kdc();
        drop(waiting.child.stdin.take());
        waiting.signal(signal);
        assert!(waiting.child.wait().unwrap().success());
        assert!(!waiting.folder.exists() && !exists(kdc));
    }
}

#[test]
fn kdc_and_folder_are_gone_after_the_parent_was_killed() {
    let mut waiting = Waiting::start(&[]);
    let kdc = waiting.kdc();
    assert!(exists(kdc));
    waiting.signal(Signal::KILL);
    waiting.child.wait().unwrap();
    eventually("the KDC has ended", || !exists(kdc));
    eventually("the folder is gone", || !waiting.folder.exists());
}

#[test]
fn signal_is_passed_on_to_the_command() {
    let mut command = command();
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done";
    let mut child = command.args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn environment_file_is_read_by_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    let mut command = command();
    command.args(["--env-file"]).arg(&file).args(["--user", "alice:secret", "--"]);
    let script = format!("unset KRB5_CONFIG; . {}; echo secret | kinit alice", file.display());
    let output = command.args(["sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn mistakes_are_told_in_one_line() {
    let output = command().args(["--realm", "NOT A REALM", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "krb-testenv: `NOT A REALM` is not a realm's name\n");
    let output = command().args(["--", "no-such-command"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot start `no-such-command`"), "{output:?}");
}

#[test]
fn missing_program_is_named_with_its_package() {
    // Only where the programs are outside the folders that are searched beside PATH.
    if Path::new("/usr/sbin/kinit").exists() {
        eprintln!("NOT TESTED: /usr/sbin holds kinit here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/sh", folder.path().join("sh")).unwrap();
    let mut command = command();
    command.env("PATH", folder.path()).args(["--user", "a:a", "--kinit", "a", "--", "true"]);
    let text = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(text.contains("`kinit` is missing: install Debian's package `krb5-user`"), "{text}");
}
