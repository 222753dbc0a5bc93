//! [`Products`] by AVX2, AVX-VNNI and AVX-512 VNNI. The instructions for bytes multiply unsigned by signed ones: weights are the
//! unsigned factor, and codes the signed one.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::products::{PART, Products, STRIDE};
use crate::codes::DEPTH;
use crate::linear::COLUMNS;

/// Bytes of a register of weights: four inputs of 8 bits for each output, or eight of 4 bits.
const REGISTER_BYTES: usize = 64;

/// Four codes of a row, as all lanes of a register need them.
///
/// # Safety
/// `codes` is valid for the inputs of the strip's rows.
#[inline(always)]
unsafe fn four(codes: *const u8, k: usize, row: usize) -> i32 {
    // SAFETY: by the contract.
    unsafe {
        codes
            .add(k * STRIDE + row * DEPTH)
            .cast::<i32>()
            .read_unaligned()
    }
}

/// Two registers of weights of 8 bits, or of 4 bits, two in each byte.
///
/// # Safety
/// The entry point has AVX2, and `from` is valid for 64 bytes.
#[inline(always)]
unsafe fn load(from: *const u8) -> [__m256i; 2] {
    // SAFETY: by the contract.
    unsafe {
        [
            _mm256_loadu_si256(from.cast()),
            _mm256_loadu_si256(from.add(32).cast()),
        ]
    }
}

/// The low and the high halves of all bytes.
///
/// # Safety
/// The entry point has AVX2.
#[inline(always)]
unsafe fn nibbles(bytes: [__m256i; 2]) -> [[__m256i; 2]; 2] {
    // SAFETY: by the contract.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        let [a, b] = bytes;
        [
            [_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)],
            [
                _mm256_and_si256(_mm256_srli_epi16::<4>(a), mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(b), mask),
            ],
        ]
    }
}

/// The scales and zero points of 16 columns, in two registers each.
pub(super) struct Columns {
    scales: [__m256; 2],
    zeros: [__m256i; 2],
}

/// Products in two registers of eight sums, by the instructions of `I`.
#[derive(Clone, Copy)]
pub(super) struct Halves<I>([__m256i; 2], PhantomData<I>);

/// Instructions for registers of 32 bytes.
///
/// # Safety of its methods
/// As those of [`Products`].
pub(super) trait Instructions: Copy {
    /// The bits of a weight.
    const BITS: u32;
    /// What is subtracted from weights, and therefore from zero points, before they are multiplied.
    const SHIFT: i32;

    /// [`Products::of_part`]
    unsafe fn of_part<const HEIGHT: usize>(
        codes: *const u8,
        weights: *const u8,
    ) -> [[__m256i; 2]; HEIGHT];
}

/// AVX2. Its instruction for bytes saturates sums of two products at 16 bits. With weights of 4 bits, sums of 16 products fit into 16
/// bits. Weights of 8 bits are made signed, and their absolute values are the unsigned factor, as in
/// [`linear`](crate::linear); a sum of two products is at most 32,512.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const BITS: u32>;

impl<const BITS: u32> Instructions for Avx2<BITS> {
    const BITS: u32 = BITS;
    const SHIFT: i32 = if BITS == 8 { 128 } else { 0 };

    #[inline(always)]
    unsafe fn of_part<const HEIGHT: usize>(
        codes: *const u8,
        weights: *const u8,
    ) -> [[__m256i; 2]; HEIGHT] {
        // SAFETY: the contract is the same.
        unsafe {
            match BITS {
                4 => avx2_four_bits(codes, weights),
                _ => avx2_eight_bits(codes, weights),
            }
        }
    }
}

/// Eight outputs after eight, so that all sums of the rows stay in registers.
///
/// # Safety
/// As [`Products::of_part`].
#[inline(always)]
unsafe fn avx2_four_bits<const HEIGHT: usize>(
    codes: *const u8,
    weights: *const u8,
) -> [[__m256i; 2]; HEIGHT] {
    // SAFETY: the caller's code has the instruction set, and its pointers are valid for a part.
    unsafe {
        let (mask, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
        let mut sums = [[_mm256_setzero_si256(); 2]; HEIGHT];
        for half in 0..2 {
            let mut pairs = [_mm256_setzero_si256(); HEIGHT];
            for k in (0..PART / DEPTH).step_by(2) {
                let from = weights.add(k / 2 * REGISTER_BYTES + half * 32);
                let both = _mm256_loadu_si256(from.cast());
                let low = _mm256_and_si256(both, mask);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), mask);
                for (r, pairs) in pairs.iter_mut().enumerate() {
                    let first = _mm256_set1_epi32(four(codes, k, r));
                    let second = _mm256_set1_epi32(four(codes, k + 1, r));
                    *pairs = _mm256_add_epi16(*pairs, _mm256_maddubs_epi16(low, first));
                    *pairs = _mm256_add_epi16(*pairs, _mm256_maddubs_epi16(high, second));
                }
            }
            for (sums, pairs) in sums.iter_mut().zip(pairs) {
                sums[half] = _mm256_madd_epi16(pairs, ones);
            }
        }
        sums
    }
}

