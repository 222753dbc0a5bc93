//! Which of the graphs of a decoder to write.

use lexivec_models::{AttentionForm, Blocks, Compute, GraphForm, Layout, Precision, Target};

use crate::quantized::BlockFormat;

/// Which graph to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Variant {
    pub(crate) precision: Precision,
    pub(crate) target: Target,
    /// For target `cuda`.
    pub(crate) attention: AttentionForm,
    pub(crate) layout: Layout,
    /// The weight format of `int8-weight` and `int4-weight`.
    pub(crate) blocks: Blocks,
    /// The factor of the residual stream that is folded into the weights.
    pub(crate) residual: f32,
}

impl Variant {
    /// Whether weights are quantised: integers or 8-bit floats.
    pub(crate) fn is_quantised(&self) -> bool {
        match self.precision {
            Precision::Fp32 | Precision::Fp16 | Precision::Bf16 => false,
            Precision::Fp8 | Precision::Int8 | Precision::Int8Weight | Precision::Int4Weight => {
                true
            }
        }
    }

    /// Whether activations are float16.
    pub(crate) fn computes_in_float16(&self) -> bool {
        match self.precision {
            Precision::Fp16 => true,
            Precision::Fp8 => self.target == Target::Cuda,
            Precision::Int8Weight | Precision::Int4Weight => self.blocks.compute == Compute::Fp16,
            Precision::Fp32 | Precision::Bf16 | Precision::Int8 => false,
        }
    }

    /// The properties that decide which execution providers can run it.
    pub(crate) fn form(&self) -> GraphForm {
        GraphForm {
            precision: self.precision,
            compute: self.format().map(|_| self.blocks.compute),
            target: self.target,
            attention: self.attention,
        }
    }

    /// The weight format of `int8-weight` and `int4-weight`; `None` for other precisions.
    pub(crate) fn format(&self) -> Option<BlockFormat> {
        self.precision.weight_bits().map(|bits| BlockFormat {
            bits,
            size: self.blocks.size,
            zero_points: self.blocks.zero_points,
        })
    }

    /// The format of a quantised embedding table: 8 bits, because a 4-bit embedding error would propagate through every
    /// layer. The table is a tenth of a 4B model.
    pub(super) fn table(&self) -> Option<BlockFormat> {
        self.format()
            .map(|format| BlockFormat { bits: 8, ..format })
    }
}
