//! [`Products`] by NEON's dot products of signed bytes. Weights of 8 bits are made signed.

use core::arch::aarch64::*;

use super::products::{PART, Products, STRIDE};
use crate::codes::DEPTH;
use crate::linear::COLUMNS;
use crate::simd::neon::dot;

/// Bytes of four registers of weights: four inputs of 8 bits for each output, or eight of 4 bits.
const REGISTER_BYTES: usize = 64;

/// Four registers of four sums.
#[derive(Clone, Copy)]
pub(super) struct NeonDot<const BITS: u32>([int32x4_t; 4]);

/// The scales and zero points of 16 columns.
pub(super) struct Quarters {
    scales: [float32x4_t; 4],
    zeros: [int32x4_t; 4],
}

/// Four codes of a row, repeated.
///
/// # Safety
/// The caller's code has NEON, and `codes` is valid for the inputs of the strip's rows.
#[inline(always)]
unsafe fn four(codes: *const u8, k: usize, row: usize) -> int8x16_t {
    // SAFETY: by the contract.
    unsafe {
        let codes = codes.add(k * STRIDE + row * DEPTH).cast::<u32>();
        vreinterpretq_s8_u32(vdupq_n_u32(codes.read_unaligned()))
    }
}

impl<const BITS: u32> Products for NeonDot<BITS> {
    type Total = [float32x4_t; 4];
    type Columns = Quarters;
    const BITS: u32 = BITS;

    #[inline(always)]
    unsafe fn no_total() -> [float32x4_t; 4] {
        // SAFETY: the caller's code has the instruction set.
        [unsafe { vdupq_n_f32(0.0) }; 4]
    }

    #[inline(always)]
    unsafe fn of_part<const HEIGHT: usize>(codes: *const u8, weights: *const u8) -> [Self; HEIGHT] {
        // SAFETY: the caller's code has the instruction set, and its pointers are valid for a part.
        unsafe {
            let (mask, middle) = (vdupq_n_u8(15), vdupq_n_u8(128));
            let mut sums = [Self([vdupq_n_s32(0); 4]); HEIGHT];
            let together = if BITS == 4 { 2 } else { 1 };
            for k in (0..PART / DEPTH).step_by(together) {
                let from = weights.add(k / together * REGISTER_BYTES);
                let mut first = [vdupq_n_s8(0); 4];
                let mut second = first;
                for i in 0..4 {
                    let loaded = vld1q_u8(from.add(16 * i));
                    if BITS == 4 {
                        first[i] = vreinterpretq_s8_u8(vandq_u8(loaded, mask));
                        second[i] = vreinterpretq_s8_u8(vshrq_n_u8::<4>(loaded));
                    } else {
                        first[i] = vreinterpretq_s8_u8(veorq_u8(loaded, middle));
                    }
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let codes_k = four(codes, k, r);
                    for (sum, weights) in sums.0.iter_mut().zip(first) {
                        *sum = dot(*sum, weights, codes_k);
                    }
                    if BITS == 4 {
                        let codes_k = four(codes, k + 1, r);
                        for (sum, weights) in sums.0.iter_mut().zip(second) {
                            *sum = dot(*sum, weights, codes_k);
                        }
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for (sum, other) in self.0.iter_mut().zip(other.0) {
            // SAFETY: the caller's code has the instruction set.
            *sum = unsafe { vaddq_s32(*sum, other) };
        }
        self
    }

    #[inline(always)]
    unsafe fn columns(scales: *const f32, zeros: *const u8) -> Quarters {
        // SAFETY: the caller's code has the instruction set, and both pointers are valid for 16 values.
        unsafe {
            let shift = vdupq_n_s32(if BITS == 8 { 128 } else { 0 });
            let mut columns = Quarters {
                scales: [vdupq_n_f32(0.0); 4],
                zeros: [shift; 4],
            };
            for i in 0..4 {
                columns.scales[i] = vld1q_f32(scales.add(4 * i));
                let mut four = [0; 4];
                for (j, zero) in four.iter_mut().enumerate() {
                    *zero = i32::from(*zeros.add(4 * i + j));
                }
                columns.zeros[i] = vsubq_s32(vld1q_s32(four.as_ptr()), shift);
            }
            columns
        }
    }

    #[inline(always)]
    unsafe fn add_scaled(
        self,
        mut total: [float32x4_t; 4],
        scale: f32,
        code_sum: i32,
        columns: &Quarters,
    ) -> [float32x4_t; 4] {
        for (i, total) in total.iter_mut().enumerate() {
            // SAFETY: the caller's code has the instruction set.
            *total = unsafe {
                let sum = vmlsq_s32(self.0[i], columns.zeros[i], vdupq_n_s32(code_sum));
                let scaled = vmulq_f32(vcvtq_f32_s32(sum), vdupq_n_f32(scale));
                vfmaq_f32(*total, scaled, columns.scales[i])
            };
        }
        total
    }

    #[inline(always)]
    unsafe fn store(total: [float32x4_t; 4], to: &mut [f32; COLUMNS]) {
        for (to, from) in to.chunks_exact_mut(4).zip(total) {
            // SAFETY: the caller's code has the instruction set, and `to` has four values.
            unsafe { vst1q_f32(to.as_mut_ptr(), from) };
        }
    }
}
