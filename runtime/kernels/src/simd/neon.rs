//! NEON.

use core::arch::aarch64::*;
use core::arch::asm;

use super::Lanes;

/// 4 floats in a register.
#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t);

impl Lanes for Neon {
    const WIDTH: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vdupq_n_f32(x) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's code has the instruction set, and `from` is valid for 4 floats.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's code has the instruction set, and `to` is valid for 4 floats.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vfmaq_f32(b.0, self.0, a.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vmaxq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn select_less(self, a: Self, b: Self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vbslq_f32(vcltq_f32(a.0, b.0), self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vrndnq_f32(self.0) })
    }

    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // SAFETY: the caller's code has the instruction set. Adding n to the exponent's bits multiplies by 2^n.
        unsafe {
            let exponent = vshlq_n_s32::<23>(vcvtnq_s32_f32(n.0));
            Self(vreinterpretq_f32_s32(vaddq_s32(
                vreinterpretq_s32_f32(self.0),
                exponent,
            )))
        }
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vdivq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { vabsq_f32(self.0) })
    }

    #[inline(always)]
    unsafe fn exchanged<const DISTANCE: usize>(self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe {
            match DISTANCE {
                1 => vrev64q_f32(self.0),
                _ => vextq_f32::<2>(self.0, self.0),
            }
        })
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8) {
        // SAFETY: the caller's code has the instruction set, and `to` is valid for 4 codes.
        unsafe {
            let mut codes = [0; 4];
            vst1q_s32(codes.as_mut_ptr(), vcvtnq_s32_f32(self.0));
            to.cast::<[u8; 4]>()
                .write_unaligned(codes.map(|code| (code + 128) as u8));
        }
    }
}

/// Adds the products of four signed bytes to each of four sums. Rust has no stable intrinsic for the instruction.
///
/// # Safety
/// The processor has NEON's dot products.
#[inline(always)]
pub(crate) unsafe fn dot(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut result = sums;
    // SAFETY: the processor has the instruction, which reads and writes these registers alone.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) result, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    result
}
