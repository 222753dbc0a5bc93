//! Means, quantiles and correlations. None of them is ever NaN.

use rayon::prelude::*;

/// The arithmetic mean; `None` without values.
#[must_use]
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The quantile `q` (0 to 1) by linear interpolation between the nearest ranks: NumPy's default, type 7 of Hyndman & Fan
/// 1996. `None` without values.
#[must_use]
pub(crate) fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    Some(sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64))
}

/// Ranks from 1. Equal values share the mean of their ranks.
#[must_use]
pub(crate) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.par_sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    // −0.0 sorts before 0.0 but equals it.
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let mean = start as f64 + (tied.len() + 1) as f64 / 2.0;
        tied.iter().for_each(|i| ranks[*i] = mean);
        start += tied.len();
    }
    ranks
}

/// Pearson's correlation, −1 to 1; `None` if the values of one list are all equal, because it is undefined then.
///
/// The correlation of a list with itself is exactly 1.
#[must_use]
pub(crate) fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let (mean_x, mean_y) = (mean(x)?, mean(y)?);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    let scale = (xx * yy).sqrt();
    (scale > 0.0).then(|| (xy / scale).clamp(-1.0, 1.0))
}

/// Spearman's rank correlation, −1 to 1 (Spearman 1904): Pearson's correlation of the ranks, with mean ranks for ties. `None`
/// if the values of one list are all equal.
#[must_use]
pub(crate) fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        x: Vec<f64>,
        y: Vec<f64>,
        ranks: Vec<f64>,
        pearson: Option<f64>,
        spearman: Option<f64>,
        quantiles: Vec<(f64, f64)>,
    }

    #[test]
    fn scipy_and_numpy_agree() {
        let golden = crate::golden::measures();
        let cases: Vec<Case> = serde_json::from_value(golden["statistics"].clone()).unwrap();
        assert!(cases.len() >= 5);
        let near = |found: Option<f64>, expected: Option<f64>| match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
            (found, expected) => found.is_none() && expected.is_none(),
        };
        for case in cases {
            assert_eq!(ranks(&case.x), case.ranks);
            assert!(near(pearson(&case.x, &case.y), case.pearson));
            assert!(near(spearman(&case.x, &case.y), case.spearman));
            for (q, expected) in case.quantiles {
                assert!(near(quantile(&case.x, q), Some(expected)), "{q}");
            }
        }
    }

    #[test]
    fn a_list_correlates_with_itself_exactly() {
        let x: Vec<f64> = (0..999).map(|i| f64::from(i * 7919 % 641).sqrt()).collect();
        assert_eq!(pearson(&x, &x), Some(1.0));
        assert_eq!(spearman(&x, &x), Some(1.0));
    }

    #[test]
    fn undefined_results_are_none_and_never_nan() {
        assert_eq!(mean(&[]), None);
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(pearson(&[], &[]), None);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(ranks(&[0.0, -0.0, 5.0]), [1.5, 1.5, 3.0]);
    }
}
