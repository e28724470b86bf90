//! The pictures of the page in the documentation: a gateway with people at work, seen in the light and in the dark.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tests::namespace::{inside, ip};
use tests::setup::add_user;
use tests::{Browser, Client, DEADLINE, Gateway, Setup, command, program, targets, web};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Octets of a picture.
const MOST: usize = 300 * 1024;
/// How often a tunnel's ends send something.
const TICK: Duration = Duration::from_millis(50);

const AUTH: &str = "- { kind: password, name: staff, options: { users: staff.yaml } }
- { kind: password, name: partner, options: { users: partner.yaml } }
- { kind: password, name: ci, options: { users: ci.yaml } }
";
const POLICY: &str = "\
version: 1
sets:
  networks: { office: [10.20.0.0/16], runners: [10.30.0.0/16], databases: [10.40.7.0/24] }
  hosts:
    git: [git.corp.example]
    registries: [registry.example.com, crates.example.org, pypi.example.net]
  identities: { engineers: [staff:alice.weber, staff:jonas.keller, staff:nadia.brandt] }
clients:
  - { listener: office, source: office, methods: [staff] }
  - { listener: partners, methods: [partner] }
  - { listener: runners, source: runners, methods: [ci] }
rules:
  - { name: no-mail, action: deny, port: [25, 587] }
  - { name: engineers-to-git, action: permit, identity: engineers, destination: git, port: [22, 443] }
  - { name: dba-to-databases, action: permit, identity: staff:mira.lang, destination: databases, port: 5432 }
  - { name: staff-to-web, action: permit, source: office, destination: '*.example.com', port: 443 }
  - { name: acme-to-exchange, action: permit, identity: partner:acme, destination: exchange.corp.example, port: 22 }
  - { name: ci-to-registries, action: permit, source: runners, destination: registries, port: 443 }
";
const HOSTS: &str = "\
127.0.0.1 localhost
10.40.1.10 git.corp.example
10.40.2.21 exchange.corp.example
203.0.113.10 registry.example.com
203.0.113.24 docs.example.com
203.0.113.31 mail.example.com
198.51.100.17 crates.example.org
198.51.100.40 pypi.example.net
";

const OFFICE: &str = "10.20.0.1:1080";
const PARTNERS: &str = "192.0.2.1:1080";
const RUNNERS: &str = "10.30.0.1:1080";

/// Who, from where, by which listener, where to, and how many octets each way in a tick.
type Person = (&'static str, &'static str, &'static str, &'static str, u32, u32);

const OPEN: [Person; 14] = [
    ("mira.lang", "10.20.7.12", OFFICE, "10.40.7.5:5432", 400, 9_000),
    ("acme", "192.0.2.87", PARTNERS, "exchange.corp.example:22", 60_000, 800),
    ("alice.weber", "10.20.4.31", OFFICE, "git.corp.example:443", 0, 0),
    ("alice.weber", "10.20.4.31", OFFICE, "git.corp.example:22", 900, 48_000),
    ("runner-07", "10.30.1.7", RUNNERS, "registry.example.com:443", 1_500, 310_000),
    ("runner-11", "10.30.1.11", RUNNERS, "crates.example.org:443", 700, 96_000),
    ("nadia.brandt", "10.20.4.55", OFFICE, "git.corp.example:22", 22_000, 400),
    ("tom.fischer", "10.20.9.140", OFFICE, "docs.example.com:443", 90, 2_600),
    ("mira.lang", "10.20.7.12", OFFICE, "10.40.7.6:5432", 0, 0),
    ("lea.hoffmann", "10.20.9.18", OFFICE, "docs.example.com:443", 40, 700),
    ("runner-12", "10.30.1.12", RUNNERS, "pypi.example.net:443", 300, 41_000),
    ("jonas.keller", "10.20.4.60", OFFICE, "git.corp.example:443", 120, 5_200),
    ("tom.fischer", "10.20.9.140", OFFICE, "docs.example.com:443", 0, 0),
    ("runner-07", "10.30.1.7", RUNNERS, "registry.example.com:443", 800, 140_000),
];
const DENIED: [(Person, usize); 5] = [
    (("runner-11", "10.30.1.11", RUNNERS, "169.254.169.254:80", 0, 0), 2),
    (("lea.hoffmann", "10.20.9.18", OFFICE, "mail.example.com:587", 0, 0), 1),
    (("acme", "192.0.2.87", PARTNERS, "git.corp.example:22", 0, 0), 3),
    (("tom.fischer", "10.20.9.140", OFFICE, "intranet.example.org:443", 0, 0), 1),
    (("jonas.keller", "10.20.4.60", OFFICE, "10.40.7.5:5432", 0, 0), 4),
];

