//! What an established context tells of the client.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use socks_core::{Identity, Timestamp};

use crate::cfx::{self, ContextKeys, Enctype, KeyOrigin, Role};
use crate::groups::TicketUse;
use crate::gss::{Failure, Lucid, flag};
use crate::mit::{self, Ordering};
use crate::negotiation::server::Encryption;
use crate::protect::Halves;
use crate::rules::{Candidate, Engine, Rules, Unfit};
use crate::sys::Context;
use crate::ticket::Ticket;
use crate::tickets::{TicketId, Tickets};

/// A context that is established on the acceptor's side, with all that is known of the client.
#[non_exhaustive]
pub struct Established {
    /// What the client's ticket tells.
    pub ticket: Arc<Ticket>,
    /// The number of the session key's encryption type.
    pub enctype: u32,
    /// The ticket's own end.
    pub ticket_end: Option<Timestamp>,
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
    ///
    /// `token` is the one that made it, where one was enough: whose ticket is known already is not asked about again.
    pub(crate) fn examine(
        context: Context,
        rules: &Rules,
        tickets: &mut Tickets,
        token: Option<&[u8]>,
    ) -> Result<Self, NotUsed> {
        let facts = context.facts()?;
        let lucid = context.keys()?;
        let ticket = tickets.told(token.and_then(TicketId::of), Instant::now(), || Ticket::ask(&context))?;
        let keys = ContextKeys::from(&lucid);
        rules.judge(Candidate {
            flags: facts.flags,
            is_krb5: facts.is_krb5,
            enctype: keys.enctype,
            key_origin: keys.origin,
            service: &ticket.service,
        })?;
        Ok(Self {
            ticket,
            enctype: keys.enctype,
            ticket_end: Timestamp::from_second(lucid.ends_at.into()).ok(),
            encryption: Encryption::of(facts.flags),
            halves: protect(context, &lucid, &keys, rules.engine)?,
        })
    }

    /// The identity that it proves, with the groups that the ticket tells, unknown if it tells none.
    pub fn identity(&self) -> Identity {
        self.ticket.groups.answers(TicketUse::Counts).apply(self.named(), Timestamp::now())
    }

    /// The identity before anybody has asked for its groups.
    pub(crate) fn named(&self) -> Identity {
        let mut identity = self.ticket.identity();
        identity.valid_until = self.ticket_end;
        identity.attributes.insert("enctype".into(), enctype_name(self.enctype).into());
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

/// What the record calls an encryption type.
fn enctype_name(number: u32) -> String {
    Enctype::from_number(number).map_or_else(|| format!("enctype {number}"), |enctype| enctype.to_string())
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("client", &self.ticket.client)
            .field("service", &self.ticket.service)
            .field("enctype", &self.enctype)
            .finish_non_exhaustive()
    }
}
