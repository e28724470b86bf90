//! GSSAPI as an authentication method (RFC 1928 method 0x01, RFC 1961): the negotiation over a session's pipe.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use socks_auth::groups::GroupSource;
use socks_auth::{AuthError, AuthSession, Authenticated, Authenticator, Figures};
use socks_core::Identity;
use socks_core::wire::{DecodeError, Method};
use tracing::debug;

use crate::acceptor::{AcceptError, Accepted, Pending};
use crate::diagnosis::{Cause, Diagnosis, Fault};
use crate::established::Established as Context;
use crate::frame::{ABORT, VERSION};
use crate::groups::GroupRules;
use crate::message::{Message, MessageError, Start, TokenKind};
use crate::negotiation::server::{BareLevels, Established, Server, Stepped};
use crate::negotiation::{Action, Limits, Refusal};
use crate::pool::{Pool, PoolError};
use crate::rules::WeakEnctypes;

/// Octets of a token that are waited for at a time; most tokens of Kerberos are shorter.
const PIECE: usize = 2048;

/// Lets in clients with a Kerberos ticket for a key in the keytab.
pub struct Gssapi {
    pool: Arc<Pool>,
    limits: Limits,
    bare_levels: BareLevels,
    groups: GroupRules,
    failures: Failures,
}

/// Refused contexts by their cause.
#[derive(Debug, Default)]
struct Failures(Mutex<BTreeMap<Cause, u64>>);

impl Failures {
    fn count(&self, cause: Cause) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(cause).or_default() += 1;
    }

    fn told(&self) -> Vec<(String, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(cause, count)| (cause.word(), *count)).collect()
    }
}

impl Gssapi {
    /// The method over a pool that accepts contexts; groups are those of the ticket, unknown if it tells
    /// none.
    pub fn new(pool: Arc<Pool>, limits: Limits, bare_levels: BareLevels) -> Self {
        Self { pool, limits, bare_levels, groups: GroupRules::default(), failures: Failures::default() }
    }

    /// The same method with other rules for groups.
    #[must_use]
    pub fn with_groups(mut self, groups: GroupRules) -> Self {
        self.groups = groups;
        self
    }

    /// The same method with one source of groups more, which is asked after those it has.
    #[must_use]
    pub fn group_source(mut self, source: Arc<dyn GroupSource>) -> Self {
        self.groups = self.groups.with(source);
        self
    }

    /// Where it takes groups from.
    pub fn groups(&self) -> &GroupRules {
        &self.groups
    }

    /// The pool that accepts contexts.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

#[async_trait]
impl Authenticator for Gssapi {
    fn method(&self) -> Method {
        Method::GSSAPI
    }

    fn protects(&self) -> bool {
        true
    }

    fn farewell(&self) -> &'static [u8] {
        &ABORT
    }

    fn risk_without_protection(&self) -> Option<&'static str> {
        let weak = self.pool.rules().weak_enctypes == WeakEnctypes::Accept;
        match (self.bare_levels, weak) {
            (BareLevels::Accept, _) => Some(
                "`nec` where the policy allows the level `none`: only the replay cache keeps a recorded login \
                 from being used again, so it must outlive a restart, and no other gateway may have the same key",
            ),
            (BareLevels::Refuse, true) => Some(
                "`allow-weak-enctypes` where the policy allows the level `none`: with such keys only the replay \
                 cache keeps a recorded login from being used again, so it must outlive a restart, and no other \
                 gateway may have the same key",
            ),
            (BareLevels::Refuse, false) => None,
        }
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        figures.failures = self.failures.told();
        let keytab = self.pool.rules().keytab.metadata();
        figures.key_modified = keytab.and_then(|keytab| keytab.modified()).ok();
        figures
    }

    async fn authenticate(&self, session: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
        let mut acceptance = Acceptance {
            pool: &self.pool,
            groups: &self.groups,
            server: Server::new(self.limits, self.bare_levels),
            pending: None,
            identity: None,
        };
        match acceptance.run(session).await {
            Ok(authenticated) => Ok(authenticated),
            Err(ended) => {
                if let Some(cause) = ended.cause() {
                    self.failures.count(cause);
                }
                // Why it was refused matters more than that the client did not wait to hear so.
                let _ = session.write_all(ended.farewell()).await;
                Err(ended.into_error(acceptance.claimed()))
            }
        }
    }
}

/// One negotiation on its way.
struct Acceptance<'a> {
    pool: &'a Pool,
    groups: &'a GroupRules,
    server: Server,
    /// A context between two steps.
    pending: Option<Pending>,
    /// Who the client is, once its context is established.
    identity: Option<Identity>,
}

/// Why a negotiation has ended.
enum Ended {
    Refused(Refusal),
    Context(PoolError),
    /// The client's stream has ended or failed.
    Stream(AuthError),
}

