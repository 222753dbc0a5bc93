//! The orthonormal Walsh–Hadamard transform of blocks of a row: a rotation that takes only additions and subtractions, and one
//! multiplication at the end. It spreads a single large value over its whole block, so the block's largest value becomes smaller.
//!
//! A block's width n is a power of two. Stage `s` adds and subtracts the values at distance `s`, for s = 1, 2, 4 … n/2. All instruction
//! sets compute the same sums in this order, so their results are the same bits. The transform is its own inverse and its own transpose.

use crate::rows::WIDTH_STEP;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon::Neon;
use crate::simd::{InstructionSet, Lanes, portable::Portable};
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// The widest block. Every wider one would leave the first-level cache.
pub const WIDEST_BLOCK: usize = 4096;

/// The widest block that divides a row of `width` values; `None` if not even the least one does.
///
/// ```
/// use lexivec_kernels::hadamard::widest_block;
///
/// assert_eq!([1024, 9728, 576, 40].map(widest_block), [Some(1024), Some(512), Some(64), None]);
/// ```
#[must_use]
pub fn widest_block(width: usize) -> Option<usize> {
    let block = 1 << width.trailing_zeros().min(WIDEST_BLOCK.trailing_zeros());
    (width > 0 && block >= WIDTH_STEP).then_some(block)
}

/// Checks that blocks of this width can be rotated, and that a row of `width` values has whole ones.
///
/// # Errors
/// Says what does not fit.
pub fn check(width: usize, block: usize) -> Result<(), String> {
    match widest_block(width) {
        Some(widest) if block.is_power_of_two() && (WIDTH_STEP..=widest).contains(&block) => Ok(()),
        _ => Err(format!(
            "a row of {width} values cannot be rotated in blocks of {block}: they must be whole, and {block} a power of two from \
             {WIDTH_STEP} to {WIDEST_BLOCK}"
        )),
    }
}

