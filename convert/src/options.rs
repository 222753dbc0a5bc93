//! The options of a conversion, and which combinations of them are valid.

use std::path::PathBuf;

use lexivec_kernels::attention::Heads;
use lexivec_models::{
    AttentionForm, Blocks, Compute, Decoder, GraphForm, Layout, Precision, Target,
};
use lexivec_runtime::{Provider, unservable, unsupported};

use crate::calibrate::Calibration;
use crate::error::{Error, Result};
use crate::graph::Variant;
use crate::quantized::BlockFormat;

/// The options of a conversion: execution provider, number formats, operators, calibration and verification.
///
/// ```
/// use lexivec_convert::ConvertOptions;
/// use lexivec_models::{Precision, Target};
/// use lexivec_runtime::Provider;
///
/// let options = ConvertOptions::for_provider(Provider::Cpu, Some(Precision::Int8));
/// assert_eq!(options.target, Target::Cpu);
/// ```
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// The execution provider that will run the model. If it starts on this machine, it also verifies the result.
    pub provider: Provider,
    /// Number formats.
    pub precision: Precision,
    /// Operators: those of one execution provider, or only standard ones.
    pub target: Target,
    /// The form of attention, for target `cuda`.
    pub attention: AttentionForm,
    /// The graph's inputs and outputs.
    pub layout: Layout,
    /// The weight format of `int8-weight` and `int4-weight`.
    pub blocks: Blocks,
    /// The calibration, which decides how a model is quantised and what is rescaled for float16. `None` rounds every weight to
    /// nearest and rescales nothing. fp32 and bf16 do not use it.
    pub calibration: Option<Calibration>,
    /// Whether to compare the result with the float32 graph of the same checkpoint.
    pub verify: bool,
    /// Whether to replace a model directory at the output path.
    pub force: bool,
    /// The GPU that verifies the result, if one does.
    pub device: i32,
    /// The path of ONNX Runtime's library for verification. `None` to look for it.
    pub onnxruntime: Option<PathBuf>,
}

impl ConvertOptions {
    /// The options that suit an execution provider best in this precision. Without a precision, chooses fp32 on CPUs, which
    /// is exact, and fp16 on GPUs.
    ///
    /// int8 on CUDA means 8-bit weights and float16 activations ([`Precision::Int8Weight`]), because CUDA's integer matrix
    /// products write 32 bits per value, which costs more than they save.
    ///
    /// ```
    /// use lexivec_convert::ConvertOptions;
    /// use lexivec_models::Precision;
    /// use lexivec_runtime::Provider;
    ///
    /// let precision = |provider, asked| ConvertOptions::for_provider(provider, asked).precision;
    /// assert_eq!(precision(Provider::Cpu, None), Precision::Fp32);
    /// assert_eq!(precision(Provider::Cuda, None), Precision::Fp16);
    /// assert_eq!(precision(Provider::Cuda, Some(Precision::Int8)), Precision::Int8Weight);
    /// ```
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
            (Provider::Cpu, _) => (asked, Target::Cpu, Compute::Fp32),
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
            attention: AttentionForm::default(),
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

    /// The same options, but with target `ort` in place of `cpu` for layouts and models that this does not support: padded graphs,
    /// which are for other tools, and unusual heads.
    #[must_use]
    pub fn suited_to(mut self, decoder: &Decoder) -> Self {
        let supported = self.layout == Layout::Packed && heads(decoder).supported();
        if self.target == Target::Cpu && !supported {
            self.target = Target::Ort;
        }
        self
    }

    /// Rejects combinations that no execution provider can run, or not the chosen one.
    pub(crate) fn check(&self, decoder: &Decoder) -> Result<()> {
        let variant = self.variant();
        let padded = "padded graphs are for other tools, which need target `standard` or `ort`";
        let reason = match (self.target, self.layout) {
            (Target::Cuda | Target::Cpu, Layout::Padded) => Some(padded),
            (Target::Cpu, _) if !heads(decoder).supported() => Some(HEADS),
            _ => unservable(self.form()),
        };
        if let Some(reason) = reason {
            return Err(Error::Combination {
                precision: self.precision,
                target: self.target,
                reason,
            });
        }
        if !self.provider_can_serve() {
            return Err(Error::TargetOfAnotherProvider {
                provider: self.provider.name(),
                precision: self.precision,
                target: self.target,
            });
        }
        match variant.format() {
            Some(format) => check_widths(decoder, format),
            None => Ok(()),
        }
    }

