//! The best integer weights of one product, from the inputs that calibration saw: how strongly to smooth, which scales,
//! which codes. What is judged is always the *product's* error, under the arithmetic of the graph.

use lexivec_models::{Decoder, LinearPrecision};
use rayon::prelude::*;

use super::group::Group;
use crate::blocks::{Format, Step, scales_and_zeros};
use crate::cast::largest;
use crate::float8;
use crate::matrix::Matrix;
use crate::quantize::{CODE_MAX, code};
use crate::rounding::{DAMPING, Factor, clipped_scales, gptq, widest_scale};

/// SmoothQuant's strengths that are tried beside none (arXiv 2211.10438): 0 evens out weights, 1 activations.
const STRENGTHS: [f32; 6] = [0.3, 0.45, 0.55, 0.65, 0.75, 0.85];
/// Tokens on which strengths are compared.
const SAMPLE: usize = 384;
/// The widest range of smoothing factors, either way.
const WIDEST: f32 = 1e4;

/// How weights become integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// A scale per output channel; activations become integers too, with a scale per row.
    Channels,
    /// 8-bit floats with one scale; activations become such floats too, with a scale per row.
    Float8,
    /// Blocks; a CPU's activations become integers too, with a scale per row and block.
    Blocks(Format),
}

impl Scheme {
    /// The precisions that a product may have but for float32, coarsest first.
    pub(super) fn inexact(self) -> &'static [LinearPrecision] {
        match self {
            Self::Channels => &[LinearPrecision::Int8, LinearPrecision::Int8x2],
            Self::Float8 => &[LinearPrecision::Fp8],
            Self::Blocks(Format { bits: 4, .. }) => {
                &[LinearPrecision::Int4Weight, LinearPrecision::Int8Weight]
            }
            Self::Blocks(_) => &[LinearPrecision::Int8Weight],
        }
    }
}

/// Integer weights of a product.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    /// The strength chosen and the factor of each input channel.
    pub(super) smoothing: Option<(f32, Vec<f32>)>,
    pub(super) codes: Codes,
    pub(super) scales: Vec<f32>,
    /// Of blocks, packed.
    pub(super) zeros: Option<Vec<u8>>,
    pub(super) rounding: &'static str,
}

/// Codes as graphs store them.
#[derive(Debug, Clone)]
pub(super) enum Codes {
    /// `[in, out]`
    Channels(Vec<i8>),
    /// `[out, bytes]`
    Blocks(Vec<u8>),
    /// `[out, in]`
    Float8(Vec<u8>),
}

/// What weights are rounded to.
enum Grid {
    Channels(Vec<f32>),
    /// The scale of all.
    Float8(f32),
    /// By rows and blocks.
    Blocks(Format, Vec<Step>),
}

impl Grid {
    /// The grid whose ends are each channel's or block's largest weights.
    fn widest(scheme: Scheme, weights: &Matrix) -> Self {
        let rows = weights.values.par_chunks(weights.columns);
        match scheme {
            Scheme::Channels => {
                Self::Channels(rows.map(|row| widest_scale(row, CODE_MAX)).collect())
            }
            Scheme::Float8 => Self::Float8(float8::scale_of(largest(&weights.values))),
            Scheme::Blocks(format) => {
                let step = |block| format.widest(block);
                let steps = rows.flat_map_iter(|row| row.chunks(format.size).map(step));
                Self::Blocks(format, steps.collect())
            }
        }
    }

    /// The grid of least error for inputs of this importance.
    fn best(scheme: Scheme, weights: &Matrix, importance: &[f32]) -> Self {
        match scheme {
            Scheme::Channels => Self::Channels(clipped_scales(weights, importance, CODE_MAX)),
            // Steps grow with the values: a narrower range would round none of them more finely.
            Scheme::Float8 => Self::widest(scheme, weights),
            Scheme::Blocks(format) => {
                let rows = weights.values.par_chunks(weights.columns);
                let steps = rows.flat_map_iter(|row| format.fit_row(row, importance));
                Self::Blocks(format, steps.collect())
            }
        }
    }

