//! The distribution of cosines, on a logarithmic scale on which 0.999 is as far from 0.9999 as 0.9 from 0.99.

use serde::{Deserialize, Serialize};

/// Bins per tenfold step of the distance.
const PER_DECADE: i32 = 4;
/// The scale's ends, as powers of ten of the distance `1 − cosine`: 0.00000001 and 1.
const DECADES: (i32, i32) = (-8, 0);

/// Counts of cosines by their distance from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The values of `1 − cosine` between bins, ascending. The first bin lies below the first edge (vectors equal except for
    /// rounding), the last one above the last edge (cosines of 0 or less).
    pub edges: Vec<f64>,
    /// The number of texts in each bin. There is one more bin than edges.
    pub counts: Vec<usize>,
}

impl Histogram {
    /// Sorts cosines into bins.
    #[must_use]
    pub(crate) fn of(cosines: &[f64]) -> Self {
        let steps = DECADES.0 * PER_DECADE..=DECADES.1 * PER_DECADE;
        let edges: Vec<f64> = steps
            .map(|step| 10f64.powf(f64::from(step) / f64::from(PER_DECADE)))
            .collect();
        let mut counts = vec![0; edges.len() + 1];
        for cosine in cosines {
            let distance = 1.0 - cosine;
            counts[edges.partition_point(|edge| *edge <= distance)] += 1;
        }
        Self { edges, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cosine_is_counted_once_and_in_its_bin() {
        let found = Histogram::of(&[1.0, 1.0 - 1e-10, 0.95, 0.999_5, 0.0, -1.0]);
        assert_eq!(found.counts.iter().sum::<usize>(), 6);
        assert_eq!(found.counts.first(), Some(&2));
        assert_eq!(found.counts.last(), Some(&2));
        let bin = |distance: f64| found.edges.iter().filter(|e| **e <= distance).count();
        assert_eq!(found.counts[bin(0.05)], 1);
        assert_eq!(found.counts[bin(0.000_5)], 1);
    }
}
