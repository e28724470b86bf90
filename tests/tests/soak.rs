//! Everything at once: tunnels and associations that carry data while the policy is reloaded again and again, a keytab and
//! the audit file are rotated, and the program is replaced. No session is lost that the policy still permits, nothing grows,
//! and every session has exactly one end record.
//!
//! The whole load is `#[ignore]`d and run by `make test-long`; a smaller copy runs every time.

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use krb_testenv::OldKeys;
use rustix::process::Signal;
use socks_client::{Client, Gssapi, Level};
use tests::targets::{self, UdpEcho, udp_echo};
use tests::{Folder, Gateway, Setup, Successor, audit, command, process, site};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Tunnels without a login, half of them to a target that a policy takes away.
    plain: usize,
    /// Tunnels at confidentiality.
    sealed: usize,
    /// Protected associations.
    associations: usize,
    reloads: usize,
}

const WHOLE: Load = Load { plain: 1600, sealed: 400, associations: 20, reloads: 500 };
const SMALL: Load = Load { plain: 40, sealed: 10, associations: 3, reloads: 20 };
/// How long one turn of all tunnels may take, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(120);
/// The most that the first process may grow between the first tenth of the reloads and its replacement: what the
/// allocator keeps, and what is on its way at that moment.
const MOST_GROWTH: u64 = 24 << 20;
/// Descriptors that come and go: of the admin listener, of races, of pipes.
const MOST_MORE_DESCRIPTORS: usize = 300;
const SERVICE: &str = "socks/localhost";
/// Tell the child which test it is to run, and where the two keytabs are.
const INSIDE: &str = "SOCKSD_TEST_SOAK";
const KEYTABS: &str = "SOCKSD_TEST_SOAK_KEYTABS";

#[test]
fn fifty_tunnels_outlive_reloads_rotations_and_a_new_program() {
    soak("fifty_tunnels_outlive_reloads_rotations_and_a_new_program", SMALL);
}

#[test]
#[ignore = "long: run by `make test-long`"]
fn two_thousand_tunnels_outlive_500_reloads_rotations_and_a_new_program() {
    soak("two_thousand_tunnels_outlive_500_reloads_rotations_and_a_new_program", WHOLE);
}

/// Runs the test in a process of alice's: the Kerberos library reads its environment, which no process may change.
fn soak(name: &str, load: Load) {
    if env::var(INSIDE).is_ok_and(|inside| inside == name) {
        return Stage::set(load, Path::new(&env::var_os(KEYTABS).expect("given"))).play();
    }
    let (realm, keytabs) = (site::realm("EXAMPLE.TEST"), Folder::new());
    realm.keytab(&[SERVICE], keytabs.file("now.keytab")).expect("the service is there");
    let alice = realm.kinit("alice").expect("the password is right");
    alice.ticket(SERVICE).expect("the service is there");
    // The next keytab has a new key, and the one of the tickets that are out.
    realm.rotate(SERVICE, OldKeys::Keep).expect("the service is there");
    realm.keytab(&[SERVICE], keytabs.file("next.keytab")).expect("the service is there");
    let mut child = Command::new(env::current_exe().expect("a test knows where it lies"));
    alice.env().apply(&mut child);
    child.args(["--exact", name, "--include-ignored", "--nocapture"]);
    child.env(INSIDE, name).env(KEYTABS, keytabs.path());
    let done = command::run(&mut child, Duration::from_secs(900)).succeeded();
    assert!(done.text().contains("1 passed"), "`{name}` did not run inside: {done}");
    print!("{}", done.text());
}

/// What the tunnels know of the play.
#[derive(Debug, Default)]
struct Shared {
    /// Sessions that were opened.
    opened: AtomicUsize,
    /// How many have moved octets in this turn.
    moved: AtomicUsize,
    /// Sessions that ended although they were permitted.
    lost: AtomicUsize,
    /// Sessions that ended because the policy took them away.
    revoked: AtomicUsize,
    /// From now on those may end.
    may_revoke: AtomicBool,
}

