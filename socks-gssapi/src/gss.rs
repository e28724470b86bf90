//! The values that calls of MIT's library take and give.

use libgssapi_sys as gss;
use zeroize::Zeroizing;

use crate::sys::{Name, status_text};

/// Object identifiers, as DER has them without tag and length.
pub(crate) mod oid {
    pub(crate) type Oid = &'static [u8];

    /// 1.2.840.113554.1.2.2, Kerberos 5 (RFC 4121).
    pub(crate) const KRB5: Oid = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
    /// 1.3.6.1.5.5.2, SPNEGO (RFC 4178).
    pub(crate) const SPNEGO: Oid = b"\x2b\x06\x01\x05\x05\x02";
    /// 1.2.840.113554.1.2.1.4, `service@host` (RFC 2743 section 4.1).
    pub(crate) const HOST_BASED: Oid = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04";
    /// 1.2.840.113554.1.2.2.1, a principal as Kerberos prints it (RFC 1964 section 2.1.1).
    pub(crate) const PRINCIPAL: Oid = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01";
    /// 1.2.752.43.13.29: leaves out the flags that MIT's initiator sets unasked.
    pub(crate) const NO_CI_FLAGS: Oid = b"\x2a\x85\x70\x2b\x0d\x1d";
    /// 1.2.840.113554.1.2.2.5.6.1: MIT's export of a context's keys, which leaves the context alive.
    pub(crate) const LUCID_KEYS: Oid = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x06\x01";
}

/// Flags of a context (RFC 2744 section 5.19).
pub(crate) mod flag {
    use super::gss;

    pub(crate) const MUTUAL: u32 = gss::GSS_C_MUTUAL_FLAG;
    pub(crate) const REPLAY: u32 = gss::GSS_C_REPLAY_FLAG;
    pub(crate) const SEQUENCE: u32 = gss::GSS_C_SEQUENCE_FLAG;
    pub(crate) const CONFIDENTIALITY: u32 = gss::GSS_C_CONF_FLAG;
    pub(crate) const INTEGRITY: u32 = gss::GSS_C_INTEG_FLAG;
    pub(crate) const DCE_STYLE: u32 = gss::GSS_C_DCE_STYLE;
    pub(crate) const ANONYMOUS: u32 = gss::GSS_C_ANON_FLAG;
}

/// Mechanisms that a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanisms {
    Krb5,
    Krb5AndSpnego,
}

impl Mechanisms {
    pub(crate) fn oids(self) -> &'static [oid::Oid] {
        match self {
            Self::Krb5 => &[oid::KRB5],
            Self::Krb5AndSpnego => &[oid::KRB5, oid::SPNEGO],
        }
    }
}

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    Initiate,
    Accept,
}

impl Usage {
    /// RFC 2744 appendix A.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Initiate => gss::GSS_C_INITIATE,
            Self::Accept => gss::GSS_C_ACCEPT,
        }
    }
}

/// How the text of a name is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// `service@host`.
    HostBased,
    /// `service/host@REALM`.
    Principal,
}

impl NameKind {
    pub(crate) fn oid(self) -> oid::Oid {
        match self {
            Self::HostBased => oid::HOST_BASED,
            Self::Principal => oid::PRINCIPAL,
        }
    }
}

/// A call that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) major: u32,
    pub(crate) minor: i32,
    /// What the library says, and nobody but it knows which keytab or principal was meant.
    pub(crate) text: String,
}

impl Failure {
    /// A failed call of the library's, asked about on the thread that made it.
    pub(crate) fn of(major: u32, minor: u32) -> Self {
        let text = match minor {
            0 => status_text(major, gss::GSS_C_GSS_CODE, None),
            _ => status_text(minor, gss::GSS_C_MECH_CODE, Some(oid::KRB5)),
        };
        Self { major, minor: minor.cast_signed(), text }
    }

    /// A failure of ours, not the library's.
    pub(crate) fn ours(text: &str) -> Self {
        Self { major: 0, minor: 0, text: text.to_owned() }
    }

    /// Tells whether what was asked for is just not there.
    pub(crate) fn is_unavailable(&self) -> bool {
        // RFC 2744 section 3.9.1: routine errors are the lower octet of the upper half.
        self.major & 0x00FF_0000 == gss::_GSS_S_UNAVAILABLE
    }
}

/// One value of a name's attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttributeValue {
    /// Whether the key distribution centre vouches for it.
    pub(crate) authenticated: bool,
    /// Whether this is all of it.
    pub(crate) complete: bool,
    pub(crate) octets: Vec<u8>,
}

/// What one step of the establishment gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The peer must send another token.
    Continue,
    Complete,
}

impl Progress {
    /// What the supplementary bits of a call say (RFC 2744 section 3.9.1).
    pub(crate) fn of(bits: u32) -> Self {
        if bits & gss::GSS_S_CONTINUE_NEEDED == 0 { Self::Complete } else { Self::Continue }
    }
}

/// A step that failed, with the token that the library has for the peer.
#[derive(Debug)]
pub(crate) struct FailedStep {
    pub(crate) failure: Failure,
    pub(crate) token: Vec<u8>,
}

/// Who is at the two ends of a context.
pub(crate) struct Names {
    pub(crate) initiator: Name,
    pub(crate) acceptor: Name,
}

/// What is known of an established context.
pub(crate) struct Facts {
    pub(crate) flags: u32,
    /// Whether Kerberos itself made it, whatever negotiated it.
    pub(crate) is_krb5: bool,
}

/// The keys and numbers of a context, as MIT exports them.
pub(crate) struct Lucid {
    pub(crate) is_initiator: bool,
    /// The ticket's own end, in seconds since 1970.
    pub(crate) ends_at: u32,
    pub(crate) send_sequence: u64,
    /// The peer's first number: the library does not count it on.
    pub(crate) receive_sequence: u64,
    /// Whether messages are those of RFC 4121, or of RFC 1964.
    pub(crate) is_rfc4121: bool,
    pub(crate) key: LucidKey,
    pub(crate) acceptor_subkey: Option<LucidKey>,
}

pub(crate) struct LucidKey {
    pub(crate) enctype: u32,
    pub(crate) octets: Zeroizing<Vec<u8>>,
}

/// An opened message.
pub(crate) struct Unwrapped {
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    pub(crate) was_encrypted: bool,
    pub(crate) verdict: Verdict,
}

/// What the library says of a message's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    InOrder,
    Duplicate,
    Old,
    /// Late, or one before it is missing.
    Moved,
}

impl Verdict {
    /// What the supplementary bits of a call say (RFC 2744 section 3.9.1).
    pub(crate) fn of(bits: u32) -> Self {
        if bits & gss::GSS_S_DUPLICATE_TOKEN != 0 {
            Self::Duplicate
        } else if bits & gss::GSS_S_OLD_TOKEN != 0 {
            Self::Old
        } else if bits & (gss::GSS_S_UNSEQ_TOKEN | gss::GSS_S_GAP_TOKEN) != 0 {
            Self::Moved
        } else {
            Self::InOrder
        }
    }
}
