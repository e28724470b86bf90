//! Whatever ends a session, it leaves exactly one end record.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use socks_auth::{
    AuthError, AuthSession, Authenticated, Authenticator, AuthenticatorFactory, BuildContext, BuildError,
    NoOptions, Registry, async_trait,
};
use socks_core::relay::RelayerOptions;
use socks_core::wire::Method;
use socks_core::{ClientIo, Identity};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::{Arrival, Record, serve};
use crate::admission::{SessionLimits, Source};
use crate::audit::Audit;
use crate::gateway::Gateway;
use crate::listeners::Entrance;
use crate::snapshot::Snapshot;

mod family;

/// A method with a bug.
struct Faulty;

impl AuthenticatorFactory for Faulty {
    type Options = NoOptions;

    fn kind(&self) -> &'static str {
        "faulty"
    }

    fn build(&self, _: NoOptions, _: &BuildContext) -> Result<Arc<dyn Authenticator>, BuildError> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl Authenticator for Faulty {
    fn method(&self) -> Method {
        Method(0x81)
    }

    async fn authenticate(&self, _: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
        panic!("a bug in a plug-in");
    }
}

/// A method whose proofs last for a moment.
struct Brief;

impl AuthenticatorFactory for Brief {
    type Options = NoOptions;

    fn kind(&self) -> &'static str {
        "brief"
    }

    fn build(&self, _: NoOptions, _: &BuildContext) -> Result<Arc<dyn Authenticator>, BuildError> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl Authenticator for Brief {
    fn method(&self) -> Method {
        Method(0x82)
    }

    async fn authenticate(&self, _: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
        let mut identity = Identity::user("bob");
        identity.valid_until = Some(Timestamp::now() + Duration::from_millis(300));
        Ok(Authenticated::new(identity))
    }
}

/// A method that cannot learn the groups of those whom it lets in.
struct Groupless;

impl AuthenticatorFactory for Groupless {
    type Options = NoOptions;

    fn kind(&self) -> &'static str {
        "groupless"
    }

    fn build(&self, _: NoOptions, _: &BuildContext) -> Result<Arc<dyn Authenticator>, BuildError> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl Authenticator for Groupless {
    fn method(&self) -> Method {
        Method(0x83)
    }

    async fn authenticate(&self, session: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
        let identity = Identity::user("eve").without_groups("the directory does not answer");
        session.require_unprotected(&identity)?;
        Ok(Authenticated::new(identity))
    }
}

/// A gateway within the test, without a listener of its own.
pub(crate) struct Bench {
    pub(crate) gateway: Arc<Gateway>,
    listener: TcpListener,
    folder: TempDir,
}

impl Bench {
    pub(crate) async fn new(limits: &str) -> Self {
        Self::with(limits, "keep").await
    }

    async fn with(limits: &str, ticket_end: &str) -> Self {
        let policy = format!(
            "version: 1\nclients: [{{ methods: [none, faulty, brief] }}]\n\
             rules: [{{ name: all, action: permit, special-use: permit, limits: {{ sessions: 1 }}, \
             ticket-end: {ticket_end} }}]\n"
        );
        Self::under(limits, &policy).await
    }

