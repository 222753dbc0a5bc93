//! The forms of graphs, and which of them an execution provider can serve. `convert` uses the same messages.

use lexivec_models::{AttentionForm, Compute, GraphForm, Precision, Target};

use crate::error::{Error, Result};
use crate::onnxruntime::execution_provider::{Provider, ProviderSettings};

const INTEGER_ACTIVATIONS: &str = "CUDA has no fused kernel for integer activations: convert with precision int8 for the \
                                   execution provider cuda and without a target, which keeps weights of 8 bits and \
                                   activations in float16";

const BFLOAT16: &str =
    "ONNX Runtime has no bfloat16 kernels for CPUs: convert with precision int8 or fp32";

/// Why no execution provider can run a graph of this form, and what to convert to instead; `None` for forms that are
/// written.
///
/// ```
/// use lexivec_models::{AttentionForm, GraphForm, Precision, Target};
/// use lexivec_runtime::unservable;
///
/// let int8 = |target| GraphForm {
///     precision: Precision::Int8,
///     compute: None,
///     target,
///     attention: AttentionForm::Standard,
/// };
/// assert_eq!(unservable(int8(Target::Ort)), None);
/// assert!(unservable(int8(Target::Cuda)).is_some_and(|reason| reason.contains("convert with")));
/// ```
#[must_use]
pub fn unservable(form: GraphForm) -> Option<&'static str> {
    let blocks = form.precision.weight_bits().is_some();
    match (form.target, form.precision) {
        (Target::Standard | Target::TensorRt, _) if blocks => Some(
            "only ONNX Runtime's own operators read weights in blocks: convert with the execution provider cpu or cuda, or \
             with precision int8",
        ),
        (Target::Standard | Target::TensorRt, Precision::Fp8) => Some(
            "only an operator of ONNX Runtime's own multiplies 8-bit floats: convert with the execution provider cuda, or with \
             precision int8",
        ),
        (Target::Cuda, Precision::Int8) => Some(INTEGER_ACTIVATIONS),
        // Their operators are those of CPUs.
        (Target::Cpu | Target::Ort, Precision::Bf16) => Some(BFLOAT16),
        (target, precision) if form.attention == AttentionForm::Grouped => {
            if target != Target::Cuda {
                Some("grouped attention is for CUDA: convert with the execution provider cuda")
            } else if precision == Precision::Fp32 || form.compute == Some(Compute::Fp32) {
                Some(
                    "GroupQueryAttention has no float32 kernel on CUDA: convert with standard attention",
                )
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Why a provider cannot serve a graph of this form, and what to do instead; `None` if it can.
///
/// A node without a kernel on a GPU would run on the CPU, with its inputs copied there and back. That silent fallback
/// must not happen.
///
/// ```
/// use lexivec_models::{AttentionForm, GraphForm, Precision, Target};
/// use lexivec_runtime::{Provider, unsupported};
///
/// let form = GraphForm {
///     precision: Precision::Bf16,
///     compute: None,
///     target: Target::Cuda,
///     attention: AttentionForm::Standard,
/// };
/// assert_eq!(unsupported(Provider::Cuda, form), None);
/// let reason = unsupported(Provider::Cpu, form).expect("CPUs have no bfloat16 kernels");
/// assert!(reason.contains("int8 or fp32"));
/// ```
#[must_use]
pub fn unsupported(provider: Provider, form: GraphForm) -> Option<&'static str> {
    unservable(form).or_else(|| match provider {
        Provider::Cpu => on_a_cpu(form),
        Provider::Cuda => on_cuda(form),
        Provider::TensorRt | Provider::TensorRtRtx => on_tensorrt(form),
        Provider::OpenVino => on_openvino(form),
    })
}

impl ProviderSettings {
    /// Checks that each provider can serve a graph of this form.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] names the first that cannot.
    pub fn check(&self, form: GraphForm) -> Result<()> {
        for provider in &self.order {
            // Behind another provider, the CPU runs nothing of the graph; `placement` checks that.
            if *provider == Provider::Cpu && self.order.len() > 1 {
                continue;
            }
            if let Some(reason) = unsupported(*provider, form) {
                return Err(Error::UnsupportedModel {
                    provider: provider.name(),
                    reason: format!(
                        "the model is {}, target {}. {reason}",
                        form.precision, form.target
                    ),
                });
            }
        }
        Ok(())
    }
}

fn on_a_cpu(form: GraphForm) -> Option<&'static str> {
    match (form.precision, form.target, form.attention) {
        (Precision::Bf16, ..) => Some(BFLOAT16),
        (Precision::Fp8, Target::Cuda, _) => Some(
            "CPUs have no kernels for 8-bit floats: convert with the execution provider cpu for a simulation of this precision",
        ),
        (_, Target::Cuda, AttentionForm::Grouped) => Some(
            "GroupQueryAttention normalises queries and keys on CUDA only: convert with the execution provider cpu",
        ),
        _ => None,
    }
}

fn on_cuda(form: GraphForm) -> Option<&'static str> {
    match (form.target, form.precision) {
        (Target::Cpu | Target::Ort, _) => Some(
            "Its operators are those that ONNX Runtime's CPU kernels need, and some have none on CUDA: convert with \
             the execution provider cuda",
        ),
        (Target::Cuda | Target::Standard | Target::TensorRt, Precision::Int8) => {
            Some(INTEGER_ACTIVATIONS)
        }
        (Target::Cuda | Target::Standard | Target::TensorRt, _) => None,
    }
}

