//! One row in registers and scratch memory.

use std::cell::RefCell;
use std::ops::Range;

use super::{LEAST, Rows};
use crate::buffer::Buffer;
use crate::codes::{FINER, UNSIGNED_ZERO};
use crate::hadamard::transform;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon::Neon;
use crate::simd::{InstructionSet, Lanes, exp2, portable::Portable};
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// A row, and where its results go.
pub(super) struct Row<'a> {
    pub(super) rows: &'a Rows<'a>,
    /// The row's indices in its matrices.
    pub(super) at: Range<usize>,
    /// The width of the blocks to rotate, if any.
    pub(super) rotation: Option<usize>,
    pub(super) codes: &'a mut [u8],
    pub(super) fine: Option<&'a mut [u8]>,
    /// A scale for each block of the row; the blocks are equal.
    pub(super) scales: &'a mut [f32],
    pub(super) code_sums: Option<&'a mut [i32]>,
    pub(super) sum: Option<&'a mut [f32]>,
}

/// Computes a row.
///
/// # Safety
/// The processor has the instruction set, and the inputs were checked.
pub(super) type Kernel = unsafe fn(Row<'_>);

pub(super) fn kernel(set: InstructionSet) -> Kernel {
    match set.vectors() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => avx512,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => avx2,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => run::<Neon>,
        _ => run::<Portable>,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(row: Row<'_>) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Avx512>(row) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(row: Row<'_>) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Avx2>(row) }
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::default();
}

/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn run<V: Lanes>(row: Row<'_>) {
    let Row {
        rows,
        at,
        rotation,
        codes,
        fine,
        scales,
        code_sums,
        sum,
    } = row;
    // Taken and put back, because the code of a closure would not be compiled for the instruction set.
    let mut scratch = SCRATCH.take();
    scratch.reserve(at.len());
    let values = &mut scratch.as_mut_slice()[..at.len()];
    // SAFETY: the caller runs this in code for the instruction set. The inputs were checked, and the width of a row is a multiple of the
    // vectors' widths.
    unsafe {
        let values = match rows {
            Rows::Plain(x) if rotation.is_none() => &x[at],
            Rows::Plain(x) => {
                values.copy_from_slice(&x[at]);
                rotated::<V>(values, rotation)
            }
            Rows::Norm {
                x,
                residual,
                weight,
                epsilon,
            } => {
                let residual = residual.map(|r| &r[at.clone()]);
                norm::<V>(&x[at], residual, weight, *epsilon, sum, values);
                rotated::<V>(values, rotation)
            }
            Rows::SwiGlu { gate, up } => {
                swiglu::<V>(&gate[at.clone()], &up[at], values);
                rotated::<V>(values, rotation)
            }
        };
        quantize_blocks::<V>(values, codes, fine, scales);
    }
    if let Some(sums) = code_sums {
        let size = codes.len() / sums.len();
        for (sum, codes) in sums.iter_mut().zip(codes.chunks_exact(size)) {
            let unsigned: i32 = codes.iter().map(|code| i32::from(*code)).sum();
            *sum = unsigned - i32::from(UNSIGNED_ZERO) * size as i32;
        }
    }
    SCRATCH.set(scratch);
}

/// The values after the rotation of their blocks, if there is one.
///
/// # Safety
/// As [`transform`].
#[inline(always)]
unsafe fn rotated<V: Lanes>(values: &mut [f32], block: Option<usize>) -> &[f32] {
    if let Some(block) = block {
        // SAFETY: the contract is the same.
        unsafe { transform::<V>(values, block) };
    }
    values
}

/// `values = rms_norm(x + residual)`, and the sum itself if it is wanted.
///
/// # Safety
/// As the methods of [`Lanes`]. All slices have the same length, a multiple of the vector's width.
#[inline(always)]
unsafe fn norm<V: Lanes>(
    x: &[f32],
    residual: Option<&[f32]>,
    weight: &[f32],
    epsilon: f32,
    sum: Option<&mut [f32]>,
    values: &mut [f32],
) {
    let width = x.len();
    // SAFETY: the caller runs this in code for the instruction set. All slices have `width` values, a multiple of the vector's width.
    unsafe {
        let mut squares = V::splat(0.0);
        for i in (0..width).step_by(V::WIDTH) {
            let mut value = V::load(x.as_ptr().add(i));
            if let Some(residual) = residual {
                value = value.add(V::load(residual.as_ptr().add(i)));
            }
            squares = value.mul_add(value, squares);
            value.store(values.as_mut_ptr().add(i));
        }
        if let Some(sum) = sum {
            sum.copy_from_slice(values);
        }
        let mean = total(squares) / width as f32;
        let factor = V::splat(1.0 / (mean + epsilon).sqrt());
        for i in (0..width).step_by(V::WIDTH) {
            let at = values.as_mut_ptr().add(i);
            V::load(at)
                .mul(factor)
                .mul(V::load(weight.as_ptr().add(i)))
                .store(at);
        }
    }
}

