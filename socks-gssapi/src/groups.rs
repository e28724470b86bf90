//! Where the groups of a client come from: its ticket, and the sources beside it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use socks_auth::groups::{
    Answers, GroupError, GroupFile, GroupSource, GroupSources, Groups, LocalGroups, LookupPool,
};
use socks_auth::{BuildContext, BuildError, Span};
use socks_core::{Identity, Timestamp};

use crate::attributes::Attributes;
use crate::gss::{AttributeValue, Failure};
use crate::pac::{self, LogonSids};

/// The attribute that holds who the client is to a Windows domain (MS-PAC section 2.5).
const LOGON_INFO: &str = "urn:mspac:logon-info";
/// The attribute that tells since when the ticket's data hold (MS-PAC section 2.7).
const CLIENT_INFO: &str = "urn:mspac:client-info";
/// What the groups of a ticket are called in records.
const PAC: &str = "pac";
/// For how long answers of the local group database are kept where nothing is said.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// The longest that they may be kept.
const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// One of the places that an entry's `groups` lists.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GroupsFrom {
    /// The SIDs in the ticket's privilege attribute certificate.
    Pac,
    /// The system's group database, by the local name that krb5.conf maps the principal to.
    Local,
    /// A groups file; a relative path is relative to the configuration file.
    File(PathBuf),
}

/// What a ticket says of its owner's groups.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketGroups {
    /// Nothing.
    Absent,
    /// The SIDs of all its groups, signed and complete.
    Known {
        /// The SIDs.
        sids: Vec<Box<str>>,
        /// When the user logged in at the key distribution centre, if the ticket tells.
        issued: Option<Timestamp>,
    },
    /// Something that cannot be relied on, and why.
    Unclear(Box<str>),
}

/// What is asked for the groups of clients, and how the ticket's own count.
#[derive(Debug, Clone, Default)]
pub struct GroupRules {
    ticket: TicketUse,
    sources: GroupSources,
    pool: Arc<LookupPool>,
}

/// How a ticket's own groups count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TicketUse {
    /// A ticket without them leaves the groups unknown: whoever asks for its ticket decides whether they are in it.
    #[default]
    Counts,
    /// Not at all.
    Ignored,
}

impl GroupRules {
    /// The rules for an entry's `groups`; without one the ticket's own count. Lookups share the pool
    /// of the entry before a reload: what hangs there does not hang again.
    pub(crate) fn build(
        listed: Option<&[GroupsFrom]>,
        lifetime: Option<Span>,
        previous: Option<&Self>,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let lifetime = lifetime.map_or(DEFAULT_LIFETIME, |Span(lifetime)| lifetime);
        if lifetime > MAX_LIFETIME {
            return Err(BuildError::new("`group-cache` keeps groups for more than an hour"));
        }
        let pool = previous.map(|previous| Arc::clone(&previous.pool)).unwrap_or_default();
        let mut rules = Self { pool, ..Self::default() };
        let Some(listed) = listed else { return Ok(rules) };
        rules.ticket = TicketUse::Ignored;
        for (position, from) in listed.iter().enumerate() {
            if listed.iter().take(position).any(|earlier| earlier == from) {
                return Err(BuildError::new(format!("`groups` lists {from} twice")));
            }
            let pool = Arc::clone(&rules.pool);
            match from {
                GroupsFrom::Pac => rules.ticket = TicketUse::Counts,
                GroupsFrom::Local => rules = rules.with(Arc::new(LocalGroups::new(pool, lifetime))),
                GroupsFrom::File(path) => {
                    rules = rules.with(Arc::new(GroupFile::build(context.path(path), pool, context)?));
                }
            }
        }
        Ok(rules)
    }

    /// One source more.
    pub(crate) fn with(mut self, source: Arc<dyn GroupSource>) -> Self {
        self.sources = self.sources.with(source);
        self
    }

    /// What the ticket answers; it goes into [`learn`](Self::learn).
    pub(crate) fn of_ticket(&self, ticket: &TicketGroups) -> Answers {
        ticket.answers(self.ticket)
    }

    /// The identity with the groups of all sources, or without any and with the reason.
    pub(crate) async fn learn(&self, identity: Identity, of_ticket: Answers) -> Identity {
        let answers = self.sources.ask(&identity, of_ticket).await;
        answers.apply(identity, Timestamp::now())
    }
}

impl TicketGroups {
    /// Takes the user's own SID and the groups out of a ticket whose owner has this name.
    pub(crate) fn read(client: &Attributes<'_>) -> (Option<Box<str>>, Self) {
        match logon_sids(client.values(LOGON_INFO)) {
            Ok(None) => (None, Self::Absent),
            Ok(Some(sids)) => (Some(sids.user), Self::Known { sids: sids.groups, issued: issued(client) }),
            Err(why) => (None, Self::Unclear(why)),
        }
    }

    /// What these groups mean for an identity.
    pub(crate) fn answers(&self, ticket: TicketUse) -> Answers {
        let mut answers = Answers::new();
        match (self, ticket) {
            (_, TicketUse::Ignored) => {}
            (Self::Absent, TicketUse::Counts) => {
                let text = "ticket has no groups: ask for one with a PAC, or set `groups` of the method without `pac`";
                answers.add(PAC, Err(GroupError::new(text)));
            }
            (Self::Unclear(why), _) => answers.add(PAC, Err(GroupError::new(why.clone()))),
            (Self::Known { sids, issued }, _) => {
                let read_at = issued.unwrap_or_else(Timestamp::now);
                answers.add(PAC, Ok(Groups::new(sids.iter().cloned(), read_at)));
            }
        }
        answers
    }
}

