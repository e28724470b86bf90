//! What tickets have told, kept for a minute: a client uses one ticket for many sessions, and each question about it
//! has the library read its settings anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::der::{Der, SEQUENCE, application, field};
use crate::groups::TicketGroups;
use crate::gss::oid::KRB5;
use crate::ticket::{Answered, Ticket};

/// For how long an answer counts: who changes krb5.conf waits no longer than this.
const LIFETIME: Duration = Duration::from_secs(60);
/// The most tickets that are kept.
const MOST: usize = 1024;
/// The most octets of groups of a ticket that is kept.
const MOST_OCTETS: usize = 32 * 1024;
/// The tag of an object identifier.
const OID: u8 = 0x06;
/// The token identifier of a request, behind the mechanism (RFC 4121 section 4.1).
const REQUEST: [u8; 2] = [0x01, 0x00];

/// Tickets that were accepted, and what the library has said of them.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    known: HashMap<TicketId, Known>,
}

#[derive(Debug)]
struct Known {
    ticket: Arc<Ticket>,
    until: Instant,
}

/// A ticket among all others: the digest of its octets, as they come in each request.
///
/// Most of a ticket is encrypted with the service's key (RFC 4120 section 5.3), so that whoever has changed an octet of it has
/// no ticket any more. It tells who somebody is only of a request that the library has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TicketId([u8; 32]);

impl Tickets {
    /// What a ticket tells at a time, from `ask` where it is not known. What that could not tell wholly is asked again
    /// the next time, and so is what has no identifier.
    pub(crate) fn told<E>(
        &mut self,
        id: Option<TicketId>,
        now: Instant,
        ask: impl FnOnce() -> Result<(Ticket, Answered), E>,
    ) -> Result<Arc<Ticket>, E> {
        let known = id.as_ref().and_then(|id| self.known.get(id)).filter(|known| now < known.until);
        if let Some(known) = known {
            return Ok(Arc::clone(&known.ticket));
        }
        let (ticket, answered) = ask()?;
        let ticket = Arc::new(ticket);
        if let Some(id) = id
            && answered == Answered::Wholly
            && size(&ticket.groups) <= MOST_OCTETS
        {
            self.make_room(now);
            self.known.insert(id, Known { ticket: Arc::clone(&ticket), until: now + LIFETIME });
        }
        Ok(ticket)
    }

