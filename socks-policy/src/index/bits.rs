//! Sets of rules as bits and as lists, and the search for the first rule that is in all of several.

/// How many words are compared at a time; 16 words are 1,024 rules.
const BLOCK: usize = 16;

/// How many conditions a search holds without allocating: more than a decision has.
const INLINE_MASKS: usize = 10;

/// How many lists a search holds without allocating.
const INLINE_LISTS: usize = 24;

/// A set of rules, one bit for each.
#[derive(Debug, Clone)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    /// The set of those rules out of `count` for which `is_in` holds.
    pub(super) fn of<T>(rules: &[T], is_in: impl Fn(&T) -> bool) -> Self {
        let word = |chunk: &[T]| {
            chunk.iter().enumerate().fold(0, |word, (at, rule)| word | u64::from(is_in(rule)) << at)
        };
        Self(rules.chunks(64).map(word).collect())
    }
}

/// The rules that one key leads to, in order.
#[derive(Debug)]
pub(super) enum List {
    /// Few: their numbers.
    Sparse(Box<[u32]>),
    /// Many: a bit for each.
    Dense(Box<[u64]>),
}

impl List {
    /// The list of those rules, sorted and each once, out of `count`.
    pub(super) fn new(rules: Vec<u32>, count: usize) -> Self {
        let words = count.div_ceil(64);
        if rules.len() <= words {
            return Self::Sparse(rules.into());
        }
        let mut bits = vec![0; words];
        for rule in rules {
            if let Some(word) = bits.get_mut(word_of(rule)) {
                *word |= 1 << (rule % 64);
            }
        }
        Self::Dense(bits.into())
    }
}

fn word_of(rule: u32) -> usize {
    usize::try_from(rule / 64).unwrap_or(usize::MAX)
}

/// A list that is being read from its beginning to its end.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor<'a> {
    list: Option<&'a List>,
    /// How many rules of a sparse list are done with.
    done: usize,
}

impl Cursor<'_> {
    /// Sets the bits of the list's rules in a block that begins at the word `start`.
    fn merge(&mut self, start: usize, block: &mut [u64]) {
        match self.list {
            Some(List::Dense(words)) => {
                for (word, own) in block.iter_mut().zip(words.get(start..).unwrap_or_default()) {
                    *word |= own;
                }
            }
            Some(List::Sparse(rules)) => {
                for rule in rules.get(self.done..).unwrap_or_default() {
                    let at = word_of(*rule);
                    if at >= start + block.len() {
                        break;
                    }
                    if let Some(word) = at.checked_sub(start).and_then(|at| block.get_mut(at)) {
                        *word |= 1 << (rule % 64);
                    }
                    self.done += 1;
                }
            }
            None => {}
        }
    }
}

/// One condition of a search: a rule must be in `base` or in one of the lists.
#[derive(Debug, Clone, Copy, Default)]
struct Mask<'a> {
    base: &'a [u64],
    /// How many of the search's lists belong to this condition.
    lists: usize,
}

/// Values of which the first few need no memory of their own.
#[derive(Debug)]
struct Few<T, const N: usize> {
    first: [T; N],
    more: Vec<T>,
    len: usize,
}

impl<T: Copy + Default, const N: usize> Few<T, N> {
    #[inline]
    fn new() -> Self {
        Self { first: [T::default(); N], more: Vec::new(), len: 0 }
    }

    #[inline]
    fn push(&mut self, value: T) {
        match self.first.get_mut(self.len) {
            Some(slot) => *slot = value,
            None => self.more.push(value),
        }
        self.len += 1;
    }

    #[inline]
    fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        if at < N { self.first.get_mut(at) } else { self.more.get_mut(at - N) }
    }
}

/// A search for the first rule that meets a number of conditions.
#[derive(Debug)]
pub(super) struct Search<'a> {
    words: usize,
    masks: Few<Mask<'a>, INLINE_MASKS>,
    cursors: Few<Cursor<'a>, INLINE_LISTS>,
}

impl<'a> Search<'a> {
    /// A search among `rules` rules that all meet no condition yet.
    #[inline]
    pub(super) fn new(rules: usize) -> Self {
        Self { words: rules.div_ceil(64), masks: Few::new(), cursors: Few::new() }
    }

