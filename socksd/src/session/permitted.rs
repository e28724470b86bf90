//! The fourth step: the connection to the target, and the reply.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socks_core::ClientStream;
use socks_core::wire::{Reply, Target};
use socks_policy::{Decision, Operation, Permit};
use tokio::time::timeout;

use crate::account::{Beginning, Claim, Sort};
use crate::dial::{Dialled, Road, dial};
use crate::outcome::End;
use crate::places::{Places, SessionLimit, of_holder};
use crate::record::Holder;

use super::chained::Chain;
use super::connected::{Connected, Far};
use super::{Ended, Session};

/// How long a client may take to have room for its reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A client whose request is permitted, for at least one address.
pub(super) struct Permitted {
    stream: ClientStream,
    target: Target,
    permits: Vec<Permit>,
}

impl Permitted {
    /// The permits are for the addresses of `target`, or one for its name; never none.
    pub(super) fn new(stream: ClientStream, target: Target, permits: Vec<Permit>) -> Self {
        Self { stream, target, permits }
    }

    pub(super) async fn dial(self, session: &mut Session) -> Result<Connected, Ended> {
        let (places, mut permits) = match places(self.permits, session) {
            Ok(admitted) => admitted.begin(),
            Err(end) => return Err(Ended::with_reply(self.stream, end)),
        };
        // One way for all: that of the first address.
        let upstream = permits.first().and_then(|permit| permit.terms().upstream.clone());
        permits.retain(|permit| permit.terms().upstream == upstream);
        let most = permits.iter().filter_map(|permit| permit.terms().connect_timeout).min();
        let most = most.unwrap_or(session.snapshot.settings.limits.connect_timeout);
        if let Some(name) = upstream {
            let chain = Chain { name, target: self.target, permits, places, most };
            return chain.connect(self.stream, session).await;
        }
        let nat64 = session.snapshot.settings.nat64.as_ref();
        let operation = Operation::Connect(&self.target);
        let is_still_good = |permit: &Permit| {
            let address = permit.address().map(|address| address.ip());
            // Another rule may want another way to it.
            matches!(session.decide(Some(operation), address), Decision::Permit(now) if now.rule() == permit.rule())
        };
        let road = Road { racing: &session.gateway.racing, nat64, is_still_good: &is_still_good };
        let begun = Instant::now();
        match dial(permits, most, road).await {
            Ok(dialled) => {
                session.gateway.metrics.connect(begun.elapsed());
                session.settle(places, &dialled.permit);
                reply(self.stream, dialled, session).await
            }
            Err(error) => Err(Ended::with_reply(self.stream, End::Dial(error))),
        }
    }
}

/// A session that may begin, unless something else is in its way: then it has not.
#[must_use]
pub(super) struct Admitted {
    /// In each rule that limits its sessions.
    places: Vec<Places>,
    /// Those whose rule has a place.
    permits: Vec<Permit>,
    begun: Beginning,
}

impl Admitted {
    /// Those whose rule has a place.
    pub(super) fn permits(&self) -> &[Permit] {
        &self.permits
    }

    /// The session goes on; gives its places, and the permits.
    pub(super) fn begin(self) -> (Vec<Places>, Vec<Permit>) {
        self.begun.keep();
        (self.places, self.permits)
    }
}

/// A session's places in each rule that limits its sessions, once it may begin at all. Addresses whose rule has none left
/// are not dialled.
pub(super) fn places(permits: Vec<Permit>, session: &Session) -> Result<Admitted, End> {
    let identity = session.record.identity().ok_or(End::Undecided)?;
    let holder = Holder::of(&identity, session.record.client());
    let mut begun = own_place(&permits, holder, session)?;
    let (mut places, mut admitted, mut full) =
        (Vec::<Places>::new(), Vec::with_capacity(permits.len()), None);
    for permit in permits {
        session.record.facts().rule = Some(permit.rule().clone());
        if !places.iter().any(|places| places.are_of(permit.rule())) {
            match place(&permit, holder, session) {
                Ok((place, own)) => {
                    places.push(place);
                    begun.join(own);
                }
                Err(limit) => {
                    full.get_or_insert(limit);
                    continue;
                }
            }
        }
        admitted.push(permit);
    }
    match full {
        Some(limit) if admitted.is_empty() => Err(End::Limited(limit)),
        _ => Ok(Admitted { places, permits: admitted, begun }),
    }
}

/// Takes the place among all sessions of the client.
fn own_place(permits: &[Permit], holder: Holder<'_>, session: &Session) -> Result<Beginning, End> {
    let limits = &session.snapshot.settings.limits;
    let own = of_holder(limits, holder, &session.gateway.rule_sessions).map_err(End::Limited)?;
    session.record.live().take_own_place(own);
    match permits.first() {
        Some(permit) => begin(permit, &[Sort::Identity], session).map_err(End::Limited),
        None => Ok(Beginning::default()),
    }
}

/// The places in the rule of one permit, if a session may begin under it.
fn place(
    permit: &Permit,
    holder: Holder<'_>,
    session: &Session,
) -> Result<(Places, Beginning), SessionLimit> {
    let places = Places::take(permit, holder, &session.gateway.rule_sessions)?;
    let begun = begin(permit, &[Sort::RuleIdentity, Sort::Rule], session)?;
    Ok((places, begun))
}

/// The places in another rule for a session that has begun under one.
pub(super) fn place_instead(permit: &Permit, session: &Session) -> Option<Places> {
    let identity = session.record.identity()?;
    let holder = Holder::of(&identity, session.record.client());
    Places::take(permit, holder, &session.gateway.rule_sessions).ok()
}

/// Counts the session among those that begin, by what it is counted.
fn begin(permit: &Permit, sorts: &[Sort], session: &Session) -> Result<Beginning, SessionLimit> {
    let mut begun = Beginning::default();
    let Some(identity) = session.record.identity() else { return Ok(begun) };
    let limits = &session.snapshot.settings.limits;
    let claims = Claim::all(limits, session.record.client(), &identity, permit);
    for claim in claims.filter(|claim| claim.limits_beginnings() && sorts.contains(&claim.owner.sort())) {
        begun.count(&session.gateway.accounts, claim).map_err(SessionLimit::from)?;
    }
    Ok(begun)
}

async fn reply(
    mut stream: ClientStream,
    dialled: Dialled,
    session: &mut Session,
) -> Result<Connected, Ended> {
    let Dialled { socket, permit, address } = dialled;
    session.record.learn(|facts| {
        facts.hold(&permit);
        facts.dialled = Some(address);
    });
    let bound = match socket.local_addr() {
        Ok(bound) => SocketAddr::new(bound.ip().to_canonical(), bound.port()),
        Err(error) => return Err(Ended::silently(End::Reply(error))),
    };
    session.record.facts().bound = Some(bound);
    grant(&mut stream, bound).await?;
    Ok(Connected::under(&permit, stream, Far::Direct(socket), session))
}

/// Tells the client that what it asked for is granted, and with which address.
pub(super) async fn grant(stream: &mut ClientStream, address: SocketAddr) -> Result<(), Ended> {
    let sent = timeout(REPLY_TIMEOUT, stream.send(&Reply::succeeded(address))).await;
    sent.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|error| Ended::silently(End::Reply(error)))
}
