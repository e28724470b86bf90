//! Lines of an audit file, as far as a policy wants to know them.

use std::fmt;
use std::io::{self, BufRead, Read as _};
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use socks_core::wire::Target;
use socks_core::{Identity, Level, Principal};

use crate::audit::VERSION;
use crate::judgement::{Answer, Said};

use super::request::{Request, Wish};

/// What a record says; `docs/audit.md` describes each field. What else it has is passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Line {
    pub(super) session: String,
    pub(super) started: Timestamp,
    listener: String,
    pub(super) client: SocketAddr,
    method: Option<String>,
    pub(super) identity: Option<String>,
    #[serde(default)]
    groups: Vec<Box<str>>,
    groups_missing: Option<Box<str>>,
    #[serde(default)]
    groups_unknown: bool,
    protection: Option<String>,
    pub(super) command: Option<String>,
    pub(super) target: Option<String>,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    judged: Option<IpAddr>,
    upstream: Option<String>,
    dialled: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    rule: Option<String>,
    cause: String,
    special_use: Option<String>,
}

/// What tells whether a line is a record that can be judged.
#[derive(Debug, Deserialize)]
struct Head {
    v: u64,
    event: String,
}

/// A record with what was decided then.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) line: Line,
    pub(super) then: Said,
}

/// Why a line was not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Skipped {
    /// It is no session's end.
    OtherEvent,
    /// The session ended before it had asked for anything that a policy could judge.
    NoRequest,
    /// It ended before the policy had decided, for another reason.
    NotDecided,
    /// It is no record: torn, empty, or something else.
    NoRecord,
    /// It has a shape that this program does not know.
    NewerVersion,
    /// It lacks a field, or one cannot be read.
    Incomplete,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherEvent => "other events",
            Self::NoRequest => "sessions that ended without a request",
            Self::NotDecided => "requests that failed before the policy had decided",
            Self::NoRecord => "lines that are no record (torn, or of something else)",
            Self::NewerVersion => "records of a newer version",
            Self::Incomplete => "records that lack a field, or have one that cannot be read",
        })
    }
}

/// Reads the next line into `octets`, without its end; what is longer than `most` is cut, and no record then. Gives
/// how long it was, with its end.
pub(super) fn next(input: &mut impl BufRead, octets: &mut Vec<u8>, most: u64) -> io::Result<Option<u64>> {
    octets.clear();
    let mut length = 0;
    loop {
        // What is beyond the bound is read and thrown away.
        let mut rest = Vec::new();
        let into = if length == 0 { &mut *octets } else { &mut rest };
        let read = input.by_ref().take(most).read_until(b'\n', into)?;
        length += u64::try_from(read).unwrap_or(u64::MAX);
        let is_whole = into.pop_if(|last| *last == b'\n').is_some();
        if read == 0 || is_whole {
            break;
        }
    }
    Ok((length > 0).then_some(length))
}

impl Line {
    /// Reads a line that has a decision in it.
    ///
    /// # Errors
    /// Why it cannot be judged.
    pub(super) fn read(octets: &[u8]) -> Result<Read, Skipped> {
        let head: Head = serde_json::from_slice(octets).map_err(|_| Skipped::NoRecord)?;
        if head.v > u64::from(VERSION) {
            return Err(Skipped::NewerVersion);
        }
        if head.event != "session" {
            return Err(Skipped::OtherEvent);
        }
        let line: Self = serde_json::from_slice(octets).map_err(|_| Skipped::Incomplete)?;
        if line.identity.is_none() || line.command.is_none() {
            return Err(Skipped::NoRequest);
        }
        let then = line.then().ok_or(Skipped::NotDecided)?;
        Ok(Read { line, then })
    }

    /// What the policy said then; `None`: it did not come to that, or only for the time.
    fn then(&self) -> Option<Said> {
        let rule = self.rule.as_deref().map(Into::into);
        let reason = match self.cause.as_str() {
            "denied" => "rule",
            "denied-by-default" => "no-match",
            "special-use" => "special-use",
            "identity-expired" => return None,
            // Whatever came later, a rule had permitted it.
            _ => return rule.map(|rule| Said { answer: Answer::Permit, rule: Some(rule), reason: None }),
        };
        Some(Said { rule, ..Said::no(reason) })
    }

    /// The facts that the record has.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn request(&self) -> Result<Request, Skipped> {
        let target = self.target.as_deref().map(str::parse::<Target>).transpose();
        let target = target.map_err(|_| Skipped::Incomplete)?;
        let wish = match (self.command.as_deref(), target) {
            (Some("connect"), Some(target)) => Wish::Connect(target),
            (Some("bind"), Some(target)) => Wish::Bind { target, peer: self.peer },
            (Some("udp-associate"), _) => Wish::Associate,
            _ => return Err(Skipped::Incomplete),
        };
        // An upstream's own address says nothing of the target's.
        let dialled = self.dialled.filter(|_| self.upstream.is_none()).map(|address| address.ip());
        let own = self.special_use.as_deref() == Some("own-socket");
        Ok(Request {
            listener: self.listener.clone(),
            client: self.client,
            identity: self.identity().ok_or(Skipped::Incomplete)?,
            judged: self.judged.or(dialled),
            addresses: self.addresses.clone(),
            wish,
            at: self.started,
            is_own: own,
        })
    }

    /// The identity as its authenticator gave it; its proof counts as good.
    fn identity(&self) -> Option<Identity> {
        let (text, method) = (self.identity.as_deref()?, self.method.as_deref()?);
        let user = text.strip_prefix(method).and_then(|rest| rest.strip_prefix(':'));
        let mut identity = match user {
            Some(user) => Identity::user(unescaped(user)?),
            None if text == "anonymous" => Identity::anonymous(),
            None => Identity::principal(text.parse::<Principal>().ok()?),
        };
        identity.method = method.into();
        identity.groups.clone_from(&self.groups);
        let level = self.protection.as_deref()?;
        identity.level = Level::ALL.into_iter().find(|own| own.as_str() == level)?;
        Some(match &self.groups_missing {
            Some(why) => identity.without_groups(why.clone()),
            None if self.groups_unknown => identity.without_groups("they could not be learned then"),
            None => identity,
        })
    }
}