struct Stage {
    load: Load,
    runtime: Runtime,
    gateway: Gateway,
    keytabs: PathBuf,
    echo: SocketAddr,
    /// The target that a policy takes away.
    fleeting: SocketAddr,
    udp: UdpEcho,
    shared: Arc<Shared>,
    turn: watch::Sender<usize>,
}

impl Stage {
    fn set(load: Load, keytabs: &Path) -> Self {
        process::allow_descriptors(20_000);
        let (echo, fleeting) = (targets::echo().address, targets::echo().address);
        REST.store(echo.port().into(), Ordering::SeqCst);
        let keytab = keytabs.join("now.keytab");
        let auth = format!(
            "  - kind: gssapi\n    options: {{ keytab: {}, replay-cache: none }}\n  - kind: none\n",
            keytab.display()
        );
        let setup =
            Setup::new().auth(&auth).policy(&policy(0, Some(fleeting))).limit("max-sessions", "10000");
        let setup = setup.limit("max-sessions-per-source", "10000").key("admin", "{ socket: admin.sock }");
        let setup = setup.key("upgrade", "{ socket: upgrade.sock }").key("shadow-policy", "next.yaml");
        let gateway = setup.start_with(|folder| drop(folder.write("next.yaml", &policy(1, None))));
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        Self {
            load,
            runtime,
            gateway,
            keytabs: keytabs.to_owned(),
            echo,
            fleeting,
            udp: udp_echo(Ipv4Addr::LOCALHOST.into()),
            shared: Arc::default(),
            turn: watch::channel(0).0,
        }
    }

    fn play(self) {
        let Load { plain, sealed, associations, reloads } = self.load;
        let leaving = plain / 2;
        self.open();
        let all = plain + sealed + associations;
        self.take_turn(all);
        let (rotated, revoking, replaced) = (reloads / 4, reloads / 2, reloads * 9 / 10);
        let (mut successor, mut before, mut open) = (None, None, all);
        for number in 1..=reloads {
            let target = (number < revoking).then_some(self.fleeting);
            if number == revoking {
                self.shared.may_revoke.store(true, Ordering::SeqCst);
                open -= leaving;
            }
            self.gateway.folder().write("policy.yaml", &policy(number, target));
            self.gateway.command(&["reload"]).succeeded();
            match number {
                _ if number == reloads / 10 => before = Some(self.size()),
                _ if number == rotated => self.rotate(),
                _ if number == revoking => wait_until("those are gone", || self.revoked() == leaving),
                _ if number == replaced => {
                    self.expect_same_size(before.expect("it was measured"), open);
                    successor = Some(Successor::taken_over(self.gateway.folder()));
                }
                _ => {}
            }
            self.visit();
            self.take_turn(open);
        }
        assert_eq!((self.shared.lost.load(Ordering::SeqCst), self.revoked()), (0, leaving));
        self.end(&mut successor.expect("the program was replaced"));
    }

    /// Opens all tunnels and associations.
    fn open(&self) {
        let Load { plain, sealed, associations, .. } = self.load;
        self.runtime.block_on(async {
            for number in 0..plain {
                let target = if number % 2 == 0 { self.echo } else { self.fleeting };
                let stream =
                    open_plain(number, self.gateway.address(), target).await.expect("it is permitted");
                self.spawn(stream, number % 2 == 1);
            }
            for _ in 0..sealed {
                let stream = alice(self.gateway.address()).connect(self.echo.into()).await;
                self.spawn(stream.unwrap_or_else(|error| panic!("{error}")), false);
            }
            for _ in 0..associations {
                self.spawn_association().await;
            }
        });
    }

    /// A task that moves some octets in each turn.
    fn spawn(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, is_fleeting: bool) {
        self.shared.opened.fetch_add(1, Ordering::SeqCst);
        let (shared, mut turns) = (self.shared.clone(), self.turn.subscribe());
        self.runtime.spawn(async move {
            loop {
                let turn = tokio::select! {
                    changed = turns.changed() => match changed {
                        Ok(()) => *turns.borrow_and_update(),
                        // The play is over.
                        Err(_) => return,
                    },
                    // Nothing comes unasked: this is the end.
                    _ = stream.read_u8() => return shared.ended(is_fleeting),
                };
                match exchange(&mut stream, turn).await {
                    Ok(()) => _ = shared.moved.fetch_add(1, Ordering::SeqCst),
                    Err(_) => return shared.ended(is_fleeting),
                }
            }
        });
    }