    /// Demands that a rule is in `base`, or in one of the lists that are [put in](Self::or_in) next.
    #[inline]
    pub(super) fn must_be_in(&mut self, base: &'a Bits) {
        self.masks.push(Mask { base: &base.0, lists: 0 });
    }

    /// Adds a list to the condition demanded last.
    #[inline]
    pub(super) fn or_in(&mut self, list: &'a List) {
        if let Some(mask) = self.masks.get_mut(self.masks.len.wrapping_sub(1)) {
            mask.lists += 1;
            self.cursors.push(Cursor { list: Some(list), done: 0 });
        }
    }

    /// The first rule that meets all conditions and that `accept` takes.
    pub(super) fn first(&mut self, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut start = 0;
        while start < self.words {
            let mut block = [u64::MAX; BLOCK];
            let block = block.get_mut(..BLOCK.min(self.words - start))?;
            if self.intersect(start, block)
                && let Some(rule) = first_in(start, block, &mut accept)
            {
                return Some(rule);
            }
            start += BLOCK;
        }
        None
    }

    /// Leaves in the block the bits that meet all conditions; `false`: none.
    fn intersect(&mut self, start: usize, block: &mut [u64]) -> bool {
        let mut own = [0; BLOCK];
        let mut cursor = 0;
        for at in 0..self.masks.len {
            let Some(mask) = self.masks.get_mut(at) else { return false };
            let base = mask.base.get(start..).unwrap_or_default();
            let end = cursor + mask.lists;
            let any = if cursor == end {
                and(block, base)
            } else {
                let Some(own) = own.get_mut(..block.len()) else { return false };
                own.iter_mut().zip(base).for_each(|(own, base)| *own = *base);
                for at in cursor..end {
                    if let Some(cursor) = self.cursors.get_mut(at) {
                        cursor.merge(start, own);
                    }
                }
                cursor = end;
                and(block, own)
            };
            if !any {
                return false;
            }
        }
        true
    }
}

/// Leaves in the block the bits that are in `own` too; `false`: none.
fn and(block: &mut [u64], own: &[u64]) -> bool {
    let mut any = 0;
    for (word, own) in block.iter_mut().zip(own) {
        *word &= *own;
        any |= *word;
    }
    any != 0
}

fn first_in(start: usize, block: &[u64], accept: &mut impl FnMut(u32) -> bool) -> Option<u32> {
    for (at, word) in (start..).zip(block) {
        let mut word = *word;
        while word != 0 {
            let rule = u32::try_from(at).ok()? * 64 + word.trailing_zeros();
            if accept(rule) {
                return Some(rule);
            }
            word &= word - 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules out of `count` whose number `is_in` picks.
    fn list(count: u32, is_in: impl Fn(u32) -> bool) -> List {
        List::new((0..count).filter(|rule| is_in(*rule)).collect(), count as usize)
    }

    #[test]
    fn the_first_rule_in_all_conditions_is_found() {
        for count in [1, 63, 64, 65, 1023, 1024, 1025, 5000] {
            let rules: Vec<u32> = (0..count).collect();
            let threes = Bits::of(&rules, |rule| rule % 3 == 0);
            let (fives, sevens) = (list(count, |rule| rule % 5 == 0), list(count, |rule| rule % 700 == 7));
            for from in [0, 1, 100, 3000] {
                let mut search = Search::new(rules.len());
                search.must_be_in(&threes);
                let none = Bits::of(&rules, |_| false);
                search.must_be_in(&none);
                search.or_in(&fives);
                search.or_in(&sevens);
                let expected = (from..count).find(|rule| rule % 3 == 0 && (rule % 5 == 0 || rule % 700 == 7));
                assert_eq!(search.first(|rule| rule >= from), expected, "{count} rules from {from}");
            }
        }
    }

    #[test]
    fn more_conditions_and_lists_than_the_inline_room_are_all_heeded() {
        let rules: Vec<u32> = (0..300).collect();
        let none = Bits::of(&rules, |_| false);
        let lists: Vec<List> = (0..100).map(|at| list(300, |rule| rule == at || rule == 299)).collect();
        let mut search = Search::new(300);
        for _ in 0..20 {
            search.must_be_in(&none);
            lists.iter().for_each(|list| search.or_in(list));
        }
        assert_eq!(search.first(|rule| rule > 99), Some(299));
    }
}
