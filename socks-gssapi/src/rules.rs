//! How contexts are accepted: from which keys, and which are refused although the library accepts them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cfx::{Enctype, KeyOrigin};
use crate::gss::{Failure, Mechanisms, flag};

/// How contexts are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The keytab file.
    pub keytab: PathBuf,
    /// Where requests are remembered that were seen.
    pub replay_cache: ReplayCache,
    /// The first components of the principals that clients may ask for; `None`: any whose key there is.
    pub services: Option<Vec<Box<str>>>,
    /// Who protects messages.
    pub engine: Engine,
    /// Whether SPNEGO may stand around Kerberos.
    pub spnego: Spnego,
    /// What to do with a context whose key is of a weak encryption type.
    pub weak_enctypes: WeakEnctypes,
}

impl Rules {
    /// Those that are right for most: the library's replay cache, any service, our engine, Kerberos only.
    pub fn new(keytab: impl Into<PathBuf>) -> Self {
        Self {
            keytab: keytab.into(),
            replay_cache: ReplayCache::Default,
            services: None,
            engine: Engine::Own,
            spnego: Spnego::Refuse,
            weak_enctypes: WeakEnctypes::Refuse,
        }
    }
}

/// Where requests are remembered that were seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ReplayCache {
    /// The place that krb5.conf and the environment name.
    #[default]
    Default,
    /// Nowhere: who repeats a recorded request fails only when it must seal its protection level.
    None,
    /// This file.
    File(PathBuf),
}

/// Who protects messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// [`cfx`](crate::cfx), and the library where that does not know the encryption type.
    #[default]
    Own,
    /// The library, always.
    Mit,
}

/// Whether SPNEGO (RFC 4178) may stand around Kerberos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spnego {
    /// Tokens are Kerberos' own.
    #[default]
    Refuse,
    /// Both are taken.
    Accept,
}

/// What to do with a context whose key is of a weak encryption type (DES, RC4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeakEnctypes {
    /// Refuse it.
    #[default]
    Refuse,
    /// Accept it; the library protects its messages.
    Accept,
}

/// Why a context is refused that the library has accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The client did not ask for mutual authentication.
    #[error("client does not ask for mutual authentication")]
    NotMutual,
    /// The context cannot protect messages.
    #[error("context has no message integrity")]
    NoIntegrity,
    /// The client has no name.
    #[error("client is anonymous")]
    Anonymous,
    /// Another mechanism than Kerberos has made the context.
    #[error("context is not of Kerberos")]
    NotKerberos,
    /// The key is of a weak type.
    #[error(
        "session key is of the weak encryption type {0}: give client and service AES keys, or set `allow-weak-enctypes`"
    )]
    Weak(u32),
    /// The key is not one that the acceptor has chosen freshly.
    #[error("session has no key of the acceptor, which a gateway without replay cache needs")]
    NoSubkey,
    /// The ticket is for another service than those allowed.
    #[error("ticket is for `{0}`, which is none of the services allowed")]
    Service(Box<str>),
    /// The client's name is no principal.
    #[error("client's name `{0}` is no principal")]
    Name(Box<str>),
}

/// What is known of a context when it is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) flags: u32,
    pub(crate) is_krb5: bool,
    pub(crate) enctype: u32,
    pub(crate) key_origin: KeyOrigin,
    /// The acceptor's principal.
    pub(crate) service: &'a str,
}

impl Rules {
    /// Judges a context that the library has accepted.
    pub(crate) fn judge(&self, candidate: Candidate<'_>) -> Result<(), Unfit> {
        if !candidate.is_krb5 {
            return Err(Unfit::NotKerberos);
        }
        for (flag, unfit) in [(flag::MUTUAL, Unfit::NotMutual), (flag::INTEGRITY, Unfit::NoIntegrity)] {
            if candidate.flags & flag == 0 {
                return Err(unfit);
            }
        }
        if candidate.flags & flag::ANONYMOUS != 0 {
            return Err(Unfit::Anonymous);
        }
        if is_weak(candidate.enctype) && self.weak_enctypes == WeakEnctypes::Refuse {
            return Err(Unfit::Weak(candidate.enctype));
        }
        // Without a replay cache, the fresh key alone keeps a recorded conversation from being repeated.
        if candidate.key_origin == KeyOrigin::Context
            && (self.replay_cache == ReplayCache::None || Enctype::from_number(candidate.enctype).is_some())
        {
            return Err(Unfit::NoSubkey);
        }
        self.judge_service(candidate.service)
    }

