//! Operations on rows of activations that end in 8-bit codes, each in one pass over memory.
//!
//! A row is quantised with a scale of its own, `max|x| / 127`, so a token's codes do not depend on the other tokens of its batch. A
//! code is `round(x / scale) + 128`. A row that contains NaN or infinity has the scale NaN, which the product then returns.

use std::cell::RefCell;

use crate::buffer::Buffer;
use crate::codes::{self, ROWS};
use crate::parallel::{Parallel, Shared};
#[cfg(target_arch = "aarch64")]
use crate::simd::neon::Neon;
use crate::simd::{InstructionSet, Lanes, exp2, portable::Portable};
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// The width of rows is a multiple of this.
pub const WIDTH_STEP: usize = 16;
/// Scales of rows that are zero, whose reciprocal is still finite.
const LEAST: f32 = 1e-30;

/// What is quantised.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// The values themselves, `[rows, width]`.
    Plain(&'a [f32]),
    /// `rms_norm(x + residual)` (arXiv 1910.07467).
    Norm {
        /// `[rows, width]`.
        x: &'a [f32],
        /// `[rows, width]`; nothing is added if `None`.
        residual: Option<&'a [f32]>,
        /// `[width]`.
        weight: &'a [f32],
        /// Added to the mean square.
        epsilon: f32,
    },
    /// `silu(gate) * up` (arXiv 2002.05202), `[rows, width]` each.
    SwiGlu {
        /// The gate.
        gate: &'a [f32],
        /// The other factor.
        up: &'a [f32],
    },
}

impl Rows<'_> {
    /// The number of values.
    fn len(&self) -> usize {
        match self {
            Self::Plain(x) | Self::Norm { x, .. } => x.len(),
            Self::SwiGlu { gate, .. } => gate.len(),
        }
    }

    /// Checks that all sizes agree.
    ///
    /// # Errors
    /// Names the input that does not fit.
    pub fn check(&self, width: usize) -> Result<(), String> {
        if width == 0 || !width.is_multiple_of(WIDTH_STEP) || !self.len().is_multiple_of(width) {
            let len = self.len();
            return Err(format!(
                "{len} values are no rows of a width that is a multiple of {WIDTH_STEP}, but {width} wide"
            ));
        }
        let same = |name: &str, found: usize, expected: usize| match found == expected {
            true => Ok(()),
            false => Err(format!("{name} has {found} values instead of {expected}")),
        };
        match self {
            Self::Plain(_) => Ok(()),
            Self::Norm {
                residual, weight, ..
            } => {
                same("weight", weight.len(), width)?;
                same(
                    "residual",
                    residual.map_or(self.len(), <[f32]>::len),
                    self.len(),
                )
            }
            Self::SwiGlu { up, .. } => same("up", up.len(), self.len()),
        }
    }
}

/// The results of [`quantize`].
#[derive(Debug)]
pub struct Outputs<'a> {
    /// As [`codes`] arranges them.
    pub codes: &'a mut [u8],
    /// `[rows]`.
    pub scales: &'a mut [f32],
    /// `[rows, width]`: `x + residual` of [`Rows::Norm`], if it is wanted.
    pub sum: Option<&'a mut [f32]>,
}

/// Computes and quantises rows.
///
/// # Errors
/// As [`Rows::check`]; nothing is written.
///
/// # Panics
/// If an output has another size.
pub fn quantize(
    set: InstructionSet,
    threads: &dyn Parallel,
    rows: Rows<'_>,
    width: usize,
    outputs: Outputs<'_>,
) -> Result<(), String> {
    rows.check(width)?;
    let count = rows.len() / width;
    assert_eq!(
        outputs.codes.len(),
        codes::len(count, width),
        "codes for whole tiles"
    );
    assert_eq!(outputs.scales.len(), count, "a scale for each row");
    let (tiles, scales) = (Shared::new(outputs.codes), Shared::new(outputs.scales));
    let sum = outputs.sum.map(|sum| {
        assert_eq!(sum.len(), rows.len(), "a sum for each value");
        Shared::new(sum)
    });
    let kernel = kernel(set);
    threads.each(count.div_ceil(ROWS), &|tile| {
        let (first, end) = (tile * ROWS, count.min((tile + 1) * ROWS));
        TILE.with_borrow_mut(|codes| {
            codes.resize(ROWS * width, 0);
            // SAFETY: each task writes its own rows. Sizes were checked, and a set that the processor lacks is never made.
            let (tile, scales) = unsafe {
                let tile = tiles.part(first * width, ROWS * width);
                (tile, scales.part(first, end - first))
            };
            let codes = &mut codes[..(end - first) * width];
            for ((row, codes), scale) in (first..end).zip(codes.chunks_exact_mut(width)).zip(scales)
            {
                // SAFETY: as above.
                unsafe {
                    let sum = sum.as_ref().map(|sum| sum.part(row * width, width));
                    *scale = kernel(&rows, row * width, width, codes, sum);
                }
            }
            codes::arrange(codes, width, tile);
        });
    });
    Ok(())
}

