//! What packages are made of: manual pages, completions, the unit, the container file.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use socks_core::wire::{Host, Target};
use tests::command::{run, run_with_input, tool};
use tests::udp::Association;
use tests::{Client, DEADLINE, Folder, Setup, program, site, targets};

/// Tenths of systemd's points of exposure, from 0 to 100: a change that opens something shows here.
const EXPOSURE: &str = "13";

/// The folder that a program has written for `/usr/share`.
fn share() -> Folder {
    let folder = Folder::new();
    for (package, name) in [("socksd", "socksd"), ("socks-client", "socks-forward")] {
        let mut command = Command::new(program::built_of(package, name));
        run(command.arg("--write-manual").arg(folder.path()), DEADLINE).succeeded();
    }
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Asserts that a command succeeds and has nothing to say.
#[track_caller]
fn expect_silence(command: &mut Command) {
    let done = run(command, DEADLINE);
    assert!(done.code == Some(0) && done.stdout.is_empty() && done.stderr.is_empty(), "{command:?}: {done}");
}

#[test]
fn manual_pages_have_no_flaw_for_either_formatter() {
    let folder = share();
    let pages = files(&folder.file("man"));
    assert!(pages.len() > 10, "{pages:?}");
    for page in &pages {
        // A page of a program that is built on any day has no date of its own.
        let lint =
            run(Command::new(tool("mandoc")).args(["-T", "lint", "-W", "warning"]).arg(page), DEADLINE);
        let flaws: Vec<_> =
            lint.text().lines().filter(|it| !it.contains("missing date")).map(str::to_owned).collect();
        assert!(flaws.is_empty() && lint.stderr.is_empty(), "{flaws:#?} {}", lint.stderr);
        let mut groff = Command::new(tool("man"));
        groff.args(["--warnings", "--encoding=UTF-8", "--local-file", "-Tutf8", "-Z"]).arg(page);
        let shown = run(groff.env("LC_ALL", "C.UTF-8"), DEADLINE).succeeded();
        assert_eq!(shown.stderr, "", "{}", page.display());
    }
}

#[test]
fn every_command_and_option_of_the_help_stands_in_the_manual() {
    let folder = share();
    for words in [
        &["socksd", "run"][..],
        &["socksd", "policy", "explain"],
        &["socksd", "user", "add"],
        &["socks-forward"],
    ] {
        let (name, rest) = words.split_first().expect("a program");
        let (package, number) = if *name == "socksd" { ("socksd", 8) } else { ("socks-client", 1) };
        let help = run(Command::new(program::built_of(package, name)).args(rest).arg("--help"), DEADLINE);
        let page = folder.file(&format!("man/man{number}/{}.{number}", words.join("-")));
        let page = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let help = help.succeeded().text();
        let options: BTreeSet<_> =
            help.split([' ', '\n', ',']).filter(|word| word.starts_with("--")).collect();
        assert!(options.len() > 2, "{help}");
        for option in options {
            let option = option.trim_end_matches(['.', ':', ']']).replace('-', "\\-");
            assert!(page.contains(&option), "`{option}` of {words:?} is not in its page");
        }
    }
}

#[test]
fn completions_are_read_by_their_shells_without_a_word() {
    let folder = share();
    for name in ["socksd", "socks-forward"] {
        let bash = folder.file(&format!("bash-completion/completions/{name}"));
        expect_silence(Command::new(tool("bash")).arg("-n").arg(&bash));
        let zsh = folder.file(&format!("zsh/vendor-completions/_{name}"));
        expect_silence(Command::new(tool("zsh")).arg("-n").arg(&zsh));
        let fish = folder.file(&format!("fish/vendor_completions.d/{name}.fish"));
        expect_silence(Command::new(tool("fish")).arg("--no-execute").arg(&fish));
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let folder = share();
    let script = format!(
        ". {}; COMP_WORDS=(socksd policy ex); COMP_CWORD=2; _socksd socksd ex policy; echo ${{COMPREPLY[@]}}
         COMP_WORDS=(socksd check --j); COMP_CWORD=2; _socksd socksd --j check; echo ${{COMPREPLY[@]}}",
        folder.file("bash-completion/completions/socksd").display()
    );
    let done = run(Command::new(tool("bash")).arg("-c").arg(script), DEADLINE).succeeded();
    assert_eq!(done.text(), "explain\n--json\n");
}

/// The unit as it is shipped, with the program where it lies here.
fn unit(folder: &Folder) -> PathBuf {
    let unit = fs::read_to_string(program::workspace().join("deploy/socksd.service")).expect("the unit");
    assert!(unit.contains("=/usr/bin/socksd "), "{unit}");
    folder.write(
        "socksd.service",
        &unit.replace("/usr/bin/socksd", &program::built("socksd").display().to_string()),
    )
}

#[test]
fn the_unit_is_understood_whole() {
    let folder = Folder::new();
    let mut verify = Command::new(tool("systemd-analyze"));
    let socket = fs::read_to_string(program::workspace().join("deploy/socksd.socket")).expect("the sample");
    let socket = folder.write("socksd.socket", &socket);
    expect_silence(verify.args(["verify", "--man=no"]).arg(unit(&folder)).arg(socket));
}

#[test]
fn the_unit_leaves_open_no_more_than_it_did() {
    let folder = Folder::new();
    let mut security = Command::new(tool("systemd-analyze"));
    security.args(["security", "--offline=true", "--no-pager"]).arg(format!("--threshold={EXPOSURE}"));
    let judged = run(security.arg(unit(&folder)), DEADLINE);
    assert_eq!(judged.code, Some(0), "{judged}");
    assert!(judged.text().contains("Overall exposure level"), "{judged}");
}

#[test]
fn the_unit_gives_neither_root_nor_capabilities() {
    let folder = Folder::new();
    let unit = fs::read_to_string(unit(&folder)).expect("written above");
    let lines: BTreeSet<_> = unit.lines().collect();
    for line in ["User=socksd", "CapabilityBoundingSet=", "AmbientCapabilities=", "NoNewPrivileges=yes"] {
        assert!(lines.contains(line), "no `{line}` in:\n{unit}");
    }
    let repeated = |key: &str| unit.lines().filter(|line| line.starts_with(key)).count();
    assert_eq!((repeated("User="), repeated("CapabilityBoundingSet=")), (1, 1), "{unit}");
}

/// System calls by systemd's names of sets: `@system-service`.
fn calls(sets: &[&str]) -> BTreeSet<String> {
    let listed = run(Command::new(tool("systemd-analyze")).arg("syscall-filter").args(sets), DEADLINE);
    let listed = listed.succeeded().text();
    let words = listed.lines().filter(|line| line.starts_with(' ')).map(str::trim);
    let words: Vec<_> = words.filter(|word| !word.starts_with('#')).collect();
    let (inner, calls): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|word| word.starts_with('@'));
    let mut calls: BTreeSet<_> = calls.into_iter().map(str::to_owned).collect();
    if !inner.is_empty() {
        calls.extend(self::calls(&inner));
    }
    calls
}

/// What the unit's filter lets through.
fn permitted() -> BTreeSet<String> {
    let unit = fs::read_to_string(program::workspace().join("deploy/socksd.service")).expect("the unit");
    let mut permitted = calls(&["@default"]);
    for sets in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let words = |sets: &str| calls(&sets.split(' ').collect::<Vec<_>>());
        match sets.strip_prefix('~') {
            None => permitted.extend(words(sets)),
            Some(sets) => permitted = permitted.difference(&words(sets)).cloned().collect(),
        }
    }
    permitted
}

