//! What to convert to, and which combinations of choices there are.

use std::path::PathBuf;

use lexivec_models::{Attention, Blocks, Compute, Decoder, Layout, Precision, Target};
use lexivec_runtime::Provider;

use crate::blocks::Format;
use crate::calibrate::Calibration;
use crate::error::{Error, Result};

/// What to convert to.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// Who will run the model: where it starts on this machine, the result is verified there.
    pub provider: Provider,
    /// Number formats.
    pub precision: Precision,
    /// Operators: those of one execution provider, or the standard ones alone.
    pub target: Target,
    /// The form of attention, for target `cuda`.
    pub attention: Attention,
    /// The graph's inputs and outputs.
    pub layout: Layout,
    /// How weights are stored where they alone are integers.
    pub blocks: Blocks,
    /// The texts that decide how a model is quantised, and what is rescaled for fp16; none to round every weight to
    /// nearest, and to leave all as it is. fp32 and bf16 have no use for it.
    pub calibration: Option<Calibration>,
    /// Whether to hold the result against the float32 graph of the same checkpoint.
    pub verify: bool,
    /// Whether to replace a model directory at the output path.
    pub force: bool,
    /// The ONNX Runtime library for verification; `None` to look for it.
    pub onnxruntime: Option<PathBuf>,
}

impl ConvertOptions {
    /// The conversion that an execution provider serves best in this precision; without one, in the provider's own: fp32 on
    /// a CPU, which is exact, fp16 on GPUs.
    ///
    /// INT8 on CUDA means weights of 8 bits and activations in float16 ([`Precision::Int8Weight`]): CUDA's products of
    /// integers write 32 bits for every value, which costs more than they save.
    #[must_use]
    pub fn for_provider(provider: Provider, precision: Option<Precision>) -> Self {
        let default = match provider {
            Provider::Cpu | Provider::OpenVino => Precision::Fp32,
            Provider::Cuda | Provider::TensorRt | Provider::TensorRtRtx => Precision::Fp16,
        };
        let asked = precision.unwrap_or(default);
        let (precision, target, compute) = match (provider, asked) {
            // No CPU kernels compute in bfloat16.
            (Provider::Cpu, Precision::Bf16) => (asked, Target::Cuda, Compute::Fp16),
            (Provider::Cpu, _) => (asked, Target::Ort, Compute::Fp32),
            (Provider::Cuda, Precision::Int8) => {
                (Precision::Int8Weight, Target::Cuda, Compute::Fp16)
            }
            (Provider::Cuda, _) => (asked, Target::Cuda, Compute::Fp16),
            (Provider::TensorRt | Provider::TensorRtRtx, _) => {
                (asked, Target::TensorRt, Compute::Fp16)
            }
            (Provider::OpenVino, _) => (asked, Target::Standard, Compute::Fp32),
        };
        Self {
            provider,
            precision,
            target,
            attention: Attention::default(),
            layout: Layout::Packed,
            blocks: Blocks {
                compute,
                ..Blocks::default()
            },
            calibration: Some(Calibration::default()),
            verify: true,
            force: false,
            onnxruntime: None,
        }
    }

    /// Refuses combinations that no execution provider could run.
    pub(crate) fn check(&self, decoder: &Decoder) -> Result<()> {
        let unusable = |reason: &'static str| {
            Err(Error::Combination {
                precision: self.precision,
                target: self.target,
                reason,
            })
        };
        let blocks = self.precision.weight_bits().is_some();
        match (self.target, self.precision) {
            (Target::Standard | Target::TensorRt, _) if blocks => {
                return unusable(
                    "only ONNX Runtime's own operators read weights in blocks: convert with `--ep cpu` or `--ep cuda`, or \
                     with `--precision int8`",
                );
            }
            (Target::Cuda, Precision::Int8) => {
                return unusable(
                    "CUDA has no fused kernel for integer activations: convert with `--precision int8-weight`, or `--ep \
                     cuda` without `--target`, which takes it for int8",
                );
            }
            _ => {}
        }
        if self.precision == Precision::Fp8
            && matches!(self.target, Target::Standard | Target::TensorRt)
        {
            return unusable("8-bit floats are for CUDA: convert with `--ep cuda`");
        }
        if self.target == Target::Cuda && self.layout == Layout::Padded {
            return unusable(
                "padded graphs are for other tools: convert with `--target standard` or `--target ort`",
            );
        }
        if self.attention == Attention::Grouped {
            if self.target != Target::Cuda {
                return unusable("`--attention grouped` is for `--ep cuda`");
            }
            if self.precision == Precision::Fp32 || blocks && self.blocks.compute == Compute::Fp32 {
                return unusable(
                    "GroupQueryAttention has no float32 kernel on CUDA: convert with `--attention standard`",
                );
            }
        }
        match self.format() {
            Some(format) => check_widths(decoder, format),
            None => Ok(()),
        }
    }

    /// The codes of weights, where they alone are integers.
    pub(crate) fn format(&self) -> Option<Format> {
        self.precision.weight_bits().map(|bits| Format {
            bits,
            size: self.blocks.size,
            zero_points: self.blocks.zero_points,
        })
    }
}

/// Whether each row of weights is a whole number of blocks.
fn check_widths(decoder: &Decoder, format: Format) -> Result<()> {
    for (field, width) in [
        ("hidden_size", decoder.hidden_size),
        (
            "num_attention_heads * head_dim",
            decoder.heads * decoder.head_dim,
        ),
        ("intermediate_size", decoder.intermediate_size),
    ] {
        if width % format.size != 0 {
            return Err(Error::BlockSize {
                field,
                width,
                size: format.size,
            });
        }
    }
    Ok(())
}
