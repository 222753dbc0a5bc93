//! Flags that several subcommands share.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use lexivec_models::{HubOptions, Instructions};
use lexivec_runtime::batch::Limits;
use lexivec_runtime::{
    EngineOptions, GpuMemory, MAX_GPU_TOKENS, Provider, ProviderOption, ProviderSettings,
    SessionSettings,
};

use super::Usage;
use crate::embed::Reader;

/// Where and how a model computes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Computation")]
pub(crate) struct ComputeArgs {
    /// ONNX Runtime's library, or its folder. Default: ORT_DYLIB_PATH, next to this program, the cache folder that
    /// `make onnxruntime` fills, the system's library folders
    #[arg(long, env = "LEXIVEC_ONNXRUNTIME", value_name = "PATH")]
    pub(crate) onnxruntime: Option<PathBuf>,

    /// Execution provider: cpu, cuda, tensorrt, tensorrt-rtx or openvino. Several are an order of preference; tensorrt
    /// always falls back to cuda for nodes that it does not support. One that does not start is an error; nothing falls back to the CPU by itself
    #[arg(
        long,
        env = "LEXIVEC_EP",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "cpu"
    )]
    pub(crate) ep: Vec<Provider>,

    /// An option of an execution provider, in its own words: cuda.gpu_mem_limit=8589934592,
    /// tensorrt.trt_builder_optimization_level=5. The provider's name may be left out where --ep has one only. May be
    /// repeated, or hold several, separated by commas
    #[arg(long, env = "LEXIVEC_EP_OPTION", value_name = "EP.KEY=VALUE", value_parser = ep_options)]
    pub(crate) ep_option: Vec<EpOptions>,

    /// Library of --ep openvino or tensorrt-rtx, or its folder. Default: next to this program, the cache folder that
    /// `make onnxruntime-openvino` fills, the system's library folders
    #[arg(long, env = "LEXIVEC_EP_LIBRARY", value_name = "PATH")]
    pub(crate) ep_library: Option<PathBuf>,

    /// Run unsupported nodes on the CPU instead of refusing the model; for graphs of other exporters. Slow: each batch copies
    /// data between devices
    #[arg(long, env = "LEXIVEC_ALLOW_CPU_NODES")]
    pub(crate) allow_cpu_nodes: bool,

    /// Replay small batches (most of up to 512 tokens) as CUDA graphs, for --ep cuda: one launch instead of several hundred.
    /// They are captured when a model opens
    #[arg(long, env = "LEXIVEC_CUDA_GRAPHS", value_name = "on|off", default_value = "on", hide_possible_values = true, action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub(crate) cuda_graphs: bool,

    /// Do not verify a conversion on first use against fp32
    #[arg(long, env = "LEXIVEC_NO_VERIFY")]
    pub(crate) no_verify: bool,

    /// GPUs by number, 0,1,… ; each gets the model and a share of the batches
    #[arg(
        long,
        visible_alias = "device",
        env = "LEXIVEC_DEVICES",
        value_name = "N",
        value_delimiter = ',',
        default_value = "0"
    )]
    pub(crate) devices: Vec<i32>,

    /// Threads within an operator. Default: one per physical core, which is fastest where nothing else runs
    #[arg(long, env = "LEXIVEC_THREADS", value_name = "N")]
    pub(crate) threads: Option<usize>,

    /// Share of each GPU's free memory that all models take together, for --ep cuda. The largest batch and the longest text
    /// follow from it. Lower it where other programs use the GPU
    #[arg(long, env = "LEXIVEC_GPU_MEMORY_UTILIZATION", value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    gpu_memory_utilization: f64,

    /// Tokens that run together at most. More means more memory and a longer wait behind a full batch. Default: 2048 on a
    /// CPU, which has nothing more to gain there; on GPUs 16384, which keeps one busy with the 4B model, or fewer where
    /// memory is short
    #[arg(long, env = "LEXIVEC_MAX_BATCH_TOKENS", value_name = "N")]
    max_batch_tokens: Option<usize>,
}

