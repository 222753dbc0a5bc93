//! Which models an execution provider can serve.

use lexivec_models::{Attention, GraphForm, Precision, Target};

use crate::execution_provider::Provider;

/// Why a provider cannot serve a graph of this form, and what to do instead; `None` where it can.
///
/// A node without a kernel on a GPU would run on the CPU, with its inputs copied there and back: that is the silent
/// fall-back that must not happen.
#[must_use]
pub fn refusal(provider: Provider, form: GraphForm) -> Option<&'static str> {
    match provider {
        Provider::Cpu => on_a_cpu(form),
        Provider::Cuda => on_cuda(form),
        Provider::TensorRt | Provider::TensorRtRtx => on_tensorrt(form),
        Provider::OpenVino => on_openvino(form),
    }
}

fn on_a_cpu(form: GraphForm) -> Option<&'static str> {
    match (form.precision, form.target, form.attention) {
        (Precision::Bf16, ..) => Some(
            "ONNX Runtime has no bfloat16 kernels for CPUs: convert with `--precision int8` or `--precision fp32`",
        ),
        (Precision::Fp8, Target::Cuda, _) => Some(
            "CPUs have no kernels for 8-bit floats: convert with `--ep cpu` for a simulation of this precision",
        ),
        (_, Target::Cuda, Attention::Grouped) => Some(
            "GroupQueryAttention normalises queries and keys on CUDA only: convert without `--ep cuda`",
        ),
        _ => None,
    }
}

fn on_cuda(form: GraphForm) -> Option<&'static str> {
    match (form.target, form.precision) {
        (Target::Ort, _) => Some(
            "its operators are those that ONNX Runtime's CPU kernels need, and some have none on CUDA: convert with \
             `--ep cuda`",
        ),
        (Target::Standard | Target::TensorRt, Precision::Fp8) => Some(
            "8-bit floats are multiplied by an operator of ONNX Runtime's own: convert with `--ep cuda`",
        ),
        (_, Precision::Int8) => Some(
            "CUDA has no fused kernel for integer activations: convert with `--precision int8 --ep cuda`, which keeps \
             weights of 8 bits and activations in float16",
        ),
        (Target::Cuda | Target::Standard | Target::TensorRt, _) => None,
    }
}

fn on_tensorrt(form: GraphForm) -> Option<&'static str> {
    match (form.target, form.precision) {
        (Target::Ort | Target::Cuda, _) => Some(
            "TensorRT does not know ONNX Runtime's own operators: convert with `--ep tensorrt`",
        ),
        (Target::Standard, Precision::Fp32 | Precision::Int8) => Some(
            "TensorRT has no kernel for attention in float32: convert with `--ep tensorrt`, which computes attention in \
             float16",
        ),
        (Target::Standard | Target::TensorRt, Precision::Fp8) => {
            Some("8-bit floats are for CUDA: convert with `--ep cuda`, or with `--precision int8`")
        }
        (Target::Standard | Target::TensorRt, _) => None,
    }
}

fn on_openvino(form: GraphForm) -> Option<&'static str> {
    match form.target {
        Target::Standard => None,
        Target::Ort | Target::Cuda | Target::TensorRt => {
            Some("its operators are another execution provider's: convert with `--ep openvino`")
        }
    }
}

#[cfg(test)]
mod tests {
    use lexivec_models::Compute;

    use super::*;

    fn form(precision: Precision, target: Target) -> GraphForm {
        GraphForm {
            precision,
            compute: precision.weight_bits().map(|_| Compute::Fp16),
            target,
            attention: Attention::Standard,
        }
    }

    #[test]
    fn every_refusal_says_what_to_do_instead() {
        let mut refused = 0;
        for provider in Provider::ALL {
            for &precision in Precision::ALL {
                for &target in Target::ALL {
                    for &attention in Attention::ALL {
                        let form = GraphForm {
                            attention,
                            ..form(precision, target)
                        };
                        let Some(reason) = refusal(provider, form) else {
                            continue;
                        };
                        refused += 1;
                        assert!(reason.contains("convert with"), "{reason}");
                    }
                }
            }
        }
        assert!(refused > 0);
    }

    #[test]
    fn each_provider_runs_what_is_written_for_it() {
        let runs =
            |provider, precision, target| refusal(provider, form(precision, target)).is_none();
        assert!(runs(Provider::Cpu, Precision::Int8, Target::Ort));
        assert!(runs(Provider::Cuda, Precision::Fp16, Target::Cuda));
        assert!(runs(Provider::Cuda, Precision::Int4Weight, Target::Cuda));
        assert!(runs(Provider::TensorRt, Precision::Int8, Target::TensorRt));
        assert!(!runs(Provider::Cpu, Precision::Bf16, Target::Ort));
        assert!(!runs(Provider::Cuda, Precision::Fp16, Target::Ort));
        assert!(!runs(Provider::Cuda, Precision::Int8, Target::Standard));
        assert!(!runs(Provider::TensorRt, Precision::Fp32, Target::Standard));
    }
}
