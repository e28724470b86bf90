//! The messages of DNS as far as a responder for fake addresses needs them (RFC 1035 section 4).

use std::net::IpAddr;

use bytes::BufMut;
use socks_core::wire::DomainName;

/// The octets of a message's head.
const HEAD: usize = 12;
/// The most octets of a label, and of a whole name on the wire (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 255;
/// A pointer to the name in the question, which stands right behind the head (RFC 1035 section 4.1.4).
const QUESTIONED: u16 = 0xC000 | 0x000C;
/// How long a program may keep an answer, in seconds; much shorter than an address keeps its name.
const TTL: u32 = 60;
const CLASS_IN: u16 = 1;

/// Types of records.
pub(super) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
}

/// Response codes (RFC 1035 section 4.1.1).
mod rcode {
    pub(super) const NO_ERROR: u16 = 0;
    pub(super) const FORMAT: u16 = 1;
    pub(super) const FAILURE: u16 = 2;
    pub(super) const NO_SUCH_NAME: u16 = 3;
    pub(super) const NOT_IMPLEMENTED: u16 = 4;
    pub(super) const REFUSED: u16 = 5;
}

/// A question, and what its answer has to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question<'a> {
    id: u16,
    /// The bit by which recursion is wanted, or nothing.
    wanted: u16,
    /// The question as it was asked.
    octets: &'a [u8],
    /// The name, as labels with dots between.
    pub(super) name: String,
    pub(super) kind: u16,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Address(IpAddr),
    Name(DomainName),
    /// The name is there, and has nothing of that kind.
    Nothing,
    NoSuchName,
    /// It cannot be answered now.
    Failure,
}

/// A message that is no question we answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mistake {
    /// Not to be answered: it is no message, or an answer itself.
    Silent,
    /// To be answered with these octets.
    Said(Vec<u8>),
}

impl<'a> Question<'a> {
    /// Reads a message that must have one question; what stands behind it (EDNS, mostly) is left alone.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Mistake> {
        let [id_high, id_low, flags_high, flags_low, rest @ ..] = message else {
            return Err(Mistake::Silent);
        };
        let id = u16::from_be_bytes([*id_high, *id_low]);
        let flags = u16::from_be_bytes([*flags_high, *flags_low]);
        if flags & flag::RESPONSE != 0 {
            return Err(Mistake::Silent);
        }
        let wanted = flags & flag::RECURSION_DESIRED;
        let refused = |code| Mistake::Said(head(id, wanted | code, [0, 0]));
        if flags & flag::OPCODE != 0 {
            return Err(refused(rcode::NOT_IMPLEMENTED));
        }
        let malformed = || refused(rcode::FORMAT);
        let ([0, 1, ..], Some(body)) = (rest, message.get(HEAD..)) else { return Err(malformed()) };
        let (name, behind) = name(body).ok_or_else(malformed)?;
        let [kind_high, kind_low, class_high, class_low, ..] = behind else { return Err(malformed()) };
        if u16::from_be_bytes([*class_high, *class_low]) != CLASS_IN {
            return Err(refused(rcode::REFUSED));
        }
        let octets = body.get(..body.len() - behind.len() + 4).ok_or_else(malformed)?;
        let kind = u16::from_be_bytes([*kind_high, *kind_low]);
        Ok(Self { id, wanted, octets, name, kind })
    }

    /// The message that answers it.
    pub(super) fn answered(&self, answer: &Answer) -> Vec<u8> {
        let (code, records) = match answer {
            Answer::Address(_) | Answer::Name(_) => (rcode::NO_ERROR, 1),
            Answer::Nothing => (rcode::NO_ERROR, 0),
            Answer::NoSuchName => (rcode::NO_SUCH_NAME, 0),
            Answer::Failure => (rcode::FAILURE, 0),
        };
        let mut message = head(self.id, self.wanted | code, [1, records]);
        message.put_slice(self.octets);
        match answer {
            Answer::Address(IpAddr::V4(ip)) => record(&mut message, kind::A, &ip.octets()),
            Answer::Address(IpAddr::V6(ip)) => record(&mut message, kind::AAAA, &ip.octets()),
            Answer::Name(name) => record(&mut message, kind::PTR, &labels(name)),
            _ => {}
        }
        message
    }
}

/// Bits of the head's second field.
mod flag {
    pub(super) const RESPONSE: u16 = 0x8000;
    pub(super) const OPCODE: u16 = 0x7800;
    pub(super) const RECURSION_DESIRED: u16 = 0x0100;
    pub(super) const RECURSION_AVAILABLE: u16 = 0x0080;
}

