//! What to convert to, and which combinations of choices there are.

use std::path::PathBuf;

use lexivec_models::{Attention, Blocks, Compute, Decoder, GraphForm, Layout, Precision, Target};
use lexivec_runtime::{Provider, unservable};

use crate::blocks::Format;
use crate::calibrate::Calibration;
use crate::error::{Error, Result};
use crate::graph::Variant;

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
    /// The GPU that verifies the result, where one does.
    pub device: i32,
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
            device: 0,
            onnxruntime: None,
        }
    }

    /// Refuses combinations that no execution provider could run.
    pub(crate) fn check(&self, decoder: &Decoder) -> Result<()> {
        let variant = self.variant();
        let padded =
            "padded graphs are for other tools: convert with `--target standard` or `--target ort`";
        let reason = match (self.target, self.layout) {
            (Target::Cuda, Layout::Padded) => Some(padded),
            _ => unservable(self.form()),
        };
        if let Some(reason) = reason {
            return Err(Error::Combination {
                precision: self.precision,
                target: self.target,
                reason,
            });
        }
        match variant.format() {
            Some(format) => check_widths(decoder, format),
            None => Ok(()),
        }
    }

    /// What decides who can run the result.
    #[must_use]
    pub fn form(&self) -> GraphForm {
        self.variant().form()
    }

    /// The graph to write, before calibration has its say.
    pub(crate) fn variant(&self) -> Variant {
        Variant {
            precision: self.precision,
            target: self.target,
            attention: self.attention,
            layout: self.layout,
            blocks: self.blocks,
            residual: 1.0,
        }
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
