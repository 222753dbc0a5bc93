//! Execution providers: which one computes, and with which options.
//!
//! A requested provider that does not start is an error, never a silent fallback to the CPU. The same holds for a model
//! that the provider cannot serve ([`crate::unsupported()`]), and for nodes that ONNX Runtime placed on the CPU
//! (`placement.rs`). `provider_config.rs` holds each provider's configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub(crate) mod option;
pub(crate) mod rejection;

pub use option::ProviderOption;

/// An execution provider of ONNX Runtime.
///
/// ```
/// use lexivec_runtime::Provider;
///
/// let provider: Provider = "tensorrt".parse()?;
/// assert_eq!(provider, Provider::TensorRt);
/// assert!(provider.on_gpu() && !Provider::OpenVino.on_gpu());
/// let error = "gpu".parse::<Provider>().unwrap_err();
/// assert!(error.contains("there are cpu, cuda, tensorrt, tensorrt-rtx, openvino"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// ONNX Runtime's own kernels (MLAS).
    Cpu,
    /// CUDA and cuBLAS.
    Cuda,
    /// TensorRT engines.
    TensorRt,
    /// TensorRT for RTX engines, from a plugin library.
    TensorRtRtx,
    /// OpenVINO, from a plugin library.
    OpenVino,
}

impl Provider {
    /// All providers.
    pub const ALL: [Self; 5] = [
        Self::Cpu,
        Self::Cuda,
        Self::TensorRt,
        Self::TensorRtRtx,
        Self::OpenVino,
    ];

    /// The short name, such as `cuda`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::TensorRtRtx => "tensorrt-rtx",
            Self::OpenVino => "openvino",
        }
    }

    /// ONNX Runtime's name for it.
    pub(crate) fn registered_name(self) -> &'static str {
        match self {
            Self::Cpu => "CPUExecutionProvider",
            Self::Cuda => "CUDAExecutionProvider",
            Self::TensorRt => "TensorrtExecutionProvider",
            Self::TensorRtRtx => "NvTensorRTRTXExecutionProvider",
            Self::OpenVino => "OpenVINOExecutionProvider",
        }
    }

    /// Whether the provider computes on a GPU. OpenVINO computes on the CPU here.
    #[must_use]
    pub fn on_gpu(self) -> bool {
        match self {
            Self::Cpu | Self::OpenVino => false,
            Self::Cuda | Self::TensorRt | Self::TensorRtRtx => true,
        }
    }

    /// Whether the provider is a plugin library.
    pub(crate) fn is_plugin(self) -> bool {
        matches!(self, Self::TensorRtRtx | Self::OpenVino)
    }

    /// Whether the provider is part of ONNX Runtime's GPU build.
    fn in_gpu_build(self) -> bool {
        matches!(self, Self::Cuda | Self::TensorRt)
    }

    /// The provider's requirements of a machine.
    fn needs(self) -> &'static str {
        match self {
            Self::Cpu => "nothing",
            Self::Cuda => {
                "an NVIDIA GPU with its driver, the CUDA 13 libraries (cudart, cublas, cublasLt, curand) on LD_LIBRARY_PATH, \
                 and the GPU build of ONNX Runtime (`make onnxruntime-gpu`). cuDNN 9 is needed by padded graphs only"
            }
            Self::TensorRt => {
                "an NVIDIA GPU with its driver, CUDA 13, cuDNN 9 (libcudnn.so.9) and TensorRT 10 (libnvinfer.so.10, \
                 libnvonnxparser.so.10) on LD_LIBRARY_PATH, and the GPU build of ONNX Runtime (`make onnxruntime-gpu`)"
            }
            Self::TensorRtRtx => {
                "an NVIDIA RTX GPU (compute capability 8.6, 8.9, or 12.0 and newer; not A100, H100 or H200) with its \
                 driver, and the provider's library (`make onnxruntime-tensorrt-rtx`) with its folder \
                 on LD_LIBRARY_PATH"
            }
            Self::OpenVino => {
                "the provider's library (`make onnxruntime-openvino`) and an Intel CPU: the library offers no others"
            }
        }
    }

    /// The message for a provider that did not start.
    pub(crate) fn did_not_start(self, reason: &str) -> String {
        let happened = rejection::plain(reason);
        format!("it did not start: {happened}. It needs {}", self.needs())
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|p| p.name() == s);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{s}` is no execution provider; there are {names}")
        })
    }
}

/// The providers of a session, in order of preference, and their options.
///
/// ```
/// use lexivec_models::{AttentionForm, GraphForm, Precision, Target};
/// use lexivec_runtime::{Provider, ProviderSettings};
///
/// let settings = ProviderSettings {
///     order: vec![Provider::Cuda],
///     ..ProviderSettings::default()
/// };
/// assert_eq!(settings.first(), Provider::Cuda);
/// assert!(settings.wants_gpu_build());
///
/// let form = |target| GraphForm {
///     precision: Precision::Fp16,
///     compute: None,
///     target,
///     attention: AttentionForm::Standard,
/// };
/// assert!(settings.check(form(Target::Cuda)).is_ok());
/// assert!(settings.check(form(Target::Ort)).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// In order of preference: a node runs on the first provider that has a kernel for it. ONNX Runtime adds the CPU at
    /// the end.
    pub order: Vec<Provider>,
    /// GPU number.
    pub device: i32,
    /// Options under the providers' own names. They override lexivec's.
    pub options: Vec<ProviderOption>,
    /// The library of a plugin provider; `None` to search for it where `make onnxruntime-openvino` installs it.
    pub library: Option<PathBuf>,
    /// Whether nodes with real work may run on the CPU if a provider has no kernel for them.
    pub allow_cpu_nodes: bool,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            order: vec![Provider::Cpu],
            device: 0,
            options: Vec::new(),
            library: None,
            allow_cpu_nodes: false,
        }
    }
}