/// # Safety
/// As [`Products::of_part`].
#[inline(always)]
unsafe fn avx2_eight_bits<const HEIGHT: usize>(
    codes: *const u8,
    weights: *const u8,
) -> [[__m256i; 2]; HEIGHT] {
    // SAFETY: the caller's code has the instruction set, and its pointers are valid for a part.
    unsafe {
        let (middle, ones) = (_mm256_set1_epi8(-128), _mm256_set1_epi16(1));
        let mut sums = [[_mm256_setzero_si256(); 2]; HEIGHT];
        for k in 0..PART / DEPTH {
            let from = weights.add(k * REGISTER_BYTES);
            let weights =
                [0, 32].map(|i| _mm256_xor_si256(_mm256_loadu_si256(from.add(i).cast()), middle));
            let absolute = weights.map(|weights| _mm256_abs_epi8(weights));
            for (r, sums) in sums.iter_mut().enumerate() {
                let codes = _mm256_set1_epi32(four(codes, k, r));
                for (i, sum) in sums.iter_mut().enumerate() {
                    let codes = _mm256_sign_epi8(codes, weights[i]);
                    let pairs = _mm256_maddubs_epi16(absolute[i], codes);
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        sums
    }
}

/// AVX-VNNI: VNNI's instruction for registers of eight outputs.
#[derive(Clone, Copy)]
pub(super) struct AvxVnni<const BITS: u32>;

impl<const BITS: u32> Instructions for AvxVnni<BITS> {
    const BITS: u32 = BITS;
    const SHIFT: i32 = 0;

    #[inline(always)]
    unsafe fn of_part<const HEIGHT: usize>(
        codes: *const u8,
        weights: *const u8,
    ) -> [[__m256i; 2]; HEIGHT] {
        // SAFETY: the caller's code has the instruction set, and its pointers are valid for a part.
        unsafe {
            let mut sums = [[_mm256_setzero_si256(); 2]; HEIGHT];
            let together = if BITS == 4 { 2 } else { 1 };
            for k in (0..PART / DEPTH).step_by(together) {
                let loaded = load(weights.add(k / together * REGISTER_BYTES));
                let [first, second] = match BITS {
                    4 => nibbles(loaded),
                    _ => [loaded; 2],
                };
                for (r, sums) in sums.iter_mut().enumerate() {
                    let codes_k = _mm256_set1_epi32(four(codes, k, r));
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm256_dpbusd_avx_epi32(*sum, first[i], codes_k);
                    }
                    if BITS == 4 {
                        let codes_k = _mm256_set1_epi32(four(codes, k + 1, r));
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = _mm256_dpbusd_avx_epi32(*sum, second[i], codes_k);
                        }
                    }
                }
            }
            sums
        }
    }
}

impl<I: Instructions> Products for Halves<I> {
    type Total = [__m256; 2];
    type Columns = Columns;
    const BITS: u32 = I::BITS;

    #[inline(always)]
    unsafe fn no_total() -> [__m256; 2] {
        // SAFETY: the caller's code has the instruction set.
        [unsafe { _mm256_setzero_ps() }; 2]
    }

    #[inline(always)]
    unsafe fn of_part<const HEIGHT: usize>(codes: *const u8, weights: *const u8) -> [Self; HEIGHT] {
        // SAFETY: the contract is the same.
        let sums: [[__m256i; 2]; HEIGHT] = unsafe { I::of_part(codes, weights) };
        sums.map(|sums| Self(sums, PhantomData))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.0, other.0);
        // SAFETY: the caller's code has the instruction set.
        let sums = unsafe { [_mm256_add_epi32(a, c), _mm256_add_epi32(b, d)] };
        Self(sums, PhantomData)
    }

    #[inline(always)]
    unsafe fn columns(scales: *const f32, zeros: *const u8) -> Columns {
        // SAFETY: the caller's code has AVX2, and both pointers are valid for 16 values.
        unsafe {
            let zeros = _mm_loadu_si128(zeros.cast());
            let shift = _mm256_set1_epi32(I::SHIFT);
            let low = _mm256_cvtepu8_epi32(zeros);
            let high = _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(zeros, zeros));
            Columns {
                scales: [_mm256_loadu_ps(scales), _mm256_loadu_ps(scales.add(8))],
                zeros: [_mm256_sub_epi32(low, shift), _mm256_sub_epi32(high, shift)],
            }
        }
    }

    #[inline(always)]
    unsafe fn add_scaled(
        self,
        mut total: [__m256; 2],
        scale: f32,
        code_sum: i32,
        columns: &Columns,
    ) -> [__m256; 2] {
        for (i, total) in total.iter_mut().enumerate() {
            // SAFETY: the caller's code has the instruction sets.
            *total = unsafe {
                let offset = _mm256_mullo_epi32(columns.zeros[i], _mm256_set1_epi32(code_sum));
                let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(self.0[i], offset));
                let scaled = _mm256_mul_ps(sum, _mm256_set1_ps(scale));
                _mm256_fmadd_ps(scaled, columns.scales[i], *total)
            };
        }
        total
    }

    #[inline(always)]
    unsafe fn store(total: [__m256; 2], to: &mut [f32; COLUMNS]) {
        // SAFETY: the caller's code has the instruction set, and `to` has 16 values.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), total[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), total[1]);
        }
    }
}

