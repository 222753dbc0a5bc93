//! The choices of a conversion: precision, target and layout.
//!
//! Each value has one spelling, on the command line, in file names and in the manifest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Implements [`fmt::Display`], [`FromStr`] with an error that lists the allowed words, `as_str` and `ALL` for a choice.
macro_rules! spellings {
    ($type:ident, $what:literal, { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// All values, in the order of error messages.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The value's spelling.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(word: &str) -> Result<Self, Error> {
                match word {
                    $($word => Ok($type::$variant),)+
                    _ => Err(Error::UnknownName {
                        what: $what,
                        given: word.to_string(),
                        allowed: vec![$($word),+],
                    }),
                }
            }
        }
    };
}

/// The number formats of a converted model's weights and activations, as the user chooses them.
///
/// ```
/// use lexivec_models::Precision;
///
/// let precision: Precision = "int8-weight".parse()?;
/// assert_eq!(precision, Precision::Int8Weight);
/// assert_eq!(precision.weight_bits(), Some(8));
/// assert_eq!(Precision::Bf16.to_string(), "bf16");
/// let error = "int3".parse::<Precision>().unwrap_err();
/// assert!(error.to_string().contains("allowed are fp32, fp16"));
/// # Ok::<(), lexivec_models::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats throughout: the reference.
    Fp32,
    /// 16-bit floats, with norms and pooling in 32 bits.
    Fp16,
    /// bfloat16, with norms and pooling in 32 bits; the format of the published checkpoints.
    Bf16,
    /// 8-bit floats (e4m3) for weights and activations, on CUDA. Graphs for other targets simulate them.
    Fp8,
    /// 8-bit integer matrix products, with a scale for each output channel of the weights and each token of the activations.
    Int8,
    /// Weights of 8 bits in [`Blocks`]; activations have the type [`Blocks::compute`].
    Int8Weight,
    /// Weights of 4 bits in [`Blocks`]; activations have the type [`Blocks::compute`].
    Int4Weight,
}

spellings!(Precision, "precision", {
    Fp32 => "fp32",
    Fp16 => "fp16",
    Bf16 => "bf16",
    Fp8 => "fp8",
    Int8 => "int8",
    Int8Weight => "int8-weight",
    Int4Weight => "int4-weight",
});

impl Precision {
    /// The bits of a weight, for precisions in which only weights are integers.
    pub fn weight_bits(self) -> Option<u32> {
        match self {
            Precision::Int8Weight => Some(8),
            Precision::Int4Weight => Some(4),
            Precision::Fp32
            | Precision::Fp16
            | Precision::Bf16
            | Precision::Fp8
            | Precision::Int8 => None,
        }
    }
}

/// The blocks of integer weights, for precisions in which only weights are integers. A block is a number of consecutive input
/// channels of one output channel, with a scale of its own.
///
/// ```
/// use lexivec_models::{Blocks, Compute};
///
/// let blocks = Blocks { size: 64, ..Blocks::default() };
/// assert!(Blocks::SIZES.contains(&blocks.size));
/// assert_eq!((blocks.zero_points, blocks.compute), (false, Compute::Fp32));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blocks {
    /// Number of weights in a block: 32, 64 or 128. Smaller blocks are more accurate and store more scales.
    pub size: usize,
    /// Whether a block also has a zero point, so that its integers span the range from its least to its largest weight.
    /// Without zero points they are symmetric around zero.
    pub zero_points: bool,
    /// The type of activations, norms and scales.
    pub compute: Compute,
}

impl Blocks {
    /// The allowed sizes of a block.
    pub const SIZES: &'static [usize] = &[32, 64, 128];
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            size: 32,
            zero_points: false,
            compute: Compute::Fp32,
        }
    }
}

/// The type in which a model computes, for precisions in which only weights are integers.
///
/// ```
/// use lexivec_models::Compute;
///
/// assert_eq!("fp16".parse::<Compute>()?, Compute::Fp16);
/// # Ok::<(), lexivec_models::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// 32-bit floats, for CPUs.
    Fp32,
    /// 16-bit floats, for GPUs.
    Fp16,
}

spellings!(Compute, "type to compute in", { Fp32 => "fp32", Fp16 => "fp16" });

/// The number format of one group of linear layers in a quantised model.
///
/// ```
/// use lexivec_models::LinearPrecision;
///
/// assert_eq!(LinearPrecision::Int8x2.to_string(), "int8x2");
/// assert_eq!("int4-weight".parse::<LinearPrecision>()?, LinearPrecision::Int4Weight);
/// # Ok::<(), lexivec_models::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearPrecision {
    /// Weights and activations of 8 bits.
    Int8,
    /// Weights of 8 bits and activations of 15 bits, as two 8-bit products: the second is for the first's rounding error.
    Int8x2,
    /// Weights and activations in 8-bit floats.
    Fp8,
    /// Weights of 8 bits in blocks.
    Int8Weight,
    /// Weights of 4 bits in blocks.
    Int4Weight,
    /// Floats.
    Fp32,
}