/// The head of an answer with so many questions and records.
fn head(id: u16, flags: u16, [questions, records]: [u16; 2]) -> Vec<u8> {
    let flags = flag::RESPONSE | flag::RECURSION_AVAILABLE | flags;
    [id, flags, questions, records, 0, 0].iter().flat_map(|field| field.to_be_bytes()).collect()
}

/// Reads a name without pointers, which a question has no use for, and gives what stands behind it.
fn name(mut octets: &[u8]) -> Option<(String, &[u8])> {
    let (whole, mut name) = (octets.len(), String::new());
    loop {
        let (&len, rest) = octets.split_first()?;
        if len == 0 {
            return Some((name, rest));
        }
        if usize::from(len) > MAX_LABEL {
            return None;
        }
        let (label, rest) = rest.split_at_checked(len.into())?;
        if whole - rest.len() >= MAX_NAME {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        // A dot inside a label becomes something that no host name has.
        name.push_str(&label.escape_ascii().to_string().replace('.', "\\."));
        octets = rest;
    }
}

/// Appends a record about the name in the question.
fn record(message: &mut Vec<u8>, kind: u16, content: &[u8]) {
    message.put_u16(QUESTIONED);
    message.put_u16(kind);
    message.put_u16(CLASS_IN);
    message.put_u32(TTL);
    message.put_u16(u16::try_from(content.len()).unwrap_or(u16::MAX));
    message.put_slice(content);
}

fn labels(name: &DomainName) -> Vec<u8> {
    let mut octets = Vec::with_capacity(MAX_NAME);
    for label in name.labels() {
        octets.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        octets.put_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03web\x07example\0\0\x01\0\x01";

    #[test]
    fn a_question_is_read_and_answered_with_itself_and_a_record() {
        let question = Question::read(QUERY).unwrap();
        assert_eq!((question.name.as_str(), question.kind), ("web.example", kind::A));
        let expected = [
            b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x03web\x07example\0\0\x01\0\x01".as_slice(),
            b"\xC0\x0C\0\x01\0\x01\0\0\0\x3C\0\x04\xC6\x12\0\x01",
        ];
        assert_eq!(question.answered(&Answer::Address([198, 18, 0, 1].into())), expected.concat());
    }

    #[test]
    fn answers_without_a_record_have_their_code() {
        let question = Question::read(QUERY).unwrap();
        for (answer, code) in [(Answer::Nothing, 0), (Answer::Failure, 2), (Answer::NoSuchName, 3)] {
            let message = question.answered(&answer);
            assert_eq!(message[..12], [0x12, 0x34, 0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]);
            assert_eq!(message[12..], QUERY[12..]);
        }
    }

    #[test]
    fn a_name_is_answered_as_labels() {
        let query = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x0C\0\x01";
        let answer = Answer::Name("web.example".parse().unwrap());
        let message = Question::read(query).unwrap().answered(&answer);
        assert!(message.ends_with(b"\0\x0C\0\x01\0\0\0\x3C\0\x0D\x03web\x07example\0"), "{message:02x?}");
    }

    #[test]
    fn what_stands_behind_the_question_is_left_alone() {
        let mut query = QUERY.to_vec();
        query[11] = 1;
        query.extend(b"\0\0\x29\x04\xD0\0\0\0\0\0\0");
        let question = Question::read(&query).unwrap();
        assert_eq!(question.answered(&Answer::Nothing).len(), QUERY.len());
    }

    #[test]
    fn what_is_no_question_is_refused_or_not_answered() {
        let said = |code: u8| {
            Err(Mistake::Said([b"\x12\x34\x81".as_slice(), &[0x80 | code, 0, 0, 0, 0, 0, 0, 0, 0]].concat()))
        };
        let with = |place: usize, octet| {
            let mut query = QUERY.to_vec();
            query[place] = octet;
            query
        };
        assert_eq!(Question::read(&with(2, 0x81)), Err(Mistake::Silent), "an answer");
        assert_eq!(Question::read(&with(2, 0x29)), said(4), "an update");
        assert_eq!(Question::read(&with(5, 2)), said(1), "two questions");
        assert_eq!(Question::read(&with(12, 0xC0)), said(1), "a pointer");
        assert_eq!(Question::read(&with(28, 3)), said(5), "another class");
        for cut in 4..QUERY.len() {
            assert_eq!(Question::read(&QUERY[..cut]), said(1), "cut at {cut}");
        }
        for cut in 0..4 {
            assert_eq!(Question::read(&QUERY[..cut]), Err(Mistake::Silent), "cut at {cut}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_malformed() {
        let label = [&[63][..], &[b'a'; 63]].concat();
        let query = |labels: usize| [&QUERY[..12], &label.repeat(labels), b"\0\0\x01\0\x01"].concat();
        assert!(Question::read(&query(3)).is_ok());
        assert!(matches!(Question::read(&query(4)), Err(Mistake::Said(_))));
    }
}
