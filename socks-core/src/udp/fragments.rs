//! Puts datagrams together that came in fragments (RFC 1928 section 7); knows no socket and no clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::Target;

/// The bit of FRAG that marks the last fragment.
const LAST: u8 = 0x80;
/// The most octets of a whole datagram: no socket takes more.
const MOST_OCTETS: usize = 65_535;
// RFC 1928 section 7: the reassembly timer must be no less than 5 seconds.
const LEAST_TIME: Duration = Duration::from_secs(5);

/// The queue and the timer for the fragments of one association.
///
/// It holds one datagram's fragments at a time: at most 127, and at most 65,535 octets together.
#[derive(Debug)]
pub struct Reassembly {
    time: Duration,
    /// Where the datagram in the queue goes.
    target: Option<Target>,
    octets: Vec<u8>,
    /// How many of the octets came last.
    last_len: usize,
    /// The position of the fragment that was queued last; 0 when nothing is queued.
    highest: u8,
    deadline: Option<Instant>,
}

/// A fragment as it came.
#[derive(Debug, Clone, Copy)]
pub struct Fragment<'a> {
    /// Its FRAG octet, which is not 0.
    pub octet: u8,
    /// Where its datagram goes.
    pub target: &'a Target,
    /// Its user data.
    pub data: &'a [u8],
}

/// What became of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// How many fragments will never become part of a whole datagram, this one perhaps among them.
    pub lost: usize,
    /// Whether the datagram is whole now; [`Reassembly::whole`] gives it.
    pub is_whole: bool,
}

impl Reassembly {
    /// An empty queue whose timer runs for `time`, or 5 s if that is less.
    pub fn new(time: Duration) -> Self {
        Self {
            time: time.max(LEAST_TIME),
            target: None,
            octets: Vec::new(),
            last_len: 0,
            highest: 0,
            deadline: None,
        }
    }

    /// Takes the next fragment.
    ///
    /// Fragments count when they come in their order, from position 1 on and to the same target. A lower
    /// position starts anew; a position too high shows that one is missing, which could only come too late.
    /// One that comes twice in a row is passed over; another one at the same position starts anew, for it is
    /// of the next datagram, and the rest of this one is lost.
    pub fn take(&mut self, fragment: Fragment<'_>, now: Instant) -> Taken {
        let mut lost = self.expire(now);
        let (position, is_last) = (fragment.octet & !LAST, fragment.octet & LAST != 0);
        if position == self.highest && self.was_last(fragment) {
            return Taken { lost: lost + 1, is_whole: false };
        }
        let is_of_target = self.target.as_ref().is_none_or(|target| target == fragment.target);
        if position != self.highest + 1 || !is_of_target {
            lost += self.abandon();
        }
        if position != self.highest + 1 || self.queued() + fragment.data.len() > MOST_OCTETS {
            return Taken { lost: lost + self.abandon() + 1, is_whole: false };
        }
        self.append(fragment, now);
        self.highest = position;
        if is_last {
            self.reset();
        }
        Taken { lost, is_whole: is_last }
    }

    fn append(&mut self, fragment: Fragment<'_>, now: Instant) {
        if self.highest == 0 {
            self.octets.clear();
            self.target = Some(fragment.target.clone());
            self.deadline = now.checked_add(self.time);
        }
        self.octets.extend_from_slice(fragment.data);
        self.last_len = fragment.data.len();
    }

    /// Abandons the queue, and tells how many fragments were in it.
    ///
    /// For a standalone datagram too: its FRAG 0 is less than any that was processed.
    pub fn abandon(&mut self) -> usize {
        self.octets.clear();
        self.reset().into()
    }

