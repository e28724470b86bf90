//! What a client's ticket tells of the client: the same in each session that it is used for.

use socks_auth::groups::LOCAL_NAME;
use socks_core::{Identity, Principal};

use crate::attributes::Attributes;
use crate::established::NotUsed;
use crate::groups::TicketGroups;
use crate::gss::Failure;
use crate::rules::Unfit;
use crate::sys::{Context, Name};

/// The attribute that holds a ticket's authentication indicators (RFC 8129).
const INDICATORS: &str = "auth-indicators";

/// What a ticket tells that the library has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ticket {
    /// The client's principal.
    pub client: Principal,
    /// The local user that krb5.conf maps it to, if it does.
    pub local_name: Option<Box<str>>,
    /// The principal that the client has asked for: ours.
    pub service: Box<str>,
    /// How the client has authenticated to the key distribution centre, if that vouches for it (RFC 8129).
    pub indicators: Vec<Box<str>>,
    /// The client's own SID, when its ticket tells the groups.
    pub sid: Option<Box<str>>,
    /// What its ticket says of the client's groups (MS-PAC section 2.5).
    pub groups: TicketGroups,
}

/// Whether a question can be asked once for several sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    Wholly,
    /// The library could not tell something, and may the next time.
    InPart,
}

impl Ticket {
    /// Asks an established context for what its ticket tells.
    pub(crate) fn ask(context: &Context) -> Result<(Self, Answered), NotUsed> {
        let names = context.names()?;
        let name = names.initiator.display()?;
        let Ok(client) = name.parse() else { return Err(Unfit::Name(name.into()).into()) };
        let attributes = Attributes::of(&names.initiator);
        let (sid, groups) = TicketGroups::read(&attributes);
        let (local_name, indicators) = (local(&names.initiator), indicators(&attributes));
        let is_whole =
            local_name.is_ok() && indicators.is_ok() && !matches!(groups, TicketGroups::Unclear(_));
        let ticket = Self {
            client,
            local_name: local_name.unwrap_or_default(),
            service: names.acceptor.display()?.into_boxed_str(),
            indicators: indicators.unwrap_or_default(),
            sid,
            groups,
        };
        Ok((ticket, if is_whole { Answered::Wholly } else { Answered::InPart }))
    }

    /// The identity that it proves, before anybody has asked for its groups.
    pub(crate) fn identity(&self) -> Identity {
        let mut identity = Identity::principal(self.client.clone());
        let mut attribute = |name: &str, value: &str| {
            identity.attributes.insert(name.into(), value.into());
        };
        attribute("service", &self.service);
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

/// The local user that krb5.conf maps a name to, if it does.
fn local(name: &Name) -> Result<Option<Box<str>>, Failure> {
    match name.local() {
        Ok(local) => Ok(Some(local.into())),
        Err(failure) if failure.is_unavailable() => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn indicators(client: &Attributes<'_>) -> Result<Vec<Box<str>>, Failure> {
    let vouched = client.values(INDICATORS)?.into_iter().filter(|value| value.authenticated);
    Ok(vouched.filter_map(|value| String::from_utf8(value.octets).ok()).map(String::into_boxed_str).collect())
}
