//! Linear weights as int8 per output channel.
//!
//! `w[o, i] ≈ scale[o] * code[i, o]`, codes symmetric in -127..=127, stored `[in, out]` as integer products read them.

use std::collections::HashMap;
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;

use crate::blocks::{BlockQuantized, Format};
use crate::cast;
use crate::error::Result;
use crate::float8::Float8;
use crate::rounding::{integer, widest_scale};
use crate::weights::{Tensor, rows_of};

/// The largest code; -128 is left out so that codes are symmetric.
pub(crate) const CODE_MAX: f32 = 127.0;

/// The products of linear layers that are quantised, by the name of their stacked weights.
pub(crate) type Products = HashMap<String, Product>;

/// How a product computes.
#[derive(Debug, Clone)]
pub(crate) enum Product {
    /// Integers with integers.
    Int8(Arc<Quantized>),
    /// The same, and once more for what the first codes of the activations leave.
    Int8x2(Arc<Quantized>),
    /// Weights alone are integers.
    Blocks(Arc<BlockQuantized>),
    /// 8-bit floats with 8-bit floats.
    Float8(Arc<Float8>),
    /// Weights alone are integers, rounded to nearest when they are written.
    NearestBlocks(Format),
}

/// A linear layer's quantisation.
#[derive(Debug)]
pub(crate) struct Quantized {
    inputs: usize,
    scales: Vec<f32>,
    codes: Codes,
}

/// Where codes come from.
#[derive(Debug)]
enum Codes {
    /// These tensors, stacked by rows (output channels), rounded to nearest when they are written.
    Nearest(Vec<Tensor>),
    /// A file where calibration left them.
    Stored {
        file: Arc<Mmap>,
        /// Where the first input channel's begin.
        start: usize,
        /// How far input channels are apart: the output channels of the product that this may be a part of.
        stride: usize,
    },
}

impl Quantized {
    /// Scales that map each channel's largest magnitude to the largest code.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub(crate) fn round_to_nearest(tensors: Vec<Tensor>) -> Result<Self> {
        let mut scales = Vec::new();
        for tensor in &tensors {
            let columns = tensor.columns();
            let part: Result<Vec<f32>> = (0..tensor.rows())
                .into_par_iter()
                .map_init(
                    || vec![0f32; columns],
                    |row, channel| {
                        cast::read_f32(tensor, channel * columns, row)?;
                        Ok(widest_scale(row, CODE_MAX))
                    },
                )
                .collect();
            scales.extend(part?);
        }
        let inputs = tensors.first().map_or(0, Tensor::columns);
        Ok(Self {
            inputs,
            scales,
            codes: Codes::Nearest(tensors),
        })
    }

    /// Codes that lie in a file, `[in, out]`, from byte `start` on.
    pub(crate) fn stored(inputs: usize, scales: Vec<f32>, file: Arc<Mmap>, start: usize) -> Self {
        let stride = scales.len();
        Self {
            inputs,
            scales,
            codes: Codes::Stored {
                file,
                start,
                stride,
            },
        }
    }

    /// The layers that are stacked, of so many output channels each.
    pub(crate) fn split(&self, rows: &[usize]) -> Vec<Self> {
        let mut first = 0;
        let part = |rows: &usize| {
            let codes = match &self.codes {
                Codes::Nearest(tensors) => Codes::Nearest(rows_of(tensors, first, *rows)),
                Codes::Stored {
                    file,
                    start,
                    stride,
                } => Codes::Stored {
                    file: Arc::clone(file),
                    start: start + first,
                    stride: *stride,
                },
            };
            let scales = self.scales[first..first + rows].to_vec();
            first += rows;
            Self {
                inputs: self.inputs,
                scales,
                codes,
            }
        };
        rows.iter().map(part).collect()
    }

    /// Input channels.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Output channels.
    pub(crate) fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// One scale per output channel.
    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Computes the codes of input channels `first..first + count`, `[count, out]` row-major.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub(crate) fn codes(&self, first: usize, count: usize, out: &mut Vec<u8>) -> Result<()> {
        let outputs = self.outputs();
        let tensors = match &self.codes {
            Codes::Nearest(tensors) => tensors,
            Codes::Stored {
                file,
                start,
                stride,
            } => {
                for input in first..first + count {
                    out.extend_from_slice(&file[start + input * stride..][..outputs]);
                }
                return Ok(());
            }
        };
        let start = out.len();
        out.resize(start + count * outputs, 0);
        let block = &mut out[start..];
        let mut row = vec![0f32; count];
        let mut channel = 0;
        for tensor in tensors {
            for r in 0..tensor.rows() {
                cast::read_f32(tensor, r * tensor.columns() + first, &mut row)?;
                let inverse = 1.0 / self.scales[channel];
                for (i, w) in row.iter().enumerate() {
                    block[i * outputs + channel] = code(w * inverse) as u8;
                }
                channel += 1;
            }
        }
        Ok(())
    }
}

/// Rounds to the nearest code.
pub(crate) fn code(value: f32) -> i8 {
    integer(value.clamp(-CODE_MAX, CODE_MAX)) as i8
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn codes_round_ties_to_even_and_saturate() {
        let cases = [
            (0.5, 0),
            (1.5, 2),
            (-0.5, 0),
            (-2.5, -2),
            (126.6, 127),
            (127.4, 127),
            (-300.0, -127),
        ];
        for (value, expected) in cases {
            assert_eq!(code(value), expected, "{value}");
        }
    }
}