    /// Abandons the queue if the timer has run out, and tells how many fragments were in it.
    pub fn expire(&mut self, now: Instant) -> usize {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return 0;
        }
        self.octets = Vec::new();
        self.abandon()
    }

    /// The user data of the datagram that has become whole; there until the next fragment comes.
    pub fn whole(&self) -> &[u8] {
        &self.octets
    }

    /// When the timer runs out, if fragments are queued.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Tells whether the fragment that was queued last is this one.
    fn was_last(&self, fragment: Fragment<'_>) -> bool {
        self.target.as_ref() == Some(fragment.target)
            && self.last_len == fragment.data.len()
            && self.octets.ends_with(fragment.data)
    }

    /// How many octets are queued; those of a datagram that has become whole are not.
    fn queued(&self) -> usize {
        if self.highest == 0 { 0 } else { self.octets.len() }
    }

    /// Makes the next fragment the first; the octets stay.
    fn reset(&mut self) -> u8 {
        self.target = None;
        self.deadline = None;
        std::mem::take(&mut self.highest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The FRAG octets that come, those of each datagram that becomes whole, how many are lost.
    type Row = (&'static [u8], &'static [&'static [u8]], usize);

    const TIME: Duration = Duration::from_secs(5);

    fn target() -> Target {
        "192.0.2.1:53".parse().unwrap()
    }

    fn fragment<'a>(octet: u8, target: &'a Target, data: &'a [u8]) -> Fragment<'a> {
        Fragment { octet, target, data }
    }

    /// Feeds FRAG octets with one octet of data each, and tells what became whole and how many were lost.
    fn feed(fragments: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let (mut queue, now) = (Reassembly::new(TIME), Instant::now());
        let (mut whole, mut lost) = (Vec::new(), 0);
        for octet in fragments {
            let taken = queue.take(fragment(*octet, &target(), &[*octet]), now);
            lost += taken.lost;
            if taken.is_whole {
                whole.push(queue.whole().to_vec());
            }
        }
        (whole, lost)
    }

    #[test]
    fn fragments_count_in_their_order_only() {
        let table: [Row; 11] = [
            (&[1, 2, 0x83], &[&[1, 2, 0x83]], 0),
            (&[0x81], &[&[0x81]], 0),
            (&[1, 2, 1, 0x82], &[&[1, 0x82]], 2),
            (&[1, 3, 0x84], &[], 3),
            (&[2, 0x83], &[], 2),
            (&[1, 2, 2, 0x83], &[&[1, 2, 0x83]], 1),
            (&[0x80], &[], 1),
            (&[1, 0x80, 0x82], &[], 3),
            (&[0x82, 1], &[], 1),
            (&[1, 0x82, 0x82], &[&[1, 0x82]], 1),
            (&[1, 0x82, 1, 0x82], &[&[1, 0x82], &[1, 0x82]], 0),
        ];
        for (fragments, whole, lost) in table {
            let whole: Vec<Vec<u8>> = whole.iter().map(|octets| octets.to_vec()).collect();
            assert_eq!(feed(fragments), (whole, lost), "{fragments:02x?}");
        }
    }

    #[test]
    fn all_127_positions_can_be_used_and_the_queue_is_bounded() {
        let (mut queue, now) = (Reassembly::new(TIME), Instant::now());
        for position in 1..=126 {
            assert_eq!(
                queue.take(fragment(position, &target(), &[7; 516]), now),
                Taken { lost: 0, is_whole: false }
            );
        }
        assert_eq!(queue.take(fragment(0xFF, &target(), &[7; 519]), now), Taken { lost: 0, is_whole: true });
        assert_eq!(queue.whole().len(), MOST_OCTETS);
        for position in 1..=126 {
            queue.take(fragment(position, &target(), &[7; 516]), now);
        }
        assert_eq!(
            queue.take(fragment(0xFF, &target(), &[7; 520]), now),
            Taken { lost: 127, is_whole: false }
        );
        assert_eq!(queue.deadline(), None);
    }

    #[test]
    fn the_timer_runs_from_the_first_fragment_for_at_least_5_s() {
        let start = Instant::now();
        let mut queue = Reassembly::new(Duration::from_millis(1));
        queue.take(fragment(1, &target(), b"a"), start);
        assert_eq!(queue.deadline(), Some(start + TIME));
        queue.take(fragment(2, &target(), b"b"), start + TIME / 2);
        let late = queue.take(fragment(0x83, &target(), b"c"), start + TIME);
        assert_eq!(late, Taken { lost: 3, is_whole: false });
        queue.take(fragment(1, &target(), b"a"), start);
        let just = queue.take(fragment(0x82, &target(), b"b"), start + TIME - Duration::from_nanos(1));
        assert!(just.is_whole);
    }

    #[test]
    fn fragments_for_another_target_are_no_part_of_the_datagram() {
        let (mut queue, now) = (Reassembly::new(TIME), Instant::now());
        queue.take(fragment(1, &target(), b"a"), now);
        let other = "192.0.2.2:53".parse().unwrap();
        assert_eq!(queue.take(fragment(0x82, &other, b"b"), now), Taken { lost: 2, is_whole: false });
        queue.take(fragment(1, &target(), b"a"), now);
        assert_eq!(queue.take(fragment(1, &other, b"b"), now).lost, 1);
        assert!(queue.take(fragment(0x82, &other, b"c"), now).is_whole);
        assert_eq!(queue.whole(), b"bc");
    }

    #[test]
    fn two_datagrams_whose_other_fragments_were_lost_are_not_mixed() {
        let (mut queue, now) = (Reassembly::new(TIME), Instant::now());
        queue.take(fragment(1, &target(), b"first"), now);
        queue.take(fragment(1, &target(), b"second"), now);
        assert_eq!(queue.take(fragment(0x82, &target(), b" end"), now), Taken { lost: 0, is_whole: true });
        assert_eq!(queue.whole(), b"second end");
        queue.take(fragment(1, &target(), b"a"), now);
        queue.take(fragment(2, &target(), b"b"), now);
        assert_eq!(queue.take(fragment(2, &target(), b"c"), now), Taken { lost: 3, is_whole: false });
    }

    proptest! {
        #[test]
        fn what_was_cut_in_order_is_whole_again(
            octets in proptest::collection::vec(any::<u8>(), 0..5000), piece in 40usize..2000,
        ) {
            let (mut queue, now) = (Reassembly::new(TIME), Instant::now());
            let pieces: Vec<&[u8]> = if octets.is_empty() { vec![&[]] } else { octets.chunks(piece).collect() };
            for (index, piece) in pieces.iter().enumerate() {
                let last = if index + 1 == pieces.len() { LAST } else { 0 };
                let taken = queue.take(fragment(u8::try_from(index + 1).unwrap() | last, &target(), piece), now);
                prop_assert_eq!(taken, Taken { lost: 0, is_whole: last != 0 });
            }
            prop_assert_eq!(queue.whole(), &octets[..]);
            prop_assert_eq!(queue.abandon(), 0);
        }

        #[test]
        fn every_fragment_is_used_once_lost_once_or_queued(
            fragments in proptest::collection::vec((0u8..=255, 0usize..700), 0..400),
        ) {
            let (mut queue, mut now) = (Reassembly::new(TIME), Instant::now());
            let (mut used, mut lost, mut queued) = (0, 0, 0);
            for (octet, len) in &fragments {
                now += Duration::from_millis(40);
                let taken = queue.take(fragment((*octet).max(1), &target(), &vec![0; *len]), now);
                lost += taken.lost;
                queued = queued + 1 - taken.lost.min(queued + 1);
                if taken.is_whole {
                    used += std::mem::take(&mut queued);
                }
                prop_assert!(queue.octets.len() <= MOST_OCTETS);
                prop_assert_eq!(queue.deadline().is_some(), queued > 0);
            }
            prop_assert_eq!(used + lost + queue.abandon(), fragments.len());
        }

        #[test]
        fn nothing_becomes_whole_but_a_run_from_1_to_the_last(
            fragments in proptest::collection::vec(prop_oneof![1u8..6, 0x81u8..0x86], 0..60),
        ) {
            for whole in feed(&fragments).0 {
                let positions: Vec<u8> = whole.iter().map(|fragment| fragment & !LAST).collect();
                let count = u8::try_from(whole.len()).unwrap();
                prop_assert_eq!(positions, (1..=count).collect::<Vec<_>>());
                prop_assert!(whole.iter().enumerate().all(|(i, f)| (f & LAST != 0) == (i + 1 == whole.len())));
            }
        }
    }
}
