//! The head of a wrap token (RFC 4121 section 4.2.6.2).

/// Octets of the head.
pub(super) const HEADER: usize = 16;
/// Octets of random data in front of an encrypted plaintext: one cipher block (RFC 3961 section 5.3).
pub(super) const CONFOUNDER: usize = 16;

/// Token identifier of a wrap token.
const WRAP: [u8; 2] = [0x05, 0x04];
const FILLER: u8 = 0xFF;

/// Flags of a token (RFC 4121 section 4.2.2). Unknown ones are ignored, as it says.
pub(super) mod flag {
    pub(in crate::cfx) const SENT_BY_ACCEPTOR: u8 = 0x01;
    pub(in crate::cfx) const SEALED: u8 = 0x02;
    pub(in crate::cfx) const ACCEPTOR_SUBKEY: u8 = 0x04;
}

/// The fields of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) flags: u8,
    /// "EC": octets of filler if sealed, else octets of the check value.
    pub(super) extra_count: u16,
    /// "RRC": by how many octets what follows the head was turned to the right.
    pub(super) right_rotation: u16,
    pub(super) sequence: u64,
}

impl Header {
    /// The head of a token that is about to be made; nothing is turned.
    pub(super) fn new(flags: u8, sequence: u64) -> Self {
        Self { flags, extra_count: 0, right_rotation: 0, sequence }
    }

    /// Reads a head; `None` when the octets are no wrap token.
    pub(super) fn read(octets: [u8; HEADER]) -> Option<Self> {
        let [id @ .., flags, filler, e0, e1, r0, r1, s0, s1, s2, s3, s4, s5, s6, s7] = octets;
        (id == WRAP && filler == FILLER).then_some(Self {
            flags,
            extra_count: u16::from_be_bytes([e0, e1]),
            right_rotation: u16::from_be_bytes([r0, r1]),
            sequence: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        })
    }

    pub(super) fn octets(self) -> [u8; HEADER] {
        let [e0, e1] = self.extra_count.to_be_bytes();
        let [r0, r1] = self.right_rotation.to_be_bytes();
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.sequence.to_be_bytes();
        let [i0, i1] = WRAP;
        [i0, i1, self.flags, FILLER, e0, e1, r0, r1, s0, s1, s2, s3, s4, s5, s6, s7]
    }

    pub(super) fn is_sealed(self) -> bool {
        self.flags & flag::SEALED != 0
    }
}

/// The number of a wrap token; not to be trusted before the token is opened.
pub(crate) fn sequence_number(token: &[u8]) -> Option<u64> {
    Header::read(*token.first_chunk()?).map(|header| header.sequence)
}
