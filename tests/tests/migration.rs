//! The translated configuration in `docs/migration-from-dante.md`, beside Dante's server with the one it comes from.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use tests::command::{run, tool};
use tests::namespace::{inside, two_networks};
use tests::rivals::Rival;
use tests::setup::add_user;
use tests::{Client, DEADLINE, Folder, program, targets};

/// Where both listen, one after the other: the page's own address, in a network of the test's own.
const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)), 1080);
/// Names that both look up in a list of hosts.
const HOSTS: &str = "127.0.0.1 localhost\n10.2.0.9 git.corp.example\n10.2.0.10 www.web.corp.example\n";
/// Everybody with an account, in both worlds with the password `secret`.
const ACCOUNTS: [&str; 2] = ["alice", "carol"];

/// One request.
#[derive(Debug, Clone, Copy)]
struct Request {
    from: [u8; 4],
    login: Option<(&'static str, &'static str)>,
    to: &'static str,
    port: u16,
}

const fn request(
    from: [u8; 4],
    login: Option<(&'static str, &'static str)>,
    to: &'static str,
    port: u16,
) -> Request {
    Request { from, login, to, port }
}

const ALICE: Option<(&str, &str)> = Some(("alice", "secret"));
const CAROL: Option<(&str, &str)> = Some(("carol", "secret"));
const LOW: [u8; 4] = [10, 1, 0, 7];
const HIGH: [u8; 4] = [10, 1, 0, 200];
const OUTSIDE: [u8; 4] = [10, 2, 0, 7];

/// The rows of the page's table, with the answer that both give.
const SAME: [(Request, bool); 13] = [
    (request(LOW, ALICE, "git.corp.example", 22), true),
    (request(HIGH, ALICE, "git.corp.example", 22), true),
    (request(LOW, Some(("alice", "wrong")), "git.corp.example", 22), false),
    (request(LOW, CAROL, "git.corp.example", 22), false),
    (request(LOW, None, "git.corp.example", 22), false),
    (request(LOW, None, "www.web.corp.example", 80), true),
    (request(HIGH, None, "www.web.corp.example", 80), false),
    (request(LOW, CAROL, "10.2.0.9", 8080), true),
    (request(LOW, None, "10.2.0.9", 8080), false),
    (request(LOW, ALICE, "10.2.0.200", 8080), false),
    (request(LOW, ALICE, "10.2.0.9", 25), false),
    (request(LOW, ALICE, "10.2.0.9", 9999), false),
    (request(OUTSIDE, None, "www.web.corp.example", 80), false),
];
/// What Dante permits because reverse DNS says so.
const REVERSE: Request = request(LOW, None, "10.2.0.10", 80);

#[test]
fn the_translation_permits_what_dante_does_but_for_reverse_dns() {
    if !inside("the_translation_permits_what_dante_does_but_for_reverse_dns") {
        return;
    }
    two_networks();
    for (address, port) in [
        ("10.2.0.9", 22),
        ("10.2.0.9", 25),
        ("10.2.0.9", 8080),
        ("10.2.0.9", 9999),
        ("10.2.0.10", 80),
        ("10.2.0.200", 8080),
    ] {
        let listener = TcpListener::bind((address, port)).expect("nobody else is in this network");
        targets::echo_on(listener);
    }
    let page = Page::read();
    let answers = |gateway: Rival| {
        assert_eq!(gateway.address(), GATEWAY);
        let mut answers: Vec<_> = SAME.iter().map(|(request, _)| request.is_permitted()).collect();
        answers.push(REVERSE.is_permitted());
        answers
    };
    let (theirs, ours) = (answers(page.dante()), answers(page.gateway()));
    for ((request, expected), (theirs, ours)) in SAME.iter().zip(theirs.iter().zip(&ours)) {
        assert_eq!((theirs, ours), (expected, expected), "Dante, ours: {request:?}");
    }
    assert_eq!((theirs.last(), ours.last()), (Some(&true), Some(&false)), "Dante, ours: {REVERSE:?}");
}

