//! Between the number formats of checkpoints and graphs, and the check that every weight is finite.
//!
//! Everything works on slices of a few thousand values, so that buffers stay in the processor's cache and the
//! caller decides about threads.

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::graph::DType;
use crate::weights::{Stored, Tensor};

/// Reads `count` values from value `first` on as float32 into `out`.
///
/// # Errors
/// [`Error::NonFinite`] names the tensor.
pub(crate) fn read_f32(tensor: &Tensor, first: usize, out: &mut [f32]) -> Result<()> {
    let size = tensor.stored.size();
    let bytes = &tensor.bytes()[first * size..(first + out.len()) * size];
    // Offsets in safetensors are not aligned to the element: copy by value instead of casting the slice.
    match tensor.stored {
        Stored::F32 => {
            for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *o = f32::from_le_bytes(*b);
            }
        }
        Stored::Bf16 => {
            for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *o = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            }
        }
        Stored::F16 => {
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
    if let Some(fold) = &tensor.fold {
        fold.apply(tensor.columns(), first, out);
    }
    if all_finite(out) {
        Ok(())
    } else {
        Err(Error::NonFinite {
            name: tensor.name.clone(),
            path: tensor.path().to_path_buf(),
        })
    }
}

/// The largest magnitude; 0 where there is no value.
pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0f32, |m, v| m.max(v.abs()))
}

/// Whether no value is NaN or infinite; one pass without branches, which the compiler vectorises on every processor.
fn all_finite(values: &[f32]) -> bool {
    const INFINITY: u32 = 0x7f80_0000;
    const SIGN: u32 = 0x8000_0000;
    // An exponent of ones, and no other, carries into the sign's place.
    let carried = |v: &f32| (v.to_bits() & !SIGN) + (SIGN - INFINITY);
    values.iter().fold(0, |all, v| all | carried(v)) & SIGN == 0
}

/// Appends float32 values in a graph's element type.
///
/// # Errors
/// [`Error::Fp16Range`] where a value would become infinite in float16; `name` is the tensor to blame.
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
            unreachable!("weights are written as floats or through quantize")
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finite_check_sees_each_kind() {
        assert!(all_finite(&[0.0, -1.0, f32::MAX, f32::MIN_POSITIVE]));
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!all_finite(&[0.0, bad, 1.0]));
        }
    }

    #[test]
    fn float16_rounds_to_nearest_even_and_refuses_overflow() {
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
