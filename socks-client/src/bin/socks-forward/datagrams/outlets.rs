//! The associations at the gateway that carry one program's datagrams.
//!
//! The gateway names the true origin of each datagram, and a program that has sent to a fake address waits for
//! one from there. So each fake address has an association of its own: whatever comes by it is from its name.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use socks_client::{Association, Client, ConnectError, DatagramError, Target};
use tokio::time::Instant;
use tracing::debug;

use super::pause::Pause;

/// The most fake addresses that one program's association reaches at a time.
pub(super) const MOST_NAMED: usize = 16;
/// The most of them that are being opened at a time.
const MOST_OPENING: usize = 4;
/// The most datagrams that wait for one to be opened.
const MOST_WAITING: usize = 8;
/// How long an association must have carried nothing before another fake address may have its place.
pub(super) const IDLE: Duration = Duration::from_secs(10);
/// An association that ends sooner is as good as none.
const BRIEF: Duration = Duration::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<Association, ConnectError>> + Send>>;

/// An association for everything, and one for each fake address.
pub(super) struct Outlets {
    client: Client,
    main: Association,
    named: Vec<Named>,
    opening: Vec<Opened>,
    /// None is opened while this lasts: a gateway that has refused one would refuse the next.
    pause: Pause,
}

struct Named {
    fake: IpAddr,
    association: Association,
    opened: Instant,
    /// When a datagram last went or came by it.
    used: Instant,
}

struct Opened {
    fake: IpAddr,
    future: Opening,
    waiting: Vec<(Target, Box<[u8]>)>,
}

/// Something that the gateway has brought.
#[derive(Debug)]
pub(super) enum Brought {
    /// A datagram, and where the program is to see it come from.
    Datagram(Target),
    /// An association is open, and these datagrams can go by it.
    Ready(IpAddr, Vec<(Target, Box<[u8]>)>),
    /// That many datagrams are lost: there is no association for them.
    Lost(usize),
}

impl Outlets {
    pub(super) fn new(client: &Client, main: Association) -> Self {
        Self { client: client.clone(), main, named: Vec::new(), opening: Vec::new(), pause: Pause::default() }
    }

    /// Sends a datagram by the association for its fake address, or by that for everything.
    ///
    /// `Ok(false)` means that it is lost, as datagrams may be; an error, that everything is over.
    pub(super) async fn send(
        &mut self,
        fake: Option<IpAddr>,
        target: Target,
        octets: &[u8],
    ) -> Result<bool, DatagramError> {
        let Some(fake) = fake else { return sent(self.main.send_to(&target, octets).await) };
        let Some(place) = self.named.iter().position(|named| named.fake == fake) else {
            return Ok(self.wait(fake, target, octets));
        };
        let Some(named) = self.named.get_mut(place) else { return Ok(false) };
        named.used = Instant::now();
        match sent(named.association.send_to(&target, octets).await) {
            Err(error) => {
                self.close(place, &error);
                Ok(self.wait(fake, target, octets))
            }
            done => done,
        }
    }

    /// Keeps a datagram for an association that is being opened, and opens one if need be.
    fn wait(&mut self, fake: IpAddr, target: Target, octets: &[u8]) -> bool {
        if let Some(opening) = self.opening.iter_mut().find(|opening| opening.fake == fake) {
            let has_room = opening.waiting.len() < MOST_WAITING;
            if has_room {
                opening.waiting.push((target, octets.into()));
            }
            return has_room;
        }
        let now = Instant::now();
        if self.pause.lasts(now) || self.opening.len() >= MOST_OPENING || !self.has_place(now) {
            return false;
        }
        let client = self.client.clone();
        let future = Box::pin(async move { client.associate().await });
        self.opening.push(Opened { fake, future, waiting: vec![(target, octets.into())] });
        true
    }

    /// Tells whether there is a place for another association; the one that was idle for longest may have to go.
    fn has_place(&mut self, now: Instant) -> bool {
        if self.named.len() + self.opening.len() < MOST_NAMED {
            return true;
        }
        let idlest = self.named.iter().enumerate().min_by_key(|(_, named)| named.used);
        let idle = idlest.filter(|(_, named)| now.saturating_duration_since(named.used) >= IDLE);
        let Some((place, _)) = idle else { return false };
        let Named { fake, .. } = self.named.swap_remove(place);
        debug!(%fake, "association for a fake address gives way to another one");
        true
    }

    /// Forgets an association that has ended.
    fn close(&mut self, place: usize, error: &DatagramError) {
        let Named { fake, opened, .. } = self.named.swap_remove(place);
        debug!(%fake, %error, "association for a fake address has ended");
        let now = Instant::now();
        if now.saturating_duration_since(opened) < BRIEF {
            self.pause.begin(now);
        }
    }

    /// Waits for what the gateway brings; user data are in `buffer` then.
    ///
    /// An error means that everything is over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<Result<Brought, DatagramError>> {
        if let Poll::Ready(received) = self.main.poll_recv_from(cx, buffer) {
            return Poll::Ready(received.map(Brought::Datagram));
        }
        if let Poll::Ready(brought) = self.poll_opening(cx) {
            return Poll::Ready(Ok(brought));
        }
        let mut place = 0;
        while let Some(named) = self.named.get_mut(place) {
            match named.association.poll_recv_from(cx, buffer) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(Target { port, .. })) => {
                    named.used = Instant::now();
                    let host = socks_core::wire::Host::Ip(named.fake);
                    return Poll::Ready(Ok(Brought::Datagram(Target { host, port })));
                }
                Poll::Ready(Err(error)) => self.close(place, &error),
            }
        }
        Poll::Pending
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Brought> {
        for place in 0..self.opening.len() {
            let Some(opening) = self.opening.get_mut(place) else { break };
            let Poll::Ready(opened) = opening.future.as_mut().poll(cx) else { continue };
            let Opened { fake, waiting, .. } = self.opening.swap_remove(place);
            return Poll::Ready(match opened {
                Ok(association) => {
                    let now = Instant::now();
                    self.pause.end();
                    self.named.push(Named { fake, association, opened: now, used: now });
                    Brought::Ready(fake, waiting)
                }
                Err(error) => {
                    debug!(%fake, %error, "no association for a fake address");
                    self.pause.begin(Instant::now());
                    Brought::Lost(waiting.len())
                }
            });
        }
        Poll::Pending
    }
}

/// What sending tells: whether the datagram went, or whether the association is of no more use.
fn sent(result: Result<(), DatagramError>) -> Result<bool, DatagramError> {
    match result {
        Ok(()) => Ok(true),
        Err(DatagramError::TooLong | DatagramError::Io(_)) => Ok(false),
        Err(over) => Err(over),
    }
}

impl fmt::Debug for Outlets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlets").field("main", &self.main).finish_non_exhaustive()
    }
}
