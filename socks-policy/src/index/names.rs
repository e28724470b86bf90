//! Tables of words, of host names, and of the suffixes that host names end in.

use socks_core::wire::DomainName;

use super::bits::Search;
use super::table::{KeyHash, Table, Usage};
use crate::pattern::HostPattern;

/// A table of plain words.
#[derive(Debug)]
pub(super) struct Words(Table<Box<str>>);

impl Words {
    /// The words that `word` makes of the elements.
    pub(super) fn new<'a, T>(usage: &Usage<'a, T>, word: impl Fn(&'a T) -> Option<&'a str>) -> Self {
        Self(usage.table(|element| word(element).map(Box::from), |word| KeyHash::START.text(word)))
    }

    /// Adds to the search the rules that name the word.
    pub(super) fn find<'a>(&'a self, word: &str, search: &mut Search<'a>) {
        if let Some(list) = self.0.get(KeyHash::START.text(word), |key| **key == *word) {
            search.or_in(list);
        }
    }
}

/// Host names, and suffixes that stand for all names below them.
#[derive(Debug)]
pub(super) struct Names {
    exact: Words,
    suffixes: Words,
    /// Bit n is set where a suffix of n labels occurs; names have at most 127 labels.
    depths: u128,
}

impl Names {
    /// The names and suffixes among the destinations.
    pub(super) fn new(usage: &Usage<'_, HostPattern>) -> Self {
        let depths = usage.elements().filter_map(suffix).fold(0, |depths, suffix| depths | depth_bit(suffix));
        Self {
            exact: Words::new(usage, |host| match host {
                HostPattern::Name(name) => Some(name.as_str()),
                _ => None,
            }),
            suffixes: Words::new(usage, suffix),
            depths,
        }
    }

    /// Adds to the search the rules that mean the name.
    pub(super) fn find<'a>(&'a self, name: &DomainName, search: &mut Search<'a>) {
        self.exact.find(name.as_str(), search);
        self.find_above(name.as_str(), search);
    }

    /// Adds to the search the rules that mean all names that the pattern means.
    pub(super) fn find_pattern<'a>(&'a self, pattern: &HostPattern, search: &mut Search<'a>) {
        match pattern {
            HostPattern::Network(_) => {}
            HostPattern::Name(name) => self.find(name, search),
            HostPattern::Below(suffix) => {
                self.suffixes.find(suffix.as_str(), search);
                self.find_above(suffix.as_str(), search);
            }
        }
    }

    /// Adds to the search the rules that mean everything below a proper suffix of `name`.
    fn find_above<'a>(&'a self, name: &str, search: &mut Search<'a>) {
        let mut depths = self.depths >> 1;
        for (dot, _) in name.rmatch_indices('.') {
            if depths == 0 {
                return;
            }
            if depths & 1 == 1
                && let Some(suffix) = name.get(dot + 1..)
            {
                self.suffixes.find(suffix, search);
            }
            depths >>= 1;
        }
    }
}

fn suffix(host: &HostPattern) -> Option<&str> {
    match host {
        HostPattern::Below(suffix) => Some(suffix.as_str()),
        _ => None,
    }
}

fn depth_bit(suffix: &str) -> u128 {
    let labels = suffix.split('.').count();
    u32::try_from(labels).ok().and_then(|labels| 1_u128.checked_shl(labels)).unwrap_or(0)
}