#[test]
#[ignore = "makes pictures: make screenshots"]
fn the_page_with_people_at_work() {
    if !inside("the_page_with_people_at_work") {
        return;
    }
    for network in ["10.20.0", "10.30.0", "10.40.0", "192.0.2", "198.51.100", "203.0.113"] {
        let own = format!("{network}.1");
        ip(&["address", "add", &format!("{own}/32"), "dev", "lo"]);
        let size = if network.starts_with("10.") { 16 } else { 24 };
        ip(&["route", "add", "local", &format!("{network}.0/{size}"), "dev", "lo", "src", &own]);
    }
    let ports =
        [22, 443, 5432].map(|port| TcpListener::bind(("0.0.0.0", port)).expect("a network of our own"));
    for listener in ports {
        targets::serve_on(listener, |stream, _| work(&stream));
    }
    let gateway = start();
    gateway.signal(Signal::HUP);
    let early = OPEN.iter().take(6).map(open).collect::<Vec<_>>();
    let (browser, page) = (Browser::start(), web::admin(&gateway));
    browser.open(&format!("http://{page}/"));
    for age in ["[23]\\d s", "[45]\\d s", "1 min"] {
        browser.wait(&format!("return /{age}/.test(document.querySelector('#session-list').innerText)"));
    }
    let late = OPEN.iter().skip(6).map(open).collect::<Vec<_>>();
    let mut stranger = Client::connect_from(address("10.20.9.77"), OFFICE.parse().expect("an address"));
    assert_eq!(stranger.greet(&[0x02]), 0x02);
    assert_ne!(stranger.login("administrator", "letmein"), 0x00);
    for (person, times) in DENIED {
        for _ in 0..times {
            assert_eq!(ask(&person).1, 0x02, "{person:?}");
        }
    }
    let _greeting = Client::connect_from(address("10.20.3.9"), OFFICE.parse().expect("an address"));
    sign_in(&browser);
    explain(&browser);
    browser.click("h1");
    browser.script("scrollTo(0, 0); document.activeElement.blur()");
    browser.wait("return document.querySelector('#word').innerText === ''");
    browser.resize(1440, 900);
    let height = browser.script("return document.documentElement.scrollHeight").as_u64().unwrap_or(900);
    browser.resize(1440, u32::try_from(height).expect("a page"));
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        keep(&format!("page-{scheme}.png"), &browser.picture());
    }
    drop((early, late));
}

/// Puts a picture into the documentation, with as few colours as do it no harm.
fn keep(name: &str, picture: &[u8]) {
    let mut pngquant = Command::new(command::tool("pngquant"));
    pngquant.args(["--speed", "1", "--strip", "-"]);
    let small = command::run_with_input(&mut pngquant, picture, DEADLINE).succeeded().stdout;
    assert!(small.len() < MOST, "{} octets", small.len());
    let folder = program::workspace().join("docs/images");
    fs::create_dir_all(&folder).expect("a folder of the documentation");
    fs::write(folder.join(name), small).expect("a picture");
}

