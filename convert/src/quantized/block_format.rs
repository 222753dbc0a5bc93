//! The layout of codes in blocks, and the step of a block.

use crate::rounding::integer;

/// Candidate shares of a block's range that its codes span. Saturating a few weights may cost less than coarser steps for
/// all of them.
const SHARES: [f32; 12] = [
    1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79, 0.75, 0.7, 0.65, 0.6,
];

/// The layout of codes in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockFormat {
    /// 4 or 8.
    pub(crate) bits: u32,
    /// Weights per block.
    pub(crate) size: usize,
    pub(crate) zero_points: bool,
}

/// The step of a block: a code represents `(code - zero) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(super) scale: f32,
    pub(super) zero: f32,
}

impl BlockFormat {
    fn largest(self) -> f32 {
        ((1u32 << self.bits) - 1) as f32
    }

    /// The zero point of blocks that store none.
    pub(super) fn middle(self) -> f32 {
        (1u32 << (self.bits - 1)) as f32
    }

    /// Blocks per row of `inputs` weights, a multiple of the block size.
    pub(crate) fn blocks(self, inputs: usize) -> usize {
        inputs / self.size
    }

    /// Bytes of the codes of a row.
    pub(crate) fn row_bytes(self, inputs: usize) -> usize {
        inputs * self.bits as usize / 8
    }

    /// Bytes of the zero points of a row.
    pub(super) fn zero_bytes(self, inputs: usize) -> usize {
        (self.blocks(inputs) * self.bits as usize).div_ceil(8)
    }

    /// The step of a block of zeros. Its scale is not 0, so that dividing by it is safe.
    fn zeros(self) -> Step {
        Step {
            scale: 1.0,
            zero: self.middle(),
        }
    }

    /// Candidate steps that span shares of a block's range; none if the block is (nearly) all zeros.
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
            // There is one more code below the middle than above it. The sign of the scale decides whether negative or
            // positive weights get the extra code. The sign that clips less is tried first.
            let zero = self.middle();
            let down = (-low).max(high * zero / (zero - 1.0)) * share / zero;
            let up = high.max(-low * zero / (zero - 1.0)) * share / zero;
            let scales = if down <= up { [down, -up] } else { [-up, down] };
            let steps = scales.map(|scale| Some(Step { scale, zero }));
            steps.into_iter().flatten()
        })
    }

    /// The candidate step with the least `Σ importance · (w - rounded)²`.
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

    /// The value that represents `w`.
    pub(crate) fn nearest(self, step: Step, w: f32) -> f32 {
        (self.code(step, w) - step.zero) * step.scale
    }

    /// The steps of a row's blocks; `importance` is the weight of each input channel in the error.
    pub(crate) fn fit_row(self, row: &[f32], importance: &[f32]) -> Vec<Step> {
        let blocks = row.chunks(self.size).zip(importance.chunks(self.size));
        blocks.map(|(w, i)| self.fit(w, i)).collect()
    }

    /// Appends the codes of a row.
    pub(crate) fn pack_row(self, row: &[f32], steps: &[Step], out: &mut Vec<u8>) {
        let codes = row
            .iter()
            .enumerate()
            .map(|(i, w)| self.code(steps[i / self.size], *w) as u8);
        self.pack(codes, out);
    }

    /// The code at position `place` of packed codes.
    pub(super) fn unpack(self, packed: &[u8], place: usize) -> u8 {
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

/// Separates steps into scales, by rows and blocks, and packed zero points, by rows, if blocks have them.
pub(crate) fn scales_and_zeros(
    format: BlockFormat,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn formats() -> impl Strategy<Value = BlockFormat> {
        (prop_oneof![Just(4u32), Just(8)], any::<bool>()).prop_map(|(bits, zero_points)| {
            BlockFormat {
                bits,
                size: 16,
                zero_points,
            }
        })
    }

    proptest! {
        #[test]
        fn packed_codes_decode_to_the_rounded_weights(
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
        fn the_error_is_at_most_half_a_step_of_the_whole_range(
            format in formats(),
            block in prop::collection::vec(-3f32..3.0, 16),
        ) {
            let step = format.fit(&block, &[1.0; 16]);
            let widest = block.iter().fold(0f32, |m, w| m.max(w.abs()));
            let whole = 2.0 * widest / (format.largest() - 1.0);
            let square = |w: &f32| (w - format.nearest(step, *w)).powi(2);
            let error: f32 = block.iter().map(square).sum();
            // The candidates include the widest range, which rounds each weight by at most half a step.
            prop_assert!(error <= 16.0 * (whole / 2.0).powi(2) * 1.01, "{error} {whole}");
        }
    }

    #[test]
    fn zero_points_are_packed_row_by_row() {
        let format = BlockFormat {
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
