//! Sums of products of four codes with four weights, for 16 outputs at once. [`Layout`] says which sets have signed codes.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use super::COLUMNS;
use super::epilogue::Columns;
use crate::codes::Layout;

/// 16 sums.
///
/// # Safety of its methods
/// They may only be called in code that is inlined into an entry point for the instruction set. `load` reads 64 weights; `added` and
/// `to` are valid for 16 floats. No pointer needs alignment.
pub(super) trait Dot: Copy {
    /// Four weights of each of 16 outputs.
    type Weights: Copy;

    /// The code of zero.
    const ZERO: u8;

    unsafe fn zero() -> Self;

    /// Loads 64 weights.
    unsafe fn load(from: *const i8) -> Self::Weights;

    /// Adds the products with four codes.
    unsafe fn add(self, codes: u32, weights: Self::Weights) -> Self;

    /// Writes `(sum - offset) * (column's scale * scale) + added` for 16 columns. `added` may be `to`.
    unsafe fn finish(self, columns: &Columns, scale: f32, added: *const f32, to: *mut f32);
}

/// 16 sums that tile registers computed.
///
/// # Safety of its methods
/// As those of [`Dot`].
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
pub(super) trait OfSums: Dot {
    unsafe fn of_sums(sums: &[i32; COLUMNS]) -> Self;
}

/// VNNI: one instruction.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Vnni(__m512i);

#[cfg(target_arch = "x86_64")]
impl Dot for Vnni {
    type Weights = __m512i;
    const ZERO: u8 = Layout::VECTORS.zero;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    unsafe fn load(from: *const i8) -> __m512i {
        // SAFETY: the caller's code has the instruction set, and `from` is valid for 64 weights.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn add(self, codes: u32, weights: __m512i) -> Self {
        // SAFETY: the caller's code has the instruction set.
        unsafe {
            let codes = _mm512_set1_epi32(codes.cast_signed());
            Self(_mm512_dpbusd_epi32(self.0, codes, weights))
        }
    }

    #[inline(always)]
    unsafe fn finish(self, columns: &Columns, scale: f32, added: *const f32, to: *mut f32) {
        // SAFETY: the caller's code has the instruction set, and `added` and `to` are valid for 16 floats.
        unsafe {
            let offsets = _mm512_loadu_si512(columns.offsets.as_ptr().cast());
            let sums = _mm512_cvtepi32_ps(_mm512_sub_epi32(self.0, offsets));
            let scales = _mm512_loadu_ps(columns.scales.as_ptr());
            let scales = _mm512_mul_ps(_mm512_set1_ps(scale), scales);
            let added = _mm512_loadu_ps(added);
            _mm512_storeu_ps(to, _mm512_add_ps(_mm512_mul_ps(sums, scales), added));
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
impl OfSums for Vnni {
    #[inline(always)]
    unsafe fn of_sums(sums: &[i32; COLUMNS]) -> Self {
        // SAFETY: the caller's code has the instruction set, and `sums` has 16 values.
        Self(unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) })
    }
}

/// AVX2, whose instruction for bytes multiplies unsigned by signed ones and saturates sums of two products at 16 bits. The absolute
/// values of weights are the unsigned factor, and codes with the weights' signs the signed one. Neither exceeds 127, so a sum of
/// two products is at most 32,258, and exact.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx2([__m256i; 2]);

#[cfg(target_arch = "x86_64")]
impl Dot for Avx2 {
    /// Weights of eight outputs each, and their absolute values.
    type Weights = [[__m256i; 2]; 2];
    const ZERO: u8 = Layout::SIGNED_VECTORS.zero;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self([unsafe { _mm256_setzero_si256() }; 2])
    }

    #[inline(always)]
    unsafe fn load(from: *const i8) -> [[__m256i; 2]; 2] {
        // SAFETY: the caller's code has the instruction set, and `from` is valid for 64 weights.
        unsafe {
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(32).cast());
            [[low, _mm256_abs_epi8(low)], [high, _mm256_abs_epi8(high)]]
        }
    }

    #[inline(always)]
    unsafe fn add(mut self, codes: u32, weights: [[__m256i; 2]; 2]) -> Self {
        // SAFETY: the caller's code has the instruction set.
        unsafe {
            let codes = _mm256_set1_epi32(codes.cast_signed());
            for (sum, [weights, absolute]) in self.0.iter_mut().zip(weights) {
                let pairs = _mm256_maddubs_epi16(absolute, _mm256_sign_epi8(codes, weights));
                let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
                *sum = _mm256_add_epi32(*sum, fours);
            }
            self
        }
    }

    #[inline(always)]
    unsafe fn finish(self, columns: &Columns, scale: f32, added: *const f32, to: *mut f32) {
        // SAFETY: the caller's code has the instruction set, and `added` and `to` are valid for 16 floats.
        unsafe { finish_halves(self.0, columns, scale, added, to) };
    }
}

