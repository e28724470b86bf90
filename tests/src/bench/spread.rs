//! What several rounds say together.

use serde::{Deserialize, Serialize};

/// The median of a figure's rounds, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one; the mean of the middle two of an even number.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Spread {
    /// Of one figure for each round; `None` when there is none, or one that is no number.
    pub fn of(figures: &[f64]) -> Option<Self> {
        if figures.is_empty() || !figures.iter().all(|figure| figure.is_finite()) {
            return None;
        }
        let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median: median(figures), least, most })
    }
}

/// The median; the mean of the middle two of an even number.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (1, Some(&it), _) => it,
        (_, Some(&upper), Some(&lower)) => f64::midpoint(upper, lower),
        _ => f64::NAN,
    }
}

/// The least figure that at least `percent` of a hundred are not above (the nearest rank); `None` of none.
///
/// It sorts them partly.
pub fn percentile(figures: &mut [u32], percent: usize) -> Option<u32> {
    let rank = (figures.len() * percent).div_ceil(100).checked_sub(1)?;
    Some(*figures.select_nth_unstable(rank.min(figures.len() - 1)).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_spread_has_the_ends_too_and_is_never_without_a_number() {
        let spread = Spread { median: 2.0, least: 1.0, most: 9.0 };
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), Some(spread));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let mut figures: Vec<u32> = (1..=200).rev().collect();
        assert_eq!(percentile(&mut figures, 50), Some(100));
        assert_eq!(percentile(&mut figures, 99), Some(198));
        assert_eq!(percentile(&mut figures, 100), Some(200));
        assert_eq!(percentile(&mut [7], 1), Some(7));
        assert_eq!(percentile(&mut [], 99), None);
    }
}
