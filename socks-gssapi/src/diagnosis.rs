//! What a failure of the library means for whoever has to mend it: a sentence, a remedy, and whose fault it is.

use std::fmt;

use crate::gss::{FailedStep, Failure};

/// A failed call of the library, explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    cause: Cause,
    /// The library's own words, which name principals, key versions and files.
    detail: Box<str>,
    /// What the library would send to the peer; empty when it has nothing.
    token: Box<[u8]>,
    client_ahead: Option<i64>,
}

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client: its ticket, its clock or its octets.
    Client,
    /// The client or the operator: ticket and keytab do not fit. Any client can bring it about.
    Either,
    /// The operator: keytab, replay cache or configuration of this side.
    Operator,
}

macro_rules! causes {
    ($($name:ident $fault:ident $minors:tt $sentence:literal, $remedy:literal;)*) => {
        /// Why a context could not be established.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Cause {
            $(#[doc = concat!("The ", $sentence, ".")] $name,)*
            /// Something else; the detail is all there is.
            Other,
        }

        impl Cause {
            /// All that have a minor code.
            const TABLE: &[(Self, &[i32])] = &[$((Self::$name, &$minors),)*];

            /// Its name in kebab-case, for metrics: `clock-skew`.
            pub fn word(self) -> String {
                let mut word = String::new();
                for letter in format!("{self:?}").chars() {
                    if letter.is_ascii_uppercase() && !word.is_empty() {
                        word.push('-');
                    }
                    word.push(letter.to_ascii_lowercase());
                }
                word
            }

            /// What has happened.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                    Self::Other => "context could not be established",
                }
            }

            /// What to do about it; empty when nothing is known.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$name => $remedy,)*
                    Self::Other => "",
                }
            }

            /// Who can mend it.
            pub fn fault(self) -> Fault {
                match self {
                    $(Self::$name => Fault::$fault,)*
                    Self::Other => Fault::Client,
                }
            }
        }
    };
}

// The minor codes are those of RFC 4120 section 7.5.9 and of MIT's own tables: `krb5.h`, and for the codes
// near 39756032 the table of its GSSAPI mechanism, which has no header. Small ones are the system's.
causes! {
    ClockSkew Client [krb(37), krb(148)]
        "clocks of client and gateway differ by more than is allowed",
        "synchronise both with the key distribution centre, by NTP for example; `clockskew` in krb5.conf says how much is allowed";
    Replay Client [krb(34), krb(163)]
        "login was used before",
        "somebody has recorded and repeated it, or the client program sends one login twice: look in the record for the same client principal shortly before, and from which address; an honest user only has to connect again";
    Expired Client [krb(32)]
        "ticket has expired",
        "renew it with `kinit -R` or get a new one with `kinit`";
    NotYetValid Client [krb(33)]
        "ticket is not valid yet",
        "it is postdated, or the clock of the key distribution centre is ahead: compare the clocks";
    WrongService Either [krb(35), mechanism(1)]
        "ticket is for a service whose key is not in the keytab",
        "add the service's principal to the keytab, or let the client ask for one that is in it";
    KeyVersion Either [krb(44), krb(230)]
        "ticket was made with another version of the service's key than the keytab has",
        "export the keytab anew and keep the old version in it until old tickets have expired";
    NoKey Either [krb(45)]
        "keytab has no key that could open the ticket",
        "export the keytab anew, with the encryption type and the key version of the ticket; clients drop old tickets with `kdestroy`";
    WrongKey Either [krb(31)]
        "ticket does not open with the key in the keytab, or its encryption type is not permitted",
        "export the keytab anew if the service's key was changed; else see `permitted_enctypes` in krb5.conf";
    Enctype Either [krb(14), krb(150), krb(237), krb(188)]
        "encryption type is not supported or not permitted",
        "give the service a key of type aes256-cts-hmac-sha1-96 or newer, and see `permitted_enctypes` in krb5.conf";
    KeytabMissing Operator [2, krb(181), krb(182)]
        "keytab is missing or empty",
        "see the path in the configuration, that the file is there, and with `klist -k` that it holds keys";
    KeytabUnreadable Operator [13, krb(184), krb(235), krb(179), krb(180)]
        "keytab cannot be read",
        "make it readable for the gateway's user and for nobody else, and see with `klist -k` that it is whole";
    ReplayCache Operator [
        krb(159), krb(160), krb(161), krb(162), krb(164), krb(165), krb(166), krb(167), krb(168), krb(169),
        krb(170), krb(171), krb(172), krb(215), 28
    ]
        "replay cache cannot be written",
        "see its place in the configuration, its owner and the space on its file system; remove it if it is spoiled";
    NoTicket Client [krb(141), krb(143), krb(142), krb(195), mechanism(0), mechanism(2), mechanism(12)]
        "there is no ticket",
        "run `kinit`";
    UnknownService Client [krb(7)]
        "key distribution centre does not know the service",
        "see the host name that is asked for: the service's principal must be registered under exactly that name";
    UnknownRealm Client [krb(68), krb(154), krb(185), krb(220)]
        "realm is unknown or its key distribution centre cannot be found",
        "see `[realms]` and `[domain_realm]` in krb5.conf, and the domain name system";
    Unreachable Client [krb(156)]
        "no key distribution centre answers",
        "see the network between here and there, and `[realms]` in krb5.conf";
    Changed Client [krb(41)]
        "message was changed on its way or made with another key",
        "ask the user to try again; if it stays, compare the key versions of keytab and key distribution centre";
    NoDefaultRealm Operator [krb(224)]
        "no default realm is configured",
        "set `default_realm` in krb5.conf";
    OtherMechanism Client []
        "token is not of Kerberos",
        "a client that sends SPNEGO needs `spnego: true`; one that sends NTLM has no ticket for this gateway";
    Garbled Client []
        "token is malformed",
        "the client speaks no RFC 1961, or something between has changed its octets";
}

