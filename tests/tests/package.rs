//! The Debian packages, installed into a system of their own: `make test-long`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tests::command::{Finished, run, run_with_input, tool};
use tests::lines::Lines;
use tests::{Client, DEADLINE, Folder, process, program, targets};

/// For what fetches packages.
const FETCH: Duration = Duration::from_secs(600);

/// The packages, made from programs as they are shipped.
fn packages() -> (Folder, Vec<PathBuf>) {
    let (folder, programs) = (Folder::new(), Folder::new());
    for (package, name) in [("socksd", "socksd"), ("socks-client", "socks-forward")] {
        fs::copy(program::built_of(package, name), programs.file(name)).expect("a program");
    }
    let mut deb = Command::new(program::workspace().join("scripts/deb"));
    // Somebody must stand in a package; lintian wants an address that could exist.
    deb.env("DEBFULLNAME", "Test").env("DEBEMAIL", "test@debian.org");
    run(deb.arg(programs.path()).arg(folder.path()), FETCH).succeeded();
    let mut made: Vec<_> =
        fs::read_dir(folder.path()).expect("own folder").map(|it| it.expect("one").path()).collect();
    made.sort();
    assert_eq!(made.len(), 2, "{made:?}");
    (folder, made)
}

/// A system of this machine's distribution in a folder, fetched from where this machine gets its packages.
struct System {
    folder: Folder,
}

impl System {
    /// Sets it up: about a minute and a half.
    fn bootstrap() -> Self {
        assert!(process::is_root(), "a system of its own takes root: run it as `sudo make test-long`");
        let folder = Folder::new();
        let (place, name) = mirror();
        let mut bootstrap = Command::new(tool("debootstrap"));
        bootstrap.args(["--variant=minbase", &name]).arg(folder.path()).arg(place);
        run(&mut bootstrap, FETCH).succeeded();
        // Nothing that is installed there may start anything here.
        folder.write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
        folder.set_mode("usr/sbin/policy-rc.d", 0o755);
        Self { folder }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(tool("chroot"));
        command
            .arg(self.folder.path())
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        command
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Finished {
        run(&mut self.command(words), FETCH)
    }

    fn file(&self, path: &str) -> PathBuf {
        self.folder.file(path.trim_start_matches('/'))
    }
}

/// The first source of the distribution that apt knows here, and the release.
fn mirror() -> (String, String) {
    let release = fs::read_to_string("/etc/os-release").expect("a distribution");
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).expect("a name");
    let mut targets = Command::new(tool("apt-get"));
    targets.args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME) $(COMPONENT)",
        "Created-By: Packages",
    ]);
    let targets = run(&mut targets, DEADLINE).succeeded().text();
    let found = targets.lines().find_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        matches!(words[..], [_, codename, "main"] if codename == name)
            .then(|| words.first().map(|&it| it.to_owned()))?
    });
    (found.unwrap_or_else(|| panic!("apt has no source of `{name}`:\n{targets}")), name.to_owned())
}

