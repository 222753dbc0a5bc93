//! Weights as 8-bit integers with a scale per output channel.
//!
//! `w[o, i] ≈ scale[o] * code[i, o]`. Codes are symmetric in -127..=127 and stored `[in, out]`, the order in which integer
//! matrix products read them.

use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;

use super::code_source::CodeSource;
use crate::error::Result;
use crate::rounding::{integer, widest_scale};
use crate::tensor::TensorSource;
use crate::weights::Tensor;

/// The largest code. -128 is left out so that codes are symmetric.
pub(crate) const LARGEST_CODE: f32 = 127.0;

/// Input channels per piece: a piece reads whole cache lines of every checkpoint row.
const CHANNELS_PER_PIECE: usize = 64;

/// Weights of linear layers that are stacked by rows.
#[derive(Debug)]
pub(crate) struct Int8Weights {
    inputs: usize,
    scales: Vec<f32>,
    codes: CodeSource,
    /// The width of the blocks of the input that are rotated (`lexivec_kernels::hadamard`), if any.
    rotation: Option<usize>,
    /// Bytes between the stored codes of two input channels: the output channels of the whole stack, of which these
    /// weights may be a part.
    stride: usize,
}

impl Int8Weights {
    /// Rounds every weight to nearest when the graph is written, with scales that map each channel's largest magnitude to
    /// the largest code.
    ///
    /// # Errors
    /// A weight is not finite.
    pub(crate) fn round_to_nearest(tensors: Vec<Tensor>) -> Result<Self> {
        let mut scales = Vec::new();
        for tensor in &tensors {
            let columns = tensor.columns();
            let part: Result<Vec<f32>> = (0..tensor.rows())
                .into_par_iter()
                .map_init(
                    || vec![0f32; columns],
                    |row, channel| {
                        tensor.read_f32(channel * columns, row)?;
                        Ok(widest_scale(row, LARGEST_CODE))
                    },
                )
                .collect();
            scales.extend(part?);
        }
        Ok(Self {
            inputs: tensors.first().map_or(0, Tensor::columns),
            rotation: None,
            stride: scales.len(),
            scales,
            codes: CodeSource::RoundToNearest(tensors),
        })
    }

    /// Uses codes that lie in a file, `[in, out]`, from byte `start` on. They multiply an input whose blocks of width `rotation`, if
    /// any, are rotated.
    pub(crate) fn stored(
        inputs: usize,
        rotation: Option<usize>,
        scales: Vec<f32>,
        file: Arc<Mmap>,
        start: usize,
    ) -> Self {
        Self {
            inputs,
            rotation,
            stride: scales.len(),
            scales,
            codes: CodeSource::Stored { file, start },
        }
    }

    /// Splits stacked layers into layers with these numbers of output channels.
    pub(crate) fn split(&self, outputs: &[usize]) -> Vec<Self> {
        let mut first = 0;
        let part = |outputs: &usize| {
            let codes = self.codes.part(first, *outputs, first);
            let scales = self.scales[first..first + outputs].to_vec();
            first += outputs;
            Self {
                inputs: self.inputs,
                rotation: self.rotation,
                scales,
                codes,
                stride: self.stride,
            }
        };
        outputs.iter().map(part).collect()
    }

    /// Number of input channels.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The width of the blocks of the input that are rotated, if any.
    pub(crate) fn rotation(&self) -> Option<usize> {
        self.rotation
    }

    /// Number of output channels.
    pub(crate) fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// The codes of some output channels, `[outputs, inputs]`.
    ///
    /// # Errors
    /// A weight is not finite.
    pub(crate) fn rows(&self, outputs: Range<usize>) -> Result<Vec<i8>> {
        let mut codes = vec![0; outputs.len() * self.inputs];
        match &self.codes {
            CodeSource::RoundToNearest(tensors) => {
                let mut row = vec![0f32; self.inputs];
                let channels = tensors
                    .iter()
                    .flat_map(|tensor| (0..tensor.rows()).map(move |r| (tensor, r)))
                    .skip(outputs.start);
                let scales = &self.scales[outputs];
                for (((tensor, r), scale), codes) in channels
                    .zip(scales)
                    .zip(codes.chunks_exact_mut(self.inputs))
                {
                    tensor.read_f32(r * self.inputs, &mut row)?;
                    let inverse = 1.0 / scale;
                    for (to, w) in codes.iter_mut().zip(&row) {
                        *to = code(w * inverse);
                    }
                }
            }
            CodeSource::Stored { file, start } => {
                for input in 0..self.inputs {
                    let stored = &file[start + input * self.stride..][outputs.clone()];
                    for (output, byte) in stored.iter().enumerate() {
                        codes[output * self.inputs + input] = byte.cast_signed();
                    }
                }
            }
        }
        Ok(codes)
    }

    /// The scale of each output channel.
    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }
}

/// A unit is an input channel.
impl TensorSource for Int8Weights {
    fn units(&self) -> usize {
        self.inputs
    }

    fn units_per_piece(&self) -> usize {
        CHANNELS_PER_PIECE
    }

    fn append(&self, inputs: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let outputs = self.outputs();
        let tensors = match &self.codes {
            CodeSource::RoundToNearest(tensors) => tensors,
            CodeSource::Stored { file, start } => {
                for input in inputs {
                    out.extend_from_slice(&file[start + input * self.stride..][..outputs]);
                }
                return Ok(());
            }
        };
        let start = out.len();
        out.resize(start + inputs.len() * outputs, 0);
        let block = &mut out[start..];
        let mut row = vec![0f32; inputs.len()];
        let mut channel = 0;
        for tensor in tensors {
            for r in 0..tensor.rows() {
                tensor.read_f32(r * tensor.columns() + inputs.start, &mut row)?;
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
    integer(value.clamp(-LARGEST_CODE, LARGEST_CODE)) as i8
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
