//! The first step: which method, and who the client is.

use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use socks_auth::{AuthSession, Authenticator, ClientInfo};
use socks_core::wire::{DecodeError, Encode, Greeting, Method, MethodChoice, ProxyHeader};
use socks_core::{ClientIo, ClientStream, Identity, Level, Levels, ReceiveError};
use socks_policy::Decision;
use tokio::io::AsyncWriteExt;

use crate::admission::Source;
use crate::judgement::{NOT_ADMITTED, Said};
use crate::logins::Guard;
use crate::outcome::End;

use super::authenticated::Authenticated;
use super::{Ended, Session};

/// What a SOCKS 4 client understands as a refusal: version 0, code 0x5B, six octets that mean nothing.
const SOCKS4_REFUSED: &[u8] = &[0x00, 0x5B, 0, 0, 0, 0, 0, 0];
/// Why the policy denies a client to which it offers no method that the client could use.
const NO_DOOR: &str = "no-method";
/// RFC 1928 section 3: none of the client's methods is acceptable.
const NO_ACCEPTABLE_METHOD: &[u8] = &[0x05, 0xFF];

/// A client of which only the address is known.
pub(super) struct Accepted {
    io: ClientIo,
}

/// A configured authenticator with its name.
type Door = (Arc<str>, Arc<dyn Authenticator>);

impl Accepted {
    /// A client that the policy could permit something; all others are closed before an octet is read.
    pub(super) fn new(io: ClientIo, session: &Session) -> Result<Self, Ended> {
        match session.decide(None, None) {
            Decision::Deny(denial) => Err(Ended::silently(End::SourceDenied(denial))),
            Decision::Permit(_) | Decision::Needs(_) => Ok(Self { io }),
        }
    }

    pub(super) async fn authenticate(mut self, session: &mut Session) -> Result<Authenticated, Ended> {
        let doors = doors(session);
        if doors.is_empty() {
            session.watch_refusal(|shadow, seen| shadow.compare_doors(seen, NO_DOOR, |_| true));
            return Err(Ended::silently(End::NoMethodForSource));
        }
        let greeting = match session.in_time(self.receive_greeting()).await.map_err(Ended::silently)? {
            Ok(greeting) => greeting,
            Err(error) => return Err(self.refuse_greeting(error)),
        };
        let chosen = doors.into_iter().find(|(_, authenticator)| greeting.offers(authenticator.method()));
        let Some((name, authenticator)) = chosen else {
            let is_offered = |name: &Arc<str>| {
                session.snapshot.authenticator(name).is_some_and(|own| greeting.offers(own.method()))
            };
            session.watch_refusal(|shadow, seen| shadow.compare_doors(seen, NO_DOOR, is_offered));
            return Err(Ended::with_octets(self.io, NO_ACCEPTABLE_METHOD, End::NoAcceptableMethod));
        };
        let chosen = session.in_time(self.choose(authenticator.method())).await.map_err(Ended::silently)?;
        if let Err(error) = chosen {
            return Err(Ended::silently(End::Greeting(error.into())));
        }
        self.run(&name, &*authenticator, session).await
    }

    async fn receive_greeting(&mut self) -> Result<Greeting, ReceiveError> {
        self.io.receive().await
    }

    fn refuse_greeting(self, error: ReceiveError) -> Ended {
        match error {
            ReceiveError::Decode(DecodeError::Version { found: 0x04, .. }) => {
                Ended::with_octets(self.io, SOCKS4_REFUSED, End::Greeting(error))
            }
            ReceiveError::Decode(_) if ProxyHeader::may_begin(&self.io.received) => {
                Ended::silently(End::ProxyHeaderRefused)
            }
            error => Ended::silently(End::Greeting(error)),
        }
    }

    async fn choose(&mut self, method: Method) -> std::io::Result<()> {
        let mut octets = BytesMut::new();
        MethodChoice(method).encode(&mut octets);
        self.io.socket.write_all(&octets).await
    }

    /// Lets the authenticator talk, and checks that what it gives is what the policy allows.
    async fn run(
        mut self,
        name: &Arc<str>,
        authenticator: &dyn Authenticator,
        session: &mut Session,
    ) -> Result<Authenticated, Ended> {
        session.record.facts().method = Some(name.clone());
        let client = session.record.client();
        let local = self.io.socket.local_addr().unwrap_or(client);
        // A login that is refused for its protection leaves no identity, but why groups had a part in it.
        let groups_missing = OnceLock::new();
        let allowed = |identity: &Identity| {
            if let Some(why) = groups_missing_for(session, identity) {
                groups_missing.get_or_init(|| why.into());
            }
            levels(session, &identity.clone().by(name.clone()))
        };
        let authenticated = {
            let ClientIo { socket, received } = &mut self.io;
            let guard = Guard::new(
                &session.gateway,
                &session.snapshot.settings.limits,
                name,
                Source::of(client.ip()),
            );
            let mut pipe = AuthSession::new(socket, received, ClientInfo::new(client, local), &allowed)
                .guarded_by(&guard);
            session.in_time(authenticator.authenticate(&mut pipe)).await
        };
        session.record.facts().groups_missing = groups_missing.into_inner();
        let authenticated = match authenticated {
            Ok(Ok(authenticated)) => authenticated,
            Err(late) => return Err(Ended::with_octets(self.io, authenticator.farewell(), late)),
            Ok(Err(error)) => return Err(Ended::with_octets(self.io, &[], End::Auth(error))),
        };
        let level = authenticated.level();
        let mut identity = authenticated.identity.by(name.clone());
        identity.level = level;
        session.record.facts().groups_missing = groups_missing_for(session, &identity).map(Into::into);
        let levels = levels(session, &identity);
        // Where the policy says nothing, a method that can protect must.
        let bare = level == Level::None && authenticator.protects() && levels == Levels::Unrestricted;
        if bare || !levels.allow(level) {
            session
                .watch_refusal(|shadow, seen| shadow.compare(seen.with(&identity), Said::no(NOT_ADMITTED)));
            return Err(Ended::with_octets(self.io, &[], End::LevelNotAllowed));
        }
        session.record.facts().identity = Some(session.gateway.identities.share(identity));
        Ok(Authenticated::new(ClientStream::new(self.io, authenticated.protection)))
    }
}

/// The authenticators on offer to this client, in the policy's order. One that can give no protection is left
/// out where every row of the policy asks for some.
fn doors(session: &Session) -> Vec<Door> {
    let doors = session.snapshot.ruleset.doors(session.listener(), session.record.client().ip());
    doors
        .iter()
        .filter_map(|door| Some((door, session.snapshot.authenticator(door.method())?)))
        .filter(|(door, authenticator)| authenticator.protects() || door.levels().allow_unprotected())
        .map(|(door, authenticator)| (Arc::clone(door.method()), authenticator.clone()))
        .collect()
}

/// The levels that the policy allows; no row at all allows none.
fn levels(session: &Session, identity: &Identity) -> Levels {
    let (listener, client) = (session.listener(), session.record.client().ip());
    session.snapshot.ruleset.levels(listener, client, identity).unwrap_or(Levels::Only(Vec::new()))
}

/// Why the groups could not be learned, if the policy asks for any.
fn groups_missing_for<'a>(session: &Session, identity: &'a Identity) -> Option<&'a str> {
    identity.groups_missing.as_deref().filter(|_| session.snapshot.ruleset.names_groups())
}