/// The name of which this is what [`char::escape_debug`] makes of its characters.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                'u' => {
                    let code = characters.as_str().strip_prefix('{')?;
                    let (code, rest) = code.split_once('}')?;
                    characters = rest.chars();
                    char::from_u32(u32::from_str_radix(code, 16).ok()?)?
                }
                other => other,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_being_recorded() {
        for name in
            ["bob", "o'brien", "a\\b", "tab\there", "\u{1b}[2J", "zoë", "a\"b\0c", "\\u{41}", "e\u{301}"]
        {
            let shown = Identity::user(name).by("password".into()).to_string();
            assert_eq!(unescaped(shown.strip_prefix("password:").unwrap()).as_deref(), Some(name), "{shown}");
        }
        for odd in ["\\", "\\u{", "\\u{110000}", "\\u41"] {
            assert_eq!(unescaped(odd), None, "{odd}");
        }
    }

    #[test]
    fn lines_are_read_one_by_one_and_one_that_is_too_long_takes_no_room() {
        let text = format!("first\n\n{}\nlast", "x".repeat(100));
        let (mut input, mut octets, mut seen) = (text.as_bytes(), Vec::new(), Vec::new());
        while let Some(length) = next(&mut input, &mut octets, 16).unwrap() {
            assert!(octets.len() <= 16);
            seen.push((String::from_utf8(octets.clone()).unwrap(), length));
        }
        assert_eq!(
            seen,
            [("first".into(), 6), (String::new(), 1), ("x".repeat(16), 101), ("last".into(), 4)]
        );
    }

    #[test]
    fn whatever_is_no_decision_is_told_apart() {
        let session = |keys: &str| {
            format!(
                r#"{{"v":1,"event":"session","session":"1-1","started":"2026-03-02T08:00:00Z","listener":"a","client":"10.0.0.1:1",{keys}}}"#
            )
        };
        let asked = r#""method":"none","identity":"anonymous","protection":"none","command":"connect","target":"a.example:1""#;
        let table = [
            (String::new(), Some(Skipped::NoRecord)),
            (r#"{"v":1,"event":"sess"#.into(), Some(Skipped::NoRecord)),
            ("[]".into(), Some(Skipped::NoRecord)),
            (r#"{"v":2,"event":"session"}"#.into(), Some(Skipped::NewerVersion)),
            (r#"{"v":1,"event":"refusals"}"#.into(), Some(Skipped::OtherEvent)),
            (r#"{"v":1,"event":"session"}"#.into(), Some(Skipped::Incomplete)),
            (session(r#""cause":"malformed-greeting""#), Some(Skipped::NoRequest)),
            (session(&format!(r#"{asked},"cause":"name-not-found""#)), Some(Skipped::NotDecided)),
            (session(&format!(r#"{asked},"cause":"identity-expired""#)), Some(Skipped::NotDecided)),
            (session(&format!(r#"{asked},"cause":"denied-by-default""#)), None),
            (session(&format!(r#"{asked},"cause":"closed","rule":"web""#)), None),
        ];
        for (text, why) in table {
            assert_eq!(Line::read(text.as_bytes()).err(), why, "{text}");
        }
    }

    #[test]
    fn a_record_tells_who_it_was_with_groups_and_protection() {
        let text = r#"{"v":1,"event":"session","session":"1-1","started":"2026-03-02T08:00:00Z","listener":"a","client":"10.0.0.1:1","method":"gssapi","identity":"alice@CORP.EXAMPLE","groups":["staff"],"protection":"integrity","command":"connect","target":"a.example:1","cause":"closed","rule":"web"}"#;
        let request = Line::read(text.as_bytes()).unwrap().line.request().unwrap();
        assert_eq!(request.identity.to_string(), "alice@CORP.EXAMPLE");
        assert_eq!((&*request.identity.method, request.identity.level), ("gssapi", Level::Integrity));
        assert_eq!(request.identity.groups, ["staff".into()]);
        let unknown = text.replace(r#""groups":["staff"]"#, r#""groups-unknown":true"#);
        let request = Line::read(unknown.as_bytes()).unwrap().line.request().unwrap();
        assert!(request.identity.groups_missing.is_some());
        let odd = text.replace("alice@CORP.EXAMPLE", "alice");
        assert_eq!(Line::read(odd.as_bytes()).unwrap().line.request().err(), Some(Skipped::Incomplete));
    }
}
