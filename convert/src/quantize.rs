//! Linear weights as int8 per output channel.
//!
//! `w[o, i] ≈ scale[o] * code[i, o]`, codes symmetric in -127..=127, stored `[in, out]` as integer products read them.

use rayon::prelude::*;

use crate::cast;
use crate::error::Result;
use crate::weights::Tensor;

/// The largest code; -128 is left out so that codes are symmetric.
const CODE_MAX: f32 = 127.0;

/// A linear layer's quantisation: the scales are known, the codes are computed when they are written.
#[derive(Debug)]
pub(crate) struct Quantized {
    /// Stacked by rows: output channels.
    tensors: Vec<Tensor>,
    scales: Vec<f32>,
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
                        let largest = row.iter().fold(0f32, |m, w| m.max(w.abs()));
                        // A channel of zeros keeps a scale that divides.
                        Ok(if largest > 0.0 {
                            largest / CODE_MAX
                        } else {
                            1.0
                        })
                    },
                )
                .collect();
            scales.extend(part?);
        }
        Ok(Self { tensors, scales })
    }

    /// Input channels.
    pub(crate) fn inputs(&self) -> usize {
        self.tensors.first().map_or(0, Tensor::columns)
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
        let start = out.len();
        out.resize(start + count * outputs, 0);
        let block = &mut out[start..];
        let mut row = vec![0f32; count];
        let mut channel = 0;
        for tensor in &self.tensors {
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

/// Rounds to the nearest code, ties to even. Adding 1.5 * 2^23 leaves the integer in the low mantissa bits, which
/// unlike a call to `rint` is two vector instructions on every x86-64.
fn code(value: f32) -> i8 {
    const SHIFT: f32 = 12_582_912.0;
    ((value.clamp(-CODE_MAX, CODE_MAX) + SHIFT) - SHIFT) as i8
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
