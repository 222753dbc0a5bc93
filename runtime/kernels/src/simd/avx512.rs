//! AVX-512.

use core::arch::x86_64::*;

use super::Lanes;

/// 16 floats in a register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub(super) __m512);

impl Lanes for Avx512 {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's code has the instruction set, and `from` is valid for 16 floats.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's code has the instruction set, and `to` is valid for 16 floats.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_fmadd_ps(self.0, a.0, b.0) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn select_less(self, a: Self, b: Self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0);
            Self(_mm512_mask_mov_ps(other.0, less, self.0))
        }
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_roundscale_ps::<8>(self.0) })
    }

    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_scalef_ps(self.0, n.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    unsafe fn exchanged<const DISTANCE: usize>(self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe {
            match DISTANCE {
                1 => _mm512_permute_ps::<0b10_11_00_01>(self.0),
                2 => _mm512_permute_ps::<0b01_00_11_10>(self.0),
                4 => _mm512_shuffle_f32x4::<0b10_11_00_01>(self.0, self.0),
                _ => _mm512_shuffle_f32x4::<0b01_00_11_10>(self.0, self.0),
            }
        })
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8) {
        // SAFETY: the caller's code has the instruction set, and `to` is valid for 16 codes.
        unsafe {
            let codes = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(128));
            _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(codes));
        }
    }
}
