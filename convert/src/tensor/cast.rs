//! Conversions between the float types of checkpoints and graphs, and the check that every weight is finite.
//!
//! The functions work on slices of a few thousand values, so that buffers stay in the processor's cache. The caller
//! decides about threads.

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

use super::{DType, FloatType};
use crate::error::{Error, Result};

/// Widens stored values to float32; `bytes` holds as many values as `out`.
pub(crate) fn widen(bytes: &[u8], float: FloatType, out: &mut [f32]) {
    // Offsets in safetensors are not aligned to the element: copy by value instead of casting the slice.
    match float {
        FloatType::F32 => {
            for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *o = f32::from_le_bytes(*b);
            }
        }
        FloatType::Bf16 => {
            for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *o = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            }
        }
        FloatType::F16 => {
            let mut halves = [f16::ZERO; 1024];
            for (o, b) in out.chunks_mut(1024).zip(bytes.chunks(2048)) {
                let halves = &mut halves[..o.len()];
                for (h, b) in halves.iter_mut().zip(b.as_chunks::<2>().0) {
                    *h = f16::from_le_bytes(*b);
                }
                halves.convert_to_f32_slice(o);
            }
        }
    }
}

/// The largest magnitude; 0 for an empty slice.
pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0f32, |m, v| m.max(v.abs()))
}

/// Whether no value is NaN or infinite. A single pass without branches, which the compiler vectorises on every processor.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    const INFINITY: u32 = 0x7f80_0000;
    const SIGN: u32 = 0x8000_0000;
    // Only an exponent of all ones carries into the sign bit.
    let carried = |v: &f32| (v.to_bits() & !SIGN) + (SIGN - INFINITY);
    values.iter().fold(0, |all, v| all | carried(v)) & SIGN == 0
}

/// Appends float32 values in a graph's element type.
///
/// # Errors
/// [`Error::Fp16Range`] if a value would become infinite in float16; it names the tensor `name`.
pub(crate) fn write(values: &[f32], to: DType, name: &str, out: &mut Vec<u8>) -> Result<()> {
    match to {
        DType::F32 => out.extend_from_slice(bytemuck::cast_slice(values)),
        DType::F16 => {
            let largest = largest(values);
            // 65,520 is the first value that rounds to infinity.
            if largest >= 65520.0 {
                return Err(Error::Fp16Range {
                    name: name.to_owned(),
                    value: largest,
                });
            }
            let mut halves = [f16::ZERO; 1024];
            for chunk in values.chunks(1024) {
                let halves = &mut halves[..chunk.len()];
                halves.convert_from_f32_slice(chunk);
                out.extend_from_slice(bytemuck::cast_slice(halves));
            }
        }
        DType::Bf16 => {
            let mut halves = [bf16::ZERO; 1024];
            for chunk in values.chunks(1024) {
                let halves = &mut halves[..chunk.len()];
                halves.convert_from_f32_slice(chunk);
                out.extend_from_slice(bytemuck::cast_slice(halves));
            }
        }
        DType::F8 | DType::I8 | DType::U8 | DType::I32 | DType::I64 => {
            unreachable!("only float types are written here; quantised weights encode themselves")
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finiteness_check_finds_nan_and_both_infinities() {
        assert!(all_finite(&[0.0, -1.0, f32::MAX, f32::MIN_POSITIVE]));
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!all_finite(&[0.0, bad, 1.0]));
        }
    }

    #[test]
    fn float16_rounds_to_nearest_even_and_rejects_overflow() {
        let mut out = Vec::new();
        write(
            &[1.0, 65504.0, 1.0 + 2f32.powi(-11)],
            DType::F16,
            "w",
            &mut out,
        )
        .unwrap();
        assert_eq!(out, [0x00, 0x3c, 0xff, 0x7b, 0x00, 0x3c]);
        let error = write(&[-65520.0], DType::F16, "w", &mut out).unwrap_err();
        assert!(error.to_string().contains("`w`"), "{error}");
    }
}
