//! Divides a GPU's memory: derives the arena's limit, the token budget and the longest text from the free memory and
//! the [`MemoryModel`].
//!
//! An engine gets a share of the memory that was free when the process first looked, before it loaded a model. Engines
//! on one GPU get room for their weights and equal parts of the rest. Sessions of an engine get equal parts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lexivec_models::Manifest;

use crate::engine::EngineOptions;
use crate::error::{Error, Result};
use crate::memory::memory_model::{BatchSize, MemoryModel};
use crate::metrics;
use crate::model::ModelInfo;
use crate::onnxruntime::cudart::Cudart;
use crate::onnxruntime::execution_provider::{Provider, ProviderSettings};
use crate::scheduling::worker::MIN_TOKEN_BUDGET;

/// Maximum tokens of a batch on a GPU: RotaryEmbedding launches a grid with one block in y per packed token, and CUDA
/// allows 65,535.
pub const MAX_GPU_TOKENS: usize = 65_535;

/// Tokens of a batch that takes the memory that the capture of CUDA graphs leaves in the arena: 1.9 times the
/// activations of 512 tokens, measured on the stand-in device at the 4B shape.
const WITH_CUDA_GRAPHS: usize = 768;

/// How to fit a model into less GPU memory.
const SMALLER: &str =
    "give it fewer --sessions or models, or convert to a smaller precision (int8 or int4-weight)";

/// How much of a GPU's memory an engine may use.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuMemory {
    /// The share, in (0, 1], of the free memory that all engines use together. The rest is for the CUDA context,
    /// kernels and libraries.
    pub utilization: f64,
    /// Number of engines on the same GPUs.
    pub engines: usize,
    /// Bytes of the weights of all these engines' sessions on one GPU; `None` if unknown. Engines then get equal parts.
    pub weights: Option<usize>,
    /// Keeps [`Limits::max_tokens`](crate::scheduling::batch::Limits) as it is, because a user set it.
    pub keep_budget: bool,
}

impl Default for GpuMemory {
    fn default() -> Self {
        Self {
            utilization: 0.9,
            engines: 1,
            weights: None,
            keep_budget: false,
        }
    }
}

impl GpuMemory {
    /// Divides memory between the models of these directories, each with `sessions` sessions per GPU.
    ///
    /// # Errors
    /// A manifest cannot be read.
    pub fn divide(&mut self, dirs: &[PathBuf], sessions: usize) -> Result<()> {
        self.engines = dirs.len().max(1);
        let models = dirs.iter().map(|dir| model_of(dir));
        let models: Vec<Option<MemoryModel>> = models.collect::<Result<_>>()?;
        let weights = models
            .iter()
            .map(|m| Some(m.as_ref()?.weights() * sessions));
        self.weights = weights.sum();
        Ok(())
    }

    /// Bytes for one session of an engine with these weights, out of the free bytes.
    fn for_session(&self, free: usize, weights: usize, sessions: usize) -> usize {
        let share = (free as f64 * self.utilization) as usize;
        let engine = match self.weights {
            Some(all) => share.saturating_sub(all) / self.engines + weights * sessions,
            None => share / self.engines,
        };
        engine.min(share) / sessions.max(1)
    }
}

/// The memory of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// The GPU's number.
    pub device: i32,
    /// Free bytes.
    pub free: usize,
    /// Total bytes.
    pub total: usize,
}

/// The decisions for an engine on GPUs.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The GPU with the least free memory.
    pub gpu: DeviceMemory,
    /// Bytes that each session may use.
    pub session: usize,
    /// The memory model of the graph; `None` for graphs that it does not cover.
    pub model: Option<MemoryModel>,
    /// Maximum tokens of a batch.
    pub max_tokens: usize,
    /// Maximum tokens of a text.
    pub max_length: usize,
}

/// Reads the memory of all GPUs.
///
/// # Errors
/// CUDA's runtime library is missing, or there is no GPU.
pub fn gpus() -> Result<Vec<DeviceMemory>, String> {
    let cudart = Cudart::load()?;
    (0..cudart.devices()?).map(|d| read(cudart, d)).collect()
}

/// Publishes the memory of these GPUs as metrics. Does nothing if it is unknown.
pub(crate) fn sample(devices: &[i32]) {
    let Ok(cudart) = Cudart::load() else {
        return;
    };
    for memory in devices.iter().filter_map(|d| read(cudart, *d).ok()) {
        metrics::gpu_memory(memory);
    }
}

/// Fits a model into the GPUs' memory: limits the token budget, each session's arena, and the length of texts. Does
/// nothing if the model does not compute on CUDA or the free memory is unknown.
///
/// # Errors
/// The weights and the smallest useful batch need more memory than there is.
pub fn fit(dir: &Path, info: &mut ModelInfo, options: &mut EngineOptions) -> Result<Option<Fit>> {
    if options.session.providers.first() != Provider::Cuda {
        return Ok(None);
    }
    let Some(gpu) = least_free(&options.devices) else {
        return Ok(None);
    };
    let model = model_of(dir)?;
    let fit = decide(gpu, model, info, options)?;
    if fit.max_length < info.max_length {
        tracing::warn!(
            gpu = gpu.device,
            max_length = fit.max_length,
            of = info.max_length,
            "longer texts do not fit into the GPU's memory and will be refused or truncated"
        );
    }
    // The arena's limit includes the weights.
    options.session.memory_limit = Some(fit.session);
    options.limits.max_tokens = fit.max_tokens;
    info.max_length = fit.max_length;
    tracing::info!(
        gpu = gpu.device,
        free = gpu.free,
        session = fit.session,
        max_tokens = fit.max_tokens,
        "GPU memory"
    );
    Ok(Some(fit))
}

