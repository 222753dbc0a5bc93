//! Weights of 4 or 8 bits in blocks: so many consecutive input channels of an output channel share a scale and,
//! where wanted, a zero point.
//!
//! `w[o, i] ≈ (code[o, i] - zero[o, block]) * scale[o, block]`. Codes lie row by row, two of 4 bits in a byte, the first
//! in its low half: what ONNX Runtime's MatMulNBits and GatherBlockQuantized read.

use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;

use crate::cast;
use crate::error::Result;
use crate::rounding::integer;
use crate::weights::{Tensor, rows_of};

/// Shares of a block's range that its codes span, tried one by one: a few saturated weights may cost less than coarser
/// steps for all.
const SHARES: [f32; 12] = [
    1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79, 0.75, 0.7, 0.65, 0.6,
];

/// Rows whose steps are chosen at once.
const ROWS: usize = 4096;

/// The format of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// 4 or 8.
    pub(crate) bits: u32,
    /// Weights of a block.
    pub(crate) size: usize,
    pub(crate) zero_points: bool,
}

/// What the codes of a block stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    scale: f32,
    zero: f32,
}

impl Format {
    fn largest(self) -> f32 {
        ((1u32 << self.bits) - 1) as f32
    }

    /// The zero point of blocks that have none of their own.
    fn middle(self) -> f32 {
        (1u32 << (self.bits - 1)) as f32
    }

    /// Blocks of a row of `inputs` weights, which they divide.
    pub(crate) fn blocks(self, inputs: usize) -> usize {
        inputs / self.size
    }

    /// Bytes of a row's codes.
    pub(crate) fn row_bytes(self, inputs: usize) -> usize {
        inputs * self.bits as usize / 8
    }

    /// Bytes of a row's zero points.
    fn zero_bytes(self, inputs: usize) -> usize {
        (self.blocks(inputs) * self.bits as usize).div_ceil(8)
    }

    /// The step of a block of zeros: one that divides.
    fn zeros(self) -> Step {
        Step {
            scale: 1.0,
            zero: self.middle(),
        }
    }

    /// Steps that span shares of a block's range; none for a block of zeros, or next to it.
    fn candidates(self, block: &[f32], shares: &'static [f32]) -> impl Iterator<Item = Step> {
        let ends = |(low, high): (f32, f32), w: &f32| (low.min(*w), high.max(*w));
        let (low, high) = block.iter().fold((0f32, 0f32), ends);
        let shares = if high - low < 1e-30 { &[] } else { shares };
        shares.iter().flat_map(move |share| {
            if self.zero_points {
                let scale = (high - low) * share / self.largest();
                let zero = (-low * share / scale).round_ties_even();
                return [Some(Step { scale, zero }), None].into_iter().flatten();
            }
            // Codes reach one further below the middle than above it. The sign of the scale chooses which side of the
            // weights gets it; the side that needs it comes first.
            let zero = self.middle();
            let down = (-low).max(high * zero / (zero - 1.0)) * share / zero;
            let up = high.max(-low * zero / (zero - 1.0)) * share / zero;
            let scales = if down <= up { [down, -up] } else { [-up, down] };
            let steps = scales.map(|scale| Some(Step { scale, zero }));
            steps.into_iter().flatten()
        })
    }

    /// The step with the least `Σ importance · (w - rounded)²` among those that are tried.
    fn fit(self, block: &[f32], importance: &[f32]) -> Step {
        let mut best = (f32::INFINITY, self.zeros());
        for step in self.candidates(block, &SHARES) {
            let errors = block.iter().zip(importance).map(|(w, importance)| {
                let error = w - self.nearest(step, *w);
                importance * error * error
            });
            let error = errors.sum();
            if error < best.0 {
                best = (error, step);
            }
        }
        best.1
    }

    /// The step whose codes span the whole block.
    pub(crate) fn widest(self, block: &[f32]) -> Step {
        self.candidates(block, &SHARES[..1])
            .next()
            .unwrap_or(self.zeros())
    }

    fn code(self, step: Step, w: f32) -> f32 {
        let rounded = integer((w / step.scale).clamp(-1e6, 1e6));
        (rounded + step.zero).clamp(0.0, self.largest())
    }

    /// The value that `w` is stored as.
    pub(crate) fn nearest(self, step: Step, w: f32) -> f32 {
        (self.code(step, w) - step.zero) * step.scale
    }