    /// What `w` is rounded to, the weight of input channel `input` of `inputs`.
    fn nearest(&self, output: usize, input: usize, inputs: usize, w: f32) -> f32 {
        match self {
            Self::Channels(scales) => f32::from(code(w / scales[output])) * scales[output],
            Self::Float8(scale) => float8::decode(float8::encode(w / scale)) * scale,
            Self::Blocks(format, steps) => {
                let step = steps[output * format.blocks(inputs) + input / format.size];
                format.nearest(step, w)
            }
        }
    }

    /// Every weight rounded to nearest.
    fn round(&self, weights: &Matrix) -> Matrix {
        let mut rounded = weights.clone();
        let inputs = weights.columns;
        let rows = rounded.values.par_chunks_mut(inputs).enumerate();
        rows.for_each(|(output, row)| {
            for (input, w) in row.iter_mut().enumerate() {
                *w = self.nearest(output, input, inputs, *w);
            }
        });
        rounded
    }

    /// Codes, scales and zero points of weights that lie on the grid.
    fn encode(self, rounded: &Matrix) -> (Codes, Vec<f32>, Option<Vec<u8>>) {
        match self {
            Self::Channels(scales) => (Codes::Channels(codes(rounded, &scales)), scales, None),
            Self::Float8(scale) => {
                let code = |w: &f32| float8::encode(w / scale);
                let codes = rounded.values.par_iter().map(code).collect();
                (Codes::Float8(codes), vec![scale], None)
            }
            Self::Blocks(format, steps) => {
                let inputs = rounded.columns;
                let rows = rounded.values.par_chunks(inputs);
                let rows = rows.zip(steps.par_chunks(format.blocks(inputs)));
                let packed = rows.flat_map_iter(|(row, steps)| {
                    let mut packed = Vec::with_capacity(format.row_bytes(inputs));
                    format.pack_row(row, steps, &mut packed);
                    packed
                });
                let packed = packed.collect();
                let (scales, zeros) = scales_and_zeros(format, inputs, &steps);
                (Codes::Blocks(packed), scales, zeros)
            }
        }
    }
}

/// Solves a product for the inputs `[tokens, in]` and weights `[out, in]`, neither of which is kept: the widest product of
/// a 4B model and its Hessian leave no room for copies.
pub(super) fn solve(
    group: Group,
    d: &Decoder,
    scheme: Scheme,
    mut inputs: Matrix,
    mut weights: Matrix,
) -> Solution {
    let sample = inputs.sample(SAMPLE);
    let expected = sample.times_transposed(&weights);
    let widths = group.outputs(d);
    // Values of a row of activations that share a scale.
    let together = match scheme {
        Scheme::Channels | Scheme::Float8 => inputs.columns,
        Scheme::Blocks(format) => format.size,
    };
    let judge = |smoothing: &[f32]| {
        let inverse: Vec<f32> = smoothing.iter().map(|s| 1.0 / s).collect();
        let smooth = weights.scaled_columns(smoothing);
        let rounded = Grid::widest(scheme, &smooth).round(&smooth);
        let seen = quantized_rows(sample.scaled_columns(&inverse), together);
        error(&expected, &seen.times_transposed(&rounded), &widths)
    };
    let mut maxima = inputs.column_maxima();
    let mut reach = weights.column_maxima();
    group.tie(d, &mut maxima, f32::max);
    group.tie(d, &mut reach, f32::max);
    let plain = vec![1f32; inputs.columns];
    // Floats are as precise for small values as for large ones: there is nothing to even out.
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

/// A grid, and the weights rounded to it, of least error on these inputs.
fn rounded(scheme: Scheme, weights: &Matrix, inputs: &Matrix) -> (Grid, Matrix, &'static str) {
    let hessian = inputs.gram();
    let n = hessian.columns;
    let importance: Vec<f32> = (0..n).map(|i| hessian.values[i * n + i]).collect();
    let grid = Grid::best(scheme, weights, &importance);
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

/// Activations as the graph quantises them: so many values of a row `together` in 127 steps of their largest magnitude.
fn quantized_rows(mut rows: Matrix, together: usize) -> Matrix {
    rows.values.par_chunks_mut(together).for_each(|row| {
        let largest = largest(row).max(f32::MIN_POSITIVE);
        row.iter_mut()
            .for_each(|v| *v = f32::from(code(*v / largest * CODE_MAX)) / CODE_MAX * largest);
    });
    rows
}

/// Rows of one length, so that a massive token counts like any other.
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