/// The sum of all lanes.
///
/// # Safety
/// As the methods of [`Lanes`].
#[inline(always)]
unsafe fn total<V: Lanes>(x: V) -> f32 {
    let mut lanes = [0.0; 16];
    // SAFETY: the caller runs this in code for the instruction set. No vector has more than 16 lanes.
    unsafe { x.store(lanes.as_mut_ptr()) };
    lanes[..V::WIDTH].iter().sum()
}

/// `values = silu(gate) * up`.
///
/// # Safety
/// As [`norm`].
#[inline(always)]
unsafe fn swiglu<V: Lanes>(gate: &[f32], up: &[f32], values: &mut [f32]) {
    // SAFETY: the caller runs this in code for the instruction set. All slices have the length of `gate`, a multiple of the vector's width.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let scale = V::splat(-std::f32::consts::LOG2_E);
        for i in (0..gate.len()).step_by(V::WIDTH) {
            let x = V::load(gate.as_ptr().add(i));
            // sigmoid(x) = 1 / (1 + e) for positive x and e / (1 + e) for others, with e = exp(-|x|).
            let e = exp2(x.abs().mul(scale));
            let sigmoid = e.select_less(x, zero, one).div(one.add(e));
            let y = x.mul(sigmoid).mul(V::load(up.as_ptr().add(i)));
            y.store(values.as_mut_ptr().add(i));
        }
    }
}

/// Writes the codes of a row and the scales of its blocks.
///
/// # Safety
/// As [`norm`]; the codes have the length of `values`, and the blocks are equal and multiples of the vector's width.
#[inline(always)]
unsafe fn quantize_blocks<V: Lanes>(
    values: &[f32],
    codes: &mut [u8],
    mut fine: Option<&mut [u8]>,
    scales: &mut [f32],
) {
    let size = values.len() / scales.len();
    for (block, scale) in scales.iter_mut().enumerate() {
        let at = block * size..(block + 1) * size;
        let fine = fine.as_mut().map(|fine| &mut fine[at.clone()]);
        // SAFETY: the contract is the same.
        *scale = unsafe { quantize_block::<V>(&values[at.clone()], &mut codes[at], fine) };
    }
}

/// Writes the codes of a block, and returns its scale.
///
/// # Safety
/// As [`norm`]; the codes have the length of `values`.
#[inline(always)]
unsafe fn quantize_block<V: Lanes>(
    values: &[f32],
    codes: &mut [u8],
    mut fine: Option<&mut [u8]>,
) -> f32 {
    // SAFETY: the caller runs this in code for the instruction set. The codes have the length of `values`, a multiple of the vector's width.
    unsafe {
        let mut largest = V::splat(0.0);
        // 0, or NaN if a value is NaN or infinite: a maximum may lose NaN.
        let mut invalid = V::splat(0.0);
        for i in (0..values.len()).step_by(V::WIDTH) {
            let x = V::load(values.as_ptr().add(i));
            largest = largest.max(x.abs());
            invalid = x.mul_add(V::splat(0.0), invalid);
        }
        let mut lanes = [0.0; 16];
        largest.store(lanes.as_mut_ptr());
        let largest = lanes[..V::WIDTH].iter().copied().fold(LEAST, f32::max);
        let invalid = total(invalid);
        if invalid.is_nan() {
            codes.fill(UNSIGNED_ZERO);
            if let Some(fine) = fine {
                fine.fill(UNSIGNED_ZERO);
            }
            return f32::NAN;
        }
        let factor = V::splat(127.0 / largest);
        for i in (0..values.len()).step_by(V::WIDTH) {
            let x = V::load(values.as_ptr().add(i)).mul(factor);
            let code = x.round();
            code.store_codes(codes.as_mut_ptr().add(i));
            if let Some(fine) = &mut fine {
                let finer = x.sub(code).mul(V::splat(FINER)).round();
                finer.store_codes(fine.as_mut_ptr().add(i));
            }
        }
        largest / 127.0
    }
}