    /// Whether the execution provider can serve the result. Every graph may be written with the CPU provider, which is the default:
    /// it may be for another machine. Padded graphs are for other tools.
    fn provider_can_serve(&self) -> bool {
        self.provider == Provider::Cpu
            || self.layout == Layout::Padded
            || unsupported(self.provider, self.form()).is_none()
    }

    /// The properties that decide which execution providers can run the result.
    ///
    /// ```
    /// use lexivec_convert::ConvertOptions;
    /// use lexivec_models::{Precision, Target};
    /// use lexivec_runtime::{Provider, unsupported};
    ///
    /// let form = ConvertOptions::for_provider(Provider::Cuda, None).form();
    /// assert_eq!((form.precision, form.target), (Precision::Fp16, Target::Cuda));
    /// assert_eq!(unsupported(Provider::Cuda, form), None);
    /// ```
    #[must_use]
    pub fn form(&self) -> GraphForm {
        self.variant().form()
    }

    /// The graph to write, before calibration adjusts it.
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

const HEADS: &str = "its kernels need heads whose size is a multiple of 16 up to 256, and at most 16 query heads for each key head: \
                     convert with target `ort`";

fn heads(decoder: &Decoder) -> Heads {
    Heads {
        query: decoder.heads,
        key_value: decoder.kv_heads,
        size: decoder.head_dim,
    }
}

/// Checks that every row of weights is a whole number of blocks.
fn check_widths(decoder: &Decoder, format: BlockFormat) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_heads_and_padded_graphs_get_onnx_runtimes_operators() {
        let nano = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/config.json");
        let decoder = || Decoder::read(nano.as_ref()).unwrap();
        let cpu = || ConvertOptions::for_provider(Provider::Cpu, None);
        assert_eq!(cpu().suited_to(&decoder()).target, Target::Cpu);
        let padded = ConvertOptions {
            layout: Layout::Padded,
            ..cpu()
        };
        assert_eq!(padded.suited_to(&decoder()).target, Target::Ort);
        for (heads, kv_heads, head_dim) in [(8, 4, 24), (8, 4, 512), (32, 1, 32)] {
            let unusual = Decoder {
                heads,
                kv_heads,
                head_dim,
                ..decoder()
            };
            assert_eq!(cpu().suited_to(&unusual).target, Target::Ort);
            assert!(cpu().check(&unusual).is_err());
        }
    }

    #[test]
    fn a_model_that_its_provider_cannot_serve_is_rejected() {
        let nano = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/config.json");
        let decoder = Decoder::read(nano.as_ref()).unwrap();
        let check = |provider, precision, target| {
            let options = ConvertOptions {
                target,
                ..ConvertOptions::for_provider(provider, Some(precision))
            };
            options.check(&decoder).map_err(|error| error.to_string())
        };
        for (provider, precision, target, reason) in [
            (
                Provider::Cpu,
                Precision::Bf16,
                Target::Cpu,
                "no bfloat16 kernels for CPUs: convert with",
            ),
            (
                Provider::Cpu,
                Precision::Bf16,
                Target::Ort,
                "no bfloat16 kernels for CPUs: convert with",
            ),
            (
                Provider::Cuda,
                Precision::Fp16,
                Target::Cpu,
                "`cuda` cannot serve fp16 with target cpu",
            ),
            (
                Provider::Cuda,
                Precision::Int8,
                Target::Ort,
                "`cuda` cannot serve int8-weight with target ort",
            ),
            (
                Provider::OpenVino,
                Precision::Fp32,
                Target::Cuda,
                "`openvino` cannot serve fp32 with target cuda",
            ),
            (
                Provider::TensorRt,
                Precision::Fp32,
                Target::Standard,
                "`tensorrt` cannot serve fp32",
            ),
        ] {
            let message = check(provider, precision, target).unwrap_err();
            assert!(message.contains(reason), "{message}");
        }
        // A machine without a GPU converts for one.
        assert_eq!(check(Provider::Cpu, Precision::Bf16, Target::Cuda), Ok(()));
        assert_eq!(
            check(Provider::Cuda, Precision::Fp16, Target::Standard),
            Ok(())
        );
        // The targets that are chosen by default can be served, or are rejected with another reason.
        for provider in Provider::ALL {
            for &precision in Precision::ALL {
                let options = ConvertOptions::for_provider(provider, Some(precision));
                assert!(options.provider_can_serve() || unservable(options.form()).is_some());
            }
        }
    }
}
