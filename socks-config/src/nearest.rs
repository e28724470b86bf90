//! Finds the word that was probably meant.

/// The word among `words` that `text` is most likely a misspelling of, if one is near enough.
///
/// Swapped neighbours count as one change; a short text may differ less than a long one.
pub fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let most = match text.chars().count() {
        0 | 65.. => return None,
        1..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let text = text.to_lowercase().replace('_', "-");
    let near = words.iter().map(|word| (distance(&text, word), *word));
    near.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// The number of characters to insert, remove, replace or swap with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for character in one.chars() {
        let mut next = vec![row.first().map_or(0, |cost| cost + 1)];
        for (index, target) in other.iter().enumerate() {
            let at = |costs: &[usize], index: usize| costs.get(index).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&row, index) + usize::from(character != *target);
            let mut cost = replaced.min(at(&row, index + 1) + 1).min(at(&next, index) + 1);
            let previous = index.checked_sub(1).and_then(|index| other.get(index));
            if last == Some(*target) && previous == Some(&character) {
                cost = cost.min(at(&before, index.saturating_sub(1)).saturating_add(1));
            }
            next.push(cost);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(character);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_changes() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
            ("sorce", "source", 1),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn only_a_near_word_is_offered() {
        let words = ["source", "port", "idle-timeout", "name"];
        for (text, expected) in [
            ("sorce", Some("source")),
            ("prot", Some("port")),
            ("idle_timeout", Some("idle-timeout")),
            ("Name", Some("name")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &words), expected, "{text}");
        }
    }
}
