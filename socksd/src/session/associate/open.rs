//! The steps from the permit to the end of an association.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socks_core::ClientStream;
use socks_core::udp::{Association, AssociationTerms, ClientLock, Tally};
use socks_core::wire::Target;
use socks_policy::{Fragments, Permit};
use tokio::time::Instant;

use crate::admission::{Counted, RuleTicket, Ticket};
use crate::outcome::End;
use crate::own::OwnSocket;
use crate::record::{Holder, Record};
use crate::session::connected::cutoff_of;
use crate::session::permitted::{grant, places};
use crate::session::{Ended, Session};

use super::bucket::Bucket;
use super::facts::Facts;
use super::gate::{Judge, Terms};
use super::sockets::Sockets;

/// How long the fragments of one datagram may take.
///
/// RFC 1928 section 7: the reassembly timer must be no less than 5 seconds.
const REASSEMBLY: Duration = Duration::from_secs(5);

/// A client to which the policy permits an association.
pub(in crate::session) struct Permitted {
    stream: ClientStream,
    /// Where the client says that it sends from.
    named: Target,
    permit: Permit,
}

/// An open association and what it holds.
pub(in crate::session) struct Associated {
    association: Association<Judge>,
    record: Record,
    _ticket: Ticket,
    _places: Places,
}

/// The places that an association has beside that of its session, and among the gateway's own sockets.
struct Places {
    /// It has twice as many sockets as others.
    _sockets: Ticket,
    _rule: Option<RuleTicket>,
    _own: OwnSocket,
}

impl Permitted {
    pub(in crate::session) fn new(stream: ClientStream, named: Target, permit: Permit) -> Self {
        Self { stream, named, permit }
    }

    /// Opens the sockets and tells the client where to send.
    pub(in crate::session) async fn open(self, session: &mut Session) -> Result<Opened, Ended> {
        let Self { mut stream, named, permit } = self;
        let (permit, places, sockets) = match sockets(&stream, permit, session) {
            Ok(opened) => opened,
            Err(end) => return Err(Ended::with_reply(stream, end)),
        };
        let told = session.advertised().instead_of(sockets.bound);
        let tally = Arc::new(Tally::default());
        session.record.learn(|facts| {
            facts.hold(&permit);
            facts.bound = Some(sockets.bound);
            facts.rare_mut().advertised = Some(told).filter(|told| *told != sockets.bound);
            facts.association = Some(tally.clone());
        });
        grant(&mut stream, told).await?;
        let lock = ClientLock::new(session.record.client(), &named);
        let association = Association {
            control: stream,
            client: sockets.client,
            outer: sockets.outer,
            lock,
            gate: judge(&permit, sockets.routes, tally.clone(), session),
            terms: terms(&permit, tally, session),
        };
        Ok(Opened { association: Box::new(association), places })
    }
}

/// An association whose client was told.
pub(in crate::session) struct Opened {
    association: Box<Association<Judge>>,
    places: Places,
}

impl Associated {
    pub(in crate::session) fn new(opened: Opened, session: Session) -> Self {
        Self {
            association: *opened.association,
            record: session.record,
            _ticket: session.ticket,
            _places: opened.places,
        }
    }

    pub(in crate::session) async fn run(mut self) {
        let end = self.association.run().await;
        self.record.finish(&End::Associated(end));
    }
}

/// The sockets, once there is a place for the association in its rule.
fn sockets(
    stream: &ClientStream,
    permit: Permit,
    session: &mut Session,
) -> Result<(Permit, Places, Sockets), End> {
    let local = stream.socket().local_addr().map_err(End::Reply)?;
    let admitted = places(vec![permit], session)?;
    let rule = admitted.permits().first().map_or(Ok(None), |permit| place(permit, session))?;
    let room = session.ticket.another().map_err(End::SocketsFull)?;
    let (sessions, permits) = admitted.begin();
    let Some(permit) = permits.into_iter().next() else { return Err(End::Undecided) };
    let (sockets, own) =
        Sockets::open(near(local, session), &permit, &session.gateway.own_sockets).map_err(End::Listen)?;
    session.settle(sessions, &permit);
    Ok((permit, Places { _sockets: room, _rule: rule, _own: own }, sockets))
}

/// Where the client's datagrams are awaited: at the address that it is told, if that is the gateway's own; else at
/// the one that it came to, to which a translator in front of the gateway brings it.
fn near(local: SocketAddr, session: &Session) -> SocketAddr {
    let came_to = SocketAddr::new(local.ip().to_canonical(), local.port());
    let told = session.advertised().instead_of(came_to);
    if told != came_to && session.gateway.has(told.ip()) { told } else { local }
}

/// A place among the rule's associations, if it limits them.
fn place(permit: &Permit, session: &Session) -> Result<Option<RuleTicket>, End> {
    let (Some(most), Some(identity)) = (permit.terms().udp.associations, session.record.identity()) else {
        return Ok(None);
    };
    let holder = Holder::of(&identity, session.record.client());
    let counted = Counted::RuleHolder((**permit.rule()).into(), holder.into());
    session.gateway.rule_associations.admit(counted, most).map(Some).ok_or(End::AssociationsFull)
}

fn judge(permit: &Permit, routes: super::route::Routes, tally: Arc<Tally>, session: &Session) -> Judge {
    let record = &session.record;
    let identity = record.identity();
    let udp = permit.terms().udp;
    let bucket = udp.datagrams.map(|rate| Bucket::new(rate, Instant::now()));
    let facts = Facts::new(session.gateway.clone(), record.live().clone(), identity.as_deref());
    Judge::new(facts, Terms { routes, replies: udp.replies, bucket, room: session.ticket.room(), tally })
}

fn terms(permit: &Permit, tally: Arc<Tally>, session: &Session) -> AssociationTerms {
    session.go_on_under(permit);
    let live = session.record.live();
    let mut terms = AssociationTerms::new(live.meter.idle_timeout().unwrap_or(Duration::MAX));
    terms.meter = live.clone();
    terms.cutoff = cutoff_of(permit, session);
    terms.reassembly = (permit.terms().udp.fragments == Fragments::Reassemble).then_some(REASSEMBLY);
    terms.tally = tally;
    terms
}
