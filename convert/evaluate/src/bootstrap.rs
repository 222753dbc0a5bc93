//! Bootstrap confidence intervals: how far a figure would move on other texts of the same kind.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::statistics::{mean, quantile};

/// The confidence level of the intervals.
pub const CONFIDENCE: f64 = 0.95;

/// A confidence interval with inclusive ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The number of resamples and their seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// The number of resamples; 0 for no intervals.
    pub resamples: usize,
    /// The seed. The same seed gives the same interval.
    pub seed: u64,
}

impl Bootstrap {
    /// The percentile interval (Efron 1979; Efron & Tibshirani 1993, chapter 13) of a statistic over `n` units. `statistic` is
    /// given positions drawn with replacement. Draws for which it is undefined are left out. Returns `None` for fewer than two
    /// units, without resamples, or if the statistic is undefined for all draws.
    ///
    /// For the difference of two systems on the same units, the statistic should use both values of each drawn unit. That is a
    /// paired bootstrap, which is narrower than two separate ones, because units that are hard for one system are usually hard
    /// for the other.
    #[must_use]
    pub(crate) fn interval(
        self,
        n: usize,
        statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
    ) -> Option<Interval> {
        if n < 2 {
            return None;
        }
        let draw = |round: usize| {
            let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(round as u64));
            let positions: Vec<usize> = (0..n).map(|_| random.usize(..n)).collect();
            statistic(&positions)
        };
        let found: Vec<f64> = (0..self.resamples)
            .into_par_iter()
            .filter_map(draw)
            .collect();
        let tail = (1.0 - CONFIDENCE) / 2.0;
        Some(Interval {
            low: quantile(&found, tail)?,
            high: quantile(&found, 1.0 - tail)?,
        })
    }

    /// The interval of the mean of some values.
    #[must_use]
    pub(crate) fn mean(self, values: &[f64]) -> Option<Interval> {
        self.interval(values.len(), |positions| {
            let drawn: Vec<f64> = positions.iter().map(|i| values[*i]).collect();
            mean(&drawn)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap {
        resamples: 500,
        seed: 7,
    };

    #[test]
    fn the_interval_of_a_constant_is_a_point() {
        let interval = BOOTSTRAP.mean(&[1.0; 40]).unwrap();
        assert_eq!((interval.low, interval.high), (1.0, 1.0));
        assert_eq!(BOOTSTRAP.mean(&[1.0]), None);
        let none = Bootstrap {
            resamples: 0,
            ..BOOTSTRAP
        };
        assert_eq!(none.mean(&[1.0, 2.0]), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!(BOOTSTRAP.mean(&values), BOOTSTRAP.mean(&values));
        let other = Bootstrap {
            seed: 8,
            ..BOOTSTRAP
        };
        assert_ne!(BOOTSTRAP.mean(&values), other.mean(&values));
    }

    /// Of 200 samples of 60 uniform numbers, the 95 % interval should cover the true mean in about 190, with a standard
    /// deviation of 3.1. The bounds allow four deviations, and the percentile method's slightly narrow intervals in small
    /// samples.
    #[test]
    fn the_true_mean_is_covered_as_often_as_the_level_says() {
        let mut random = fastrand::Rng::with_seed(1);
        let covered = (0..200).filter(|_| {
            let sample: Vec<f64> = (0..60).map(|_| random.f64()).collect();
            let interval = BOOTSTRAP.mean(&sample).unwrap();
            (interval.low..=interval.high).contains(&0.5)
        });
        let covered = covered.count();
        assert!((178..=199).contains(&covered), "{covered}");
    }

    #[test]
    fn a_paired_difference_is_narrower_than_the_parts() {
        let mut random = fastrand::Rng::with_seed(2);
        let a: Vec<f64> = (0..100).map(|_| random.f64()).collect();
        let b: Vec<f64> = a.iter().map(|v| v + 0.01 * random.f64()).collect();
        let paired = BOOTSTRAP
            .interval(a.len(), |drawn| {
                let difference: Vec<f64> = drawn.iter().map(|i| b[*i] - a[*i]).collect();
                mean(&difference)
            })
            .unwrap();
        let whole = BOOTSTRAP.mean(&a).unwrap();
        assert!(paired.high - paired.low < (whole.high - whole.low) / 20.0);
        assert!(paired.low > 0.0);
    }
}