fn decide(
    gpu: DeviceMemory,
    model: Option<MemoryModel>,
    info: &ModelInfo,
    options: &EngineOptions,
) -> Result<Fit> {
    let max_length = info.max_length;
    let (limits, memory) = (&options.limits, &options.gpu_memory);
    let weights = model.as_ref().map_or(0, MemoryModel::weights);
    let mut session = memory.for_session(gpu.free, weights, options.sessions);
    let given = arena_limit(&options.session.providers);
    if let Some(bytes) = given {
        session = bytes.min(gpu.free);
    }
    let mut fit = Fit {
        gpu,
        session,
        max_tokens: limits.max_tokens.min(MAX_GPU_TOKENS),
        max_length,
        model,
    };
    let Some(model) = fit.model.clone() else {
        return Ok(fit);
    };
    let least = match options.session.cuda_graphs {
        true => WITH_CUDA_GRAPHS,
        false => MIN_TOKEN_BUDGET,
    };
    let least = BatchSize::worst(least, limits.max_padding, max_length);
    if model.needed(least) > session {
        let reason = too_little(gpu, &model, least, session, given.is_some(), memory);
        return Err(Error::DeviceMemory {
            model: options.name_of(info).to_owned(),
            device: gpu.device,
            reason,
        });
    }
    fit.max_length = model.longest_text(session, max_length);
    let budget = model.budget(session, limits, max_length);
    if !memory.keep_budget {
        fit.max_tokens = fit.max_tokens.min(budget);
    } else if budget < limits.max_tokens {
        tracing::warn!(
            gpu = gpu.device,
            given = limits.max_tokens,
            fits = budget,
            "--max-batch-tokens may exceed the GPU's memory: batches that do not fit are halved"
        );
    }
    Ok(fit)
}

fn too_little(
    gpu: DeviceMemory,
    model: &MemoryModel,
    least: BatchSize,
    session: usize,
    given: bool,
    memory: &GpuMemory,
) -> String {
    let gb = |bytes: usize| format!("{:.2} GB", bytes as f64 / 1e9);
    let because = match given {
        true => "cuda.gpu_mem_limit".to_owned(),
        false => format!("--gpu-memory-utilization {}", memory.utilization),
    };
    format!(
        "a session needs {} ({} of weights and a batch of {} tokens), and may take {} ({} of {} are free; {because}). \
         Free memory on the GPU, raise the limit, {SMALLER}",
        gb(model.needed(least)),
        gb(model.weights()),
        least.tokens,
        gb(session),
        gb(gpu.free),
        gb(gpu.total),
    )
}

/// The error of a session that ran out of memory while it captured CUDA graphs, because no text is at fault. Other
/// errors stay as they are.
pub(crate) fn while_capturing(error: Error, model: &str, device: i32) -> Error {
    match error {
        Error::OutOfMemory { reason } => Error::DeviceMemory {
            model: model.to_owned(),
            device,
            reason: format!(
                "memory ran out while small batches were captured as CUDA graphs. Free memory on the GPU, give \
                 `--cuda-graphs off`, {SMALLER}. {reason}"
            ),
        },
        error => error,
    }
}

/// The arena limit that a user set.
fn arena_limit(providers: &ProviderSettings) -> Option<usize> {
    let mut options = providers.options.iter().rev();
    let option = options.find(|o| o.provider == Provider::Cuda && o.key == "gpu_mem_limit")?;
    option.value.parse().ok()
}

/// The memory model of a directory's graph, if it covers the graph.
fn model_of(dir: &Path) -> Result<Option<MemoryModel>> {
    if !Manifest::is_model_dir(dir) {
        return Ok(None);
    }
    Ok(MemoryModel::of(&Manifest::read(dir)?))
}

/// The GPU that had the least free memory when this process first looked.
fn least_free(devices: &[i32]) -> Option<DeviceMemory> {
    static FIRST: Mutex<BTreeMap<i32, DeviceMemory>> = Mutex::new(BTreeMap::new());
    // The error of a provider that does not start says what is missing.
    let cudart = Cudart::load().ok()?;
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices {
        if !first.contains_key(device) {
            first.insert(*device, read(cudart, *device).ok()?);
        }
    }
    let found = devices.iter().filter_map(|d| first.get(d).copied());
    found.min_by_key(|memory| memory.free)
}

fn read(cudart: &Cudart, device: i32) -> Result<DeviceMemory, String> {
    let (free, total) = cudart.memory(device)?;
    Ok(DeviceMemory {
        device,
        free,
        total,
    })
}
