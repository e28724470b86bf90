//! `socks-forward` as a whole program, with the real gateway and programs that people use.

use std::io::{BufWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::client::End;
use tests::command::{Finished, run, run_with_input, tool};
use tests::forwarder::{self, Forwarder};
use tests::pattern::{Digest, Pattern};
use tests::{Client, DEADLINE, Folder, Setup, targets};

const MIB: u64 = 1 << 20;
/// For a transfer of some ten MiB on a busy machine.
const TRANSFER: Duration = Duration::from_secs(120);

const ONE_PORT_ONLY: &str = "\
version: 1
rules:
  - name: that-port
    action: permit
    special-use: permit
    port: PORT
";

/// curl through a proxy, as SOCKS or as HTTP CONNECT, without what its environment may say.
fn curl(proxy: &str) -> Command {
    let mut command = Command::new(tool("curl"));
    for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(variable).env_remove(variable.to_uppercase());
    }
    command.args(["--disable", "--silent", "--show-error", "--noproxy", "", "--proxytunnel"]);
    command.args(["--proxy", proxy]);
    command
}

fn get(forwarder: &Forwarder, scheme: &str, url: &str) -> Finished {
    run(curl(&forwarder.url(scheme)).arg(url), DEADLINE)
}

#[test]
fn curl_reaches_its_target_by_socks_and_by_http_on_one_port() {
    let (gateway, web) = (Setup::new().start(), targets::http());
    let forwarder = Forwarder::start(gateway.address());
    let url = format!("http://localhost:{}/", web.address.port());
    for (scheme, via) in [("socks5h", "via=socks5"), ("http", "via=http-connect")] {
        assert_eq!(get(&forwarder, scheme, &url).succeeded().text(), "hello\n");
        let target = format!("target=localhost:{}", web.address.port());
        forwarder.expect_line(&["closed", via, &target, "level=none", "end=\"closed in order\""]);
    }
    assert_eq!(gateway.sessions(2).len(), 2);
}

#[test]
fn the_password_of_a_file_logs_in() {
    let (gateway, web) = (Setup::new().user("alice", "sesame-4711").start(), targets::http());
    let folder = Folder::new();
    let mut command = forwarder::command(&gateway.address().to_string());
    command.args(["--user", "alice", "--password-file"]);
    command.arg(forwarder::password_file(&folder, "sesame-4711"));
    let forwarder = Forwarder::start_as(command);
    let url = format!("http://{}/", web.address);
    assert_eq!(get(&forwarder, "socks5h", &url).succeeded().text(), "hello\n");
    gateway.session().expect(&[("identity", "password:alice")]);
}

#[test]
fn a_wrong_password_is_told_to_the_program_and_in_the_log() {
    let (gateway, folder) = (Setup::new().user("alice", "sesame-4711").start(), Folder::new());
    let mut command = forwarder::command(&gateway.address().to_string());
    command.args(["--user", "alice", "--password-file"]).arg(forwarder::password_file(&folder, "wrong"));
    let forwarder = Forwarder::start_as(command);
    let text = "authentication: gateway refuses the user name or the password";
    assert!(http_answer(&forwarder, "web.example:80").ends_with(&format!("socks-forward: {text}\n")));
    forwarder.expect_line(&["failed", text]);
    assert!(!forwarder.log().text().contains("wrong"), "{}", forwarder.log().text());
}

/// The whole answer to an HTTP CONNECT that is refused.
fn http_answer(forwarder: &Forwarder, target: &str) -> String {
    let mut client = Client::connect(forwarder.address());
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes());
    let (answer, end) = client.receive_all();
    assert_eq!(end, End::Closed);
    String::from_utf8(answer).expect("text")
}

