//! The values that weights can be rounded to, for each way of quantising a linear group.

use lexivec_models::LinearPrecision;
use rayon::prelude::*;

use crate::matrix::Matrix;
use crate::quantized::{BlockFormat, LARGEST_CODE, Step, code, scales_and_zeros};
use crate::rounding::{clipped_scales, widest_scale};
use crate::tensor::cast::largest;
use crate::tensor::e4m3;

/// How the weights of a graph are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// 8-bit integers with a scale per output channel. Activations become integers too, with a scale per token; `rotates` says whether
    /// the graph may rotate them before.
    Channels { rotates: bool },
    /// 8-bit floats with one scale. Activations become 8-bit floats too, with a scale per token.
    Float8,
    /// Integers in blocks. On a CPU activations become integers too, with a scale per token and block.
    Blocks(BlockFormat),
}

impl Scheme {
    /// The precisions that a linear group may have besides float32, coarsest first.
    pub(super) fn inexact(self) -> &'static [LinearPrecision] {
        match self {
            Self::Channels { .. } => &[LinearPrecision::Int8, LinearPrecision::Int8x2],
            Self::Float8 => &[LinearPrecision::Fp8],
            Self::Blocks(BlockFormat { bits: 4, .. }) => {
                &[LinearPrecision::Int4Weight, LinearPrecision::Int8Weight]
            }
            Self::Blocks(_) => &[LinearPrecision::Int8Weight],
        }
    }
}

/// Codes in the layout of graphs.
#[derive(Debug, Clone)]
pub(super) enum EncodedWeights {
    /// `[in, out]`
    Channels(Vec<i8>),
    /// `[out, bytes]`
    Blocks(Vec<u8>),
    /// `[out, in]`
    Float8(Vec<u8>),
}

/// The values that the weights of a linear group can be rounded to.
pub(super) enum RoundingGrid {
    Channels(Vec<f32>),
    /// One scale for all weights.
    Float8(f32),
    /// By rows and blocks.
    Blocks(BlockFormat, Vec<Step>),
}

impl RoundingGrid {
    /// The grid that ends at the largest weight of each channel or block.
    pub(super) fn widest(scheme: Scheme, weights: &Matrix) -> Self {
        let rows = weights.values.par_chunks(weights.columns);
        match scheme {
            Scheme::Channels { .. } => {
                Self::Channels(rows.map(|row| widest_scale(row, LARGEST_CODE)).collect())
            }
            Scheme::Float8 => Self::Float8(e4m3::scale_of(largest(&weights.values))),
            Scheme::Blocks(format) => {
                let step = |block| format.widest(block);
                let steps = rows.flat_map_iter(|row| row.chunks(format.size).map(step));
                Self::Blocks(format, steps.collect())
            }
        }
    }

    /// The grid of least error, with this importance of each input channel.
    pub(super) fn best(scheme: Scheme, weights: &Matrix, importance: &[f32]) -> Self {
        match scheme {
            Scheme::Channels { .. } => {
                Self::Channels(clipped_scales(weights, importance, LARGEST_CODE))
            }
            // The steps of floats grow with their values, so a narrower range would not round more finely.
            Scheme::Float8 => Self::widest(scheme, weights),
            Scheme::Blocks(format) => {
                let rows = weights.values.par_chunks(weights.columns);
                let steps = rows.flat_map_iter(|row| format.fit_row(row, importance));
                Self::Blocks(format, steps.collect())
            }
        }
    }

    /// The grid value nearest to `w`, the weight of input channel `input` of `inputs`.
    pub(super) fn nearest(&self, output: usize, input: usize, inputs: usize, w: f32) -> f32 {
        match self {
            Self::Channels(scales) => f32::from(code(w / scales[output])) * scales[output],
            Self::Float8(scale) => e4m3::decode(e4m3::encode(w / scale)) * scale,
            Self::Blocks(format, steps) => {
                let step = steps[output * format.blocks(inputs) + input / format.size];
                format.nearest(step, w)
            }
        }
    }

    /// Rounds every weight to nearest.
    pub(super) fn round(&self, weights: &Matrix) -> Matrix {
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

    /// The codes, scales and zero points of weights that lie on the grid.
    pub(super) fn encode(self, rounded: &Matrix) -> (EncodedWeights, Vec<f32>, Option<Vec<u8>>) {
        match self {
            Self::Channels(scales) => (
                EncodedWeights::Channels(codes(rounded, &scales)),
                scales,
                None,
            ),
            Self::Float8(scale) => {
                let code = |w: &f32| e4m3::encode(w / scale);
                let codes = rounded.values.par_iter().map(code).collect();
                (EncodedWeights::Float8(codes), vec![scale], None)
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
                (EncodedWeights::Blocks(packed), scales, zeros)
            }
        }
    }
}

/// The codes of weights that are multiples of their scales, transposed to `[in, out]`.
fn codes(rounded: &Matrix, scales: &[f32]) -> Vec<i8> {
    let (outputs, inputs) = (rounded.rows, rounded.columns);
    let mut codes = vec![0i8; outputs * inputs];
    // Parts of a few rows keep reads and writes within the cache.
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
