//! What an established context tells of the client.

use std::fmt;
use std::time::Instant;

use socks_auth::groups::LOCAL_NAME;
use socks_core::{Identity, Principal, Timestamp};

use crate::attributes::Attributes;
use crate::cfx::{self, ContextKeys, Enctype, KeyOrigin, Role};
use crate::groups::{TicketGroups, TicketUse};
use crate::gss::{Failure, Lucid, flag};
use crate::local_names::{LocalNames, Unknown};
use crate::mit::{self, Ordering};
use crate::negotiation::server::Encryption;
use crate::protect::Halves;
use crate::rules::{Candidate, Engine, Rules, Unfit};
use crate::sys::{Context, Name};

/// The attribute that holds a ticket's authentication indicators (RFC 8129).
const INDICATORS: &str = "auth-indicators";

/// A context that is established on the acceptor's side, with all that is known of the client.
#[non_exhaustive]
pub struct Established {
    /// The client's principal.
    pub client: Principal,
    /// The local user that krb5.conf maps it to, if it does.
    pub local_name: Option<Box<str>>,
    /// The principal that the client has asked for: ours.
    pub service: Box<str>,
    /// The number of the session key's encryption type.
    pub enctype: u32,
    /// The ticket's own end.
    pub ticket_end: Option<Timestamp>,
    /// How the client has authenticated to the key distribution centre, if that vouches for it (RFC 8129).
    pub indicators: Vec<Box<str>>,
    /// The client's own SID, when its ticket tells the groups.
    pub sid: Option<Box<str>>,
    /// What its ticket says of the client's groups (MS-PAC section 2.5).
    pub groups: TicketGroups,
    /// Whether messages may be encrypted.
    pub encryption: Encryption,
    /// Its messages' protection.
    pub halves: Halves,
}

/// Why an established context is not used.
#[derive(Debug)]
pub(crate) enum NotUsed {
    Failed(Failure),
    Unfit(Unfit),
}

impl From<Failure> for NotUsed {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unfit> for NotUsed {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl Established {
    /// Judges a context that the library has accepted, and asks it for everything.
    pub(crate) fn examine(
        context: Context,
        rules: &Rules,
        local_names: &mut LocalNames,
    ) -> Result<Self, NotUsed> {
        let facts = context.facts()?;
        let lucid = context.keys()?;
        let service = facts.acceptor.display()?.into_boxed_str();
        let keys = ContextKeys::from(&lucid);
        rules.judge(Candidate {
            flags: facts.flags,
            is_krb5: facts.is_krb5,
            enctype: keys.enctype,
            key_origin: keys.origin,
            service: &service,
        })?;
        let name = facts.initiator.display()?;
        let Ok(client) = name.parse() else { return Err(Unfit::Name(name.into()).into()) };
        let attributes = Attributes::of(&facts.initiator);
        let (sid, groups) = TicketGroups::read(&attributes);
        Ok(Self {
            client,
            local_name: local_names.local(&name, Instant::now(), || local(&facts.initiator)),
            service,
            enctype: keys.enctype,
            ticket_end: Timestamp::from_second(lucid.ends_at.into()).ok(),
            indicators: indicators(&attributes),
            sid,
            groups,
            encryption: Encryption::of(facts.flags),
            halves: protect(context, &lucid, &keys, rules.engine)?,
        })
    }

    /// The identity that it proves, with the groups that the ticket tells, unknown if it tells none.
    pub fn identity(&self) -> Identity {
        self.groups.answers(TicketUse::Counts).apply(self.named(), Timestamp::now())
    }

    /// The identity before anybody has asked for its groups.
    pub(crate) fn named(&self) -> Identity {
        let mut identity = Identity::principal(self.client.clone());
        identity.valid_until = self.ticket_end;
        let mut attribute = |name: &str, value: &str| {
            identity.attributes.insert(name.into(), value.into());
        };
        attribute("service", &self.service);
        attribute("enctype", &enctype_name(self.enctype));
        if let Some(local_name) = &self.local_name {
            attribute(LOCAL_NAME, local_name);
        }
        if let Some(sid) = &self.sid {
            attribute("sid", sid);
        }
        if !self.indicators.is_empty() {
            attribute("indicators", &self.indicators.join(","));
        }
        identity
    }
}

impl Encryption {
    /// What a context's flags say of it.
    fn of(flags: u32) -> Self {
        if flags & flag::CONFIDENTIALITY == 0 { Self::Unavailable } else { Self::Available }
    }
}

impl From<&Lucid> for ContextKeys {
    fn from(lucid: &Lucid) -> Self {
        let (key, origin) = match &lucid.acceptor_subkey {
            Some(key) => (key, KeyOrigin::AcceptorSubkey),
            None => (&lucid.key, KeyOrigin::Context),
        };
        Self {
            role: if lucid.is_initiator { Role::Initiator } else { Role::Acceptor },
            enctype: key.enctype,
            protocol_key: key.octets.clone(),
            origin,
            send_sequence: lucid.send_sequence,
            receive_sequence: lucid.receive_sequence,
        }
    }
}

/// Makes the two halves: our engine where it can, else the library.
pub(crate) fn protect(
    context: Context,
    lucid: &Lucid,
    keys: &ContextKeys,
    engine: Engine,
) -> Result<Halves, Failure> {
    if engine == Engine::Own
        && lucid.is_rfc4121
        && let Ok((seal, open)) = cfx::halves(keys)
    {
        return Ok(Halves::new(seal, open));
    }
    let ordering =
        if lucid.is_rfc4121 { Ordering::Ours { next: lucid.receive_sequence } } else { Ordering::Library };
    mit::halves(context, ordering)
}

/// The local user that krb5.conf maps a name to, if it does.
fn local(name: &Name) -> Result<Option<Box<str>>, Unknown> {
    match name.local() {
        Ok(local) => Ok(Some(local.into())),
        Err(failure) if failure.is_unavailable() => Ok(None),
        Err(_) => Err(Unknown),
    }
}

fn indicators(client: &Attributes<'_>) -> Vec<Box<str>> {
    let values = client.values(INDICATORS).unwrap_or_default();
    let vouched = values.into_iter().filter(|value| value.authenticated);
    vouched.filter_map(|value| String::from_utf8(value.octets).ok()).map(String::into_boxed_str).collect()
}

/// What the record calls an encryption type.
fn enctype_name(number: u32) -> String {
    Enctype::from_number(number).map_or_else(|| format!("enctype {number}"), |enctype| enctype.to_string())
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("client", &self.client)
            .field("service", &self.service)
            .field("enctype", &self.enctype)
            .finish_non_exhaustive()
    }
}