/// Computes the row that begins at an index, and returns its scale.
///
/// # Safety
/// The processor has the instruction set, and the inputs were checked.
type Kernel = unsafe fn(&Rows<'_>, usize, usize, &mut [u8], Option<&mut [f32]>) -> f32;

fn kernel(set: InstructionSet) -> Kernel {
    match set {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni | InstructionSet::Avx512 => avx512,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => avx2,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => neon,
        InstructionSet::Portable => portable,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(
    rows: &Rows<'_>,
    at: usize,
    width: usize,
    codes: &mut [u8],
    sum: Option<&mut [f32]>,
) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { run::<Avx512>(rows, at, width, codes, sum) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(
    rows: &Rows<'_>,
    at: usize,
    width: usize,
    codes: &mut [u8],
    sum: Option<&mut [f32]>,
) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { run::<Avx2>(rows, at, width, codes, sum) }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon(
    rows: &Rows<'_>,
    at: usize,
    width: usize,
    codes: &mut [u8],
    sum: Option<&mut [f32]>,
) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { run::<Neon>(rows, at, width, codes, sum) }
}

unsafe fn portable(
    rows: &Rows<'_>,
    at: usize,
    width: usize,
    codes: &mut [u8],
    sum: Option<&mut [f32]>,
) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { run::<Portable>(rows, at, width, codes, sum) }
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::default();
    /// The codes of a tile's rows, one after another.
    static TILE: RefCell<Vec<u8>> = RefCell::default();
}

/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn run<V: Lanes>(
    rows: &Rows<'_>,
    at: usize,
    width: usize,
    codes: &mut [u8],
    sum: Option<&mut [f32]>,
) -> f32 {
    // Taken and put back, because the code of a closure would not be compiled for the instruction set.
    let mut scratch = SCRATCH.take();
    scratch.reserve(width);
    let values = &mut scratch.as_mut_slice()[..width];
    // SAFETY: the caller's promise; a row has `width` values, a multiple of the vectors'.
    let scale = unsafe {
        match rows {
            Rows::Plain(x) => quantize_row::<V>(&x[at..at + width], codes),
            Rows::Norm {
                x,
                residual,
                weight,
                epsilon,
            } => {
                let residual = residual.map(|r| &r[at..at + width]);
                norm::<V>(&x[at..at + width], residual, weight, *epsilon, sum, values);
                quantize_row::<V>(values, codes)
            }
            Rows::SwiGlu { gate, up } => {
                swiglu::<V>(&gate[at..at + width], &up[at..at + width], values);
                quantize_row::<V>(values, codes)
            }
        }
    };
    SCRATCH.set(scratch);
    scale
}

/// `values = rms_norm(x + residual)`, and the sum itself if it is wanted.
///
/// # Safety
/// As the methods of [`Lanes`]. All slices have the same length, a multiple of the width.
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
    // SAFETY: the caller's promise.
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
    // SAFETY: the caller's promise; no vector has more than 16 lanes.
    unsafe { x.store(lanes.as_mut_ptr()) };
    lanes[..V::WIDTH].iter().sum()
}

/// `values = silu(gate) * up`.
///
/// # Safety
/// As [`norm`].
#[inline(always)]
unsafe fn swiglu<V: Lanes>(gate: &[f32], up: &[f32], values: &mut [f32]) {
    // SAFETY: the caller's promise.
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

/// Writes the codes of a row, and returns its scale.
///
/// # Safety
/// As [`norm`]; `codes` has the length of `values`.
#[inline(always)]
unsafe fn quantize_row<V: Lanes>(values: &[f32], codes: &mut [u8]) -> f32 {
    // SAFETY: the caller's promise.
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
            codes.fill(128);
            return f32::NAN;
        }
        let factor = V::splat(127.0 / largest);
        for i in (0..values.len()).step_by(V::WIDTH) {
            let x = V::load(values.as_ptr().add(i));
            x.mul(factor).store_codes(codes.as_mut_ptr().add(i));
        }
        largest / 127.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parallel::Sequential;

    /// The values of a row in float64.
    fn expected(rows: &Rows<'_>, row: usize, width: usize) -> Vec<f64> {
        let at = row * width;
        let part = |x: &[f32]| {
            x[at..at + width]
                .iter()
                .map(|x| f64::from(*x))
                .collect::<Vec<_>>()
        };
        match rows {
            Rows::Plain(x) => part(x),
            Rows::Norm {
                x,
                residual,
                weight,
                epsilon,
            } => {
                let mut x = part(x);
                if let Some(residual) = residual {
                    x.iter_mut().zip(part(residual)).for_each(|(x, r)| *x += r);
                }
                let mean = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
                let factor = 1.0 / (mean + f64::from(*epsilon)).sqrt();
                x.iter()
                    .zip(*weight)
                    .map(|(x, w)| x * factor * f64::from(*w))
                    .collect()
            }
            Rows::SwiGlu { gate, up } => {
                let pairs = part(gate).into_iter().zip(part(up));
                pairs.map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
            }
        }
    }

    fn run(
        set: InstructionSet,
        rows: Rows<'_>,
        width: usize,
        sum: Option<&mut [f32]>,
    ) -> (Vec<u8>, Vec<f32>) {
        let count = rows.len() / width;
        let (mut tiles, mut scales) = (vec![0; codes::len(count, width)], vec![0.0; count]);
        let outputs = Outputs {
            codes: &mut tiles,
            scales: &mut scales,
            sum,
        };
        quantize(set, &Sequential, rows, width, outputs).unwrap();
        let code = |i: usize| codes::at(&tiles, width, i / width, i % width);
        ((0..rows.len()).map(code).collect(), scales)
    }

    proptest! {
        #[test]
        fn codes_times_scales_are_the_values(
            (width, values) in (1usize..12, 1usize..8).prop_flat_map(|(w, rows)| (
                Just(w * 16),
                prop::collection::vec(-30f32..30.0, w * 16 * rows * 2),
            )),
            weight in prop::collection::vec(-2f32..2.0, 12 * 16),
        ) {
            let (a, b) = values.split_at(values.len() / 2);
            let weight = &weight[..width];
            for rows in [
                Rows::Plain(a),
                Rows::Norm { x: a, residual: None, weight, epsilon: 1e-6 },
                Rows::Norm { x: a, residual: Some(b), weight, epsilon: 1e-6 },
                Rows::SwiGlu { gate: a, up: b },
            ] {
                for set in InstructionSet::available() {
                    let mut sum = vec![0.0; a.len()];
                    let wanted = matches!(rows, Rows::Norm { .. });
                    let (codes, scales) = run(set, rows, width, wanted.then_some(&mut sum));
                    for (row, scale) in scales.iter().enumerate() {
                        let values = expected(&rows, row, width);
                        let largest = values.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                        prop_assert!((f64::from(*scale) * 127.0 - largest).abs() <= 1e-5 * largest);
                        for (code, value) in codes[row * width..].iter().zip(values) {
                            let found = (f64::from(*code) - 128.0) * f64::from(*scale);
                            prop_assert!((found - value).abs() <= f64::from(*scale) * 0.501, "{set}: {found} {value}");
                        }
                    }
                    if let Rows::Norm { residual, .. } = rows {
                        for (i, sum) in sum.iter().enumerate() {
                            prop_assert_eq!(*sum, a[i] + residual.map_or(0.0, |r| r[i]));
                        }
                    }
                    // A row alone has the same codes.
                    let last = a.len() - width..;
                    let alone = match rows {
                        Rows::Plain(x) => Rows::Plain(&x[last]),
                        Rows::Norm { x, residual, weight, epsilon } =>
                            Rows::Norm { x: &x[last.clone()], residual: residual.map(|r| &r[last]), weight, epsilon },
                        Rows::SwiGlu { gate, up } => Rows::SwiGlu { gate: &gate[last.clone()], up: &up[last] },
                    };
                    let (own, own_scale) = run(set, alone, width, None);
                    prop_assert_eq!(own.as_slice(), &codes[codes.len() - width..]);
                    prop_assert_eq!(own_scale[0].to_bits(), scales[scales.len() - 1].to_bits());
                }
            }
        }
    }

    #[test]
    fn zeros_and_invalid_numbers() {
        for set in InstructionSet::available() {
            let (codes, scales) = run(set, Rows::Plain(&[0.0; 32]), 32, None);
            assert_eq!((codes, scales), (vec![128; 32], vec![LEAST / 127.0]));
            for invalid in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for place in [0, 17, 31] {
                    let mut x = [1.0; 32];
                    x[place] = invalid;
                    let (_, scales) = run(set, Rows::Plain(&x), 32, None);
                    assert!(scales[0].is_nan(), "{set}: {invalid} at {place}");
                }
            }
        }
    }

    #[test]
    fn sizes_are_checked() {
        let refused = |rows: Rows<'_>, width, expected: &str| {
            let message = rows.check(width).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        refused(Rows::Plain(&[0.0; 24]), 24, "multiple of 16");
        refused(Rows::Plain(&[0.0; 40]), 32, "40 values are no rows");
        refused(
            Rows::SwiGlu {
                gate: &[0.0; 32],
                up: &[0.0; 16],
            },
            16,
            "up has 16 values instead of 32",
        );
        let norm = Rows::Norm {
            x: &[0.0; 32],
            residual: None,
            weight: &[0.0; 16],
            epsilon: 1e-6,
        };
        refused(norm, 32, "weight has 16 values instead of 32");
    }
}