// A call that the filter refuses fails on the operator's machine only: nothing here runs under systemd.
#[test]
fn the_unit_forbids_no_system_call_that_the_gateway_makes() {
    let folder = Folder::new();
    let realm = site::realm("EXAMPLE.TEST");
    let (keytab, trace) = (folder.file("socksd.keytab"), folder.file("trace"));
    realm.keytab(&site::SERVICES, &keytab).expect("the services are there");
    let environment = realm.server_env(&keytab);
    let strace = tool("strace").display().to_string();
    let gateway = Setup::new()
        .user("alice", "secret")
        .auth(&format!(
            "  - kind: password\n    options: {{ users: users.yaml }}\n  - kind: none\n  - kind: gssapi\n    \
             options: {{ keytab: {}, groups: [local] }}\n",
            keytab.display()
        ))
        .under(&[&strace, "-D", "-f", "-qq", "-o", &trace.display().to_string()])
        .environment(environment.iter())
        .start();
    let (echo, source) = (targets::echo(), targets::source());
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x02]), 0x02);
    assert_eq!(client.login("alice", "secret"), 0);
    assert_eq!(client.connect_to(echo.address).code, 0x00);
    client.expect_echo(&vec![7; 1 << 20]);
    let mut large = Client::tunnel(gateway.address(), source.address);
    assert_eq!(large.receive(4 << 20).len(), 4 << 20);
    let mut named = Client::connect(gateway.address());
    named.greet(&[0x00]);
    assert_eq!(named.connect_to_name(b"localhost", echo.address.port()).code, 0x00);
    let datagrams = targets::udp_echo(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let association = Association::open(gateway.address());
    let to = Target { host: Host::Ip(datagrams.address.ip()), port: datagrams.address.port() };
    association.expect_echo(&to, datagrams.address, b"hello");
    let mut bind = Client::connect(gateway.address());
    bind.greet(&[0x00]);
    assert_eq!(bind.bind(echo.address).code, 0x00);
    let alice = realm.kinit("alice").expect("the password is right").env();
    let mut forwarder = site::forwarder(gateway.address(), &alice);
    forwarder.args(["--stdio", &echo.address.to_string()]);
    assert_eq!(run_with_input(&mut forwarder, b"sealed", DEADLINE).succeeded().text(), "sealed");
    gateway.signal(Signal::HUP);
    assert!(gateway.log().find(DEADLINE, |line| line.contains("reload").then_some(())).is_some());
    drop((client, large, named, association, bind));
    assert_eq!(gateway.stop().code, Some(0));

    let permitted = permitted();
    assert!(permitted.contains("epoll_wait") && !permitted.contains("chown"), "{permitted:?}");
    let trace = fs::read_to_string(trace).expect("strace's file");
    let made: BTreeSet<_> = trace.lines().filter_map(made).collect();
    assert!(made.contains("splice") && made.contains("accept4"), "{made:?}");
    // What starts the program, before any filter of systemd's holds, is not the program's.
    let refused: Vec<_> = made.iter().filter(|call| !permitted.contains(**call)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// The call in a line of strace's: `123 read(3, …` or `123 <... read resumed>`.
fn made(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(' ')?;
    let (name, _) = rest.trim_start().split_once('(')?;
    (!name.is_empty() && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_'))
        .then_some(name)
}

/// The instructions of the container file, each with what follows it, lines put together.
fn instructions() -> Vec<(String, String)> {
    let file =
        fs::read_to_string(program::workspace().join("deploy/Containerfile")).expect("the container file");
    let lines = file.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let whole = lines.replace("\\\n", " ");
    let pairs = whole.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, rest)| (name.to_owned(), rest.trim().to_owned())).collect()
}

fn of<'a>(instructions: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    instructions.iter().filter(move |(known, _)| known == name).map(|(_, rest)| rest.as_str())
}