    async fn spawn_association(&self) {
        let association =
            alice(self.gateway.address()).associate().await.unwrap_or_else(|error| panic!("{error}"));
        self.shared.opened.fetch_add(1, Ordering::SeqCst);
        let (shared, mut turns, target) =
            (self.shared.clone(), self.turn.subscribe(), self.udp.address.into());
        self.runtime.spawn(async move {
            let mut answer = BytesMut::new();
            while turns.changed().await.is_ok() {
                let octets = turns.borrow_and_update().to_be_bytes();
                loop {
                    if association.send_to(&target, &octets).await.is_err() {
                        return shared.ended(false);
                    }
                    // A datagram may be lost; it is sent again.
                    let got =
                        tokio::time::timeout(Duration::from_secs(2), association.recv_from(&mut answer))
                            .await;
                    match got {
                        Ok(Ok(_)) if answer[..] == octets => break,
                        Ok(Ok(_)) | Err(_) => {}
                        Ok(Err(_)) => return shared.ended(false),
                    }
                }
                shared.moved.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    /// Has every open session move octets, and waits until all have.
    fn take_turn(&self, open: usize) {
        self.shared.moved.store(0, Ordering::SeqCst);
        self.turn.send_modify(|turn| *turn += 1);
        wait_until("every session has moved octets", || {
            assert_eq!(self.shared.lost.load(Ordering::SeqCst), 0, "a session was lost");
            self.shared.moved.load(Ordering::SeqCst) >= open
        });
    }

    /// One session that comes and goes, with a login.
    fn visit(&self) {
        self.runtime.block_on(async {
            let connected = alice(self.gateway.address()).connect(self.echo.into()).await;
            let mut stream = connected.unwrap_or_else(|error| panic!("{error}"));
            exchange(&mut stream, 0).await.expect("the tunnel is open");
        });
        self.shared.opened.fetch_add(1, Ordering::SeqCst);
    }

    /// A new keytab, and a new audit file.
    fn rotate(&self) {
        let keytab = |name| self.keytabs.join(name);
        std::fs::rename(keytab("next.keytab"), keytab("now.keytab")).expect("both are there");
        let folder = self.gateway.folder();
        std::fs::rename(folder.file("audit.jsonl"), folder.file("audit.1")).expect("it is there");
        self.gateway.signal(Signal::USR1);
        wait_until("there is a new audit file", || folder.file("audit.jsonl").exists());
    }

    /// Memory and descriptors of the first process.
    fn size(&self) -> (u64, usize) {
        (process::resident(self.gateway.pid()), process::descriptors(self.gateway.pid()))
    }

    fn expect_same_size(&self, before: (u64, usize), open: usize) {
        let now = self.size();
        println!("{open} sessions: octets of memory and descriptors first {before:?}, now {now:?}");
        assert!(now.0 <= before.0 + MOST_GROWTH, "memory grows: {before:?}, {now:?}");
        assert!(now.1 <= before.1 + MOST_MORE_DESCRIPTORS, "descriptors grow: {before:?}, {now:?}");
    }

    fn revoked(&self) -> usize {
        self.shared.revoked.load(Ordering::SeqCst)
    }

    /// Closes everything, and counts the records in both files.
    fn end(self, successor: &mut Successor) {
        let Self { runtime, gateway, shared, turn, load, .. } = self;
        drop(turn);
        runtime.shutdown_timeout(PATIENCE);
        let opened = shared.opened.load(Ordering::SeqCst);
        let records = || {
            let files = ["audit.1", "audit.jsonl"].map(|file| audit::read(&gateway.folder().file(file)));
            files.into_iter().flatten().filter(audit::Record::is_session).collect::<Vec<_>>()
        };
        wait_until("every session has its record", || records().len() >= opened);
        assert!(gateway.log().wait_for_end(PATIENCE), "the first process has no session any more");
        let records = records();
        let sessions: BTreeSet<_> = records.iter().map(|record| record.text("session").to_owned()).collect();
        assert_eq!((records.len(), sessions.len()), (opened, opened), "one end record for each session");
        let with = |cause: &str| records.iter().filter(|record| record.text("cause") == cause).count();
        assert_eq!((with("permit-revoked"), with("closed")), (load.plain / 2, opened - load.plain / 2));
        assert!(successor.is_running());
    }
}

impl Shared {
    fn ended(&self, is_fleeting: bool) {
        let is_right = is_fleeting && self.may_revoke.load(Ordering::SeqCst);
        if is_right { &self.revoked } else { &self.lost }.fetch_add(1, Ordering::SeqCst);
    }
}

/// Policies that differ in names, order and limits, and permit the same: everything, but for `fleeting` where it is gone.
fn policy(number: usize, fleeting: Option<SocketAddr>) -> String {
    let port = |fleeting: SocketAddr| format!("    port: {}\n", fleeting.port());
    let limits = [
        "idle-timeout: 10m",
        "rate: 4GiB",
        "sessions: 9000",
        "rate-per-identity: 4GiB, sessions-in-all: 9999",
    ];
    let limits = limits.iter().cycle().nth(number).expect("a cycle has no end");
    let rule = |name: String, more: String| {
        format!(
            "  - name: {name}\n    action: permit\n    special-use: permit\n    on-revoke: close\n    limits: {{ {limits} }}\n{more}"
        )
    };
    let kerberos = rule(format!("users-{}", number % 3), "    identity: \"*@EXAMPLE.TEST\"\n".into());
    let others = "    source: 127.1.0.0/16\n    command: [connect]\n".to_owned();
    let passing = fleeting.map(|fleeting| rule("passing".into(), others.clone() + &port(fleeting)));
    // What is left over must not have the port that is taken away.
    let rest = rule(
        format!("rest-{}", number % 5),
        others + &format!("    port: {}\n", REST.load(Ordering::SeqCst)),
    );
    let rules = if number.is_multiple_of(2) { [kerberos, rest] } else { [rest, kerberos] };
    format!(
        "version: 1\nclients:\n  - {{ source: 127.1.0.0/16, methods: [none] }}\n  - {{ methods: [gssapi], protection: [confidentiality] }}\nrules:\n{}{}",
        passing.unwrap_or_default(),
        rules.concat()
    )
}

/// The port of the target that stays.
static REST: AtomicUsize = AtomicUsize::new(0);

fn alice(gateway: SocketAddr) -> Client {
    let gssapi = Gssapi::new(Level::Confidentiality);
    let gssapi = gssapi.service_name(format!("{SERVICE}@EXAMPLE.TEST").parse().expect("a principal"));
    Client::builder(gateway.into()).method(gssapi).build().expect("one method that needs no host name")
}

/// A tunnel without a login, from one of many addresses.
async fn open_plain(number: usize, gateway: SocketAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let [_, _, _, low] = u32::try_from(number % 200).expect("small").to_be_bytes();
    socket.bind((Ipv4Addr::new(127, 1, 0, low + 1), 0).into())?;
    let mut stream = socket.connect(gateway).await?;
    stream.write_all(&[0x05, 0x01, 0x00]).await?;
    stream.write_all(&tests::client::connect_request(target)).await?;
    let mut answers = [0; 12];
    stream.read_exact(&mut answers).await?;
    assert_eq!(answers[..4], [0x05, 0x00, 0x05, 0x00], "the request is granted");
    Ok(stream)
}

/// Sends some octets to an echo, and checks that they come back.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), turn: usize) -> io::Result<()> {
    let octets: Vec<u8> = turn.to_be_bytes().repeat(64);
    stream.write_all(&octets).await?;
    stream.flush().await?;
    let mut answer = vec![0; octets.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, octets, "what comes back is what was sent");
    Ok(())
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