    /// Forgets what is over, and everything if nothing is.
    fn make_room(&mut self, now: Instant) {
        if self.known.len() >= MOST {
            self.known.retain(|_, known| now < known.until);
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
    }
}

impl TicketId {
    /// That of the ticket in a context's first token (RFC 4121 section 4.1, RFC 4120 section 5.5.1).
    ///
    /// `None` for every token that is not spelt to the letter as DER demands: two readers could take different parts of
    /// it for the ticket.
    pub(crate) fn of(token: &[u8]) -> Option<Self> {
        let mechanism = u8::try_from(KRB5.len()).ok()?;
        let inner = Der(token).only(application(0))?.0;
        let request = inner.strip_prefix(&[OID, mechanism])?.strip_prefix(KRB5)?.strip_prefix(&REQUEST)?;
        let fields = Der(request).only(application(14))?.only(SEQUENCE)?;
        let [_version, _kind, _options, ticket, _authenticator] =
            fields.exactly([field(0), field(1), field(2), field(3), field(4)])?;
        ticket.only(application(1))?;
        Some(Self(Sha256::digest(ticket.0).into()))
    }
}

/// Octets of the groups that a ticket tells.
fn size(groups: &TicketGroups) -> usize {
    match groups {
        TicketGroups::Known { sids, .. } => sids.iter().map(|sid| sid.len()).sum(),
        TicketGroups::Absent | TicketGroups::Unclear(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn ticket(client: &str) -> Ticket {
        Ticket {
            client: client.parse().unwrap(),
            local_name: None,
            service: "socks/gw@R".into(),
            indicators: Vec::new(),
            sid: None,
            groups: TicketGroups::Absent,
        }
    }

    fn id(number: usize) -> Option<TicketId> {
        Some(TicketId(Sha256::digest(number.to_be_bytes()).into()))
    }

    /// Tells whether it had to be asked.
    fn asked(tickets: &mut Tickets, id: Option<TicketId>, now: Instant, answered: Answered) -> bool {
        let mut asked = false;
        let told = tickets.told::<Infallible>(id, now, || {
            asked = true;
            Ok((ticket("alice@R"), answered))
        });
        assert_eq!(*told.unwrap(), ticket("alice@R"));
        asked
    }

    /// An element with what is inside.
    fn element(tag: u8, inside: &[u8]) -> Vec<u8> {
        let len = u8::try_from(inside.len()).unwrap();
        let head = if len < 0x80 { vec![tag, len] } else { vec![tag, 0x81, len] };
        [head, inside.to_vec()].concat()
    }

    /// A request with that for a ticket, and that behind its fields.
    fn request(ticket: &[u8], behind: &[u8]) -> Vec<u8> {
        let fields: Vec<_> = [&[2, 1, 5][..], &[2, 1, 14], &[3, 5, 0, 0, 0, 0, 0], ticket, &[0x30, 1, 9]]
            .iter()
            .zip(0..)
            .flat_map(|(inside, number)| element(field(number), inside))
            .collect();
        let sequence = element(SEQUENCE, &[&fields, behind].concat());
        let inner = [&[OID, 9][..], KRB5, &REQUEST, &element(application(14), &sequence)].concat();
        element(application(0), &inner)
    }

    #[test]
    fn a_ticket_is_asked_about_once_a_minute() {
        let (mut tickets, start) = (Tickets::default(), Instant::now());
        for (number, seconds, expected) in [(1, 0, true), (1, 59, false), (2, 59, true), (1, 60, true)] {
            let now = start + Duration::from_secs(seconds);
            let asked = asked(&mut tickets, id(number), now, Answered::Wholly);
            assert_eq!(asked, expected, "{number} after {seconds} s");
        }
    }

    #[test]
    fn what_is_not_wholly_known_or_has_no_identifier_is_asked_again() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        for _ in 0..2 {
            assert!(asked(&mut tickets, id(1), now, Answered::InPart));
            assert!(asked(&mut tickets, None, now, Answered::Wholly));
        }
        assert_eq!(tickets.told(id(2), now, || Err("failed")), Err("failed"));
        assert!(tickets.known.is_empty());
    }

    #[test]
    fn a_ticket_with_very_many_groups_is_not_kept() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        let sids = vec!["S-1-5-21-1-2-3-1104".into(); 4096];
        let large = Ticket { groups: TicketGroups::Known { sids, issued: None }, ..ticket("alice@R") };
        tickets.told::<Infallible>(id(1), now, || Ok((large, Answered::Wholly))).unwrap();
        assert!(tickets.known.is_empty());
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        for number in 0..3 * MOST {
            assert!(asked(&mut tickets, id(number), now, Answered::Wholly));
            assert!(tickets.known.len() <= MOST);
        }
    }

    #[test]
    fn only_the_ticket_itself_is_in_its_identifier() {
        let ticket = element(application(1), &[7; 200]);
        let known = TicketId::of(&request(&ticket, &[])).unwrap();
        assert_eq!(known.0[..], Sha256::digest(&ticket)[..]);
        let other = element(application(1), &[8; 200]);
        assert_ne!(TicketId::of(&request(&other, &[])), Some(known));
    }

    #[test]
    fn a_token_that_can_be_read_in_two_ways_has_no_identifier() {
        let ticket = element(application(1), &[7; 20]);
        let good = request(&ticket, &[]);
        assert!(TicketId::of(&good).is_some());
        let twice = [&ticket[..], &ticket].concat();
        let table = [
            ("octets behind", [&good[..], &[0]].concat()),
            ("cut", good[..good.len() - 1].to_vec()),
            ("a second ticket in the field", request(&twice, &[])),
            ("a second field of the ticket", request(&ticket, &element(field(3), &ticket))),
            ("another tag", request(&element(application(2), &[7; 20]), &[])),
            ("a long spelling of a length", request(&[&[0x61, 0x81, 20][..], &[7; 20]].concat(), &[])),
            ("nothing", Vec::new()),
        ];
        for (what, token) in table {
            assert_eq!(TicketId::of(&token), None, "{what}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(TicketId::of(&octets), None);
        }
    }
}