#[test]
fn everything_that_the_container_file_copies_is_there() {
    let instructions = instructions();
    let mut count = 0;
    for copy in of(&instructions, "COPY").filter(|copy| !copy.starts_with("--from")) {
        let words: Vec<_> = copy.split_whitespace().collect();
        let (_, sources) = words.split_last().expect("a target");
        for source in sources {
            assert!(program::workspace().join(source).exists(), "COPY {copy}: no `{source}`");
            count += 1;
        }
    }
    // All members of the workspace: cargo reads each one's file.
    let members = fs::read_to_string(program::workspace().join("Cargo.toml")).expect("the workspace");
    let members = members.lines().find_map(|line| line.strip_prefix("members = ")).expect("members");
    let copied: Vec<_> = of(&instructions, "COPY").collect();
    for member in members.split('"').skip(1).step_by(2).filter(|member| !member.contains('/')) {
        assert!(
            copied.contains(&format!("{member} {member}").as_str()),
            "`{member}` is not copied: {copied:?}"
        );
    }
    assert!(count > 10, "{count}");
}

#[test]
fn the_container_runs_as_nobody_in_particular_what_the_program_knows() {
    let instructions = instructions();
    assert_eq!(of(&instructions, "USER").collect::<Vec<_>>(), ["10001:10001"]);
    assert_eq!(of(&instructions, "HEALTHCHECK").count(), 1);
    let last = |name| of(&instructions, name).last().expect("it is there").to_owned();
    assert_eq!(last("ENTRYPOINT"), "[\"/usr/bin/socksd\"]");
    assert!(of(&instructions, "COPY").any(|copy| copy.ends_with("/target/release/socksd /usr/bin/socksd")));
    let words: Vec<String> = serde_json::from_str(&last("CMD")).expect("a list");
    let (config, command) = words.split_last().expect("a file");
    let mut help = Command::new(program::built("socksd"));
    let help = run(help.args(command.iter().take(1)).arg("--help"), DEADLINE).succeeded().text();
    assert!(command.iter().skip(1).all(|option| help.contains(option)), "{words:?}: {help}");
    assert_eq!(config, "/etc/socksd/socksd.yaml");
    // Built with no older compiler than the tree asks for.
    let wanted = fs::read_to_string(program::workspace().join("Cargo.toml")).expect("the workspace");
    let wanted = wanted.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    let from = of(&instructions, "FROM").next().expect("a first stage");
    assert!(from.contains(&format!("rust:{}-", wanted.trim_matches('"'))), "{from} for {wanted}");
}

#[test]
fn what_a_package_installs_first_has_no_mistake_and_permits_nothing() {
    let folder = Folder::new();
    for name in ["socksd.yaml", "policy.yaml"] {
        let shipped = program::workspace().join("deploy/debian/socksd").join(name);
        fs::copy(shipped, folder.file(name)).expect("a shipped file");
    }
    folder.write("users.yaml", "users: []\n");
    folder.set_mode("users.yaml", 0o600);
    let mut check = Command::new(program::built("socksd"));
    let checked =
        run(check.args(["check", "--config"]).arg(folder.file("socksd.yaml")), DEADLINE).succeeded();
    assert_eq!(checked.stderr, "");
    let policy = fs::read_to_string(folder.file("policy.yaml")).expect("copied above");
    assert!(policy.contains("\nrules: []\n"), "{policy}");
}
