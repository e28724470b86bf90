//! The client's side of a context.

use std::ffi::CString;
use std::fmt;
use std::path::Path;

use crate::cfx::{ContextKeys, Role};
use crate::diagnosis::Diagnosis;
use crate::established::protect;
use crate::gss::oid::{KRB5, Oid, SPNEGO};
use crate::gss::{Failure, Mechanisms, NameKind, Progress, Usage, flag};
use crate::protect::Halves;
use crate::rules::{Engine, entry};
use crate::sys::{Context, Credential, Name};

/// What a client asks of the context (RFC 1961 section 3.2).
// Differs from RFC 1961 section 3.2: delegation is not asked for; a gateway has no use for a user's ticket.
const FLAGS: u32 = flag::MUTUAL | flag::REPLAY | flag::CONFIDENTIALITY | flag::INTEGRITY;

/// Which service a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetName {
    /// `service@host`: the library makes a principal of it, perhaps with the domain name system's help.
    HostBased(Box<str>),
    /// `service/host@REALM`, taken as it is.
    Principal(Box<str>),
}

/// How a client's contexts are made; the default is right for most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientRules {
    /// The cache with the user's tickets (`FILE:/tmp/krb5cc_0`); `None`: the one that krb5.conf and the
    /// environment name.
    pub ccache: Option<Box<str>>,
    /// The keytab with the user's own key (`FILE:/etc/client.keytab`), for programs that nobody types a password
    /// for: tickets are taken with it as they are needed, for its first principal, and kept in the cache.
    pub client_keytab: Option<Box<str>>,
    /// Whether messages travel on a stream, or as datagrams too.
    pub traffic: Traffic,
    /// Who protects messages.
    pub engine: Engine,
    /// What tests make a client do that no client of ours does.
    #[doc(hidden)]
    pub oddity: Option<Oddity>,
}

/// What tests make a client do that no client of ours does.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// Wraps Kerberos into SPNEGO (RFC 4178).
    Spnego,
    /// Proves itself with a third token, as Microsoft's DCE does (MS-KILE section 3.4.5.1).
    ThreeTokens,
    /// Offers no confidentiality.
    NoConfidentiality,
}

/// Whether messages travel on a stream, or as datagrams too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Traffic {
    /// In strict order.
    #[default]
    Stream,
    /// Datagrams too, in any order (RFC 1961 section 3.2: no sequence flag then).
    Datagrams,
}

/// A context on the client's side.
///
/// Making one and its steps may read files and ask the key distribution centre: they belong on a thread that
/// may wait.
pub struct Initiator {
    request: Request,
    context: Context,
    engine: Engine,
}

/// What an initiator asks for.
pub(crate) struct Request {
    pub(crate) credential: Credential,
    pub(crate) target: Name,
    pub(crate) flags: u32,
    pub(crate) mechanism: Oid,
}

/// What a step gave.
#[derive(Debug)]
pub enum Initiated {
    /// The server must send another token.
    Continue {
        /// For the server.
        token: Vec<u8>,
        /// Goes into the next step.
        initiator: Box<Initiator>,
    },
    /// The context is established.
    Complete {
        /// For the server; may be empty.
        token: Vec<u8>,
        /// Its messages' protection.
        halves: Halves,
        /// The principal of the server, as it has proven it.
        service: Box<str>,
    },
}

impl Initiator {
    /// A context with a service, of which nothing is there yet.
    ///
    /// # Errors
    /// [`Diagnosis`] when there is no ticket, or the target cannot be a name.
    pub fn new(target: &TargetName, rules: &ClientRules) -> Result<Self, Diagnosis> {
        Self::acquire(target, rules).map_err(Diagnosis::of)
    }

    fn acquire(target: &TargetName, rules: &ClientRules) -> Result<Self, Failure> {
        let mut store = Vec::new();
        if let Some(ccache) = &rules.ccache {
            store.push(entry("ccache", ccache, Path::new(""))?);
        }
        if let Some(keytab) = &rules.client_keytab {
            store.push(entry("client_keytab", keytab, Path::new(""))?);
        }
        let credential = credential(rules.oddity, &store)?;
        let target = match target {
            TargetName::HostBased(name) => Name::import(name, NameKind::HostBased)?,
            TargetName::Principal(name) => Name::import(name, NameKind::Principal)?,
        };
        let flags = match rules.traffic {
            Traffic::Stream => FLAGS | flag::SEQUENCE,
            Traffic::Datagrams => FLAGS,
        };
        let (flags, mechanism) = match rules.oddity {
            None => (flags, KRB5),
            Some(Oddity::Spnego) => (flags, SPNEGO),
            Some(Oddity::ThreeTokens) => (flags | flag::DCE_STYLE, KRB5),
            Some(Oddity::NoConfidentiality) => (flags & !flag::CONFIDENTIALITY, KRB5),
        };
        let request = Request { credential, target, flags, mechanism };
        Ok(Self { request, context: Context::new(), engine: rules.engine })
    }

    /// Gives the server's token to the context; an empty one to begin with.
    ///
    /// # Errors
    /// [`Diagnosis`]; the context is gone then.
    pub fn step(mut self, token: &[u8]) -> Result<Initiated, Diagnosis> {
        let stepped = self.context.initiate(&mut self.request, token);
        let (progress, token) = stepped.map_err(Diagnosis::of_step)?;
        match progress {
            Progress::Continue => Ok(Initiated::Continue { token, initiator: Box::new(self) }),
            Progress::Complete => self.complete(token).map_err(Diagnosis::of),
        }
    }

    fn complete(self, token: Vec<u8>) -> Result<Initiated, Failure> {
        let facts = self.context.facts()?;
        if facts.flags & flag::MUTUAL == 0 {
            return Err(Failure::ours("server has not proven who it is"));
        }
        let lucid = self.context.keys()?;
        let keys = ContextKeys::from(&lucid);
        debug_assert_eq!(keys.role, Role::Initiator);
        let service = self.context.names()?.acceptor.display()?.into_boxed_str();
        let halves = protect(self.context, &lucid, &keys, self.engine)?;
        Ok(Initiated::Complete { token, halves, service })
    }
}

fn credential(oddity: Option<Oddity>, store: &[(CString, CString)]) -> Result<Credential, Failure> {
    let mechanisms = match oddity {
        Some(Oddity::Spnego) => Mechanisms::Krb5AndSpnego,
        _ => Mechanisms::Krb5,
    };
    let credential = Credential::acquire(Usage::Initiate, mechanisms, store)?;
    match oddity {
        Some(Oddity::NoConfidentiality) => credential.offer_only_what_is_asked(),
        _ => Ok(credential),
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator").finish_non_exhaustive()
    }
}
