//! Searches the scale of each output channel.

use rayon::prelude::*;

use super::nearest::integer;
use crate::matrix::Matrix;
use crate::tensor::cast;

/// Candidate shares of a channel's largest magnitude that the largest code represents.
const SHARES: [f32; 11] = [1.0, 0.97, 0.94, 0.91, 0.88, 0.84, 0.8, 0.75, 0.7, 0.6, 0.5];

/// The scale of each row of `weights` with the least `Σ importance · (w - rounded)²`. Codes are the integers from -`largest` to
/// `largest`. If the importance of an input channel is the mean square of its activations, the sum is the error of the output,
/// as far as channels are uncorrelated.
pub(crate) fn clipped_scales(weights: &Matrix, importance: &[f32], largest: f32) -> Vec<f32> {
    weights
        .values
        .par_chunks(weights.columns)
        .map(|row| {
            let widest = widest_scale(row, largest);
            let mut best = (f64::INFINITY, widest);
            for share in SHARES {
                let scale = widest * share;
                let error = error(row, importance, scale, largest);
                if error < best.0 {
                    best = (error, scale);
                }
            }
            best.1
        })
        .collect()
}

/// The scale with which the largest code represents a row's largest magnitude. It is 1 for a row of zeros, so that dividing by
/// it is safe.
pub(crate) fn widest_scale(row: &[f32], largest: f32) -> f32 {
    match cast::largest(row) / largest {
        0.0 => 1.0,
        scale => scale,
    }
}

/// The weighted squared error of a row with a scale.
fn error(row: &[f32], importance: &[f32], scale: f32, largest: f32) -> f64 {
    let inverse = 1.0 / scale;
    // Sums a few hundred values in float32, which the compiler vectorises, and these sums in float64.
    row.chunks(256)
        .zip(importance.chunks(256))
        .map(|(row, importance)| {
            let part: f32 = row
                .iter()
                .zip(importance)
                .map(|(w, i)| {
                    let rounded = integer((w * inverse).clamp(-largest, largest)) * scale;
                    i * (w - rounded) * (w - rounded)
                })
                .sum();
            f64::from(part)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scales_are_never_worse_than_the_widest_one(
            values in prop::collection::vec(-1f32..1.0, 24),
            importance in prop::collection::vec(0f32..2.0, 12),
            outlier in 0usize..24,
        ) {
            let mut weights = Matrix::new(12, values);
            weights.values[outlier] *= 40.0;
            let scales = clipped_scales(&weights, &importance, 7.0);
            for (row, scale) in scales.iter().enumerate() {
                let row = weights.row(row);
                let widest = widest_scale(row, 7.0);
                prop_assert!(error(row, &importance, *scale, 7.0) <= error(row, &importance, widest, 7.0));
            }
        }
    }

    #[test]
    fn an_unimportant_outlier_is_clipped() {
        let mut values = vec![0.013, -0.031, 0.042, 0.027, -0.018, 0.009, 0.036];
        values.push(0.2);
        let importance = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1e-6];
        let scale = clipped_scales(&Matrix::new(8, values), &importance, 7.0)[0];
        assert!(scale <= 0.2 / 7.0 * 0.5, "{scale}");
    }
}
