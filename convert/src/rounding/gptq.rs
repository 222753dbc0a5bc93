//! GPTQ (arXiv 2210.17323): rounds one input channel after another. Later channels compensate the output error of earlier ones
//! as far as the calibration inputs are correlated.

use rayon::prelude::*;

use crate::matrix::{Matrix, add_product, inverse_cholesky};

/// Number of input channels that are rounded before all later ones are updated.
const CHANNELS_PER_UPDATE: usize = 128;
/// Output channels that a core rounds at a time.
const ROWS_PER_TASK: usize = 32;
/// The share of the Hessian's mean diagonal that is added to its diagonal, so that directions that calibration hardly saw do
/// not move. It is ten times the paper's value, because calibration sees fewer tokens than a large linear layer has inputs.
/// Unseen texts come out better with it, and calibration texts hardly worse (benches/RESULTS.md).
pub(crate) const DAMPING: f64 = 0.1;

/// The upper Cholesky factor of the inverse Hessian, and the order of input channels that it applies to. Channels with the
/// largest activations are rounded first, while most others can still compensate.
pub(crate) struct Factor {
    order: Vec<usize>,
    /// Row-major.
    upper: Vec<f32>,
}

impl Factor {
    /// Factors the Hessian `XᵀX` of inputs X. `None` if it has no factor, because values exceed the range of floats, or because
    /// inputs are so similar that more damping is needed.
    pub(crate) fn new(hessian: &Matrix, damping: f64) -> Option<Self> {
        let n = hessian.columns;
        let diagonal = |i: usize| f64::from(hessian.values[i * n + i]);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| diagonal(*b).total_cmp(&diagonal(*a)).then(a.cmp(b)));
        let mean = (0..n).map(diagonal).sum::<f64>() / n as f64;
        if !mean.is_finite() || mean <= 0.0 {
            return None;
        }
        // With reversed channels, H = L Lᵀ. In the original order that is H = M Mᵀ with M upper triangular. So the inverse of H
        // is UᵀU with U the inverse of M, which takes one factorisation and never forms the inverse of H itself.
        let mut values = vec![0f32; n * n];
        values.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
            let from = &hessian.values[order[n - 1 - i] * n..][..n];
            for (j, value) in row.iter_mut().enumerate() {
                *value = from[order[n - 1 - j]];
            }
            row[i] += (damping * mean) as f32;
        });
        inverse_cholesky(&mut values, n)?;
        values.reverse();
        Some(Self {
            order,
            upper: values,
        })
    }
}

/// Rounds `weights`, `[out, in]`, to values that `nearest(output, input, value)` returns.
pub(crate) fn gptq(
    weights: &Matrix,
    factor: &Factor,
    nearest: impl Fn(usize, usize, f32) -> f32 + Sync,
) -> Matrix {
    let n = weights.columns;
    let mut rounded = vec![0f32; weights.values.len()];
    rounded
        .par_chunks_mut(n * ROWS_PER_TASK)
        .enumerate()
        .for_each(|(part, out)| {
            let first = part * ROWS_PER_TASK;
            round_rows(weights, first, factor, &nearest, out);
        });
    Matrix::new(n, rounded)
}

/// Rounds rows, starting with row `first`, until `out` is full.
fn round_rows(
    weights: &Matrix,
    first: usize,
    factor: &Factor,
    nearest: &(impl Fn(usize, usize, f32) -> f32 + Sync),
    out: &mut [f32],
) {
    let n = weights.columns;
    let rows = out.len() / n;
    // The rows, with channels in the order of the factor.
    let mut work: Vec<f32> = (first..first + rows)
        .flat_map(|r| factor.order.iter().map(move |i| weights.row(r)[*i]))
        .collect();
    for start in (0..n).step_by(CHANNELS_PER_UPDATE) {
        let end = (start + CHANNELS_PER_UPDATE).min(n);
        let mut errors = vec![0f32; rows * (end - start)];
        for r in 0..rows {
            let row = &mut work[r * n..(r + 1) * n];
            for i in start..end {
                let value = nearest(first + r, factor.order[i], row[i]);
                out[r * n + factor.order[i]] = value;
                let upper = &factor.upper[i * n..(i + 1) * n];
                let error = (row[i] - value) / upper[i];
                row[i..end]
                    .iter_mut()
                    .zip(&upper[i..end])
                    .for_each(|(w, u)| *w -= error * u);
                errors[r * (end - start) + i - start] = error;
            }
        }
        if end < n {
            let width = end - start;
            let later = (&factor.upper[start * n + end..], n);
            let errors = (errors.as_slice(), width);
            let sizes = [rows, width, n - end];
            add_product(&mut work[end..], n, -1.0, errors, later, sizes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers between -1 and 1 from a linear congruential generator.
    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// 400 inputs of 200 channels, which are mixtures of 40 sources.
    fn correlated() -> Matrix {
        let (mixture, sources) = (numbers(1, 200 * 40), numbers(2, 400 * 40));
        let (mixture, sources) = (Matrix::new(40, mixture), Matrix::new(40, sources));
        let mut inputs = sources.times_transposed(&mixture);
        let noise = numbers(3, inputs.values.len());
        inputs
            .values
            .iter_mut()
            .zip(noise)
            .for_each(|(x, n)| *x += 0.1 * n);
        inputs
    }

    fn error(inputs: &Matrix, weights: &Matrix, rounded: &Matrix) -> f64 {
        let difference = weights
            .values
            .iter()
            .zip(&rounded.values)
            .map(|(w, r)| w - r);
        let difference = Matrix::new(weights.columns, difference.collect());
        let product = inputs.times_transposed(&difference);
        product.values.iter().map(|v| f64::from(v * v)).sum()
    }

    #[test]
    fn gptq_beats_rounding_to_nearest_on_correlated_inputs() {
        let inputs = correlated();
        let weights = Matrix::new(200, numbers(4, 70 * 200));
        let step = 1.0 / 7.0;
        let nearest = |w: f32| (w / step).round_ties_even().clamp(-7.0, 7.0) * step;
        let plain = Matrix::new(200, weights.values.iter().map(|w| nearest(*w)).collect());
        let factor = Factor::new(&inputs.gram(), DAMPING).unwrap();
        let better = gptq(&weights, &factor, |_, _, w| nearest(w));
        assert!(better.values.iter().all(|v| (nearest(*v) - v).abs() < 1e-6));
        let (plain, better_error) = (
            error(&inputs, &weights, &plain),
            error(&inputs, &weights, &better),
        );
        assert!(better_error < 0.5 * plain, "{better_error} {plain}");
        let again = gptq(&weights, &factor, |_, _, w| nearest(w));
        assert_eq!(again.values, better.values);
    }

    #[test]
    fn gptq_rounds_to_nearest_if_inputs_are_not_correlated() {
        let mut hessian = Matrix::new(5, vec![0.0; 25]);
        (0..5).for_each(|i| hessian.values[i * 6] = 1.0 + i as f32);
        let weights = Matrix::new(5, numbers(5, 15));
        let factor = Factor::new(&hessian, DAMPING).unwrap();
        let rounded = gptq(&weights, &factor, |_, _, w| w.round_ties_even());
        let expected: Vec<f32> = weights.values.iter().map(|w| w.round_ties_even()).collect();
        assert_eq!(rounded.values, expected);
    }
}
