//! bf16, the upper half of a float: vectors of floats are rounded to it where they are factors of products in tile registers.
//!
//! Rounding is to the nearest value, ties to even. Subnormal numbers become zero.

use super::Lanes;

/// What attention in tile registers needs of vectors of floats.
///
/// # Safety of its methods
/// As those of [`Lanes`]. `to` is valid for twice [`WIDTH`](Lanes::WIDTH) numbers.
pub(crate) trait Bf16Lanes: Lanes {
    /// Stores these numbers, then those of `next`.
    unsafe fn store_bf16(self, next: Self, to: *mut u16);

    /// Stores the first number of each vector, then the second ones, and so on.
    unsafe fn store_bf16_pairs(self, second: Self, to: *mut u16);

    /// `2^x` with a relative error of at most 1.02e-4, a twentieth of the largest rounding error of bf16. 0 for finite x far below
    /// -126; NaN for NaN and infinity.
    unsafe fn exp2_coarse(self) -> Self;

    /// Whether a lane is less than that of `other`.
    unsafe fn any_less(self, other: Self) -> bool;

    /// Transposes 16 rows of 16 pairs of numbers, or of 16 floats. Both pointers are valid for 1,024 bytes.
    unsafe fn transpose(from: *const u32, to: *mut u32);
}

