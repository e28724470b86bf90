//! Clients that people use, against the real gateway: each reaches its target, and each leaves its record.

use std::io::BufWriter;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use tests::command::{Finished, run, run_with_input, tool};
use tests::pattern::{Digest, Pattern};
use tests::{DEADLINE, Folder, Gateway, Record, Setup, namespace, targets};

const MIB: u64 = 1 << 20;
/// For a transfer of a few hundred MiB on a busy machine.
const TRANSFER: Duration = Duration::from_secs(120);

fn with_alice() -> Gateway {
    Setup::new().user("alice", "sesame-4711").start()
}

/// A tool of the system without the proxies that its environment may name.
fn plain(name: &str) -> Command {
    let mut command = Command::new(tool(name));
    for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(variable).env_remove(variable.to_uppercase());
    }
    command
}

fn curl(proxy: &str) -> Command {
    let mut command = plain("curl");
    command.args(["--disable", "--silent", "--show-error", "--noproxy", "", "--proxy", proxy]);
    command
}

fn get(proxy: &str, url: &str) -> Finished {
    run(curl(proxy).arg(url), DEADLINE)
}

/// Checks the record of a session that one who logged in as alice, or nobody, has ended in order.
#[track_caller]
fn expect_relayed(record: &Record, identity: &str, target: &str, octets: [u64; 2]) {
    let method = if identity == "anonymous" { "none" } else { "password" };
    record.expect(&[
        ("identity", identity),
        ("method", method),
        ("command", "connect"),
        ("target", target),
        ("rule", "everything"),
        ("verdict", "permit"),
        ("cause", "closed"),
    ]);
    let [up, down] = octets;
    assert!(record.up() >= up && record.down() >= down, "at least {up} up and {down} down: {record}");
    assert!(record.up() <= up + 4096 && record.down() <= down + 4096, "little more than that: {record}");
}

#[test]
fn curl_reaches_an_address_without_logging_in() {
    let (gateway, web) = (Setup::new().start(), targets::http());
    let answer = get(&gateway.url("socks5", ""), &format!("http://{}/", web.address)).succeeded();
    assert_eq!(answer.text(), "hello\n");
    let record = gateway.session();
    expect_relayed(&record, "anonymous", &web.address.to_string(), [1, 6]);
    record.expect(&[("dialled", &web.address.to_string())]);
    let bound: SocketAddr = record.text("bound").parse().expect("an address");
    assert!(bound.ip().is_loopback() && bound.port() != 0, "{record}");
}

#[test]
fn curl_leaves_a_name_to_the_gateway() {
    let (gateway, web) = (Setup::new().start(), targets::http());
    let url = format!("http://localhost:{}/", web.address.port());
    assert_eq!(get(&gateway.url("socks5h", ""), &url).succeeded().text(), "hello\n");
    let record = gateway.session();
    expect_relayed(&record, "anonymous", &format!("localhost:{}", web.address.port()), [1, 6]);
    record.expect(&[("dialled", &web.address.to_string())]);
}

#[test]
fn curl_looks_a_name_up_itself_with_socks5() {
    let (gateway, web) = (Setup::new().start(), targets::http());
    let url = format!("http://localhost:{}/", web.address.port());
    run(curl(&gateway.url("socks5", "")).arg("--ipv4").arg(url), DEADLINE).succeeded();
    expect_relayed(&gateway.session(), "anonymous", &web.address.to_string(), [1, 6]);
}

#[test]
fn curl_logs_in_with_name_and_password() {
    let (gateway, web) = (with_alice(), targets::http());
    for scheme in ["socks5", "socks5h"] {
        let proxy = gateway.url(scheme, "alice:sesame-4711@");
        assert_eq!(get(&proxy, &format!("http://{}/", web.address)).succeeded().text(), "hello\n");
    }
    for record in gateway.sessions(2) {
        expect_relayed(&record, "password:alice", &web.address.to_string(), [1, 6]);
    }
}

#[test]
fn curl_with_a_wrong_password_reaches_nothing() {
    let (gateway, web) = (with_alice(), targets::http());
    let url = format!("http://{}/", web.address);
    for login in ["alice:wrong@", "mallory:sesame-4711@"] {
        let answer = get(&gateway.url("socks5", login), &url);
        // CURLE_PROXY, "proxy handshake error".
        assert_eq!(answer.code, Some(97), "{answer}");
    }
    let names = gateway.sessions(2).into_iter().map(|record| {
        record.expect(&[("identity", ""), ("verdict", "deny"), ("cause", "authentication-refused")]);
        record.text("claimed-identity").to_owned()
    });
    assert_eq!(names.collect::<Vec<_>>(), ["alice", "mallory"]);
    assert_eq!(web.accepted(), 0, "connections at the target");
}

#[test]
fn curl_without_a_login_is_refused_where_one_is_wanted() {
    let (gateway, web) = (with_alice(), targets::http());
    let answer = get(&gateway.url("socks5", ""), &format!("http://{}/", web.address));
    assert_eq!(answer.code, Some(97), "{answer}");
    gateway.record(|record| record.text("event") == "refusals");
    assert_eq!(web.accepted(), 0, "connections at the target");
}

#[test]
fn a_download_of_200_mib_arrives_as_it_was_sent() {
    let (gateway, web) = (with_alice(), targets::http());
    let url = format!("http://{}/octets/{}", web.address, 200 * MIB);
    let answer = run(curl(&gateway.url("socks5h", "alice:sesame-4711@")).arg(url), TRANSFER).succeeded();
    assert_eq!(digest(&answer.stdout[..]), digest(Pattern::new(200 * MIB)));
    expect_relayed(&gateway.session(), "password:alice", &web.address.to_string(), [1, 200 * MIB]);
}