/// What the attribute with the groups holds, or why that cannot be relied on.
fn logon_sids(values: Result<Vec<AttributeValue>, Failure>) -> Result<Option<LogonSids>, Box<str>> {
    let values = values.map_err(|failure| format!("ticket's groups cannot be read: {}", failure.text))?;
    let Some(value) = values.first() else { return Ok(None) };
    if !value.authenticated || !value.complete {
        return Err("ticket's groups are not signed for this service: see to its key, or to the trust".into());
    }
    let sids = LogonSids::read(&value.octets);
    sids.map(Some).map_err(|_| "ticket's groups are damaged: see to the key distribution centre".into())
}

/// When the client logged in at the key distribution centre, if the ticket tells.
fn issued(client: &Attributes<'_>) -> Option<Timestamp> {
    let values = client.values(CLIENT_INFO).unwrap_or_default();
    let value = values.first().filter(|value| value.authenticated)?;
    pac::issued(&value.octets)
}

impl fmt::Display for GroupsFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pac => f.write_str("`pac`"),
            Self::Local => f.write_str("`local`"),
            Self::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a client's groups: their names, or the reason why there are none.
    fn outcome(ticket: &TicketGroups, how: TicketUse) -> Result<Vec<Box<str>>, Box<str>> {
        let alice = Identity::principal("alice@R".parse().unwrap());
        let alice = ticket.answers(how).apply(alice, Timestamp::from_second(100).unwrap());
        alice.groups_missing.map_or(Ok(alice.groups), Err)
    }

    #[test]
    fn a_ticket_counts_as_the_entry_says() {
        let issued = Timestamp::from_second(40).ok();
        let known = TicketGroups::Known { sids: vec!["S-1-5-9".into()], issued };
        let unclear = TicketGroups::Unclear("damaged".into());
        let sids = Ok(vec!["S-1-5-9".into()]);
        let table = [
            (&known, [sids, Ok(vec![])]),
            (
                &TicketGroups::Absent,
                [
                    Err("source `pac`: ticket has no groups: ask for one with a PAC, or set `groups` of the method without `pac`".into()),
                    Ok(vec![]),
                ],
            ),
            (&unclear, [Err("source `pac`: damaged".into()), Ok(vec![])]),
        ];
        for (ticket, expected) in table {
            let uses = [TicketUse::Counts, TicketUse::Ignored];
            assert_eq!(uses.map(|how| outcome(ticket, how)), expected, "{ticket:?}");
        }
    }

    #[test]
    fn only_groups_that_are_signed_whole_and_readable_count() {
        let value = |authenticated, complete, octets: &[u8]| {
            Ok(vec![AttributeValue { authenticated, complete, octets: octets.to_vec() }])
        };
        let sample = pac::tests::sample();
        let known = logon_sids(value(true, true, &sample)).unwrap().unwrap();
        assert_eq!(&*known.user, "S-1-5-21-1-2-3-1104");
        assert_eq!(logon_sids(Ok(vec![])), Ok(None));
        for (values, why) in [
            (value(false, true, &sample), "not signed"),
            (value(true, false, &sample), "not signed"),
            (value(true, true, &sample[1..]), "damaged"),
            (Err(Failure::ours("no memory")), "cannot be read: no memory"),
        ] {
            let unclear = logon_sids(values).unwrap_err();
            assert!(unclear.contains(why), "{unclear}");
        }
    }

    #[test]
    fn the_age_is_that_of_the_login_at_the_key_distribution_centre() {
        let known = TicketGroups::Known { sids: Vec::new(), issued: Timestamp::from_second(40).ok() };
        let alice = Identity::principal("alice@R".parse().unwrap());
        let alice = known.answers(TicketUse::Counts).apply(alice, Timestamp::from_second(100).unwrap());
        assert_eq!(alice.attributes.get("groups-age").map(|age| &**age), Some("60"));
        assert_eq!(alice.attributes.get("groups-source").map(|source| &**source), Some("pac"));
    }

    #[test]
    fn options_that_make_no_sense_are_told() {
        let context = BuildContext::new("gssapi", "/nowhere", None);
        let build = |listed: &[GroupsFrom], seconds| {
            let lifetime = Some(Span(Duration::from_secs(seconds)));
            GroupRules::build(Some(listed), lifetime, None, &context).map(drop).map_err(|it| it.to_string())
        };
        assert_eq!(build(&[GroupsFrom::Pac, GroupsFrom::Local], 0), Ok(()));
        assert_eq!(build(&[], 3600), Ok(()));
        let twice = [GroupsFrom::Local, GroupsFrom::Pac, GroupsFrom::Local];
        assert_eq!(build(&twice, 0), Err("`groups` lists `local` twice".into()));
        assert!(build(&[], 3601).unwrap_err().starts_with("`group-cache`"));
        let missing = build(&[GroupsFrom::File("groups.yaml".into())], 0).unwrap_err();
        assert!(missing.contains("cannot read `/nowhere/groups.yaml`"), "{missing}");
    }
}
