//! The flags that say where and how a model runs.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use lexivec_runtime::batch::Limits;
use lexivec_runtime::{
    EngineOptions, GpuMemory, MAX_GPU_TOKENS, Provider, ProviderOption, ProviderSettings,
    SessionSettings,
};

use super::Usage;
use super::common::library;
use super::ep_option::{EpOptions, ep_options};

/// Threads of a session at most. ONNX Runtime starts all of them, and no processor has more cores.
const MOST_THREADS: usize = 1024;

/// The flags that say where and how a model runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Computation")]
pub(crate) struct ComputeArgs {
    /// ONNX Runtime's library, or its folder. Default: ORT_DYLIB_PATH, next to this program, the Python environment that it
    /// is installed in, the cache folder that `make onnxruntime` fills, the system's library folders
    #[arg(long, env = "LEXIVEC_ONNXRUNTIME", value_name = "PATH")]
    pub(crate) onnxruntime: Option<PathBuf>,

    /// Execution provider: cpu, cuda, tensorrt, tensorrt-rtx or openvino. Several, separated by commas, are an order of
    /// preference; tensorrt always falls back to cuda for nodes that it does not support. A provider that does not start is an
    /// error: nothing falls back to the CPU by itself
    #[arg(
        long,
        env = "LEXIVEC_EP",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "cpu"
    )]
    pub(crate) ep: Vec<Provider>,

    /// Option of an execution provider, such as cuda.gpu_mem_limit=8589934592; may be repeated. One flag may hold several
    /// options, separated by commas. The provider's name may be left out if --ep names only one
    #[arg(long, env = "LEXIVEC_EP_OPTION", value_name = "EP.KEY=VALUE", value_parser = ep_options)]
    pub(crate) ep_option: Vec<EpOptions>,

    /// Library of --ep openvino or tensorrt-rtx, or its folder. Default: next to this program, the cache folder that `make
    /// onnxruntime-openvino` fills, the system's library folders
    #[arg(long, env = "LEXIVEC_EP_LIBRARY", value_name = "PATH")]
    pub(crate) ep_library: Option<PathBuf>,

    /// Run nodes that --ep does not support on the CPU, instead of rejecting the model. Graphs of other exporters may need it. It
    /// is slow, because each batch copies data between devices
    #[arg(long, env = "LEXIVEC_ALLOW_CPU_NODES")]
    pub(crate) allow_cpu_nodes: bool,

    /// Replay small batches as CUDA graphs with --ep cuda: one launch instead of several hundred. Most batches of up to 512
    /// tokens are replayed. The graphs are captured when a model opens
    #[arg(long, env = "LEXIVEC_CUDA_GRAPHS", value_name = "on|off", default_value = "on", hide_possible_values = true, action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub(crate) cuda_graphs: bool,

    /// Skip verification to start sooner. A conversion on first use is then not compared with fp32, and the files of a model
    /// are not compared with the digests in its manifest
    #[arg(long, env = "LEXIVEC_NO_VERIFY")]
    pub(crate) no_verify: bool,

    /// Numbers of the GPUs to use. Each GPU gets a copy of the model and a share of the batches
    #[arg(
        long,
        visible_alias = "device",
        env = "LEXIVEC_DEVICES",
        value_name = "N",
        value_delimiter = ',',
        default_value = "0",
        value_parser = device
    )]
    pub(crate) devices: Vec<i32>,

    /// Threads that compute an operator. Lower it where other programs need the CPU. Default: one per physical core
    #[arg(long, env = "LEXIVEC_THREADS", value_name = "N")]
    pub(crate) threads: Option<usize>,

    /// Fraction of each GPU's free memory that all models may take together, with --ep cuda. The largest batch and the longest
    /// text follow from it. Lower it if other programs use the GPU
    #[arg(long, env = "LEXIVEC_GPU_MEMORY_UTILIZATION", value_name = "FRACTION", default_value_t = GpuMemory::default().utilization, value_parser = fraction)]
    gpu_memory_utilization: f64,

    /// Longest text in tokens, instruction included. Longer texts are rejected or truncated. On a CPU the memory of
    /// models for target `ort`, and of other tools' models, grows with the square of the length. Default: the model's limit, or what fits into memory
    #[arg(long, env = "LEXIVEC_MAX_LENGTH", value_name = "TOKENS")]
    max_length: Option<usize>,

    #[arg(
        long,
        env = "LEXIVEC_MAX_BATCH_TOKENS",
        value_name = "N",
        long_help = format!(
            "Maximum tokens in a batch. More tokens take more memory, and requests wait longer behind a full batch. On a CPU larger batches \
             are not faster; on GPUs the default keeps one busy with the 4B model. Default: {} on a CPU; on GPUs {}, \
             or fewer if memory is short",
            EngineOptions::for_provider(Provider::Cpu).limits.max_tokens,
            EngineOptions::for_provider(Provider::Cuda).limits.max_tokens
        )
    )]
    max_batch_tokens: Option<usize>,
}

