//! Solves a linear group: finds the basis of its input, the scales and the codes of least error, on the inputs that
//! calibration saw. The error is always that of the group's *output* under the graph's arithmetic, not that of its weights.

use lexivec_models::Decoder;
use rayon::prelude::*;

use super::basis::Basis;
use super::linear_group::LinearGroup;
use super::rounding_grid::{EncodedWeights, RoundingGrid, Scheme};
use crate::matrix::Matrix;
use crate::quantized::{LARGEST_CODE, code};
use crate::rounding::{DAMPING, Factor, gptq};
use crate::tensor::cast::largest;

/// Tokens on which bases are compared.
const SAMPLE: usize = 384;
/// A group is rotated if that leaves at most this share of its error, because the additions take time.
pub(super) const WORTH_ROTATING: f64 = 0.9;

/// The quantised weights of a linear group.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    /// The basis of the input to which the codes belong.
    pub(super) basis: Basis,
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
    inputs: Matrix,
    weights: Matrix,
) -> Solution {
    let sample = inputs.sample(SAMPLE);
    let expected = sample.times_transposed(&weights);
    let widths = group.outputs(d);
    // The number of consecutive activations that share a scale.
    let together = match scheme {
        Scheme::Channels { .. } | Scheme::Float8 => inputs.columns,
        Scheme::Blocks(format) => format.size,
    };
    let judge = |basis: Basis| {
        let (weights, seen) = basis.change(weights.clone(), sample.clone());
        let rounded = RoundingGrid::widest(scheme, &weights).round(&weights);
        let seen = quantized_rows(seen, together);
        let error = error(&expected, &seen.times_transposed(&rounded), &widths);
        (error, basis)
    };
    let mut maxima = inputs.column_maxima();
    let mut reach = weights.column_maxima();
    group.tie(d, &mut maxima, f32::max);
    group.tie(d, &mut reach, f32::max);
    let least = |bases: &mut dyn Iterator<Item = Basis>| {
        bases.map(judge).min_by(|(a, _), (b, _)| a.total_cmp(b))
    };
    let mut best = judge(Basis::default());
    // Floats are as precise for small values as for large ones, so no other basis gains.
    if scheme != Scheme::Float8
        && let Some(smoothed) = least(&mut Basis::smoothed(&maxima, &reach))
        && smoothed.0 < best.0
    {
        best = smoothed;
    }
    if scheme == (Scheme::Channels { rotates: true })
        && let Some(rotated) = least(&mut Basis::rotated(group, d, &maxima, &reach))
        && rotated.0 < WORTH_ROTATING * best.0
    {
        best = rotated;
    }
    let (_, basis) = best;
    let (weights, inputs) = basis.change(weights, inputs);
    let (grid, rounded, rounding) = rounded(scheme, &weights, &even_rows(inputs));
    drop(weights);
    let (codes, scales, zeros) = grid.encode(&rounded);
    Solution {
        basis,
        codes,
        scales,
        zeros,
        rounding,
    }
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
