//! CRC-32C (RFC 3720 section 12.1), for the few octets of a header.

/// Castagnoli's polynomial, its octets' lowest bits first.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The checksum of some parts as if they were one.
pub(super) fn crc32c<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    !parts.into_iter().flatten().fold(u32::MAX, |sum, octet| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| {
            let carried = sum & 1 != 0;
            (sum >> 1) ^ if carried { POLYNOMIAL } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3720_appendix_b_4() {
        let ascending: Vec<u8> = (0..32).collect();
        let table: [(&[u8], u32); 4] = [
            (&[0; 32], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
            (&ascending, 0x46DD_794E),
            (b"123456789", 0xE306_9283),
        ];
        for (octets, sum) in table {
            assert_eq!(crc32c([octets]), sum);
            let (head, tail) = octets.split_at(5);
            assert_eq!(crc32c([head, tail]), sum);
        }
    }
}
