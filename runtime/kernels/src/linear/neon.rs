//! [`Dot`] by NEON's dot products of signed bytes.

use core::arch::aarch64::*;

use super::COLUMNS;
use super::dot::{Dot, finish};
use super::epilogue::Columns;
use crate::codes::Layout;
use crate::simd::neon::dot;

/// Four registers of four sums.
#[derive(Clone, Copy)]
pub(super) struct NeonDot([int32x4_t; 4]);

impl Dot for NeonDot {
    /// Four weights of four outputs each.
    type Weights = [int8x16_t; 4];
    const ZERO: u8 = Layout::SIGNED_VECTORS.zero;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self([unsafe { vdupq_n_s32(0) }; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const i8) -> [int8x16_t; 4] {
        // SAFETY: the caller's code has the instruction set, and `from` is valid for 64 weights.
        unsafe {
            [
                vld1q_s8(from),
                vld1q_s8(from.add(16)),
                vld1q_s8(from.add(32)),
                vld1q_s8(from.add(48)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add(mut self, codes: u32, weights: [int8x16_t; 4]) -> Self {
        // SAFETY: the caller's code has the instruction set.
        unsafe {
            let codes = vreinterpretq_s8_u32(vdupq_n_u32(codes));
            for (sums, weights) in self.0.iter_mut().zip(weights) {
                *sums = dot(*sums, weights, codes);
            }
            self
        }
    }

    #[inline(always)]
    unsafe fn finish(self, columns: &Columns, scale: f32, added: *const f32, to: *mut f32) {
        let mut sums = [0; COLUMNS];
        // SAFETY: the caller's code has the instruction set, and `added` and `to` are valid for 16 floats.
        unsafe {
            for (to, from) in sums.chunks_exact_mut(4).zip(self.0) {
                vst1q_s32(to.as_mut_ptr(), from);
            }
            finish(sums, columns, scale, added, to);
        }
    }
}