/// Rotates each block of `values`.
///
/// ```
/// use lexivec_kernels::{hadamard::rotate, simd::InstructionSet};
///
/// let mut values = [0.0; 16];
/// values[5] = 4.0;
/// rotate(InstructionSet::best(), &mut values, 16);
/// assert!(values.iter().all(|value| value.abs() == 1.0));
/// rotate(InstructionSet::best(), &mut values, 16);
/// assert_eq!(values[5], 4.0);
/// ```
///
/// # Panics
/// If the blocks are not those of [`check`], or the processor lacks the instruction set.
pub fn rotate(set: InstructionSet, values: &mut [f32], block: usize) {
    set.assert_available();
    if let Err(reason) = check(values.len(), block) {
        panic!("{reason}");
    }
    // SAFETY: the processor has the set, and the blocks were checked.
    unsafe {
        match set.vectors() {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512(values, block),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2(values, block),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => transform::<Neon>(values, block),
            _ => transform::<Portable>(values, block),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(values: &mut [f32], block: usize) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `transform`.
    unsafe { transform::<Avx512>(values, block) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(values: &mut [f32], block: usize) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `transform`.
    unsafe { transform::<Avx2>(values, block) }
}

/// Rotates each block of `values`.
///
/// # Safety
/// As the methods of [`Lanes`]; [`check`] accepts the blocks.
#[inline(always)]
pub(crate) unsafe fn transform<V: Lanes>(values: &mut [f32], block: usize) {
    let scale = 1.0 / (block as f32).sqrt();
    for block in values.chunks_exact_mut(block) {
        // SAFETY: the contract is the same, and a block is a multiple of the vector's width.
        unsafe {
            within_vectors::<V>(block);
            between_vectors::<V>(block, scale);
        }
    }
}

/// The stages whose distance is less than a vector's width.
///
/// # Safety
/// As [`transform`].
#[inline(always)]
unsafe fn within_vectors<V: Lanes>(block: &mut [f32]) {
    // SAFETY: the caller runs this in code for the instruction set. The block is a multiple of the vector's width.
    unsafe {
        let signs = [1, 2, 4, 8].map(|distance| {
            let sign = |lane: usize| if lane & distance == 0 { 1.0 } else { -1.0 };
            let signs: [f32; 16] = std::array::from_fn(sign);
            V::load(signs.as_ptr())
        });
        for i in (0..block.len()).step_by(V::WIDTH) {
            let at = block.as_mut_ptr().add(i);
            let mut x = V::load(at);
            x = x.mul(signs[0]).add(x.exchanged::<1>());
            x = x.mul(signs[1]).add(x.exchanged::<2>());
            if V::WIDTH > 4 {
                x = x.mul(signs[2]).add(x.exchanged::<4>());
            }
            if V::WIDTH > 8 {
                x = x.mul(signs[3]).add(x.exchanged::<8>());
            }
            x.store(at);
        }
    }
}

/// The other stages, two at a time where two are left, and the multiplication by `scale`.
///
/// # Safety
/// As [`transform`].
#[inline(always)]
unsafe fn between_vectors<V: Lanes>(block: &mut [f32], scale: f32) {
    let (n, base) = (block.len(), block.as_mut_ptr());
    let mut distance = V::WIDTH;
    // SAFETY: the caller runs this in code for the instruction set. All indices are less than n, which is a multiple of the vector's width.
    unsafe {
        while distance < n {
            let two = distance * 2 < n;
            let span = if two { distance * 4 } else { distance * 2 };
            let scale = V::splat(if span == n { scale } else { 1.0 });
            for first in (0..n).step_by(span) {
                for i in (first..first + distance).step_by(V::WIDTH) {
                    let at = |part: usize| base.add(i + part * distance);
                    let (a, b) = (V::load(at(0)), V::load(at(1)));
                    let (sum, difference) = (a.add(b), a.sub(b));
                    if !two {
                        sum.mul(scale).store(at(0));
                        difference.mul(scale).store(at(1));
                        continue;
                    }
                    let (c, d) = (V::load(at(2)), V::load(at(3)));
                    let (other_sum, other_difference) = (c.add(d), c.sub(d));
                    sum.add(other_sum).mul(scale).store(at(0));
                    difference.add(other_difference).mul(scale).store(at(1));
                    sum.sub(other_sum).mul(scale).store(at(2));
                    difference.sub(other_difference).mul(scale).store(at(3));
                }
            }
            distance = span;
        }
        // A block of a single vector has no such stage.
        if n == V::WIDTH {
            let scale = V::splat(scale);
            V::load(base).mul(scale).store(base);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    #[test]
    fn a_rotation_is_the_hadamard_matrix_and_every_set_has_the_same_bits() {
        for block in [16, 32, 64, 128, 256, 1024, 4096] {
            let number = |byte| f32::from(byte) / 128.0 - 1.0;
            let x: Vec<f32> = numbers(block as u64, 2 * block).map(number).collect();
            let mut portable = x.clone();
            rotate(InstructionSet::Portable, &mut portable, block);
            for (first, found) in (0..2).map(|b| b * block).zip(portable.chunks(block)) {
                // The sign at row i and column j is that of the number of ones that i and j share.
                for (i, found) in found.iter().enumerate().step_by(block / 16) {
                    let signed = |j: usize| match (i & j).count_ones() % 2 {
                        0 => f64::from(x[first + j]),
                        _ => -f64::from(x[first + j]),
                    };
                    let expected = (0..block).map(signed).sum::<f64>() / (block as f64).sqrt();
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-5,
                        "{found} {expected}"
                    );
                }
            }
            for &set in InstructionSet::available() {
                let mut other = x.clone();
                rotate(set, &mut other, block);
                assert_eq!(portable, other, "{set}, {block}");
                rotate(set, &mut other, block);
                let worst = x.iter().zip(&other).map(|(x, y)| (x - y).abs());
                assert!(worst.fold(0.0, f32::max) < 1e-6, "{set}, {block}: twice");
            }
        }
    }

    #[test]
    fn blocks_are_checked() {
        assert_eq!(check(192, 64), Ok(()));
        for (width, block) in [
            (192, 128),
            (192, 8),
            (192, 48),
            (8192, 8192),
            (0, 16),
            (64, 0),
        ] {
            let message = check(width, block).unwrap_err();
            assert!(
                message.contains(&format!("in blocks of {block}")),
                "{message}"
            );
        }
    }
}