#[test]
fn a_refusal_of_the_ruleset_has_its_code_and_its_status() {
    let (permitted, other) = (targets::echo(), targets::echo());
    let policy = ONE_PORT_ONLY.replace("PORT", &permitted.address.port().to_string());
    let gateway = Setup::new().policy(&policy).start();
    let forwarder = Forwarder::start(gateway.address());
    let mut client = Client::connect(forwarder.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client.send(&tests::client::connect_request(other.address));
    client.expect_refusal(0x02);
    let answer = http_answer(&forwarder, &other.address.to_string());
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert_eq!(other.accepted(), 0, "connections at the target");
    Client::tunnel(forwarder.address(), permitted.address).expect_echo(b"hello");
}

#[test]
fn a_target_that_refuses_has_its_code_and_its_status() {
    let gateway = Setup::new().start();
    let (forwarder, refusing) = (Forwarder::start(gateway.address()), targets::Refusing::new());
    let mut client = Client::connect(forwarder.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    assert_eq!(client.connect_to(refusing.address).code, 0x05);
    let answer = http_answer(&forwarder, &refusing.address.to_string());
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
}

#[test]
fn transfers_arrive_as_they_were_sent() {
    let (gateway, web, folder) = (Setup::new().start(), targets::http(), Folder::new());
    let forwarder = Forwarder::start(gateway.address());
    let url = format!("http://{}/octets/{}", web.address, 64 * MIB);
    let answer = run(curl(&forwarder.url("socks5h")).arg(url), TRANSFER).succeeded();
    assert_eq!(digest(&answer.stdout[..]), digest(Pattern::new(64 * MIB)));
    let file = std::fs::File::create(folder.file("upload")).expect("a file");
    std::io::copy(&mut Pattern::new(16 * MIB), &mut BufWriter::with_capacity(1 << 18, file)).expect("room");
    let mut upload = curl(&forwarder.url("http"));
    upload.arg("--upload-file").arg(folder.file("upload")).arg(format!("http://{}/file", web.address));
    assert_eq!(run(&mut upload, TRANSFER).succeeded().text(), digest(Pattern::new(16 * MIB)));
}

#[test]
fn a_half_close_passes_through_the_forwarder() {
    let (gateway, target) = (Setup::new().start(), targets::last_word());
    let forwarder = Forwarder::start(gateway.address());
    let mut client = Client::tunnel(forwarder.address(), target.address);
    client.send(b"hello");
    client.finish();
    client.expect_last(b"5");
}

fn stdio(gateway: &tests::Gateway, target: &str) -> Command {
    let mut command = forwarder::command(&gateway.address().to_string());
    command.args(["--method", "none", "--stdio", target]);
    command
}

#[test]
fn standard_input_and_output_carry_one_connection_with_its_half_close() {
    let (gateway, target) = (Setup::new().start(), targets::last_word());
    let mut command = stdio(&gateway, &target.address.to_string());
    let octets = vec![0xA5; 1_000_000];
    let finished = run_with_input(&mut command, &octets, DEADLINE).succeeded();
    assert_eq!((finished.text().as_str(), finished.stderr.as_str()), ("1000000", ""));
    gateway.session().expect(&[("cause", "closed")]);
}

#[test]
fn a_target_that_ends_first_ends_standard_output() {
    let (gateway, target) = (Setup::new().start(), targets::farewell(b"goodbye"));
    let mut command = stdio(&gateway, &target.address.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was built");
    let mut heard = Vec::new();
    let mut output = child.stdout.take().expect("standard output is a pipe");
    // Standard input is open all the while.
    output.read_to_end(&mut heard).expect("a pipe");
    assert_eq!(heard, b"goodbye");
    let mut input = child.stdin.take().expect("standard input is a pipe");
    input.write_all(b"after the end").expect("it still reads");
    drop(input);
    assert!(child.wait().expect("a child of ours can be waited for").success());
    assert_eq!(gateway.session().up(), 13);
}

#[test]
fn a_connection_that_is_refused_is_told_on_standard_error_alone() {
    let gateway = Setup::new().policy(&ONE_PORT_ONLY.replace("PORT", "80")).start();
    let finished = run(&mut stdio(&gateway, "web.example:22"), DEADLINE);
    assert_eq!((finished.code, finished.stdout.as_slice()), (Some(69), &b""[..]));
    let text = "socks-forward: request: gateway answers 0x02 (not allowed by the ruleset)\n";
    assert_eq!(finished.stderr, text);
}

#[test]
fn ssh_takes_it_as_its_proxy_command() {
    let (gateway, target) = (Setup::new().start(), targets::handing());
    let program = tests::program::built_of("socks-client", "socks-forward");
    let proxy = format!("{} --gateway {} --method none --stdio %h:%p", program.display(), gateway.address());
    let mut ssh = Command::new(tool("ssh"));
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/dev/null"]);
    ssh.args(["-o", &format!("ProxyCommand={proxy}"), "-p", &target.address.port().to_string()]);
    let mut child = ssh.args(["127.0.0.1", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut server = target.accept();
    let mut banner = [0; 8];
    server.read_exact(&mut banner).expect("the client's banner");
    assert_eq!(&banner, b"SSH-2.0-");
    drop(server);
    // There is no ssh server: ssh gives up, and its proxy with it.
    assert!(!child.as_mut().expect("ssh is there").wait().expect("a child of ours").success());
    gateway.session();
}

#[test]
fn on_sigterm_open_connections_go_on_to_their_end() {
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let forwarder = Forwarder::start(gateway.address());
    let mut client = Client::tunnel(forwarder.address(), echo.address);
    forwarder.signal(Signal::TERM);
    forwarder.expect_line(&["stopping", "connections=1"]);
    assert!(TcpStream::connect(forwarder.address()).is_err(), "the listener is closed");
    client.expect_echo(b"hello");
    client.finish();
    client.expect_last(b"");
    assert_eq!(forwarder.wait(), Some(0));
}

#[test]
fn a_second_signal_cuts_connections_off() {
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let forwarder = Forwarder::start(gateway.address());
    let _client = Client::tunnel(forwarder.address(), echo.address);
    forwarder.signal(Signal::TERM);
    forwarder.expect_line(&["stopping"]);
    forwarder.signal(Signal::TERM);
    forwarder.expect_line(&["connections are cut off"]);
    assert_eq!(forwarder.wait(), Some(0));
}

#[test]
fn one_connection_more_than_allowed_is_closed() {
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let mut command = forwarder::command(&gateway.address().to_string());
    command.args(["--method", "none", "--max-connections", "1"]);
    let forwarder = Forwarder::start_as(command);
    let mut first = Client::tunnel(forwarder.address(), echo.address);
    let (heard, _) = Client::connect(forwarder.address()).receive_all();
    assert_eq!(heard, b"");
    first.expect_echo(b"hello");
    first.stream().shutdown(Shutdown::Both).expect("a connected socket");
    let until = Instant::now() + DEADLINE;
    while !is_served(forwarder.address()) {
        assert!(Instant::now() < until, "its place is free again");
    }
}

/// Tells whether a greeting is answered.
fn is_served(forwarder: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(forwarder).expect("it listens");
    stream.write_all(b"\x05\x01\0").is_ok() && stream.read_exact(&mut [0; 2]).is_ok()
}

#[test]
fn command_lines_that_cannot_work_say_why() {
    let folder = Folder::new();
    let open = folder.write("open", "secret\n");
    folder.set_mode("open", 0o644);
    let open = open.display().to_string();
    let table = [
        (&["--gateway", "gw", "--listen", "0.0.0.0:0"][..], 64, "--allow-remote"),
        (&["--gateway", "192.0.2.1"], 64, "`192.0.2.1` is an address, and Kerberos needs a name"),
        (&["--gateway", "gw", "--method", "none", "--level", "integrity"], 64, "cannot be kept"),
        (&["--gateway", "gw", "--method", "password"], 64, "--user"),
        (&["--gateway", "gw", "--user", "alice", "--password-file", &open], 78, "chmod 600"),
        (&["--gateway", "gw", "--user", "alice", "--password-file", "/nowhere"], 78, "`/nowhere`"),
    ];
    for (words, code, text) in table {
        let mut command = Command::new(tests::program::built_of("socks-client", "socks-forward"));
        let finished = run(command.args(words), DEADLINE);
        assert_eq!(finished.code, Some(code), "{words:?}: {finished}");
        assert!(finished.stderr.contains(text), "{words:?}: {finished}");
    }
}

fn digest(octets: impl Read) -> String {
    Digest::of(octets).expect("reading from memory").text()
}