/// AVX-512 VNNI: one instruction for 16 outputs.
#[derive(Clone, Copy)]
pub(super) struct Vnni<const BITS: u32>(__m512i);

impl<const BITS: u32> Products for Vnni<BITS> {
    type Total = __m512;
    /// Scales and zero points.
    type Columns = (__m512, __m512i);
    const BITS: u32 = BITS;

    #[inline(always)]
    unsafe fn no_total() -> __m512 {
        // SAFETY: the caller's code has the instruction set.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn of_part<const HEIGHT: usize>(codes: *const u8, weights: *const u8) -> [Self; HEIGHT] {
        // SAFETY: the caller's code has the instruction set, and its pointers are valid for a part.
        unsafe {
            let mask = _mm512_set1_epi8(15);
            let mut sums = [Self(_mm512_setzero_si512()); HEIGHT];
            let together = if BITS == 4 { 2 } else { 1 };
            for k in (0..PART / DEPTH).step_by(together) {
                let loaded = _mm512_loadu_si512(weights.add(k / together * REGISTER_BYTES).cast());
                let (first, second) = match BITS {
                    4 => (
                        _mm512_and_si512(loaded, mask),
                        _mm512_and_si512(_mm512_srli_epi16::<4>(loaded), mask),
                    ),
                    _ => (loaded, loaded),
                };
                for (r, sum) in sums.iter_mut().enumerate() {
                    let codes_k = _mm512_set1_epi32(four(codes, k, r));
                    sum.0 = _mm512_dpbusd_epi32(sum.0, first, codes_k);
                    if BITS == 4 {
                        let codes_k = _mm512_set1_epi32(four(codes, k + 1, r));
                        sum.0 = _mm512_dpbusd_epi32(sum.0, second, codes_k);
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's code has the instruction set.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn columns(scales: *const f32, zeros: *const u8) -> (__m512, __m512i) {
        // SAFETY: the caller's code has the instruction set, and both pointers are valid for 16 values.
        unsafe {
            (
                _mm512_loadu_ps(scales),
                _mm512_cvtepu8_epi32(_mm_loadu_si128(zeros.cast())),
            )
        }
    }

    #[inline(always)]
    unsafe fn add_scaled(
        self,
        total: __m512,
        scale: f32,
        code_sum: i32,
        (scales, zeros): &(__m512, __m512i),
    ) -> __m512 {
        // SAFETY: the caller's code has the instruction set.
        unsafe {
            let offset = _mm512_mullo_epi32(*zeros, _mm512_set1_epi32(code_sum));
            let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(self.0, offset));
            let scaled = _mm512_mul_ps(sum, _mm512_set1_ps(scale));
            _mm512_fmadd_ps(scaled, *scales, total)
        }
    }

    #[inline(always)]
    unsafe fn store(total: __m512, to: &mut [f32; COLUMNS]) {
        // SAFETY: the caller's code has the instruction set, and `to` has 16 values.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), total) }
    }
}
