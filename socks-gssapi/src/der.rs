//! As much of DER as Kerberos' messages need: elements inside elements.

/// Class and number of an application's own element.
pub(crate) const fn application(number: u8) -> u8 {
    0x60 | number
}

/// Class and number of a field.
pub(crate) const fn field(number: u8) -> u8 {
    0xA0 | number
}

/// The tag of a sequence.
pub(crate) const SEQUENCE: u8 = 0x30;
/// The tag of an integer.
const INTEGER: u8 = 0x02;
/// The tag of an octet string.
const OCTETS: u8 = 0x04;
/// The tag of a time.
const TIME: u8 = 0x18;

/// What is inside an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Der<'a>(pub(crate) &'a [u8]);

impl<'a> Der<'a> {
    /// What is inside the first element with that tag, among those here.
    pub(crate) fn find(self, wanted: u8) -> Option<Self> {
        let mut rest = self.0;
        while let Some((tag, inside, behind)) = element(rest) {
            if tag == wanted {
                return Some(Self(inside));
            }
            rest = behind;
        }
        None
    }

    /// What is inside the first element, and inside the first of that, and so on; each must have its tag.
    pub(crate) fn enter(self, tags: &[u8]) -> Option<Self> {
        tags.iter().try_fold(self, |der, wanted| {
            let (tag, inside, _) = element(der.0)?;
            (tag == *wanted).then_some(Self(inside))
        })
    }

    /// What is inside the one element that is here, which has that tag and nothing behind it.
    pub(crate) fn only(self, wanted: u8) -> Option<Self> {
        let (tag, inside, behind) = element(self.0)?;
        (tag == wanted && behind.is_empty() && self.is_shortest(inside)).then_some(Self(inside))
    }

    /// What is inside each of the elements here, which have these tags in this order and nothing behind them.
    pub(crate) fn exactly<const N: usize>(self, tags: [u8; N]) -> Option<[Self; N]> {
        let (mut rest, mut found) = (self.0, [Self(&[]); N]);
        for (wanted, place) in tags.into_iter().zip(&mut found) {
            let (tag, inside, behind) = element(rest)?;
            let whole = rest.get(..rest.len() - behind.len()).map(Self)?;
            if tag != wanted || !whole.is_shortest(inside) {
                return None;
            }
            (*place, rest) = (Self(inside), behind);
        }
        rest.is_empty().then_some(found)
    }

    /// Tells whether the element here, with that inside, spells its length as DER demands (X.690 section 10.1).
    fn is_shortest(self, inside: &[u8]) -> bool {
        let len_octets = match inside.len() {
            0..0x80 => 1,
            0x80..0x100 => 2,
            0x100..0x1_0000 => 3,
            _ => 4,
        };
        self.0.len() == 1 + len_octets + inside.len()
    }

    /// A field that is an integer without sign.
    pub(crate) fn integer(self, number: u8) -> Option<u32> {
        let octets = self.find(field(number))?.enter(&[INTEGER])?.0;
        if octets.is_empty() || octets.len() > 5 {
            return None;
        }
        let value = octets.iter().fold(0_u64, |value, octet| value << 8 | u64::from(*octet));
        u32::try_from(value).ok()
    }

    /// A field that is an octet string.
    pub(crate) fn octets(self, number: u8) -> Option<&'a [u8]> {
        self.find(field(number))?.enter(&[OCTETS]).map(|der| der.0)
    }

    /// A field that is a time, as text.
    pub(crate) fn time(self, number: u8) -> Option<&'a str> {
        let text = self.find(field(number))?.enter(&[TIME])?;
        std::str::from_utf8(text.0).ok()
    }
}

/// The tag, the inside and what is behind the element at the front.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = octets.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match *first {
        short @ 0..=0x7F => (usize::from(short), rest),
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (len.iter().fold(0, |len, octet| len << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (inside, behind) = rest.split_at_checked(len)?;
    Some((*tag, inside, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_are_found_inside_others() {
        let octets = [0x30, 12, 0xA0, 3, 2, 1, 5, 0xA2, 5, 4, 3, 7, 8, 9, 0xFF];
        let sequence = Der(&octets).enter(&[SEQUENCE]).unwrap();
        assert_eq!(sequence.integer(0), Some(5));
        assert_eq!(sequence.integer(1), None);
        assert_eq!(sequence.octets(2), Some(&[7, 8, 9][..]));
        assert_eq!(Der(&octets).enter(&[application(14)]), None);
    }

    #[test]
    fn elements_that_must_be_exact_are_spelt_in_one_way() {
        let tags = [0xA0, 0xA1];
        let table: [(&[u8], bool); 7] = [
            (&[0xA0, 1, 7, 0xA1, 0], true),
            (&[0xA1, 0, 0xA0, 1, 7], false),
            (&[0xA0, 1, 7], false),
            (&[0xA0, 1, 7, 0xA1, 0, 0xA2, 0], false),
            (&[0xA0, 0x81, 1, 7, 0xA1, 0], false),
            (&[0xA0, 1, 7, 0xA1, 0x82, 0, 0], false),
            (&[0xA0, 2, 7, 0xA1, 0], false),
        ];
        for (octets, is_exact) in table {
            assert_eq!(Der(octets).exactly(tags).is_some(), is_exact, "{octets:?}");
        }
        for (octets, is_exact) in
            [(&[0x30, 1, 7][..], true), (&[0x30, 1, 7, 0], false), (&[0x30, 0x81, 1, 7], false)]
        {
            assert_eq!(Der(octets).only(SEQUENCE).is_some(), is_exact, "{octets:?}");
        }
        let long = [&[0x30, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(Der(&long).only(SEQUENCE), Some(Der(&[7; 0x80])));
    }

    #[test]
    fn long_lengths_are_read() {
        let mut octets = vec![0x30, 0x82, 0x01, 0x00];
        octets.extend([7; 256]);
        assert_eq!(Der(&octets).enter(&[SEQUENCE]).map(|inside| inside.0.len()), Some(256));
        octets.pop();
        assert_eq!(Der(&octets).enter(&[SEQUENCE]), None, "an element must be whole");
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..64), number in 0_u8..31) {
            let der = Der(&octets);
            let _ = (der.integer(number), der.octets(number), der.time(number), der.enter(&[SEQUENCE, field(number)]));
        }
    }
}