#[test]
fn the_table_of_requests_has_a_row_for_each_that_is_compared() {
    let page =
        fs::read_to_string(program::workspace().join("docs/migration-from-dante.md")).expect("the page");
    let (_, table) = page.split_once("| request | Dante | here |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|')).count();
    // Alice asks from both halves in one row, and the last row is the difference.
    assert_eq!(rows, SAME.len());
}

impl Request {
    /// Whether the connection comes about and carries octets. Whatever else happens is a no.
    fn is_permitted(self) -> bool {
        let client = Client::connect_from(IpAddr::from(self.from), GATEWAY);
        self.asks(client.stream()).is_some()
    }

    fn asks(self, mut stream: &std::net::TcpStream) -> Option<()> {
        let mut exchange = |message: &[u8], answer: &mut [u8]| {
            stream.write_all(message).ok()?;
            stream.read_exact(answer).ok()
        };
        let (method, mut chosen) = (if self.login.is_some() { 0x02 } else { 0x00 }, [0; 2]);
        exchange(&[0x05, 0x01, method], &mut chosen)?;
        (chosen == [0x05, method]).then_some(())?;
        if let Some((name, password)) = self.login {
            let mut status = [0; 2];
            let mut message = vec![0x01];
            for text in [name, password] {
                message.push(u8::try_from(text.len()).expect("short"));
                message.extend(text.as_bytes());
            }
            exchange(&message, &mut status)?;
            (status[1] == 0).then_some(())?;
        }
        let message = match self.to.parse() {
            Ok(ip) => tests::client::connect_request(SocketAddr::new(ip, self.port)),
            Err(_) => tests::client::name_request(0x01, self.to.as_bytes(), self.port),
        };
        // Both answer with an IPv4 address.
        let mut reply = [0; 10];
        exchange(&message, &mut reply)?;
        (reply[1] == 0).then_some(())?;
        let mut echoed = [0; 5];
        exchange(b"hello", &mut echoed)?;
        (&echoed == b"hello").then_some(())
    }
}

/// The page's files.
struct Page {
    dante: String,
    config: String,
    policy: String,
}

impl Page {
    fn read() -> Self {
        let page =
            fs::read_to_string(program::workspace().join("docs/migration-from-dante.md")).expect("the page");
        let blocks = |kind: &str| {
            let fence = format!("```{kind}\n");
            let blocks =
                page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned);
            blocks.collect::<Vec<_>>()
        };
        let (dante, yaml) = (blocks("text"), blocks("yaml"));
        let ([dante], [config, policy]) = (&dante[..], &yaml[..]) else { panic!("{dante:#?}{yaml:#?}") };
        Self { dante: dante.clone(), config: config.clone(), policy: policy.clone() }
    }

    /// Dante's server with the configuration as it stands there; only its log goes to a file.
    fn dante(&self) -> Rival {
        let folder = Folder::new();
        let log = format!("logoutput: {}", folder.file("log").display());
        let mut config = self.dante.replace("logoutput: syslog", &log);
        // Without root this is a namespace of users with one user in it.
        if read_or_nothing("/proc/self/uid_map").trim_end().ends_with(" 1") {
            config = config.replace("user.unprivileged: nobody", "user.unprivileged: root");
        }
        let config = folder.write("danted.conf", &config);
        let mut danted = with_own_lists(&folder);
        danted.arg(tool("danted")).arg("-f").arg(config).arg("-p").arg(folder.file("danted.pid"));
        Rival::start(&mut danted, GATEWAY, folder)
    }

    /// The gateway with the files as they stand there.
    fn gateway(&self) -> Rival {
        let (folder, socksd) = (Folder::new(), program::built("socksd"));
        for name in ACCOUNTS {
            add_user(&socksd, &folder.file("users.yaml"), name, "secret");
        }
        folder.write("policy.yaml", &self.policy);
        let config = folder.write("socksd.yaml", &self.config);
        let mut gateway = with_own_lists(&folder);
        gateway.arg(socksd).args(["run", "--config"]).arg(config);
        Rival::start(&mut gateway, GATEWAY, folder)
    }
}

/// A command that runs what is added to it with lists of users and hosts of its own in place of the system's.
fn with_own_lists(folder: &Folder) -> Command {
    let mut hash = Command::new(tool("openssl"));
    let hash = run(hash.args(["passwd", "-6", "secret"]), DEADLINE).succeeded().text();
    let (mut users, mut shadow) = (read_or_nothing("/etc/passwd"), read_or_nothing("/etc/shadow"));
    for (name, id) in ACCOUNTS.iter().zip(60_001..) {
        users += &format!("{name}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin\n");
        shadow += &format!("{name}:{}:19000:0:99999:7:::\n", hash.trim());
    }
    let mut binds = String::new();
    for (name, text) in [("passwd", users), ("shadow", shadow), ("hosts", HOSTS.to_owned())] {
        binds += &format!("mount --bind {} /etc/{name} && ", folder.write(name, &text).display());
    }
    let mut command = Command::new(tool("unshare"));
    command.args(["--mount", "--", "sh", "-c"]).arg(binds + "exec \"$@\"").arg("sh");
    command
}

fn read_or_nothing(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