spellings!(LinearPrecision, "precision of a linear layer", {
    Int8 => "int8",
    Int8x2 => "int8x2",
    Fp8 => "fp8",
    Int8Weight => "int8-weight",
    Int4Weight => "int4-weight",
    Fp32 => "fp32",
});

/// The operators that a graph may use, by the execution provider that it is written for.
///
/// ```
/// use lexivec_models::Target;
///
/// assert_eq!("tensorrt".parse::<Target>()?, Target::TensorRt);
/// let names: Vec<&str> = Target::ALL.iter().map(|target| target.as_str()).collect();
/// assert_eq!(names, ["cpu", "ort", "cuda", "standard", "tensorrt"]);
/// # Ok::<(), lexivec_models::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// ONNX Runtime's CPU provider, with lexivec's own operators, which no other program has.
    Cpu,
    /// ONNX Runtime's CPU provider, with its contributed operators.
    Ort,
    /// ONNX Runtime's CUDA provider, with its contributed operators.
    Cuda,
    /// Only operators of the ONNX standard, for OpenVINO and other tools.
    Standard,
    /// Only operators of the ONNX standard, with attention always in 16 bits, as TensorRT requires.
    TensorRt,
}

spellings!(Target, "target", {
    Cpu => "cpu",
    Ort => "ort",
    Cuda => "cuda",
    Standard => "standard",
    TensorRt => "tensorrt",
});

/// The form of attention in graphs of target `cuda`.
///
/// ```
/// use lexivec_models::AttentionForm;
///
/// assert_eq!(AttentionForm::default(), AttentionForm::Standard);
/// assert_eq!("grouped".parse::<AttentionForm>()?, AttentionForm::Grouped);
/// # Ok::<(), lexivec_models::Error>(())
/// ```
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum AttentionForm {
    /// ONNX's Attention operator, after separate operators for norm and rotary embedding. It takes the least memory.
    #[default]
    Standard,
    /// GroupQueryAttention, which includes norm and rotary embedding. It starts the fewest kernels; fp16 and bf16 only.
    Grouped,
}

spellings!(AttentionForm, "form of attention", { Standard => "standard", Grouped => "grouped" });

/// The layout of a graph's inputs and outputs.
///
/// ```
/// use lexivec_models::Layout;
///
/// assert_eq!("padded".parse::<Layout>()?, Layout::Padded);
/// let names: Vec<String> = Layout::ALL.iter().map(ToString::to_string).collect();
/// assert_eq!(names, ["packed", "padded"]);
/// # Ok::<(), lexivec_models::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// A row for each packed token, that is, for each distinct prefix of a batch. lexivec serves this layout.
    Packed,
    /// Inputs `input_ids` and `attention_mask`, padded to the longest text. Other tools load this layout.
    Padded,
}

spellings!(Layout, "layout", { Packed => "packed", Padded => "padded" });

/// The properties of a graph that decide which execution providers have kernels for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphForm {
    /// The number formats.
    pub precision: Precision,
    /// The type that it computes in, for precisions in which only weights are integers.
    pub compute: Option<Compute>,
    /// The operators.
    pub target: Target,
    /// The form of attention, for target `cuda`.
    pub attention: AttentionForm,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_back() {
        for &value in Precision::ALL {
            assert_eq!(value.to_string().parse::<Precision>().unwrap(), value);
            assert_eq!(
                serde_json::to_string(&value).unwrap(),
                format!("\"{value}\"")
            );
        }
        for &value in LinearPrecision::ALL {
            assert_eq!(value.to_string().parse::<LinearPrecision>().unwrap(), value);
            assert_eq!(
                serde_json::to_string(&value).unwrap(),
                format!("\"{value}\"")
            );
        }
        for &value in Target::ALL {
            assert_eq!(value.to_string().parse::<Target>().unwrap(), value);
            assert_eq!(
                serde_json::to_string(&value).unwrap(),
                format!("\"{value}\"")
            );
        }
        for &value in Layout::ALL {
            assert_eq!(value.to_string().parse::<Layout>().unwrap(), value);
            assert_eq!(
                serde_json::to_string(&value).unwrap(),
                format!("\"{value}\"")
            );
        }
    }

    #[test]
    fn the_error_for_an_unknown_word_lists_the_allowed_ones() {
        let message = "int5".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(
            message,
            "`int5` is no precision; allowed are fp32, fp16, bf16, fp8, int8, int8-weight, int4-weight"
        );
        assert!("Packed".parse::<Layout>().is_err());
    }
}