    async fn under(limits: &str, policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "socksd.yaml",
            &format!(
                "listeners: [{{ address: '127.0.0.1:0' }}]\nauth: [{{ kind: none }}, {{ kind: faulty }}, {{ kind: brief }}, \
                 {{ kind: groupless }}]\npolicy: policy.yaml\naudit: {{ file: audit.jsonl }}\n\
                 limits: {{ {limits} }}\n"
            ),
        );
        write("policy.yaml", policy);
        let mut registry = Registry::shipped();
        registry.register(Faulty).unwrap();
        registry.register(Brief).unwrap();
        registry.register(Groupless).unwrap();
        let loaded = Snapshot::load(&folder.path().join("socksd.yaml"), &registry, None);
        let snapshot = loaded.unwrap_or_else(|findings| panic!("{findings}")).snapshot;
        let audit = Audit::open(&snapshot.settings.audit).unwrap();
        let gateway = Arc::new(Gateway::new(snapshot, audit, &RelayerOptions::default(), 4));
        Self { gateway, listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), folder }
    }

    /// A client and the task that serves it.
    async fn client(&self) -> (TcpStream, JoinHandle<()>) {
        let address = self.listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        let (socket, client_address) = accepted.unwrap();
        let limits = SessionLimits { total: 10, everywhere: 10, per_source: 10, unknown: 10 };
        let ticket = self.gateway.admission.admit(Source::of(client_address.ip()), limits).unwrap();
        let record =
            Record::open(self.gateway.clone(), (Entrance::none(), "127.0.0.1:0".into()), client_address);
        let arrival = Arrival { record, ticket, io: ClientIo::new(socket) };
        (client.unwrap(), tokio::spawn(serve(arrival)))
    }

    /// All records, in order.
    fn records(self) -> Vec<Value> {
        self.gateway.refusals.flush(&self.gateway.audit);
        self.gateway.audit.close();
        let path: PathBuf = self.folder.path().join("audit.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The causes of all end records, in order, with those that were only counted.
    fn causes(self) -> Vec<String> {
        self.records()
            .into_iter()
            .flat_map(|record| match record["cause"].as_str() {
                Some(cause) => vec![cause.to_owned()],
                None => record["causes"].as_object().unwrap().keys().cloned().collect(),
            })
            .collect()
    }
}

async fn say(client: &mut TcpStream, octets: &[u8], answer: &[u8]) {
    client.write_all(octets).await.unwrap();
    let mut heard = vec![0; answer.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, answer);
}

async fn open_tunnel(client: &mut TcpStream, target: SocketAddr) -> u8 {
    open_tunnel_by(0, client, target).await
}

async fn open_tunnel_by(method: u8, client: &mut TcpStream, target: SocketAddr) -> u8 {
    say(client, &[5, 1, method], &[5, method]).await;
    let [high, low] = target.port().to_be_bytes();
    client.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).await.unwrap();
    let mut reply = [0; 10];
    client.read_exact(&mut reply).await.unwrap();
    reply[1]
}

#[tokio::test]
async fn a_panic_ends_one_session_with_one_record() {
    let bench = Bench::new("").await;
    let (mut client, task) = bench.client().await;
    say(&mut client, &[5, 1, 0x81], &[5, 0x81]).await;
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(bench.gateway.admission.open(), 0);
    assert_eq!(bench.causes(), ["internal-error"]);
}

#[tokio::test]
async fn a_dropped_session_leaves_one_record() {
    let bench = Bench::new("").await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut client, task) = bench.client().await;
    assert_eq!(open_tunnel(&mut client, target.local_addr().unwrap()).await, 0);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(bench.causes(), ["cancelled"]);
}

#[tokio::test]
async fn a_session_that_the_stop_of_the_gateway_drops_says_so() {
    let bench = Bench::new("").await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut client, task) = bench.client().await;
    assert_eq!(open_tunnel(&mut client, target.local_addr().unwrap()).await, 0);
    bench.gateway.stop();
    task.abort();
    assert!(task.await.is_err());
    assert_eq!(bench.causes(), ["gateway-stopped"]);
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_leaves_one_record() {
    let bench = Bench::new("handshake-timeout: 20ms").await;
    let (mut client, task) = bench.client().await;
    client.write_all(&[5]).await.unwrap();
    task.await.unwrap();
    assert_eq!(bench.causes(), ["handshake-timeout"]);
}

#[tokio::test]
async fn a_rule_with_a_limit_refuses_one_session_more_and_takes_it_after_an_end() {
    let bench = Bench::new("").await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = target.local_addr().unwrap();
    let (mut first, first_task) = bench.client().await;
    assert_eq!(open_tunnel(&mut first, address).await, 0);
    let (mut second, second_task) = bench.client().await;
    assert_eq!(open_tunnel(&mut second, address).await, 1);
    drop(second);
    second_task.await.unwrap();
    drop((first, target));
    first_task.await.unwrap();
    let (mut third, _task) = bench.client().await;
    // The target is gone, so it is refused by the target and not by the limit.
    assert_eq!(open_tunnel(&mut third, address).await, 5);
    let causes = bench.causes();
    assert_eq!((&*causes[0], &*causes[2]), ("too-many-sessions-of-rule", "connection-refused"), "{causes:?}");
}