impl Acceptance<'_> {
    async fn run(&mut self, session: &mut AuthSession<'_>) -> Result<Authenticated, Ended> {
        let mut action = Action::Receive { send: Vec::new() };
        loop {
            action = match action {
                Action::Receive { send } => {
                    send_all(session, &send).await?;
                    let message = receive(session, self.server.most_token()).await?;
                    self.server.receive(message)?
                }
                Action::Step { token } => {
                    let accepted = self.pool.step(self.pending.take(), token).await?;
                    self.stepped(session, accepted).await?
                }
                Action::Finish { send, protection } => {
                    send_all(session, &send).await?;
                    let identity =
                        self.identity.take().ok_or(Refusal::OutOfTurn("nothing to prove a name"))?;
                    let authenticated = Authenticated::new(identity);
                    return Ok(match protection {
                        Some(protection) => authenticated.protected(protection),
                        None => authenticated,
                    });
                }
            }
        }
    }

    async fn stepped(
        &mut self,
        session: &mut AuthSession<'_>,
        accepted: Accepted,
    ) -> Result<Action, Refusal> {
        match accepted {
            Accepted::Continue { token, pending } => {
                self.pending = Some(pending);
                self.server.stepped(Stepped::Continue { token })
            }
            Accepted::Complete { token, established } => {
                let identity = established.named();
                debug!(%identity, service = %established.ticket.service, "context is established");
                // Groups come first: the rows that allow levels may be about them.
                let identity =
                    self.groups.learn(identity, self.groups.of_ticket(&established.ticket.groups)).await;
                if let Some(why) = &identity.groups_missing {
                    debug!(%identity, %why, "groups are unknown");
                }
                let levels = session.levels(&identity);
                self.identity = Some(identity);
                let Context { halves, encryption, .. } = *established;
                let established = Established { halves, levels, encryption };
                self.server.stepped(Stepped::Complete { token, established })
            }
        }
    }

    fn claimed(&self) -> Option<Box<str>> {
        self.identity.as_ref().map(|identity| identity.to_string().into())
    }
}

async fn send_all(session: &mut AuthSession<'_>, octets: &[u8]) -> Result<(), Ended> {
    if octets.is_empty() {
        return Ok(());
    }
    session.write_all(octets).await.map_err(Ended::Stream)
}

/// Receives one message whose token has at most `most` octets.
async fn receive(session: &mut AuthSession<'_>, most: usize) -> Result<Message, Ended> {
    session.read_ahead(Start::LEN, PIECE).await?;
    let mut start = [0; Start::LEN];
    session.read_exact(&mut start).await?;
    let kind = match Start::read(start)? {
        Start::Abort => return Ok(Message::Abort),
        Start::Token(kind) => kind,
    };
    let mut len = [0; 2];
    session.read_exact(&mut len).await?;
    let token = receive_token(session, TokenKind::token_len(len, most)?).await?;
    Ok(kind.message(token))
}

/// Receives a token piece by piece: who only announces a long one makes nobody keep room for it.
async fn receive_token(session: &mut AuthSession<'_>, len: usize) -> Result<Vec<u8>, Ended> {
    let mut token = Vec::new();
    while token.len() < len {
        let have = token.len();
        token.resize(len.min(have + PIECE), 0);
        session.read_exact(token.get_mut(have..).unwrap_or_default()).await?;
    }
    Ok(token)
}

impl Ended {
    /// Why the context could not be established, if that is the reason.
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Context(PoolError::Step(AcceptError::Refused(diagnosis))) => Some(diagnosis.cause()),
            _ => None,
        }
    }

    /// What the client hears before the connection is closed (RFC 1961 section 3.8).
    fn farewell(&self) -> &'static [u8] {
        match self {
            Self::Refused(refusal) => refusal.farewell(),
            Self::Context(_) => Refusal::EmptyToken.farewell(),
            Self::Stream(_) => &[],
        }
    }

    /// The error of a client that has proven to be `claimed`, if it came that far.
    fn into_error(self, claimed: Option<Box<str>>) -> AuthError {
        match self {
            Self::Stream(error) => error,
            Self::Refused(Refusal::LevelRefused(_)) => AuthError::LevelRefused { claimed },
            Self::Refused(Refusal::Malformed(MessageError::Version(found))) => {
                DecodeError::Version { found, expected: VERSION }.into()
            }
            Self::Refused(refusal) => AuthError::Refused { claimed, reason: refusal.to_string().into() },
            Self::Context(PoolError::Step(AcceptError::Refused(diagnosis))) => diagnosed(&diagnosis),
            Self::Context(PoolError::Step(AcceptError::Unfit(unfit))) => {
                AuthError::refused(unfit.to_string())
            }
            Self::Context(error) => AuthError::Unavailable(error.to_string().into()),
        }
    }
}

/// What a diagnosis means for a session: only what no client can bring about is the gateway's own trouble.
fn diagnosed(diagnosis: &Diagnosis) -> AuthError {
    let mut reason = diagnosis.to_string();
    if !diagnosis.remedy().is_empty() {
        reason = format!("{reason}: {}", diagnosis.remedy());
    }
    match diagnosis.cause().fault() {
        Fault::Client | Fault::Either => AuthError::refused(reason),
        Fault::Operator => AuthError::Unavailable(reason.into()),
    }
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<MessageError> for Ended {
    fn from(error: MessageError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<PoolError> for Ended {
    fn from(error: PoolError) -> Self {
        Self::Context(error)
    }
}

impl From<AuthError> for Ended {
    fn from(error: AuthError) -> Self {
        Self::Stream(error)
    }
}

impl fmt::Debug for Gssapi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gssapi").field("pool", &self.pool).finish_non_exhaustive()
    }
}