/// A code of Kerberos' table, which begins at this number (RFC 4120's error codes come first).
const fn krb(code: i32) -> i32 {
    -1_765_328_384 + code
}

/// A code of the table of MIT's GSSAPI mechanism.
const fn mechanism(code: i32) -> i32 {
    39_756_032 + code
}

/// Routine errors of RFC 2744 section 3.9.1, which say more than a minor code that is none of Kerberos'.
const BAD_MECHANISM: u32 = 1;
const NO_CREDENTIAL: u32 = 7;
const DEFECTIVE_TOKEN: u32 = 9;

impl Diagnosis {
    pub(crate) fn of(failure: Failure) -> Self {
        let known = Cause::TABLE.iter().find(|(_, minors)| minors.contains(&failure.minor));
        let cause = match (known, failure.major >> 16 & 0xFF) {
            (Some((cause, _)), _) => *cause,
            (None, BAD_MECHANISM | NO_CREDENTIAL) => Cause::OtherMechanism,
            (None, DEFECTIVE_TOKEN) => Cause::Garbled,
            _ => Cause::Other,
        };
        Self { cause, detail: failure.text.into(), token: Box::default(), client_ahead: None }
    }

    pub(crate) fn of_step(failed: FailedStep) -> Self {
        Self { token: failed.token.into(), ..Self::of(failed.failure) }
    }

    /// The same failure with a cause that is known better.
    pub(crate) fn because(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// The same failure with a difference of clocks that was measured.
    pub(crate) fn with_client_ahead(self, client_ahead: Option<i64>) -> Self {
        Self { client_ahead, ..self }
    }

    /// How many seconds the client's clock is ahead of ours, or behind if it is negative, where that was the
    /// trouble and could be measured.
    pub fn client_ahead(&self) -> Option<i64> {
        self.client_ahead
    }

    /// Why.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The library's own words, which name principals, key versions and files.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What the library would tell the peer: a KRB-ERROR with its clock, or nothing. RFC 1961 section 3.8 sends
    /// an abort message instead.
    pub fn error_token(&self) -> &[u8] {
        &self.token
    }

    /// What to do about it; empty when nothing is known.
    pub fn remedy(&self) -> &'static str {
        self.cause.remedy()
    }
}

impl fmt::Display for Diagnosis {
    /// The sentence with the library's own words; the remedy is apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.sentence())?;
        match self.client_ahead {
            Some(ahead @ 0..) => write!(f, ", the client's is {ahead} seconds ahead")?,
            Some(behind) => write!(f, ", the client's is {} seconds behind", behind.unsigned_abs())?,
            None => {}
        }
        if self.detail.is_empty() {
            return Ok(());
        }
        // A principal in the library's words may be the client's invention.
        let shown = |c: char| if c.is_control() { '\u{FFFD}' } else { c };
        write!(f, " ({})", self.detail.chars().map(shown).collect::<String>())
    }
}

impl std::error::Error for Diagnosis {}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosed(major: u32, minor: i32) -> Cause {
        Diagnosis::of(Failure { major: major << 16, minor, text: String::new() }).cause()
    }

    #[test]
    fn metrics_call_causes_by_words() {
        assert_eq!(Cause::ClockSkew.word(), "clock-skew");
        assert_eq!(Cause::Replay.word(), "replay");
    }

    #[test]
    fn codes_that_an_operator_meets_have_a_name() {
        let table = [
            (-1_765_328_347, Cause::ClockSkew),
            (-1_765_328_350, Cause::Replay),
            (-1_765_328_352, Cause::Expired),
            (-1_765_328_351, Cause::NotYetValid),
            (-1_765_328_349, Cause::WrongService),
            (-1_765_328_340, Cause::KeyVersion),
            (-1_765_328_339, Cause::NoKey),
            (-1_765_328_353, Cause::WrongKey),
            (-1_765_328_203, Cause::KeytabMissing),
            (-1_765_328_189, Cause::NoTicket),
            (-1_765_328_228, Cause::Unreachable),
            (-1_765_328_377, Cause::UnknownService),
        ];
        for (minor, cause) in table {
            assert_eq!(diagnosed(13, minor), cause, "{minor}");
        }
        assert_eq!(diagnosed(1, 0), Cause::OtherMechanism);
        assert_eq!(diagnosed(9, 0), Cause::Garbled);
        assert_eq!(diagnosed(13, 0), Cause::Other);
    }

    #[test]
    fn no_code_has_two_meanings() {
        let mut codes: Vec<i32> =
            Cause::TABLE.iter().flat_map(|(_, minors)| minors.iter().copied()).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn every_sentence_reads_like_a_message() {
        for (cause, _) in Cause::TABLE {
            for text in [cause.sentence(), cause.remedy()] {
                assert!(text.starts_with(char::is_lowercase) && !text.ends_with('.'), "{text}");
            }
        }
    }
}