#[tokio::test]
async fn a_rule_that_closes_at_the_end_of_the_ticket_does() {
    let bench = Bench::with("", "close").await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut client, task) = bench.client().await;
    assert_eq!(open_tunnel_by(0x82, &mut client, target.local_addr().unwrap()).await, 0);
    let heard = client.read(&mut [0]).await;
    assert_eq!(heard.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    task.await.unwrap();
    assert_eq!(bench.causes(), ["ticket-expired"]);
}

#[tokio::test]
async fn a_tunnel_that_outlives_its_ticket_is_marked_where_the_rule_lets_it() {
    for ticket_end in ["keep", "drain"] {
        let bench = Bench::with("", ticket_end).await;
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut client, task) = bench.client().await;
        assert_eq!(open_tunnel_by(0x82, &mut client, target.local_addr().unwrap()).await, 0);
        // The proof is over when this is; nothing else depends on the time.
        tokio::time::sleep(Duration::from_millis(320)).await;
        drop((client, target));
        task.await.unwrap();
        let [record] = bench.records().try_into().unwrap();
        assert_eq!((&record["verdict"], &record["expired"]), (&"permit".into(), &true.into()), "{record}");
        assert_ne!(record["cause"], "ticket-expired");
    }
}

#[tokio::test]
async fn a_record_tells_why_the_groups_could_not_be_learned() {
    let everybody = "{ name: all, action: permit, special-use: permit }";
    let guests = format!("{{ name: no-guests, action: deny, identity: 'group:guests' }}, {everybody}");
    let staff = "{ name: staff, action: permit, identity: 'group:staff', special-use: permit }";
    let unknown = "rule `no-guests` denies a group, and the groups of the identity could not be learned";
    let table = [
        (guests.as_str(), Some("no-guests"), "denied", Some(unknown)),
        (staff, None, "denied-by-default", Some("no rule matches")),
        (everybody, Some("all"), "connection-refused", None),
    ];
    // A socket that has a port and does not listen refuses whoever comes.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    for (rules, rule, cause, detail) in table {
        let policy = format!("version: 1\nclients: [{{ methods: [groupless] }}]\nrules: [{rules}]\n");
        let bench = Bench::under("", &policy).await;
        let (mut client, task) = bench.client().await;
        assert_ne!(open_tunnel_by(0x83, &mut client, deaf.local_addr().unwrap()).await, 0);
        drop(client);
        task.await.unwrap();
        let record = &bench.records()[0];
        // Nobody wants to know of groups where the policy names none.
        let missing = rules.contains("group:").then_some("the directory does not answer");
        assert_eq!(record.get("groups-missing").and_then(Value::as_str), missing);
        assert_eq!(record.get("groups"), None);
        assert_eq!((&record["identity"], &record["cause"]), (&"groupless:eve".into(), &cause.into()));
        assert_eq!(record["rule"].as_str(), rule);
        assert!(detail.is_none_or(|detail| record["detail"] == detail), "{record}");
    }
}

#[tokio::test]
async fn a_login_that_is_refused_because_groups_could_not_be_learned_tells_so() {
    let policy = "
version: 1
clients:
  - { methods: [groupless], identity: 'group:guests', protection: confidentiality }
  - { methods: [groupless] }
rules: [{ name: all, action: permit }]
";
    let bench = Bench::under("", policy).await;
    let (mut client, task) = bench.client().await;
    say(&mut client, &[5, 1, 0x83], &[5, 0x83]).await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    task.await.unwrap();
    let record = &bench.records()[0];
    assert_eq!(record["cause"], "protection-not-allowed");
    assert_eq!(record["claimed-identity"], "eve");
    assert_eq!(record["groups-missing"], "the directory does not answer");
}