    fn judge_service(&self, principal: &str) -> Result<(), Unfit> {
        let Some(allowed) = &self.services else { return Ok(()) };
        let service = principal.split(['/', '@']).next().unwrap_or_default();
        let known = allowed.iter().any(|allowed| **allowed == *service);
        if known { Ok(()) } else { Err(Unfit::Service(principal.into())) }
    }

    pub(crate) fn mechanisms(&self) -> Mechanisms {
        match self.spnego {
            Spnego::Refuse => Mechanisms::Krb5,
            Spnego::Accept => Mechanisms::Krb5AndSpnego,
        }
    }

    /// The places of keys and replay cache, as the library wants them.
    pub(crate) fn store(&self) -> Result<Vec<(CString, CString)>, Failure> {
        let mut store = vec![entry("keytab", "FILE:", &self.keytab)?];
        match &self.replay_cache {
            ReplayCache::Default => {}
            ReplayCache::None => store.push(entry("rcache", "none:", Path::new(""))?),
            ReplayCache::File(path) => store.push(entry("rcache", "file2:", path)?),
        }
        Ok(store)
    }
}

/// An entry of a credential store.
pub(crate) fn entry(key: &str, kind: &str, path: &Path) -> Result<(CString, CString), Failure> {
    let value = [kind.as_bytes(), path.as_os_str().as_bytes()].concat();
    match (CString::new(key), CString::new(value)) {
        (Ok(key), Ok(value)) => Ok((key, value)),
        _ => Err(Failure::ours("path has a zero octet")),
    }
}

/// DES, triple DES and RC4.
fn is_weak(enctype: u32) -> bool {
    matches!(enctype, 1..=16 | 23 | 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Candidate<'static> = Candidate {
        flags: flag::MUTUAL | flag::INTEGRITY | flag::CONFIDENTIALITY,
        is_krb5: true,
        enctype: 18,
        key_origin: KeyOrigin::AcceptorSubkey,
        service: "socks/gw.example@R",
    };

    #[test]
    fn only_fit_contexts_pass() {
        let rules = Rules::new("k");
        let table = [
            (GOOD, Ok(())),
            (Candidate { enctype: 26, ..GOOD }, Ok(())),
            (Candidate { is_krb5: false, ..GOOD }, Err(Unfit::NotKerberos)),
            (Candidate { flags: flag::INTEGRITY, ..GOOD }, Err(Unfit::NotMutual)),
            (Candidate { flags: flag::MUTUAL, ..GOOD }, Err(Unfit::NoIntegrity)),
            (Candidate { flags: GOOD.flags | flag::ANONYMOUS, ..GOOD }, Err(Unfit::Anonymous)),
            (Candidate { enctype: 23, ..GOOD }, Err(Unfit::Weak(23))),
            (Candidate { enctype: 16, ..GOOD }, Err(Unfit::Weak(16))),
            (Candidate { key_origin: KeyOrigin::Context, ..GOOD }, Err(Unfit::NoSubkey)),
        ];
        for (candidate, expected) in table {
            assert_eq!(rules.judge(candidate), expected, "{candidate:?}");
        }
    }

    #[test]
    fn weak_keys_pass_where_they_are_allowed_and_replays_are_seen() {
        let rc4 = Candidate { enctype: 23, key_origin: KeyOrigin::Context, ..GOOD };
        let mut rules = Rules { weak_enctypes: WeakEnctypes::Accept, ..Rules::new("k") };
        assert_eq!(rules.judge(rc4), Ok(()));
        rules.replay_cache = ReplayCache::None;
        assert_eq!(rules.judge(rc4), Err(Unfit::NoSubkey));
    }

    #[test]
    fn only_listed_services_pass() {
        let rules = Rules { services: Some(vec!["socks".into(), "rcmd".into()]), ..Rules::new("k") };
        let table = [
            ("socks/a@R", true),
            ("rcmd/b@R", true),
            ("socks@R", true),
            ("host/a@R", false),
            ("socksx/a@R", false),
            ("@R", false),
        ];
        for (service, passes) in table {
            assert_eq!(rules.judge(Candidate { service, ..GOOD }).is_ok(), passes, "{service}");
        }
    }
}
