//! Sequence numbers: the strict order of a stream, and the window of datagrams.

use socks_core::{OpenError, Sequence};

/// How far behind the newest message one may come, in messages.
const WINDOW: u64 = 1024;
const WORD: u64 = u64::BITS as u64;
const WORDS: usize = (WINDOW / WORD) as usize;

/// What order the messages of the peer must have.
pub(crate) enum Order {
    /// One after the other, without a gap.
    Strict { next: u64 },
    /// Any, but none twice and none too old.
    Any(Box<Window>),
}

impl Order {
    /// Strict order from the number `next` on.
    pub(crate) fn strict(next: u64) -> Self {
        Self::Strict { next }
    }

    /// Changes to a window; what came in strict order counts as seen.
    pub(crate) fn accept_any(&mut self) {
        if let Self::Strict { next } = *self {
            *self = Self::Any(Box::new(Window::behind(next)));
        }
    }

    /// Judges an authenticated message's number, and remembers it.
    pub(crate) fn admit(&mut self, number: u64) -> Result<Sequence, OpenError> {
        match self {
            Self::Strict { next } if number == *next => {
                *next = next.wrapping_add(1);
                Ok(Sequence::Next)
            }
            Self::Strict { next } => match lead(number, *next) {
                Lead::Ahead(_) => Err(OpenError::OutOfOrder),
                Lead::Behind(_) => Err(OpenError::Duplicate),
            },
            Self::Any(window) => window.admit(number),
        }
    }
}

/// Where a number lies from the next one expected; numbers wrap around.
enum Lead {
    /// That many numbers ahead; 0 is the next one itself.
    Ahead(u64),
    /// That many numbers behind; 1 is the newest one seen.
    Behind(u64),
}

fn lead(number: u64, next: u64) -> Lead {
    let distance = number.wrapping_sub(next);
    if distance < 1 << 63 { Lead::Ahead(distance) } else { Lead::Behind(distance.wrapping_neg()) }
}

/// Which of the last [`WINDOW`] numbers have come: a ring of bits, each number's at its remainder.
pub(crate) struct Window {
    next: u64,
    seen: [u64; WORDS],
}

impl Window {
    /// A window in which everything before `next` has come.
    fn behind(next: u64) -> Self {
        Self { next, seen: [u64::MAX; WORDS] }
    }

    fn admit(&mut self, number: u64) -> Result<Sequence, OpenError> {
        match lead(number, self.next) {
            Lead::Ahead(gap) => {
                for missing in 0..gap.min(WINDOW) {
                    self.forget(number.wrapping_sub(1 + missing));
                }
                self.mark(number);
                self.next = number.wrapping_add(1);
                Ok(if gap == 0 { Sequence::Next } else { Sequence::Moved })
            }
            Lead::Behind(distance) if distance > WINDOW => Err(OpenError::Old),
            Lead::Behind(_) if self.mark(number) => Ok(Sequence::Moved),
            Lead::Behind(_) => Err(OpenError::Duplicate),
        }
    }

    /// Sets a number's bit; tells whether it was not set before.
    fn mark(&mut self, number: u64) -> bool {
        let bit = 1 << (number % WORD);
        self.word(number).is_some_and(|word| {
            let first = *word & bit == 0;
            *word |= bit;
            first
        })
    }

    fn forget(&mut self, number: u64) {
        if let Some(word) = self.word(number) {
            *word &= !(1 << (number % WORD));
        }
    }

    fn word(&mut self, number: u64) -> Option<&mut u64> {
        let index = usize::try_from(number % WINDOW / WORD).ok()?;
        self.seen.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn any_from(next: u64) -> Order {
        let mut order = Order::strict(next);
        order.accept_any();
        order
    }

    #[test]
    fn a_stream_takes_one_number_after_the_other() {
        let mut order = Order::strict(u64::MAX);
        assert_eq!(order.admit(u64::MAX), Ok(Sequence::Next));
        assert_eq!(order.admit(0), Ok(Sequence::Next), "numbers wrap around");
        assert_eq!(order.admit(0), Err(OpenError::Duplicate));
        assert_eq!(order.admit(2), Err(OpenError::OutOfOrder));
        assert_eq!(order.admit(1), Ok(Sequence::Next), "a refused number changes nothing");
    }

    #[test]
    fn what_came_on_the_stream_is_not_taken_as_a_datagram() {
        let mut order = Order::strict(10);
        order.admit(10).unwrap();
        order.accept_any();
        assert_eq!(order.admit(10), Err(OpenError::Duplicate));
        assert_eq!(order.admit(9), Err(OpenError::Duplicate), "nor what came before the first");
        assert_eq!(order.admit(11), Ok(Sequence::Next));
    }

    #[test]
    fn the_window_ends_where_it_says() {
        let mut order = any_from(0);
        assert_eq!(order.admit(5000), Ok(Sequence::Moved));
        assert_eq!(order.admit(5000 - WINDOW), Err(OpenError::Old));
        assert_eq!(order.admit(5001 - WINDOW), Ok(Sequence::Moved));
        assert_eq!(order.admit(5001 - WINDOW), Err(OpenError::Duplicate));
        assert_eq!(order.admit(0), Err(OpenError::Old));
    }

    proptest! {
        #[test]
        fn no_number_is_taken_twice_and_none_in_the_window_is_lost(
            start in any::<u64>(),
            steps in prop::collection::vec(prop_oneof![0_u64..40, 0_u64..3000], 1..400),
        ) {
            let mut order = any_from(start);
            let (mut seen, mut newest) = (HashSet::new(), None);
            for step in steps {
                let expected = match newest {
                    _ if seen.contains(&step) && newest.is_some_and(|newest| newest - step < WINDOW) => {
                        Err(OpenError::Duplicate)
                    }
                    Some(newest) if step < newest && newest - step >= WINDOW => Err(OpenError::Old),
                    _ => Ok(()),
                };
                let verdict = order.admit(start.wrapping_add(step)).map(drop);
                prop_assert_eq!(verdict, expected);
                seen.insert(step);
                newest = newest.max(Some(step));
            }
        }
    }
}
