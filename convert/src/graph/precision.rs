//! The meaning of a precision in a graph: the type of activations, the source of weights and the arithmetic of linear layers.
//!
//! To add a precision, add an arm to [`style`]. A new weight format goes into [`crate::quantized`], and the operators that
//! compute it into [`super::linear`].

use lexivec_models::{Compute, Precision, Target};

use super::dialect;
use super::ops::{LinearArithmetic, Style, WeightSource};
use super::variant::Variant;
use crate::quantized::QuantizedLinears;
use crate::tensor::DType;

/// The style of a variant's graph. `calibrated` holds the quantised linear groups that calibration chose; without it, all
/// weights of a quantised graph are rounded to nearest.
pub(super) fn style(
    variant: Variant,
    calibrated: Option<&QuantizedLinears>,
    can_refer_to_checkpoint: bool,
) -> Style<'_> {
    let plain = |compute| Style::plain(dialect::of(variant.target, variant.attention), compute);
    let linears = |nearest| calibrated.map_or(nearest, LinearArithmetic::Calibrated);
    let style = match variant.precision {
        Precision::Fp32 => plain(DType::F32),
        Precision::Fp16 => plain(DType::F16),
        Precision::Bf16 => Style {
            // Other tools get one self-contained data file. Our own runtime shares the checkpoint's files.
            source: match variant.target {
                _ if !can_refer_to_checkpoint => WeightSource::Own,
                Target::Cpu | Target::Ort | Target::Cuda => WeightSource::Checkpoint,
                Target::Standard | Target::TensorRt => WeightSource::Own,
            },
            ..plain(DType::Bf16)
        },
        Precision::Int8 => Style {
            linears: linears(LinearArithmetic::Int8),
            ..plain(DType::F32)
        },
        Precision::Fp8 => {
            // Only CUDA computes in 8-bit floats. Elsewhere they are simulated in the reference's type.
            let compute = match variant.target {
                Target::Cuda => DType::F16,
                Target::Cpu | Target::Ort | Target::Standard | Target::TensorRt => DType::F32,
            };
            Style {
                linears: linears(LinearArithmetic::Float8),
                ..plain(compute)
            }
        }
        Precision::Int8Weight | Precision::Int4Weight => {
            let compute = match variant.blocks.compute {
                Compute::Fp32 => DType::F32,
                Compute::Fp16 => DType::F16,
            };
            let nearest = variant
                .format()
                .map_or(LinearArithmetic::Float, LinearArithmetic::Blocks);
            Style {
                linears: linears(nearest),
                table: variant.table(),
                ..plain(compute)
            }
        }
    };
    Style {
        residual: variant.residual,
        ..style
    }
}
