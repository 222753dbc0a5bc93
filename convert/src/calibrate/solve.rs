//! The best int8 weights of one product, from the inputs that calibration saw: how strongly to smooth, which scales,
//! which codes. What is judged is always the *product's* error, under the arithmetic of the graph.

use lexivec_models::Decoder;
use rayon::prelude::*;

use super::group::Group;
use crate::matrix::Matrix;
use crate::quantize::{CODE_MAX, code};
use crate::rounding::{Factor, clipped_scales, gptq};

/// SmoothQuant's strengths that are tried beside none (arXiv 2211.10438): 0 evens out weights, 1 activations.
const STRENGTHS: [f32; 6] = [0.3, 0.45, 0.55, 0.65, 0.75, 0.85];
/// Tokens on which strengths are compared.
const SAMPLE: usize = 384;
/// The widest range of smoothing factors, either way.
const WIDEST: f32 = 1e4;

/// Int8 weights of a product.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    /// The strength chosen and the factor of each input channel.
    pub(super) smoothing: Option<(f32, Vec<f32>)>,
    /// Of each output channel.
    pub(super) scales: Vec<f32>,
    /// `[in, out]`
    pub(super) codes: Vec<i8>,
    pub(super) rounding: &'static str,
}

/// Solves a product for the inputs `[tokens, in]` and weights `[out, in]`.
pub(super) fn solve(group: Group, d: &Decoder, inputs: &Matrix, weights: &Matrix) -> Solution {
    let sample = inputs.sample(SAMPLE);
    let expected = sample.times_transposed(weights);
    let widths = group.outputs(d);
    let judge = |smoothing: &[f32]| {
        let inverse: Vec<f32> = smoothing.iter().map(|s| 1.0 / s).collect();
        let smooth = weights.scaled_columns(smoothing);
        let scales = widest_scales(&smooth);
        let rounded = round(&smooth, &scales);
        let found = quantized_rows(&sample.scaled_columns(&inverse)).times_transposed(&rounded);
        error(&expected, &found, &widths)
    };
    let mut maxima = inputs.column_maxima();
    let mut reach = weights.column_maxima();
    group.tie(d, &mut maxima, f32::max);
    group.tie(d, &mut reach, f32::max);
    let plain = vec![1f32; inputs.columns];
    let mut best = (judge(&plain), None);
    for strength in STRENGTHS {
        let factors = smoothing(&maxima, &reach, strength);
        let error = judge(&factors);
        if error < best.0 {
            best = (error, Some((strength, factors)));
        }
    }
    let smoothing = best.1;
    let factors = smoothing.as_ref().map_or(&plain, |(_, f)| f);
    let inverse: Vec<f32> = factors.iter().map(|s| 1.0 / s).collect();
    let smooth = weights.scaled_columns(factors);
    let inputs = even_rows(&inputs.scaled_columns(&inverse));
    let (scales, rounded, rounding) = rounded(&smooth, &inputs);
    Solution {
        smoothing,
        codes: codes(&rounded, &scales),
        scales,
        rounding,
    }
}

/// Factors of the input channels: `|x|^strength / |w|^(1 - strength)`, around 1.
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

/// Scales, and the weights rounded under them, of least error on these inputs.
fn rounded(weights: &Matrix, inputs: &Matrix) -> (Vec<f32>, Matrix, &'static str) {
    let hessian = inputs.gram();
    let n = hessian.columns;
    let importance: Vec<f32> = (0..n).map(|i| hessian.values[i * n + i]).collect();
    let scales = clipped_scales(weights, &importance, CODE_MAX);
    let nearest = round(weights, &scales);
    let Some(factor) = Factor::new(&hessian) else {
        return (scales, nearest, "clipped");
    };
    drop(hessian);
    let better = gptq(weights, &factor, |output, _, w| {
        f32::from(code(w / scales[output])) * scales[output]
    });
    (scales, better, "gptq")
}

/// Scales whose largest code is each output channel's largest weight.
fn widest_scales(weights: &Matrix) -> Vec<f32> {
    weights
        .values
        .par_chunks(weights.columns)
        .map(|row| {
            let largest = row.iter().fold(0f32, |m, w| m.max(w.abs()));
            if largest > 0.0 {
                largest / CODE_MAX
            } else {
                1.0
            }
        })
        .collect()
}

/// Weights rounded to nearest.
fn round(weights: &Matrix, scales: &[f32]) -> Matrix {
    let mut rounded = weights.clone();
    rounded
        .values
        .par_chunks_mut(weights.columns)
        .zip(scales)
        .for_each(|(row, scale)| {
            let inverse = 1.0 / scale;
            row.iter_mut()
                .for_each(|w| *w = f32::from(code(*w * inverse)) * scale);
        });
    rounded
}

/// Activations as the graph quantises them: each row in 127 steps of its largest magnitude.
fn quantized_rows(rows: &Matrix) -> Matrix {
    let mut quantized = rows.clone();
    quantized
        .values
        .par_chunks_mut(rows.columns)
        .for_each(|row| {
            let largest = row.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
            row.iter_mut()
                .for_each(|v| *v = f32::from(code(*v / largest * CODE_MAX)) / CODE_MAX * largest);
        });
    quantized
}

/// Rows of one length, so that a massive token counts like any other.
fn even_rows(rows: &Matrix) -> Matrix {
    let mut even = rows.clone();
    even.values.par_chunks_mut(rows.columns).for_each(|row| {
        let square: f32 = row.iter().map(|v| v * v).sum();
        let inverse = if square > 0.0 && square.is_finite() {
            1.0 / square.sqrt()
        } else {
            0.0
        };
        row.iter_mut().for_each(|v| *v *= inverse);
    });
    even
}

/// The mean, over tokens and linear layers (`widths` outputs each), of the square error relative to the output's
/// square, with a floor for outputs that are next to nothing.
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

/// Codes of weights that are multiples of their scales, transposed to `[in, out]`.
fn codes(rounded: &Matrix, scales: &[f32]) -> Vec<i8> {
    let (outputs, inputs) = (rounded.rows, rounded.columns);
    let mut codes = vec![0i8; outputs * inputs];
    // Pieces of a few rows keep reads and writes within the cache.
    codes
        .par_chunks_mut(outputs * 16)
        .enumerate()
        .for_each(|(part, out)| {
            for (o, scale) in scales.iter().enumerate() {
                for (k, row) in out.chunks_mut(outputs).enumerate() {
                    row[o] = code(rounded.values[o * inputs + part * 16 + k] / scale);
                }
            }
        });
    codes
}