const CPU_BATCH_TOKENS: usize = 2048;
const GPU_BATCH_TOKENS: usize = 16_384;
const CPU_PREFIX_BYTES: usize = 64 << 20;

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
                "--max-batch-tokens may be {MAX_GPU_TOKENS} on a GPU at most: CUDA launches no larger grid of rows"
            )));
        }
        if self.threads == Some(0) {
            return Err(Usage("--threads must be at least 1".to_owned()));
        }
        for (position, device) in self.devices.iter().enumerate() {
            if self.devices[..position].contains(device) {
                return Err(Usage(format!("--devices names {device} twice")));
            }
        }
        let providers = self.providers()?;
        if !providers.wants_gpu() && self.devices.len() > 1 {
            return Err(Usage(
                "--devices are GPUs: give --ep cuda, tensorrt or tensorrt-rtx as well, or --sessions for several on the CPU"
                    .to_owned(),
            ));
        }
        Ok(EngineOptions {
            onnxruntime: self.library(),
            session: SessionSettings {
                providers,
                threads: self.threads,
                prefix_bytes: self.prefix_bytes(),
                cuda_graphs: self.cuda_graphs,
                ..SessionSettings::default()
            },
            limits: Limits {
                max_tokens: self.batch_tokens(),
                ..Limits::default()
            },
            devices: self.devices.clone(),
            gpu_memory: GpuMemory {
                utilization: self.gpu_memory_utilization,
                keep_budget: self.max_batch_tokens.is_some(),
                ..GpuMemory::default()
            },
            queue,
            ..EngineOptions::default()
        })
    }

    /// The execution providers and their options.
    ///
    /// # Errors
    /// An option is for a provider that is not in use.
    pub(crate) fn providers(&self) -> Result<ProviderSettings, Usage> {
        let options = self.ep_option.iter().flat_map(|given| &given.0);
        let options = options.map(|(key, value)| ProviderOption::new(&self.ep, key, value));
        let options = options.collect::<Result<_, _>>();
        Ok(ProviderSettings {
            order: self.ep.clone(),
            device: self.devices[0],
            options: options.map_err(|reason| Usage(format!("--ep-option: {reason}")))?,
            library: self.ep_library.clone(),
            allow_cpu_nodes: self.allow_cpu_nodes,
        })
    }

    /// Bytes that are kept of the prefixes that texts share, where no flag says it.
    fn prefix_bytes(&self) -> usize {
        match self.gpu() {
            true => 0,
            false => CPU_PREFIX_BYTES,
        }
    }

    fn gpu(&self) -> bool {
        self.ep.iter().any(|p| p.on_gpu())
    }

    /// Tokens that run together at most.
    pub(crate) fn batch_tokens(&self) -> usize {
        let default = match self.gpu() {
            true => GPU_BATCH_TOKENS,
            false => CPU_BATCH_TOKENS,
        };
        self.max_batch_tokens.unwrap_or(default)
    }

    /// The library asked for, here or in ort's own variable.
    pub(crate) fn library(&self) -> Option<PathBuf> {
        library(self.onnxruntime.as_ref())
    }
}

/// Reads a share of something: more than 0, at most 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(format!("`{text}` is not a number above 0 and at most 1")),
    }
}

/// `--onnxruntime`, else ORT_DYLIB_PATH.
pub(crate) fn library(flag: Option<&PathBuf>) -> Option<PathBuf> {
    let variable = || {
        std::env::var_os("ORT_DYLIB_PATH")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    flag.cloned().or_else(variable)
}

/// Where checkpoints come from. HF_TOKEN, HF_HOME and HF_ENDPOINT are honoured as everywhere.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hugging Face hub")]
pub(crate) struct HubArgs {
    /// Branch, tag or commit to download. Default: the catalog's, else main
    #[arg(long, env = "LEXIVEC_REVISION", value_name = "REVISION")]
    pub(crate) revision: Option<String>,

    /// Use what the hub cache holds, and no network
    #[arg(long, env = "LEXIVEC_OFFLINE")]
    pub(crate) offline: bool,
}

impl HubArgs {
    pub(crate) fn options(&self) -> HubOptions {
        HubOptions {
            revision: self.revision.clone(),
            offline: self.offline,
        }
    }
}

/// Where files hold their texts.
#[derive(Debug, Clone, Args)]
pub(crate) struct TextArgs {
    /// Field of a .jsonl line that holds the text
    #[arg(long, env = "LEXIVEC_FIELD", default_value = "text")]
    field: String,

    /// Column of a .csv file that holds the text
    #[arg(long, env = "LEXIVEC_COLUMN", default_value = "text")]
    column: String,
}

impl TextArgs {
    /// The texts of files, or of standard input where none is named.
    ///
    /// # Errors
    /// [`Usage`] for a file of a kind that is not read.
    pub(crate) fn reader(&self, files: &[PathBuf]) -> Result<Reader, Usage> {
        Reader::new(files, &self.field, &self.column).map_err(Usage)
    }
}

/// The registry of domain instructions.
#[derive(Debug, Clone, Args)]
pub(crate) struct DomainArgs {
    /// A TOML file of domain instructions, added to the built-in ones, or in their place if it says `replace = true`
    #[arg(long, env = "LEXIVEC_DOMAINS", value_name = "FILE")]
    pub(crate) domains: Option<PathBuf>,
}

impl DomainArgs {
    pub(crate) fn load(&self) -> lexivec_models::Result<Instructions> {
        Instructions::load(self.domains.as_deref())
    }
}

/// What one `--ep-option` holds: keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpOptions(Vec<(String, String)>);

/// Reads `KEY=VALUE[,KEY=VALUE…]`. A piece without `=` belongs to the value before it: TensorRT's shapes have commas.
fn ep_options(text: &str) -> Result<EpOptions, String> {
    let mut options: Vec<(String, String)> = Vec::new();
    for piece in text.split(',') {
        match (piece.split_once('='), options.last_mut()) {
            (Some((key, value)), _) if !key.is_empty() => {
                options.push((key.to_owned(), value.to_owned()));
            }
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(piece);
            }
            _ => return Err(format!("`{piece}` is not of the form KEY=VALUE")),
        }
    }
    Ok(EpOptions(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_above_0_and_at_most_1() {
        assert_eq!(share("0.9"), Ok(0.9));
        assert_eq!(share("1"), Ok(1.0));
        for wrong in ["0", "-0.5", "1.01", "90%", "NaN"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_may_hold_commas() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            ep_options("trt_profile_min_shapes=a:1,b:1x1,cuda.tf32=1").unwrap(),
            EpOptions(vec![
                pair("trt_profile_min_shapes", "a:1,b:1x1"),
                pair("cuda.tf32", "1"),
            ])
        );
        assert!(ep_options("tf32").is_err());
        assert!(ep_options("=1").is_err());
    }
}
