//! The choices a conversion makes: precision, target and layout.
//!
//! Each has one spelling, used on the command line, in file names and in the manifest alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Declares the spellings of a choice once, for [`fmt::Display`], [`FromStr`] and a list of all values.
macro_rules! spellings {
    ($type:ident, $what:literal, { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// All values, in the order in which messages list them.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The spelling used everywhere.
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

/// The number formats of a converted model's weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats throughout: the reference.
    Fp32,
    /// 16-bit floats, with norms and pooling in 32 bits.
    Fp16,
    /// bfloat16, with norms and pooling in 32 bits; the format of the published checkpoints.
    Bf16,
    /// 8-bit floats (e4m3), weights and activations, for CUDA; elsewhere a simulation of it.
    Fp8,
    /// 8-bit integer products: weights per output channel, activations per token.
    Int8,
    /// Weights of 8 bits in [`Blocks`], activations as [`Blocks::compute`] says.
    Int8Weight,
    /// Weights of 4 bits in [`Blocks`], activations as [`Blocks::compute`] says.
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
    /// Bits of a weight, where weights alone are integers.
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

/// How weights are stored where they alone are integers: so many consecutive input channels of an output channel form a
/// block with a scale of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blocks {
    /// Weights of a block: 32, 64 or 128. Smaller ones are more accurate, and have more scales to store.
    pub size: usize,
    /// Whether a block also has a zero point: its codes span from its least to its largest weight. Without one they
    /// are symmetric around zero.
    pub zero_points: bool,
    /// The type of activations, norms and scales.
    pub compute: Compute,
}

impl Blocks {
    /// The sizes that a block may have.
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

/// The type in which a model computes whose weights alone are integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// 32-bit floats, for CPUs.
    Fp32,
    /// 16-bit floats, for GPUs.
    Fp16,
}

spellings!(Compute, "type to compute in", { Fp32 => "fp32", Fp16 => "fp16" });

/// How one product of linear layers computes in a quantised model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearPrecision {
    /// Weights and activations of 8 bits.
    Int8,
    /// Weights of 8 bits, activations of 15: two products of 8 bits, the second for what the first's codes leave.
    Int8x2,
    /// 8-bit floats, weights and activations.
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

/// Which operators a graph may use: whose kernels it was written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// ONNX Runtime's CPU provider, with its contributed operators.
    Ort,
    /// ONNX Runtime's CUDA provider, with its contributed operators.
    Cuda,
    /// Operators of the ONNX standard alone, for OpenVINO and other tools.
    Standard,
    /// The same, with attention in 16 bits whatever the rest computes in, as TensorRT needs it.
    TensorRt,
}

spellings!(Target, "target", {
    Ort => "ort",
    Cuda => "cuda",
    Standard => "standard",
    TensorRt => "tensorrt",
});

/// The form of attention in graphs of target `cuda`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// ONNX's Attention, behind norm and rotary embedding as operators of their own: the least memory.
    #[default]
    Standard,
    /// GroupQueryAttention with norm and rotary embedding inside: the fewest kernels. fp16 and bf16 only.
    Grouped,
}

spellings!(Attention, "form of attention", { Standard => "standard", Grouped => "grouped" });

/// The signature of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One row per distinct prefix of the batch; what lexivec itself serves.
    Packed,
    /// `input_ids` and `attention_mask` in, padded rows out; what other tools load.
    Padded,
}

spellings!(Layout, "layout", { Packed => "packed", Padded => "padded" });

/// What decides which execution providers have the kernels for a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphForm {
    /// The number formats.
    pub precision: Precision,
    /// The type that it computes in, where weights alone are integers.
    pub compute: Option<Compute>,
    /// The operators.
    pub target: Target,
    /// The form of attention, for target `cuda`.
    pub attention: Attention,
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
    fn an_unknown_word_is_answered_with_the_allowed_ones() {
        let message = "int5".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(
            message,
            "`int5` is no precision; allowed are fp32, fp16, bf16, fp8, int8, int8-weight, int4-weight"
        );
        assert!("Packed".parse::<Layout>().is_err());
    }
}
