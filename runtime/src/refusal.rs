//! Which models an execution provider can serve.

use lexivec_models::{Compute, Precision, Target};

use crate::execution_provider::Provider;

/// Why a provider cannot serve a model of this precision and target; `None` where it can. `compute` is the type that a
/// model computes in whose weights alone are integers.
///
/// A node without a kernel on a GPU would run on the CPU, with its inputs copied there and back: that is the silent
/// fall-back that must not happen.
#[must_use]
pub fn refusal(
    provider: Provider,
    precision: Precision,
    compute: Option<Compute>,
    target: Target,
) -> Option<&'static str> {
    let weight_only = precision.weight_bits().is_some();
    match (provider, precision, target) {
        (Provider::Cpu, Precision::Bf16, _) => Some(
            "ONNX Runtime has no bfloat16 kernels for CPUs: convert with `--precision int8` or `--precision fp32`",
        ),
        (Provider::Cpu, _, _) => None,
        (Provider::Cuda, _, Target::Ort) if weight_only && compute != Some(Compute::Fp16) => Some(
            "GroupQueryAttention has CUDA kernels for float16 and bfloat16 only: convert with `--compute fp16`",
        ),
        (Provider::Cuda, Precision::Fp32 | Precision::Int8, Target::Ort) => Some(
            "GroupQueryAttention has CUDA kernels for float16 and bfloat16 only: convert with `--precision fp16` or \
             `--precision bf16`, or with `--target standard`",
        ),
        (Provider::Cuda, _, _) => None,
        (Provider::TensorRt, _, Target::Ort) if weight_only => Some(
            "TensorRT does not know ONNX Runtime's own operators, which weights in blocks need: convert with \
             `--precision fp16 --target standard`",
        ),
        (Provider::TensorRt, _, Target::Ort) => Some(
            "TensorRT does not know ONNX Runtime's own operators: convert with `--target standard`",
        ),
        (Provider::TensorRt, _, Target::Standard) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do_instead() {
        for provider in Provider::ALL {
            for &precision in Precision::ALL {
                for target in [Target::Ort, Target::Standard] {
                    let compute = precision.weight_bits().map(|_| Compute::Fp32);
                    let Some(reason) = refusal(provider, precision, compute, target) else {
                        continue;
                    };
                    assert!(reason.contains("convert with"), "{reason}");
                }
            }
        }
        let cuda = |precision, compute| refusal(Provider::Cuda, precision, compute, Target::Ort);
        assert!(refusal(Provider::Cpu, Precision::Bf16, None, Target::Ort).is_some());
        assert!(cuda(Precision::Fp16, None).is_none());
        assert!(cuda(Precision::Int4Weight, Some(Compute::Fp32)).is_some());
        assert!(cuda(Precision::Int4Weight, Some(Compute::Fp16)).is_none());
    }
}
