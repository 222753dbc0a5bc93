//! Pairs of texts that people have scored, and how well a system's similarities follow the scores.

use lexivec_runtime::vector::cosine;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Interval};
use crate::statistics::{pearson, spearman};
use crate::vectors::Vectors;

/// Two texts and a human similarity score.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredPair {
    /// The first text.
    pub a: String,
    /// The second text.
    pub b: String,
    /// Their score, on any scale.
    pub score: f64,
}

/// How well similarities follow scores at one width: correlations from −1 to 1, `None` if undefined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairMeasures {
    /// The width of the vectors.
    pub dimensions: usize,
    /// Spearman's rank correlation, the usual figure for semantic textual similarity.
    pub spearman: Option<f64>,
    /// Pearson's correlation.
    pub pearson: Option<f64>,
}

/// The cosine of each pair over the first `width` components.
#[must_use]
pub(super) fn pair_cosines(a: &Vectors, b: &Vectors, width: usize) -> Vec<f64> {
    (0..a.len())
        .map(|i| cosine(a.first(i, width), b.first(i, width)))
        .collect()
}

/// The correlations of cosines with scores.
#[must_use]
pub(super) fn pair_measures(cosines: &[f64], scores: &[f64], dimensions: usize) -> PairMeasures {
    PairMeasures {
        dimensions,
        spearman: spearman(cosines, scores),
        pearson: pearson(cosines, scores),
    }
}

/// The interval of the difference between the candidate's Spearman correlation and the baseline's, over the same pairs.
#[must_use]
pub(super) fn spearman_change(
    baseline: &[f64],
    candidate: &[f64],
    scores: &[f64],
    bootstrap: Bootstrap,
) -> Option<Interval> {
    bootstrap.interval(scores.len(), |drawn| {
        let of = |values: &[f64]| -> Vec<f64> { drawn.iter().map(|i| values[*i]).collect() };
        let scores = of(scores);
        Some(spearman(&of(candidate), &scores)? - spearman(&of(baseline), &scores)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_of_a_system_against_itself_is_zero() {
        let scores: Vec<f64> = (0..40).map(f64::from).collect();
        let cosines: Vec<f64> = scores.iter().map(|s| (s * 7.0) % 11.0 + s).collect();
        let bootstrap = Bootstrap {
            resamples: 50,
            seed: 1,
        };
        let interval = spearman_change(&cosines, &cosines, &scores, bootstrap).unwrap();
        assert_eq!((interval.low, interval.high), (0.0, 0.0));
        let ordered = spearman_change(&cosines, &scores, &scores, bootstrap).unwrap();
        assert!(ordered.low > 0.0);
    }

    #[test]
    fn similarities_that_follow_the_scores_correlate() {
        let mut a = Vectors::new(2);
        let mut b = Vectors::new(2);
        for degrees in [90f64, 60.0, 30.0, 0.0] {
            let (sin, cos) = degrees.to_radians().sin_cos();
            a.push(&[1.0, 0.0]);
            b.push(&[cos as f32, sin as f32]);
        }
        let cosines = pair_cosines(&a, &b, 2);
        let found = pair_measures(&cosines, &[1.0, 2.0, 3.0, 4.0], 2);
        assert_eq!(found.spearman, Some(1.0));
        // Scores 1 to 4 with cosines 0, 1/2, √3/2, 1, by hand: Σdxdy / √(Σdx²Σdy²).
        assert!((found.pearson.unwrap() - 0.971_298_6).abs() < 1e-6);
        // With one component left, a pair has a cosine of 1, 0 or -1.
        assert_eq!(pair_cosines(&a, &b, 1)[1], 1.0);
    }
}