impl ComputeArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// [`Usage`].
    pub(crate) fn engine_options(&self, queue: usize) -> Result<EngineOptions, Usage> {
        if self.max_batch_tokens == Some(0) {
            return Err(Usage("--max-batch-tokens must be at least 1".to_owned()));
        }
        if self.gpu() && self.max_batch_tokens > Some(MAX_GPU_TOKENS) {
            return Err(Usage(format!(
                "--max-batch-tokens may be at most {MAX_GPU_TOKENS} on a GPU, because CUDA cannot launch a larger grid"
            )));
        }
        if self.max_length == Some(0) {
            return Err(Usage("--max-length must be at least 1".to_owned()));
        }
        if self
            .threads
            .is_some_and(|threads| !(1..=MOST_THREADS).contains(&threads))
        {
            return Err(Usage(format!("--threads must be 1 to {MOST_THREADS}")));
        }
        let providers = self.providers()?;
        let on_gpu = self.ep.iter().find(|provider| provider.on_gpu());
        let defaults = EngineOptions::for_provider(on_gpu.copied().unwrap_or(providers.first()));
        Ok(EngineOptions {
            onnxruntime: self.library(),
            session: SessionSettings {
                providers,
                threads: self.threads,
                cuda_graphs: self.cuda_graphs,
                ..defaults.session
            },
            limits: Limits {
                max_tokens: self.max_batch_tokens.unwrap_or(defaults.limits.max_tokens),
                ..defaults.limits
            },
            max_length: self.max_length,
            verify_files: !self.no_verify,
            devices: self.devices.clone(),
            gpu_memory: GpuMemory {
                utilization: self.gpu_memory_utilization,
                keep_budget: self.max_batch_tokens.is_some(),
                ..GpuMemory::default()
            },
            queue,
            ..defaults
        })
    }

    /// The execution providers and their options, on the first device.
    ///
    /// # Errors
    /// The flags contradict each other, or an option is for a provider that is not in use.
    pub(crate) fn providers(&self) -> Result<ProviderSettings, Usage> {
        if let Some(provider) = twice(&self.ep) {
            return Err(Usage(format!("--ep names {provider} twice")));
        }
        if self.ep.len() > 1 && self.ep.contains(&Provider::Cpu) {
            return Err(Usage(
                "--ep cpu stands alone: leave `cpu` out. --allow-cpu-nodes runs nodes on the CPU that another provider does not \
                 support"
                    .to_owned(),
            ));
        }
        if let Some(device) = twice(&self.devices) {
            return Err(Usage(format!("--devices names {device} twice")));
        }
        if !self.gpu() && self.devices != [0] {
            return Err(Usage(
                "--devices are GPUs: give --ep cuda, tensorrt or tensorrt-rtx as well. For several sessions on the CPU, give --sessions"
                    .to_owned(),
            ));
        }
        let options = self.ep_option.iter().flat_map(|given| &given.0);
        let options = ProviderOption::all(&self.ep, options);
        Ok(ProviderSettings {
            order: self.ep.clone(),
            device: self.devices[0],
            options: options.map_err(|reason| Usage(format!("--ep-option: {reason}")))?,
            library: self.ep_library.clone(),
            allow_cpu_nodes: self.allow_cpu_nodes,
        })
    }

    fn gpu(&self) -> bool {
        self.ep.iter().any(|p| p.on_gpu())
    }

    /// The path of ONNX Runtime's library, from the flag or ort's own variable.
    pub(crate) fn library(&self) -> Option<PathBuf> {
        library(self.onnxruntime.as_ref())
    }
}

/// Reads a fraction: more than 0, at most 1.
fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(fraction) if fraction > 0.0 && fraction <= 1.0 => Ok(fraction),
        _ => Err(format!("`{text}` is not a number above 0 and at most 1")),
    }
}

/// Reads the number of a GPU.
fn device(text: &str) -> Result<i32, String> {
    let number = text.trim().parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| format!("`{text}` is not the number of a GPU: 0 is the first"))
}

/// The first value that is given twice.
fn twice<T: PartialEq>(values: &[T]) -> Option<&T> {
    let mut numbered = values.iter().enumerate();
    let found = numbered.find(|(position, value)| values[..*position].contains(value))?;
    Some(found.1)
}

#[cfg(test)]
mod tests;
