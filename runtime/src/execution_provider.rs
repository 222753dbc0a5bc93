//! Execution providers: which one computes, with which options, and which models it can serve.
//!
//! A provider that was asked for and does not start is an error, never a silent fall-back to the CPU; the same holds
//! for a model whose operators the provider has no kernels for ([`crate::refusal()`]).

use std::fmt;
use std::str::FromStr;

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider as _, ExecutionProviderDispatch};

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// ONNX Runtime's own kernels (MLAS).
    Cpu,
    /// CUDA, cuBLAS, cuDNN.
    Cuda,
    /// TensorRT engines.
    TensorRt,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Cuda, Self::TensorRt];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// What a machine must have for it.
    fn needs(self) -> &'static str {
        match self {
            Self::Cpu => "nothing",
            Self::Cuda => {
                "an NVIDIA GPU with its driver, the CUDA 13 libraries (cudart, cublas, curand) on LD_LIBRARY_PATH, and the \
                 GPU build of ONNX Runtime (`make onnxruntime-gpu`)"
            }
            Self::TensorRt => {
                "an NVIDIA GPU with its driver, CUDA 13 and TensorRT 10 (libnvinfer.so.10, libnvonnxparser.so.10) on \
                 LD_LIBRARY_PATH, and the GPU build of ONNX Runtime (`make onnxruntime-gpu`)"
            }
        }
    }

    /// The sentence for a provider that did not start.
    pub(crate) fn did_not_start(self, reason: &str) -> String {
        // ONNX Runtime puts its source file, the function and a status before what happened.
        let happened = reason.rsplit(" : ").next().unwrap_or(reason);
        let happened = happened.trim().trim_end_matches('.');
        format!("it did not start: {happened}. It needs {}", self.needs())
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|p| p.name() == s);
        found.ok_or_else(|| {
            format!("`{s}` is no execution provider; there are cpu, cuda and tensorrt")
        })
    }
}

/// The providers of a session, in order of preference, and their options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// In order: a node goes to the first that has a kernel for it. ONNX Runtime puts the CPU last by itself.
    pub order: Vec<Provider>,
    /// GPU number.
    pub device: i32,
    /// Options in ONNX Runtime's own words, given to each GPU provider: `gpu_mem_limit=8589934592`.
    pub options: Vec<(String, String)>,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            order: vec![Provider::Cpu],
            device: 0,
            options: Vec::new(),
        }
    }
}

impl ProviderSettings {
    /// The provider that most of the graph runs on.
    #[must_use]
    pub fn first(&self) -> Provider {
        self.order.first().copied().unwrap_or(Provider::Cpu)
    }

    /// Whether a GPU is asked for.
    #[must_use]
    pub fn wants_gpu(&self) -> bool {
        self.order.iter().any(|p| *p != Provider::Cpu)
    }

    pub(crate) fn dispatch(&self, provider: Provider) -> Option<ExecutionProviderDispatch> {
        match provider {
            Provider::Cpu => None,
            Provider::Cuda => {
                // Sums of squares in float32: in float16 they overflow at 256 components of 16.
                let cuda = ep::CUDA::default()
                    .with_device_id(self.device)
                    .with_skip_layer_norm_strict_mode(true);
                let configured = self
                    .options
                    .iter()
                    .fold(cuda, |ep, (k, v)| ep.with_arbitrary_config(k, v));
                Some(configured.build().error_on_failure())
            }
            Provider::TensorRt => {
                let tensorrt = ep::TensorRT::default().with_device_id(self.device);
                let configured = self
                    .options
                    .iter()
                    .fold(tensorrt, |ep, (k, v)| ep.with_arbitrary_config(k, v));
                Some(configured.build().error_on_failure())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for provider in Provider::ALL {
            assert_eq!(provider.name().parse(), Ok(provider));
        }
        assert!("gpu".parse::<Provider>().unwrap_err().contains("tensorrt"));
    }

    #[test]
    fn a_provider_that_did_not_start_says_what_is_missing_and_no_more() {
        let reason = "/onnxruntime_src/provider_bridge_ort.cc:2043 onnxruntime::Provider& Get() [ONNXRuntimeError] : 1 : \
                      FAIL : Failed to load library /opt/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: \
                      cannot open shared object file: No such file or directory\n";
        let message = Provider::Cuda.did_not_start(reason);
        assert!(
            message.starts_with("it did not start: Failed to load library /opt/"),
            "{message}"
        );
        assert!(
            message.contains("directory. It needs an NVIDIA GPU"),
            "{message}"
        );
    }
}
