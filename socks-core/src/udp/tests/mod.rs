//! Associations over real loopback sockets.

mod ends;
mod names;
mod plain;
mod protected;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::wire::{Encode, Host, Target, UdpHeader};
use crate::{ClientIo, Protection};

const HOUR: Duration = Duration::from_secs(3600);

/// A name with what it is known as, and no address when it has none.
type Answer = (&'static str, Option<SocketAddr>);

/// A gate that lets addresses pass, and remembers so many of them.
struct TestGate {
    sent_to: HashSet<SocketAddr>,
    most: usize,
    any_origin: bool,
    /// How many datagrams of the client may still pass.
    tokens: usize,
    names: HashMap<String, Option<SocketAddr>>,
    answers: mpsc::UnboundedReceiver<Answer>,
    tally: Arc<Tally>,
}

impl TestGate {
    fn remember(&mut self, to: SocketAddr) -> Verdict {
        if self.sent_to.contains(&to) {
            return Verdict::Send(to);
        }
        if self.sent_to.len() == self.most {
            return Verdict::Drop(DropCause::Full);
        }
        self.sent_to.insert(to);
        self.tally.count_destination();
        Verdict::Send(to)
    }
}

impl Gate for TestGate {
    fn judge(&mut self, target: &Target) -> Verdict {
        if target.port == DENIED {
            return Verdict::Drop(DropCause::Denied);
        }
        match &target.host {
            Host::Ip(ip) => self.remember(SocketAddr::new(*ip, target.port)),
            Host::Name(name) => match self.names.get(name.as_str()) {
                None => Verdict::Resolve,
                Some(None) => Verdict::Drop(DropCause::Unresolved),
                Some(Some(address)) => self.remember(*address),
            },
        }
    }

    fn poll_resolved(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Poll::Ready(Some((name, address))) = self.answers.poll_recv(cx) else { return Poll::Pending };
        self.names.insert(name.to_owned(), address);
        Poll::Ready(())
    }

    fn admit(&mut self, origin: SocketAddr) -> Result<(), DropCause> {
        let known = self.any_origin || self.sent_to.contains(&origin);
        known.then_some(()).ok_or(DropCause::NotAskedFor)
    }

    fn take(&mut self, way: Way, datagrams: usize) -> usize {
        if way == Way::Down {
            return datagrams;
        }
        let granted = datagrams.min(self.tokens);
        self.tokens -= granted;
        granted
    }
}

/// The port that the gate denies.
const DENIED: u16 = 666;

/// What a test says about its association.
struct Setup {
    terms: AssociationTerms,
    protection: Option<Protection>,
    any_origin: bool,
    most: usize,
    tokens: usize,
    /// Whether there is no socket for IPv6 destinations.
    only_v4: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let terms = AssociationTerms::new(HOUR);
        Self { terms, protection: None, any_origin: false, most: 1024, tokens: usize::MAX, only_v4: false }
    }
}

/// A running association, with its far ends.
struct Running {
    control: TcpStream,
    /// The client's socket, connected to the association.
    client: UdpSocket,
    /// Where the association takes the client's datagrams.
    inner: SocketAddr,
    /// Where it takes datagrams for the client.
    outside: SocketAddr,
    /// A destination, and another of the other family.
    server: UdpSocket,
    server_v6: UdpSocket,
    answers: mpsc::UnboundedSender<Answer>,
    tally: Arc<Tally>,
    task: JoinHandle<AssociationEnd>,
}

impl Setup {
    async fn start(self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (control, accepted) = tokio::join!(connecting, listener.accept());
        let (near, peer) = accepted.unwrap();
        let (answers, receiver) = mpsc::unbounded_channel();
        let tally = Arc::clone(&self.terms.tally);
        let gate = TestGate {
            sent_to: HashSet::new(),
            most: self.most,
            any_origin: self.any_origin,
            tokens: self.tokens,
            names: HashMap::new(),
            answers: receiver,
            tally: Arc::clone(&tally),
        };
        let inner = bind("127.0.0.1:0").await;
        let inner_address = inner.local_addr().unwrap();
        let v4 = bind("127.0.0.1:0").await;
        let outside = v4.local_addr().unwrap();
        let v6 = if self.only_v4 { None } else { Some(bind("[::]:0").await) };
        let association = Association {
            control: ClientStream::new(ClientIo::new(near), self.protection),
            client: inner,
            outer: Outer { v4: Some(v4), v6 },
            lock: ClientLock::new(peer, &"0.0.0.0:0".parse().unwrap()),
            gate,
            terms: self.terms,
        };
        let client = bind("127.0.0.1:0").await;
        client.connect(inner_address).await.unwrap();
        Running {
            control: control.unwrap(),
            client,
            inner: inner_address,
            outside,
            server: bind("127.0.0.1:0").await,
            server_v6: bind("[::1]:0").await,
            answers,
            tally,
            task: tokio::spawn(association.run()),
        }
    }
}

impl Running {
    /// Sends a plain datagram to the server and waits until it is there: all that was sent before was seen then.
    async fn probe(&self) -> SocketAddr {
        self.client.send(&datagram(0, &target(&self.server), b"probe")).await.unwrap();
        let (octets, source) = receive(&self.server).await;
        assert_eq!(octets, b"probe");
        source
    }

    /// Ends the control connection in order, and tells how the association ended.
    async fn finish(self) -> AssociationEnd {
        drop(self.control);
        self.task.await.unwrap()
    }

    fn drops(&self) -> Vec<(DropCause, u64)> {
        self.tally.drops().collect()
    }
}

async fn bind(address: &str) -> UdpSocket {
    let address: SocketAddr = address.parse().unwrap();
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.bind(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

fn target(socket: &UdpSocket) -> Target {
    socket.local_addr().unwrap().into()
}

/// A datagram as client and association exchange it.
fn datagram(fragment: u8, target: &Target, data: &[u8]) -> Vec<u8> {
    let mut octets = BytesMut::new();
    UdpHeader { fragment, target: target.clone() }.encode(&mut octets);
    octets.extend_from_slice(data);
    octets.to_vec()
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut octets = vec![0; 65_536];
    let (len, source) = socket.recv_from(&mut octets).await.unwrap();
    octets.truncate(len);
    (octets, source)
}