/// The factors of f, f² and f³ in an approximation of `2^f - 1` for f in [-1/2, 1/2].
const EXP2: [f32; 3] = [0.693_283, 0.242_211_07, 0.055_008_29];

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{Bf16Lanes, EXP2};
    use crate::simd::avx512::Avx512;

    // The entry point has AVX-512 with BF16.
    impl Bf16Lanes for Avx512 {
        #[inline(always)]
        unsafe fn store_bf16(self, next: Self, to: *mut u16) {
            // SAFETY: the caller's code has the instruction set, and `to` is valid for 32 numbers.
            unsafe {
                let numbers = _mm512_cvtne2ps_pbh(next.0, self.0);
                _mm512_storeu_si512(
                    to.cast(),
                    core::mem::transmute::<__m512bh, __m512i>(numbers),
                );
            }
        }

        #[inline(always)]
        unsafe fn store_bf16_pairs(self, second: Self, to: *mut u16) {
            // SAFETY: the caller's code has the instruction set, and `to` is valid for 32 numbers.
            unsafe {
                let numbers = _mm512_cvtne2ps_pbh(second.0, self.0);
                let numbers = core::mem::transmute::<__m512bh, __m512i>(numbers);
                let order = _mm512_set_epi16(
                    31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                    5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0,
                );
                _mm512_storeu_si512(to.cast(), _mm512_permutexvar_epi16(order, numbers));
            }
        }

        #[inline(always)]
        unsafe fn exp2_coarse(self) -> Self {
            // SAFETY: the caller's code has the instruction set. `scalef` gives 0 for integers below the exponents of floats.
            unsafe {
                let n = _mm512_roundscale_ps::<8>(self.0);
                let f = _mm512_sub_ps(self.0, n);
                let [c1, c2, c3] = EXP2.map(|c| _mm512_set1_ps(c));
                let p = _mm512_fmadd_ps(_mm512_fmadd_ps(c3, f, c2), f, c1);
                Self(_mm512_scalef_ps(
                    _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0)),
                    n,
                ))
            }
        }

        #[inline(always)]
        unsafe fn any_less(self, other: Self) -> bool {
            // SAFETY: the caller's code has the instruction set.
            unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) != 0 }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const u32, to: *mut u32) {
            // SAFETY: the caller's code has the instruction set, and both pointers are valid for 16 rows of 16 pairs.
            unsafe {
                let mut rows = [_mm512_setzero_si512(); 16];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = _mm512_loadu_si512(from.add(16 * i).cast());
                }
                let mut twos = rows;
                for i in 0..8 {
                    let (a, b) = (rows[2 * i], rows[2 * i + 1]);
                    twos[2 * i] = _mm512_unpacklo_epi32(a, b);
                    twos[2 * i + 1] = _mm512_unpackhi_epi32(a, b);
                }
                // A quarter of fours[4 * g + j] holds a column of rows 4g to 4g + 3: quarter l that of column 4l + j.
                let mut fours = twos;
                for i in 0..4 {
                    for j in 0..2 {
                        let (a, b) = (twos[4 * i + j], twos[4 * i + 2 + j]);
                        fours[4 * i + 2 * j] = _mm512_unpacklo_epi64(a, b);
                        fours[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(a, b);
                    }
                }
                for j in 0..4 {
                    let even_upper = _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]);
                    let odd_upper = _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]);
                    let even_lower = _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]);
                    let odd_lower = _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]);
                    let columns = [
                        _mm512_shuffle_i32x4::<0x88>(even_upper, even_lower),
                        _mm512_shuffle_i32x4::<0x88>(odd_upper, odd_lower),
                        _mm512_shuffle_i32x4::<0xdd>(even_upper, even_lower),
                        _mm512_shuffle_i32x4::<0xdd>(odd_upper, odd_lower),
                    ];
                    for (l, column) in columns.into_iter().enumerate() {
                        _mm512_storeu_si512(to.add(16 * (4 * l + j)).cast(), column);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod plain {
    use super::{Bf16Lanes, EXP2};
    use crate::simd::{Lanes, portable::Portable};

    fn rounded(x: f32) -> u16 {
        match x {
            _ if x.is_nan() => 0x7FC0,
            _ if x.is_subnormal() => ((x.to_bits() & 0x8000_0000) >> 16) as u16,
            _ => {
                let bits = x.to_bits();
                ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16
            }
        }
    }

    impl Bf16Lanes for Portable {
        unsafe fn store_bf16(self, next: Self, to: *mut u16) {
            for (i, x) in self.0.into_iter().chain(next.0).enumerate() {
                // SAFETY: `to` is valid for 16 numbers.
                unsafe { to.add(i).write(rounded(x)) };
            }
        }

        unsafe fn store_bf16_pairs(self, second: Self, to: *mut u16) {
            for (i, (a, b)) in self.0.into_iter().zip(second.0).enumerate() {
                // SAFETY: `to` is valid for 16 numbers.
                unsafe {
                    to.add(2 * i).write(rounded(a));
                    to.add(2 * i + 1).write(rounded(b));
                }
            }
        }

        unsafe fn exp2_coarse(self) -> Self {
            let [c1, c2, c3] = EXP2;
            Self(self.0.map(|x| {
                let n = x.round_ties_even();
                let f = x - n;
                (((c3 * f + c2) * f + c1) * f + 1.0) * n.exp2()
            }))
        }

        unsafe fn any_less(self, other: Self) -> bool {
            self.0.into_iter().zip(other.0).any(|(a, b)| a < b)
        }

        unsafe fn transpose(from: *const u32, to: *mut u32) {
            for row in 0..16 {
                for column in 0..16 {
                    // SAFETY: both pointers are valid for 16 rows of 16 pairs.
                    unsafe {
                        to.add(16 * column + row)
                            .write(from.add(16 * row + column).read())
                    };
                }
            }
        }
    }

    /// AVX-512 stores, transposes, compares and raises to powers as plain code does.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn avx512_is_as_plain_code() {
        use crate::simd::avx512::Avx512;

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
        unsafe fn stored(a: &[f32; 16], b: &[f32; 16]) -> ([u16; 32], [u16; 32]) {
            let (mut rows, mut pairs) = ([0; 32], [0; 32]);
            // SAFETY: this function is compiled for the instruction set, and the arrays have the sizes that the methods ask for.
            unsafe {
                let (a, b) = (Avx512::load(a.as_ptr()), Avx512::load(b.as_ptr()));
                a.store_bf16(b, rows.as_mut_ptr());
                a.store_bf16_pairs(b, pairs.as_mut_ptr());
            }
            (rows, pairs)
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
        unsafe fn transposed(from: &[u32; 256]) -> [u32; 256] {
            let mut to = [0; 256];
            // SAFETY: this function is compiled for the instruction set, and the arrays have 256 numbers.
            unsafe { Avx512::transpose(from.as_ptr(), to.as_mut_ptr()) };
            to
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
        unsafe fn power_and_less(x: f32) -> (f32, bool) {
            let mut powers = [0.0; 16];
            // SAFETY: this function is compiled for the instruction set, and the array has 16 floats.
            unsafe {
                let x = Avx512::splat(x);
                x.exp2_coarse().store(powers.as_mut_ptr());
                (powers[7], x.any_less(Avx512::splat(0.0)))
            }
        }

        if !is_x86_feature_detected!("avx512bf16") || !is_x86_feature_detected!("avx512bw") {
            return;
        }
        let a: [f32; 16] =
            std::array::from_fn(|i| (i as f32 - 7.3) * 1.000_7f32.powi(37 * i as i32));
        let mut b = a.map(|x| -x * 1e-3);
        b[3] = f32::INFINITY;
        b[4] = 1e-40;
        b[5] = f32::from_bits(0x3F80_8000);
        b[6] = f32::from_bits(0x3F81_8000);
        let all: Vec<u16> = a.iter().chain(&b).map(|x| rounded(*x)).collect();
        let matrix: [u32; 256] = std::array::from_fn(|i| i as u32);
        // SAFETY: the processor has the instructions.
        let ((rows, pairs), columns) = unsafe { (stored(&a, &b), transposed(&matrix)) };
        assert_eq!(rows[..], all);
        for i in 0..16 {
            assert_eq!([pairs[2 * i], pairs[2 * i + 1]], [all[i], all[16 + i]]);
        }
        for x in [0.0, -0.3, -0.5, -17.2, 7.9, -125.9, -1e30, f32::NAN] {
            // SAFETY: the processor has the instructions.
            let (found, less) = unsafe { power_and_less(x) };
            let exact = x.exp2();
            let close = (found - exact).abs() <= 1.02e-4 * exact || (found.is_nan() && x.is_nan());
            assert!(close, "2^{x} is {found}");
            assert_eq!(less, x < 0.0, "{x} < 0");
        }
        assert!((0..256).all(|i| columns[i] == (i % 16 * 16 + i / 16) as u32));
    }
}