impl ProviderSettings {
    /// The provider that runs most of the graph.
    #[must_use]
    pub fn first(&self) -> Provider {
        self.order.first().copied().unwrap_or(Provider::Cpu)
    }

    /// Whether a GPU is requested.
    #[must_use]
    pub(crate) fn wants_gpu(&self) -> bool {
        self.order.iter().any(|p| p.on_gpu())
    }

    /// Whether ONNX Runtime's GPU build is needed. Plugin providers also work with the CPU build.
    #[must_use]
    pub fn wants_gpu_build(&self) -> bool {
        self.order.iter().any(|p| p.in_gpu_build())
    }

    /// Whether a node on the CPU has its inputs and outputs copied between devices.
    pub(crate) fn copies_for_cpu_nodes(&self) -> bool {
        let elsewhere = |option: &ProviderOption| {
            option.provider == Provider::OpenVino
                && option.key == "device_type"
                && option.value != "CPU"
        };
        self.wants_gpu() || self.options.iter().any(elsewhere)
    }

    /// The providers in order, with CUDA right after TensorRT. Otherwise nodes that TensorRT declines would run on the
    /// CPU.
    pub(crate) fn with_implied(&self) -> Vec<Provider> {
        with_implied(&self.order)
    }
}

fn with_implied(order: &[Provider]) -> Vec<Provider> {
    let mut all = Vec::new();
    for provider in order {
        all.push(*provider);
        if *provider == Provider::TensorRt && !order.contains(&Provider::Cuda) {
            all.push(Provider::Cuda);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for provider in Provider::ALL {
            assert_eq!(provider.name().parse(), Ok(provider));
        }
        let message = "gpu".parse::<Provider>().unwrap_err();
        assert!(message.contains("tensorrt-rtx, openvino"), "{message}");
    }

    #[test]
    fn cuda_follows_tensorrt() {
        use Provider::{Cpu, Cuda, TensorRt};
        assert_eq!(with_implied(&[TensorRt]), [TensorRt, Cuda]);
        assert_eq!(with_implied(&[TensorRt, Cpu]), [TensorRt, Cuda, Cpu]);
        assert_eq!(with_implied(&[Cuda, TensorRt]), [Cuda, TensorRt]);
        assert_eq!(with_implied(&[Cpu]), [Cpu]);
    }

    #[test]
    fn a_provider_that_did_not_start_says_only_what_is_missing() {
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