    /// The steps of a row, block by block; `importance` says how much an input channel matters.
    pub(crate) fn fit_row(self, row: &[f32], importance: &[f32]) -> Vec<Step> {
        let blocks = row.chunks(self.size).zip(importance.chunks(self.size));
        blocks.map(|(w, i)| self.fit(w, i)).collect()
    }

    /// Appends a row's codes.
    pub(crate) fn pack_row(self, row: &[f32], steps: &[Step], out: &mut Vec<u8>) {
        let codes = row
            .iter()
            .enumerate()
            .map(|(i, w)| self.code(steps[i / self.size], *w) as u8);
        self.pack(codes, out);
    }

    /// The code in a place of packed ones.
    fn unpack(self, packed: &[u8], place: usize) -> u8 {
        match self.bits {
            8 => packed[place],
            _ => packed[place / 2] >> (4 * (place % 2)) & 15,
        }
    }

    fn pack(self, codes: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
        if self.bits == 8 {
            out.extend(codes);
            return;
        }
        let mut codes = codes;
        while let Some(low) = codes.next() {
            out.push(low | codes.next().unwrap_or(0) << 4);
        }
    }
}

/// Steps apart: scales by rows and blocks, and, where blocks have their own, packed zero points by rows.
pub(crate) fn scales_and_zeros(
    format: Format,
    inputs: usize,
    steps: &[Step],
) -> (Vec<f32>, Option<Vec<u8>>) {
    let scales = steps.iter().map(|s| s.scale).collect();
    let zeros = format.zero_points.then(|| {
        let mut zeros = Vec::with_capacity(steps.len());
        for row in steps.chunks(format.blocks(inputs)) {
            format.pack(row.iter().map(|s| s.zero as u8), &mut zeros);
        }
        zeros
    });
    (scales, zeros)
}

/// A matrix `[outputs, inputs]` in blocks.
#[derive(Debug)]
pub(crate) struct BlockQuantized {
    pub(crate) format: Format,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// By rows and blocks.
    pub(crate) scales: Vec<f32>,
    /// By rows, packed like codes.
    pub(crate) zeros: Option<Vec<u8>>,
    codes: Codes,
}

/// Where codes come from.
#[derive(Debug)]
enum Codes {
    /// These tensors, stacked by rows, rounded to nearest when they are written.
    Nearest(Vec<Tensor>),
    /// A file where calibration left them, from this byte on.
    Stored(Arc<Mmap>, usize),
}

