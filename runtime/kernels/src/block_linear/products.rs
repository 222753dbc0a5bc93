//! Sums of products of codes with the weights of 16 outputs.

use crate::codes::{DEPTH, Layout};
use crate::linear::COLUMNS;

/// Inputs whose products are summed at once.
pub(super) const PART: usize = 32;

/// Bytes between the codes of inputs that are [`DEPTH`] apart.
pub(super) const STRIDE: usize = Layout::SIGNED_VECTORS.height * DEPTH;

/// 16 integer sums, one for each output of a panel.
///
/// # Safety of its methods
/// They may only be called in code that is inlined into an entry point for the instruction set. `codes` points to the first row of a
/// strip and is valid for [`PART`] inputs of it, `weights` is valid for [`BYTES`](Self::BYTES), and `scales` and `zeros` for 16 values.
pub(super) trait Products: Copy {
    /// 16 sums in float32.
    type Total: Copy;
    /// The scales and zero points of a block's weights.
    type Columns;

    /// The bits of a weight.
    const BITS: u32;

    /// Bytes of the weights of a panel and [`PART`] inputs.
    const BYTES: usize = COLUMNS * PART * Self::BITS as usize / 8;

    /// Sixteen zeros.
    unsafe fn no_total() -> Self::Total;

    /// The sums of products of [`PART`] inputs, for some rows of a strip.
    unsafe fn of_part<const HEIGHT: usize>(codes: *const u8, weights: *const u8) -> [Self; HEIGHT];

    unsafe fn add(self, other: Self) -> Self;

    unsafe fn columns(scales: *const f32, zeros: *const u8) -> Self::Columns;

    /// `total + scale * column's scale * (sum - column's zero point * code_sum)`, where `code_sum` is the sum of the block's codes.
    unsafe fn add_scaled(
        self,
        total: Self::Total,
        scale: f32,
        code_sum: i32,
        columns: &Self::Columns,
    ) -> Self::Total;

    unsafe fn store(total: Self::Total, to: &mut [f32; COLUMNS]);
}

/// Plain code.
#[derive(Clone, Copy)]
pub(super) struct Portable<const BITS: u32>([i32; COLUMNS]);

impl<const BITS: u32> Products for Portable<BITS> {
    type Total = [f32; COLUMNS];
    type Columns = [(f32, i32); COLUMNS];
    const BITS: u32 = BITS;

    #[inline(always)]
    unsafe fn no_total() -> Self::Total {
        [0.0; COLUMNS]
    }

    #[inline(always)]
    unsafe fn of_part<const HEIGHT: usize>(codes: *const u8, weights: *const u8) -> [Self; HEIGHT] {
        let mut sums = [Self([0; COLUMNS]); HEIGHT];
        for k in 0..PART / DEPTH {
            // SAFETY: `weights` is valid for 64 bytes for four inputs of 8 bits, or for eight of 4 bits.
            let weights: [[u8; DEPTH]; COLUMNS] = unsafe {
                match BITS {
                    4 => {
                        let both = weights.add(k / 2 * COLUMNS * DEPTH);
                        let both = both.cast::<[[u8; DEPTH]; COLUMNS]>().read();
                        both.map(|four| four.map(|byte| byte >> (k % 2 * 4) & 15))
                    }
                    _ => weights
                        .add(k * COLUMNS * DEPTH)
                        .cast::<[_; COLUMNS]>()
                        .read(),
                }
            };
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `codes` is valid for the inputs of the strip's rows.
                let codes = unsafe {
                    codes
                        .add(k * STRIDE + r * DEPTH)
                        .cast::<[i8; DEPTH]>()
                        .read()
                };
                for (sum, weights) in sums.0.iter_mut().zip(weights) {
                    for (code, weight) in codes.into_iter().zip(weights) {
                        *sum += i32::from(code) * i32::from(weight);
                    }
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    unsafe fn columns(scales: *const f32, zeros: *const u8) -> Self::Columns {
        // SAFETY: both are valid for 16 values.
        std::array::from_fn(|i| unsafe { (*scales.add(i), i32::from(*zeros.add(i))) })
    }

    #[inline(always)]
    unsafe fn add_scaled(
        self,
        total: Self::Total,
        scale: f32,
        code_sum: i32,
        columns: &Self::Columns,
    ) -> Self::Total {
        std::array::from_fn(|i| {
            let (weight_scale, zero) = columns[i];
            total[i] + (self.0[i] - zero * code_sum) as f32 * scale * weight_scale
        })
    }

    #[inline(always)]
    unsafe fn store(total: Self::Total, to: &mut [f32; COLUMNS]) {
        *to = total;
    }
}
