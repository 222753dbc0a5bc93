//! Solves a linear group: finds the strength of smoothing, the scales and the codes of least error, on the inputs that
//! calibration saw. The error is always that of the group's *output* under the graph's arithmetic, not that of its weights.

use lexivec_models::Decoder;
use rayon::prelude::*;

use super::linear_group::LinearGroup;
use super::rounding_grid::{EncodedWeights, RoundingGrid, Scheme};
use crate::matrix::Matrix;
use crate::quantized::{LARGEST_CODE, code};
use crate::rounding::{DAMPING, Factor, gptq};
use crate::tensor::cast::largest;

/// Candidate strengths of SmoothQuant (arXiv 2211.10438), besides none: 0 evens out weights, 1 activations.
const STRENGTHS: [f32; 6] = [0.3, 0.45, 0.55, 0.65, 0.75, 0.85];
/// Tokens on which strengths are compared.
const SAMPLE: usize = 384;
/// The largest smoothing factor; its inverse is the smallest.
const WIDEST: f32 = 1e4;

/// The quantised weights of a linear group.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    /// The chosen strength and the factor of each input channel.
    pub(super) smoothing: Option<(f32, Vec<f32>)>,
    pub(super) codes: EncodedWeights,
    pub(super) scales: Vec<f32>,
    /// The packed zero points of blocks.
    pub(super) zeros: Option<Vec<u8>>,
    pub(super) rounding: &'static str,
}

/// Solves a linear group for inputs `[tokens, in]` and weights `[out, in]`. It takes both by value, because the widest group
/// of a 4B model and its Hessian leave no memory for copies.
pub(super) fn solve(
    group: LinearGroup,
    d: &Decoder,
    scheme: Scheme,
    mut inputs: Matrix,
    mut weights: Matrix,
) -> Solution {
    let sample = inputs.sample(SAMPLE);
    let expected = sample.times_transposed(&weights);
    let widths = group.outputs(d);
    // The number of consecutive activations that share a scale.
    let together = match scheme {
        Scheme::Channels | Scheme::Float8 => inputs.columns,
        Scheme::Blocks(format) => format.size,
    };
    let judge = |smoothing: &[f32]| {
        let inverse: Vec<f32> = smoothing.iter().map(|s| 1.0 / s).collect();
        let smooth = weights.scaled_columns(smoothing);
        let rounded = RoundingGrid::widest(scheme, &smooth).round(&smooth);
        let seen = quantized_rows(sample.scaled_columns(&inverse), together);
        error(&expected, &seen.times_transposed(&rounded), &widths)
    };
    let mut maxima = inputs.column_maxima();
    let mut reach = weights.column_maxima();
    group.tie(d, &mut maxima, f32::max);
    group.tie(d, &mut reach, f32::max);
    let plain = vec![1f32; inputs.columns];
    // Floats are as precise for small values as for large ones, so smoothing gains nothing.
    let strengths: &[f32] = match scheme {
        Scheme::Float8 => &[],
        Scheme::Channels | Scheme::Blocks(_) => &STRENGTHS,
    };
    let mut best = (judge(&plain), None);
    for &strength in strengths {
        let factors = smoothing(&maxima, &reach, strength);
        let error = judge(&factors);
        if error < best.0 {
            best = (error, Some((strength, factors)));
        }
    }
    let smoothing = best.1;
    let factors = smoothing.as_ref().map_or(&plain, |(_, f)| f);
    let inverse: Vec<f32> = factors.iter().map(|s| 1.0 / s).collect();
    weights.scale_columns(factors);
    inputs.scale_columns(&inverse);
    let (grid, rounded, rounding) = rounded(scheme, &weights, &even_rows(inputs));
    drop(weights);
    let (codes, scales, zeros) = grid.encode(&rounded);
    Solution {
        smoothing,
        codes,
        scales,
        zeros,
        rounding,
    }
}

/// The smoothing factors of input channels: `|x|^strength / |w|^(1 - strength)`, with a geometric mean of 1.
fn smoothing(activations: &[f32], weights: &[f32], strength: f32) -> Vec<f32> {
    let floor =
        |values: &[f32]| values.iter().fold(0f32, |m, v| m.max(*v)) * 1e-5 + f32::MIN_POSITIVE;
    let (least_x, least_w) = (floor(activations), floor(weights));
    let logs: Vec<f32> = activations
        .iter()
        .zip(weights)
        .map(|(x, w)| strength * x.max(least_x).ln() - (1.0 - strength) * w.max(least_w).ln())
        .collect();
    let mean = logs.iter().map(|l| f64::from(*l)).sum::<f64>() / logs.len() as f64;
    logs.iter()
        .map(|l| (l - mean as f32).exp().clamp(1.0 / WIDEST, WIDEST))
        .collect()
}

/// The grid and the weights rounded to it that have the least error on these inputs.
fn rounded(
    scheme: Scheme,
    weights: &Matrix,
    inputs: &Matrix,
) -> (RoundingGrid, Matrix, &'static str) {
    let hessian = inputs.gram();
    let n = hessian.columns;
    let importance: Vec<f32> = (0..n).map(|i| hessian.values[i * n + i]).collect();
    let grid = RoundingGrid::best(scheme, weights, &importance);
    let dampings = [DAMPING, 10.0 * DAMPING];
    let Some(factor) = dampings.iter().find_map(|d| Factor::new(&hessian, *d)) else {
        let nearest = grid.round(weights);
        return (grid, nearest, "clipped");
    };
    drop(hessian);
    let better = gptq(weights, &factor, |output, input, w| {
        grid.nearest(output, input, n, w)
    });
    (grid, better, "gptq")
}

/// Activations as the graph quantises them: each run of `together` values in 127 steps of their largest magnitude.
fn quantized_rows(mut rows: Matrix, together: usize) -> Matrix {
    rows.values.par_chunks_mut(together).for_each(|row| {
        let largest = largest(row).max(f32::MIN_POSITIVE);
        row.iter_mut().for_each(|v| {
            *v = f32::from(code(*v / largest * LARGEST_CODE)) / LARGEST_CODE * largest
        });
    });
    rows
}

/// Scales rows to the same length, so that a massive activation counts like any other token.
fn even_rows(mut rows: Matrix) -> Matrix {
    let columns = rows.columns;
    rows.values.par_chunks_mut(columns).for_each(|row| {
        let square: f32 = row.iter().map(|v| v * v).sum();
        let inverse = if square > 0.0 && square.is_finite() {
            1.0 / square.sqrt()
        } else {
            0.0
        };
        row.iter_mut().for_each(|v| *v *= inverse);
    });
    rows
}

/// The mean over tokens and linear layers (`widths` outputs each) of the squared error relative to the squared output, with a
/// floor for outputs close to zero.
fn error(expected: &Matrix, found: &Matrix, widths: &[usize]) -> f64 {
    let square = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let mut total = 0.0;
    let mut first = 0;
    for width in widths {
        let part = first..first + width;
        let squares: Vec<(f64, f64)> = (0..expected.rows)
            .into_par_iter()
            .map(|i| {
                let (e, f) = (&expected.row(i)[part.clone()], &found.row(i)[part.clone()]);
                let error = e.iter().zip(f).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                (error, square(e))
            })
            .collect();
        let mean = squares.iter().map(|(_, s)| s).sum::<f64>() / expected.rows as f64;
        let floor = 1e-3 * mean + f64::MIN_POSITIVE;
        total += squares.iter().map(|(e, s)| e / (s + floor)).sum::<f64>();
        first += width;
    }
    total / (expected.rows * widths.len()) as f64
}