/// AVX-VNNI: VNNI's instruction for registers of eight outputs.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct AvxVnni([__m256i; 2]);

#[cfg(target_arch = "x86_64")]
impl Dot for AvxVnni {
    type Weights = [__m256i; 2];
    const ZERO: u8 = Layout::VECTORS.zero;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self([unsafe { _mm256_setzero_si256() }; 2])
    }

    #[inline(always)]
    unsafe fn load(from: *const i8) -> [__m256i; 2] {
        // SAFETY: the caller's code has the instruction set, and `from` is valid for 64 weights.
        unsafe {
            [
                _mm256_loadu_si256(from.cast()),
                _mm256_loadu_si256(from.add(32).cast()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add(self, codes: u32, weights: [__m256i; 2]) -> Self {
        // SAFETY: the caller's code has the instruction set.
        unsafe {
            let codes = _mm256_set1_epi32(codes.cast_signed());
            Self([
                _mm256_dpbusd_avx_epi32(self.0[0], codes, weights[0]),
                _mm256_dpbusd_avx_epi32(self.0[1], codes, weights[1]),
            ])
        }
    }

    #[inline(always)]
    unsafe fn finish(self, columns: &Columns, scale: f32, added: *const f32, to: *mut f32) {
        // SAFETY: the caller's code has the instruction set, and `added` and `to` are valid for 16 floats.
        unsafe { finish_halves(self.0, columns, scale, added, to) };
    }
}

/// [`Dot::finish`] for two registers of eight sums.
///
/// # Safety
/// As there; the entry point has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn finish_halves(
    sums: [__m256i; 2],
    columns: &Columns,
    scale: f32,
    added: *const f32,
    to: *mut f32,
) {
    for (i, sums) in sums.into_iter().enumerate() {
        let first = 8 * i;
        // SAFETY: the caller's code has AVX2. Both halves lie within the 16 values of each operand.
        unsafe {
            let offsets = _mm256_loadu_si256(columns.offsets.as_ptr().add(first).cast());
            let sums = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, offsets));
            let scales = _mm256_loadu_ps(columns.scales.as_ptr().add(first));
            let scales = _mm256_mul_ps(_mm256_set1_ps(scale), scales);
            let y = _mm256_mul_ps(sums, scales);
            _mm256_storeu_ps(
                to.add(first),
                _mm256_add_ps(y, _mm256_loadu_ps(added.add(first))),
            );
        }
    }
}

/// Plain code.
#[derive(Clone, Copy)]
pub(super) struct Portable([i32; COLUMNS]);

impl Dot for Portable {
    type Weights = [[i8; 4]; COLUMNS];
    const ZERO: u8 = Layout::VECTORS.zero;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0; COLUMNS])
    }

    #[inline(always)]
    unsafe fn load(from: *const i8) -> Self::Weights {
        // SAFETY: `from` is valid for 64 weights.
        unsafe { from.cast::<Self::Weights>().read() }
    }

    #[inline(always)]
    unsafe fn add(mut self, codes: u32, weights: Self::Weights) -> Self {
        let codes = codes.to_ne_bytes();
        for (sum, weights) in self.0.iter_mut().zip(weights) {
            for (code, weight) in codes.into_iter().zip(weights) {
                *sum += i32::from(code) * i32::from(weight);
            }
        }
        self
    }

    #[inline(always)]
    unsafe fn finish(self, columns: &Columns, scale: f32, added: *const f32, to: *mut f32) {
        // SAFETY: `added` and `to` are valid for 16 floats.
        unsafe { finish(self.0, columns, scale, added, to) };
    }
}

#[cfg(test)]
impl OfSums for Portable {
    #[inline(always)]
    unsafe fn of_sums(sums: &[i32; COLUMNS]) -> Self {
        Self(*sums)
    }
}

/// [`Dot::finish`] in plain code.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn finish(
    sums: [i32; COLUMNS],
    columns: &Columns,
    scale: f32,
    added: *const f32,
    to: *mut f32,
) {
    for (i, sum) in sums.into_iter().enumerate() {
        let sum = (sum - columns.offsets[i]) as f32;
        // SAFETY: `added` and `to` are valid for 16 floats.
        unsafe {
            *to.add(i) = sum * (scale * columns.scales[i]) + *added.add(i);
        }
    }
}