fn on_tensorrt(form: GraphForm) -> Option<&'static str> {
    match (form.target, form.precision) {
        (Target::Cpu | Target::Ort | Target::Cuda, _) => Some(
            "TensorRT does not know ONNX Runtime's own operators: convert with the execution provider tensorrt",
        ),
        (Target::Standard, Precision::Fp32 | Precision::Int8) => Some(
            "TensorRT has no kernel for attention in float32: convert with the execution provider tensorrt, which computes attention in \
             float16",
        ),
        (Target::Standard | Target::TensorRt, _) => None,
    }
}

fn on_openvino(form: GraphForm) -> Option<&'static str> {
    match form.target {
        Target::Standard => None,
        Target::Cpu | Target::Ort | Target::Cuda | Target::TensorRt => Some(
            "its operators are another execution provider's: convert with the execution provider openvino",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(precision: Precision, target: Target) -> GraphForm {
        GraphForm {
            precision,
            compute: precision.weight_bits().map(|_| Compute::Fp16),
            target,
            attention: AttentionForm::Standard,
        }
    }

    #[test]
    fn every_unsupported_form_says_what_to_do_instead() {
        let mut found = 0;
        for provider in Provider::ALL {
            for &precision in Precision::ALL {
                for &target in Target::ALL {
                    for &attention in AttentionForm::ALL {
                        let form = GraphForm {
                            attention,
                            ..form(precision, target)
                        };
                        let Some(reason) = unsupported(provider, form) else {
                            continue;
                        };
                        found += 1;
                        assert!(reason.contains("convert with"), "{reason}");
                    }
                }
            }
        }
        assert!(found > 0);
    }

    #[test]
    fn each_provider_runs_the_graphs_that_are_written_for_it() {
        let runs =
            |provider, precision, target| unsupported(provider, form(precision, target)).is_none();
        assert!(runs(Provider::Cpu, Precision::Int8, Target::Ort));
        assert!(runs(Provider::Cuda, Precision::Fp16, Target::Cuda));
        assert!(runs(Provider::Cuda, Precision::Int4Weight, Target::Cuda));
        assert!(runs(Provider::TensorRt, Precision::Int8, Target::TensorRt));
        assert!(!runs(Provider::Cpu, Precision::Bf16, Target::Ort));
        assert!(!runs(Provider::Cuda, Precision::Fp16, Target::Ort));
        assert!(!runs(Provider::Cuda, Precision::Int8, Target::Standard));
        assert!(!runs(Provider::TensorRt, Precision::Fp32, Target::Standard));
    }

    #[test]
    fn a_form_that_no_provider_serves_is_not_written() {
        for &precision in Precision::ALL {
            for &target in Target::ALL {
                let form = form(precision, target);
                let served = Provider::ALL
                    .iter()
                    .any(|p| unsupported(*p, form).is_none());
                assert!(
                    served || unservable(form).is_some(),
                    "{precision}, target {target}"
                );
            }
        }
    }

    #[test]
    fn every_provider_of_the_order_is_checked_and_the_cpu_behind_another_is_not() {
        use Provider::{Cpu, Cuda, TensorRt};
        let check = |order: &[Provider], target| {
            let settings = ProviderSettings {
                order: order.to_vec(),
                ..ProviderSettings::default()
            };
            settings.check(form(Precision::Bf16, target))
        };
        assert!(check(&[Cuda, Cpu], Target::Cuda).is_ok());
        let error = check(&[Cuda, TensorRt], Target::Cuda).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("`tensorrt` cannot be used: the model is bf16, target cuda."),
            "{message}"
        );
        assert!(
            message.contains("convert with the execution provider tensorrt"),
            "{message}"
        );
    }
}