#[test]
fn an_upload_of_64_mib_arrives_as_it_was_sent() {
    let (gateway, web, folder) = (with_alice(), targets::http(), Folder::new());
    let file = std::fs::File::create(folder.file("upload")).expect("a file");
    std::io::copy(&mut Pattern::new(64 * MIB), &mut BufWriter::with_capacity(1 << 18, file)).expect("room");
    let mut upload = curl(&gateway.url("socks5", "alice:sesame-4711@"));
    upload.arg("--upload-file").arg(folder.file("upload")).arg(format!("http://{}/file", web.address));
    assert_eq!(run(&mut upload, TRANSFER).succeeded().text(), digest(Pattern::new(64 * MIB)));
    expect_relayed(&gateway.session(), "password:alice", &web.address.to_string(), [64 * MIB, 1]);
}

#[test]
fn two_requests_of_curl_share_one_session() {
    let (gateway, web) = (Setup::new().start(), targets::http());
    let (first, second) = (format!("http://{}/", web.address), format!("http://{}/octets/5", web.address));
    let answer = run(curl(&gateway.url("socks5h", "")).args([first, second]), DEADLINE).succeeded();
    assert_eq!(answer.stdout.len(), 6 + 5);
    expect_relayed(&gateway.session(), "anonymous", &web.address.to_string(), [2, 11]);
    assert_eq!(web.accepted(), 1, "connections at the target");
    assert_eq!(gateway.stop().records.iter().filter(|record| record.is_session()).count(), 1);
}

#[test]
fn socksify_of_dante_reaches_its_target() {
    if !namespace::inside("socksify_of_dante_reaches_its_target") {
        return;
    }
    // Dante goes straight to every network that an interface has, loopback too. This one no interface has,
    // and yet it is this machine's.
    namespace::ip(&["route", "add", "local", "203.0.113.0/24", "dev", "lo"]);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let target = format!("203.0.113.7:{}", targets::serve_http(listener, "hello\n").address.port());
    let (gateway, folder) = (with_alice(), Folder::new());
    let config = folder.write("socks.conf", &dante_route(gateway.address()));
    let mut command = plain("socksify");
    command.arg(tool("curl")).args(["--disable", "--silent", "--show-error"]);
    command.arg(format!("http://{target}/")).env("SOCKS_CONF", config);
    command.env("SOCKS_USERNAME", "alice").env("SOCKS_PASSWORD", "sesame-4711");
    assert_eq!(run(&mut command, DEADLINE).succeeded().text(), "hello\n");
    expect_relayed(&gateway.session(), "password:alice", &target, [1, 6]);
}

/// A configuration for dante's client; its parser wants a line for each statement.
fn dante_route(gateway: SocketAddr) -> String {
    let (ip, port) = (gateway.ip(), gateway.port());
    format!(
        "errorlog: stderr\nroute {{\nfrom: 0.0.0.0/0 to: 0.0.0.0/0 via: {ip} port = {port}\n\
         proxyprotocol: socks_v5\ncommand: connect\nprotocol: tcp\nmethod: username\n}}\n"
    )
}

#[test]
fn proxychains_reaches_its_target_by_address() {
    let (gateway, web) = (with_alice(), targets::http());
    let answer = proxychains(&gateway, &format!("http://{}/", web.address)).succeeded();
    assert_eq!(answer.text(), "hello\n");
    expect_relayed(&gateway.session(), "password:alice", &web.address.to_string(), [1, 6]);
}

#[test]
fn proxychains_reaches_its_target_by_name() {
    // proxychains asks the system's hosts file first, so the name must be one that only the gateway refuses.
    let gateway = with_alice();
    let answer = proxychains(&gateway, "http://no-such-host.invalid/");
    assert_ne!(answer.code, Some(0), "{answer}");
    gateway.session().expect(&[
        ("identity", "password:alice"),
        ("target", "no-such-host.invalid:80"),
        ("verdict", "fail"),
    ]);
}

fn proxychains(gateway: &Gateway, url: &str) -> Finished {
    let (folder, address) = (Folder::new(), gateway.address());
    let config = folder.write(
        "proxychains.conf",
        &format!(
            "strict_chain\nproxy_dns\nremote_dns_subnet 224\n[ProxyList]\nsocks5 {} {} alice sesame-4711\n",
            address.ip(),
            address.port()
        ),
    );
    let mut command = plain("proxychains4");
    command.arg("-q").arg("-f").arg(config).arg(tool("curl"));
    command.args(["--disable", "--silent", "--show-error", url]);
    run(&mut command, DEADLINE)
}

#[test]
fn ncat_reaches_its_target() {
    let (gateway, echo) = (with_alice(), targets::echo());
    let mut command = plain("ncat");
    command.args(["--proxy", &gateway.address().to_string(), "--proxy-type", "socks5"]);
    command.args(["--proxy-auth", "alice:sesame-4711"]);
    command.args([echo.address.ip().to_string(), echo.address.port().to_string()]);
    assert_eq!(run_with_input(&mut command, b"hello", DEADLINE).succeeded().text(), "hello");
    expect_relayed(&gateway.session(), "password:alice", &echo.address.to_string(), [5, 5]);
}

#[test]
fn netcat_reaches_its_target() {
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let mut command = plain("nc");
    command.args(["-N", "-X", "5", "-x", &gateway.address().to_string()]);
    command.args([echo.address.ip().to_string(), echo.address.port().to_string()]);
    assert_eq!(run_with_input(&mut command, b"hello", DEADLINE).succeeded().text(), "hello");
    expect_relayed(&gateway.session(), "anonymous", &echo.address.to_string(), [5, 5]);
}

fn digest(octets: impl std::io::Read) -> String {
    Digest::of(octets).expect("reading from memory").text()
}