/// The gateway knows the names of the picture and no others.
fn start() -> Gateway {
    let under = "mount --bind \"$1\" /etc/hosts; shift; hostname gw1.corp.example; exec \"$@\"";
    let folder = tests::Folder::new();
    let hosts = folder.write("hosts", HOSTS).display().to_string();
    Setup::new()
        .auth(AUTH)
        .policy(POLICY)
        .listener(OFFICE)
        .listener_key("name", "office")
        .more_listener(&format!("{{ name: partners, address: '{PARTNERS}' }}"))
        .more_listener(&format!("{{ name: runners, address: '{RUNNERS}' }}"))
        .key("shadow-policy", "shadow.yaml")
        .key("admin", "{ http: '127.0.0.1:0', token-file: token }")
        .under(&["unshare", "--mount", "--uts", "sh", "-ec", under, "sh", &hosts])
        .start_with(|folder| {
            folder.write("token", TOKEN);
            folder.set_mode("token", 0o600);
            // On trial: the databases by groups of people alone, and more of the internet for the office.
            let trial = POLICY.replace("'*.example.com'", "['*.example.com', '*.example.org']");
            folder.write("shadow.yaml", &trial.replace("identity: staff:mira.lang", "identity: staff:dba"));
            let mut known = std::collections::BTreeSet::new();
            for (name, _, listener, ..) in OPEN {
                if known.insert(name) {
                    let file = folder.file(&format!("{}.yaml", kind(listener)));
                    add_user(&program::built("socksd"), &file, name, "secret");
                }
            }
        })
}

fn kind(listener: &str) -> &'static str {
    match listener {
        OFFICE => "staff",
        PARTNERS => "partner",
        _ => "ci",
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A client that has asked for its target, and the reply's code.
fn ask((name, source, listener, target, ..): &Person) -> (Client, u8) {
    let mut client = Client::connect_from(address(source), listener.parse().expect("an address"));
    assert_eq!(client.greet(&[0x02]), 0x02);
    assert_eq!(client.login(name, "secret"), 0x00);
    let reply = match target.parse::<SocketAddr>() {
        Ok(target) => client.connect_to(target),
        Err(_) => {
            let (name, port) = target.split_once(':').expect("a name and a port");
            client.connect_to_name(name.as_bytes(), port.parse().expect("a port"))
        }
    };
    (client, reply.code)
}

/// Opens a tunnel, and works through it until the picture is made.
fn open(person: &Person) -> Client {
    let (mut client, code) = ask(person);
    assert_eq!(code, 0x00, "{person:?}");
    let (.., up, down) = *person;
    client.send(&down.to_be_bytes());
    let stream = client.stream().try_clone().expect("a socket");
    thread::spawn(move || pour(&stream, up));
    let mut stream = client.stream().try_clone().expect("a socket");
    stream.set_read_timeout(None).expect("a socket");
    thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    client
}

/// The target's part: the first four octets say how much it sends in a tick.
fn work(mut stream: &TcpStream) {
    let mut rate = [0; 4];
    if stream.read_exact(&mut rate).is_ok() {
        let other = stream.try_clone().expect("a socket");
        thread::spawn(move || pour(&other, u32::from_be_bytes(rate)));
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    }
}

/// Sends so many octets in each tick, for as long as somebody takes them.
fn pour(mut stream: &TcpStream, octets: u32) {
    let some = vec![0x5A; octets as usize];
    while octets > 0 && stream.write_all(&some).is_ok() {
        thread::sleep(TICK);
    }
}

fn sign_in(browser: &Browser) {
    browser.click("#sign-in");
    browser.press(TOKEN);
    browser.click("#sign button.main");
    browser.wait("return document.querySelector('#me').innerText.includes('operator')");
}

/// Asks why the last one was denied, and waits until everything is shown.
fn explain(browser: &Browser) {
    browser.wait("return document.querySelectorAll('#denial-list tbody tr').length === 6");
    browser.click("#denial-list a.ask");
    browser.wait("return document.querySelector('#answer .verdict')");
    let rows = OPEN.len() + 1;
    let all = format!("return document.querySelectorAll('#session-list tbody tr').length === {rows}");
    browser.wait(&all);
    browser.wait("return document.querySelector('#gateway').innerText.includes('generation 2')");
    browser.wait("return /[3-9] s/.test(document.querySelector('#session-list tr:nth-child(3)').innerText)");
    browser.script("document.querySelector('#word').textContent = ''");
}