/// A user's number and group in a system's own list.
fn user(system: &System, name: &str) -> (u32, u32) {
    let list = fs::read_to_string(system.file("/etc/passwd")).expect("a list");
    let line = list
        .lines()
        .find(|line| line.starts_with(&format!("{name}:")))
        .unwrap_or_else(|| panic!("no {name}"));
    let mut numbers = line.split(':').skip(2).map(|field| field.parse().expect("a number"));
    (numbers.next().expect("a user"), numbers.next().expect("a group"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o7777
}

#[test]
#[ignore = "long: fetches a system"]
fn packages_have_no_flaw_install_run_and_go() {
    let (_folder, made) = packages();
    let mut lintian = Command::new(tool("lintian"));
    lintian.args(["--allow-root", "--fail-on", "error,warning"]).args(&made);
    run(&mut lintian, FETCH).succeeded();

    let system = System::bootstrap();
    let mut install = vec!["apt-get", "install", "-y", "-q", "--no-install-recommends"];
    let names: Vec<_> =
        made.iter().map(|path| format!("/{}", path.file_name().expect("a name").to_string_lossy())).collect();
    for (from, name) in made.iter().zip(&names) {
        fs::copy(from, system.file(name)).expect("room");
    }
    install.extend(names.iter().map(String::as_str));
    system.run(&install).succeeded();
    is_laid_out(&system);
    runs_as_its_own_user(&system);
    is_configured_again_without_touching_what_was_edited(&system, &names);
    goes(&system);
}

fn is_laid_out(system: &System) {
    let (id, group) = user(system, "socksd");
    assert!(id != 0 && id < 1000, "a system user: {id}");
    let users = fs::metadata(system.file("/etc/socksd/users.yaml")).expect("made by the package");
    assert_eq!((users.uid(), users.gid(), users.mode() & 0o7777), (0, group, 0o640));
    let records = fs::metadata(system.file("/var/log/socksd")).expect("made by the package");
    assert_eq!((records.uid(), records.mode() & 0o7777), (id, 0o750));
    assert_eq!(mode(&system.file("/usr/bin/socksd")), 0o755);
    for path in [
        "/usr/lib/systemd/system/socksd.service",
        "/usr/share/man/man8/socksd.8.gz",
        "/usr/share/man/man1/socks-forward.1.gz",
        "/usr/share/bash-completion/completions/socksd",
        "/usr/share/doc/socksd/copyright",
        "/usr/share/doc/socksd/docs/operations.md",
        "/usr/share/doc/socksd/examples/samples/jump-host/policy.yaml",
        "/etc/logrotate.d/socksd",
    ] {
        assert!(fs::exists(system.file(path)).expect("readable"), "no {path}");
    }
    let conffiles =
        system.run(&["dpkg-query", "--show", "--showformat=${Conffiles}", "socksd"]).succeeded().text();
    assert!(
        conffiles.contains("/etc/socksd/policy.yaml") && !conffiles.contains("users.yaml"),
        "{conffiles}"
    );
    let enabled = system.file("/etc/systemd/system/multi-user.target.wants/socksd.service");
    assert!(!fs::exists(enabled).expect("readable"), "it begins with a decision of the operator's");
}

/// As the operator goes on: the shipped files first, then files of his own.
fn runs_as_its_own_user(system: &System) {
    // The unit's RuntimeDirectory; nothing of systemd runs here.
    system.run(&["install", "-d", "-o", "socksd", "/run/socksd"]).succeeded();
    let as_socksd = |words: &[&str]| {
        let mut all = vec!["runuser", "-u", "socksd", "--", "/usr/bin/socksd"];
        all.extend(words);
        system.command(&all)
    };
    run(&mut as_socksd(&["check"]), DEADLINE).succeeded();
    let mut add = system.command(&["socksd", "user", "add", "--file", "/etc/socksd/users.yaml", "alice"]);
    run_with_input(&mut add, b"secret\n", DEADLINE).succeeded();
    assert_eq!(mode(&system.file("/etc/socksd/users.yaml")), 0o640);
    let policy = "version: 1\nclients: [{ source: 127.0.0.0/8, methods: [password] }]\nrules:\n  - { name: alice-to-here, \
                  action: permit, identity: \"password:alice\", destination: 127.0.0.1, special-use: permit }\n";
    fs::write(system.file("/etc/socksd/policy.yaml"), policy).expect("room");
    let config = system.file("/etc/socksd/socksd.yaml");
    let text = fs::read_to_string(&config).expect("shipped");
    assert!(text.contains("127.0.0.1:1080"), "{text}");
    fs::write(&config, text.replace("127.0.0.1:1080", "127.0.0.1:0")).expect("room");

    let mut gateway =
        as_socksd(&["run"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it is installed");
    let log = Lines::collect(gateway.stderr.take().expect("a pipe"));
    let address = log.find(DEADLINE, |line| {
        let (_, rest) = line.split_once("listening ")?;
        rest.split([' ', '"', '=']).find_map(|word| word.parse().ok())
    });
    let address = address.unwrap_or_else(|| panic!("it does not listen:\n{}", log.text()));
    let echo = targets::echo();
    let mut client = Client::connect(address);
    assert_eq!(client.greet(&[0x02]), 0x02);
    assert_eq!(client.login("alice", "secret"), 0);
    assert_eq!(client.connect_to(echo.address).code, 0x00);
    client.expect_echo(b"hello");
    drop(client);
    let status = system.run(&["socksd", "status"]).succeeded().text();
    assert!(status.contains("ready     yes"), "{status}");
    // runuser passes the signal on.
    process::signal(gateway.id(), Signal::TERM);
    assert!(log.wait_for_end(DEADLINE), "{}", log.text());
    drop(gateway.wait());
    let records = system.file("/var/log/socksd/audit.jsonl");
    let text = fs::read_to_string(&records).expect("records");
    assert!(text.contains("\"rule\":\"alice-to-here\"") && text.contains("\"cause\":\"closed\""), "{text}");
    assert_eq!(fs::metadata(&records).expect("read above").uid(), user(system, "socksd").0);
}

/// As an upgrade does it.
fn is_configured_again_without_touching_what_was_edited(system: &System, names: &[String]) {
    let read = |path: &str| fs::read_to_string(system.file(path)).expect("it is there");
    let edited = ["/etc/socksd/users.yaml", "/etc/socksd/policy.yaml", "/etc/socksd/socksd.yaml"];
    let before = edited.map(read);
    for name in names {
        system.run(&["dpkg", "--install", name]).succeeded();
    }
    assert_eq!(edited.map(read), before);
}

fn goes(system: &System) {
    system.run(&["apt-get", "remove", "-y", "-q", "socksd", "socks-forward"]).succeeded();
    assert!(!fs::exists(system.file("/usr/bin/socksd")).expect("readable"));
    assert!(
        fs::exists(system.file("/etc/socksd/policy.yaml")).expect("readable"),
        "conffiles stay until the purge"
    );
    system.run(&["dpkg", "--purge", "socksd", "socks-forward"]).succeeded();
    assert!(!fs::exists(system.file("/etc/socksd")).expect("readable"));
    assert!(
        fs::exists(system.file("/var/log/socksd/audit.jsonl")).expect("readable"),
        "records are evidence"
    );
}

#[test]
#[ignore = "long: packs optimized programs twice"]
fn the_same_tree_gives_the_same_packages() {
    // Read while their folder is there.
    let read = |(_folder, made): (Folder, Vec<PathBuf>)| {
        made.iter().map(|path| fs::read(path).expect("made")).collect::<Vec<_>>()
    };
    assert!(read(packages()) == read(packages()), "they differ");
}