impl BlockQuantized {
    /// Each block with the scale of least error, weights rounded to nearest.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub(crate) fn round_to_nearest(tensors: Vec<Tensor>, format: Format) -> Result<Self> {
        let inputs = tensors.first().map_or(0, Tensor::columns);
        let importance = vec![1f32; inputs];
        let (mut scales, mut zeros) = (Vec::new(), format.zero_points.then(Vec::new));
        for tensor in &tensors {
            for first in (0..tensor.rows()).step_by(ROWS) {
                let rows = first..(first + ROWS).min(tensor.rows());
                let steps: Result<Vec<Vec<Step>>> = rows
                    .into_par_iter()
                    .map_init(
                        || vec![0f32; inputs],
                        |row, r| {
                            cast::read_f32(tensor, r * inputs, row)?;
                            Ok(format.fit_row(row, &importance))
                        },
                    )
                    .collect();
                let (more, packed) = scales_and_zeros(format, inputs, &steps?.concat());
                scales.extend(more);
                if let (Some(zeros), Some(packed)) = (&mut zeros, packed) {
                    zeros.extend(packed);
                }
            }
        }
        Ok(Self {
            format,
            inputs,
            outputs: tensors.iter().map(Tensor::rows).sum(),
            scales,
            zeros,
            codes: Codes::Nearest(tensors),
        })
    }

    /// Codes that lie in a file, by rows, from byte `start` on.
    pub(crate) fn stored(
        format: Format,
        inputs: usize,
        scales: Vec<f32>,
        zeros: Option<Vec<u8>>,
        (file, start): (Arc<Mmap>, usize),
    ) -> Self {
        Self {
            format,
            inputs,
            outputs: scales.len() / format.blocks(inputs),
            scales,
            zeros,
            codes: Codes::Stored(file, start),
        }
    }

    /// The layers that are stacked, of so many rows each.
    pub(crate) fn split(&self, rows: &[usize]) -> Vec<Self> {
        let mut first = 0;
        let part = |rows: &usize| {
            let within = |per: usize| first * per..(first + rows) * per;
            let scales = self.scales[within(self.format.blocks(self.inputs))].to_vec();
            let zeros = self.zeros.as_ref();
            let zeros = zeros.map(|zeros| zeros[within(self.zero_bytes())].to_vec());
            let codes = match &self.codes {
                Codes::Nearest(tensors) => Codes::Nearest(rows_of(tensors, first, *rows)),
                Codes::Stored(file, start) => {
                    let start = start + first * self.format.row_bytes(self.inputs);
                    Codes::Stored(Arc::clone(file), start)
                }
            };
            first += rows;
            Self {
                format: self.format,
                inputs: self.inputs,
                outputs: *rows,
                scales,
                zeros,
                codes,
            }
        };
        rows.iter().map(part).collect()
    }

    /// Bytes of a row's zero points.
    pub(crate) fn zero_bytes(&self) -> usize {
        self.format.zero_bytes(self.inputs)
    }

    fn step(&self, row: usize, block: usize) -> Step {
        let scale = self.scales[row * self.format.blocks(self.inputs) + block];
        let zero = self.zeros.as_ref().map_or(self.format.middle(), |zeros| {
            let row = &zeros[row * self.zero_bytes()..];
            f32::from(self.format.unpack(row, block))
        });
        Step { scale, zero }
    }

    /// Appends the codes of rows `first..first + count`.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub(crate) fn rows(&self, first: usize, count: usize, out: &mut Vec<u8>) -> Result<()> {
        let bytes = self.format.row_bytes(self.inputs);
        let tensors = match &self.codes {
            Codes::Nearest(tensors) => tensors,
            Codes::Stored(file, start) => {
                out.extend_from_slice(&file[start + first * bytes..][..count * bytes]);
                return Ok(());
            }
        };
        let blocks = self.format.blocks(self.inputs);
        let mut row = vec![0f32; self.inputs];
        let mut before = 0;
        for tensor in tensors {
            let inside = first.max(before)..(first + count).min(before + tensor.rows());
            for r in inside {
                cast::read_f32(tensor, (r - before) * self.inputs, &mut row)?;
                let steps: Vec<Step> = (0..blocks).map(|b| self.step(r, b)).collect();
                self.format.pack_row(&row, &steps, out);
            }
            before += tensor.rows();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn formats() -> impl Strategy<Value = Format> {
        (prop_oneof![Just(4u32), Just(8)], any::<bool>()).prop_map(|(bits, zero_points)| Format {
            bits,
            size: 16,
            zero_points,
        })
    }

    proptest! {
        #[test]
        fn codes_say_what_was_rounded(
            format in formats(),
            row in prop::collection::vec(-3f32..3.0, 48),
            shift in -2f32..2.0,
        ) {
            let row: Vec<f32> = row.iter().map(|w| w + shift).collect();
            let steps = format.fit_row(&row, &[1.0; 48]);
            let mut packed = Vec::new();
            format.pack_row(&row, &steps, &mut packed);
            prop_assert_eq!(packed.len(), format.row_bytes(48));
            for (i, w) in row.iter().enumerate() {
                let step = steps[i / 16];
                let value = (f32::from(format.unpack(&packed, i)) - step.zero) * step.scale;
                prop_assert_eq!(value, format.nearest(step, *w));
                prop_assert!(step.zero >= 0.0 && step.zero <= format.largest());
            }
        }

        #[test]
        fn an_error_is_at_most_half_a_step_of_the_whole_range(
            format in formats(),
            block in prop::collection::vec(-3f32..3.0, 16),
        ) {
            let step = format.fit(&block, &[1.0; 16]);
            let widest = block.iter().fold(0f32, |m, w| m.max(w.abs()));
            let whole = 2.0 * widest / (format.largest() - 1.0);
            let square = |w: &f32| (w - format.nearest(step, *w)).powi(2);
            let error: f32 = block.iter().map(square).sum();
            // The widest range is among the candidates, and rounds each weight by half a step at most.
            prop_assert!(error <= 16.0 * (whole / 2.0).powi(2) * 1.01, "{error} {whole}");
        }
    }

    #[test]
    fn zero_points_are_packed_row_by_row() {
        let format = Format {
            bits: 4,
            size: 16,
            zero_points: true,
        };
        let step = |zero| Step { scale: 0.5, zero };
        let steps: Vec<Step> = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(step).to_vec();
        let (scales, zeros) = scales_and_zeros(format, 48, &steps);
        assert_eq!(scales, [0.5; 6]);
        assert_eq!(zeros.unwrap(), [0x21, 0x03, 0x54, 0x06]);
    }
}
