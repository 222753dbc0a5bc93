//! Fits an engine into the memory of its GPUs: derives the arena's limit, the token budget and the longest text from the free
//! memory and the [`MemoryModel`].

use std::path::Path;

use crate::batch::MIN_TOKEN_BUDGET;
use crate::engine::options::EngineOptions;
use crate::error::{Error, Result};
use crate::memory::gpu_memory::{DeviceMemory, GpuMemory, least_free, model_of};
use crate::memory::memory_model::{BatchSize, MemoryModel};
use crate::model::ModelInfo;
use crate::onnxruntime::execution_provider::{Provider, ProviderSettings};

/// Maximum tokens of a batch on a GPU: RotaryEmbedding launches a grid with one block in y per packed token, and CUDA
/// allows 65,535.
pub const MAX_GPU_TOKENS: usize = 65_535;

/// Tokens of a batch that takes the memory that the capture of CUDA graphs leaves in the arena: 1.9 times the
/// activations of 512 tokens, measured on the stand-in device with a 4B-sized model.
const WITH_CUDA_GRAPHS: usize = 768;

/// How to fit a model into less GPU memory.
const SMALLER: &str =
    "open fewer sessions or models, or convert to a smaller precision (int8 or int4-weight)";

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

/// Fits a model into the GPUs' memory: limits the token budget, each session's arena, and the length of texts. Does
/// nothing if the model does not compute on CUDA or the free memory is unknown.
///
/// # Errors
/// The weights and the smallest useful batch need more memory than there is.
///
/// # Example
/// ```no_run
/// use lexivec_runtime::{BatchSize, EngineOptions, ModelInfo, Provider, fit};
///
/// let dir = "qwen3-embedding-4b-fp16".as_ref();
/// let (mut model, mut options) = (ModelInfo::read(dir)?, EngineOptions::for_provider(Provider::Cuda));
/// let padding = options.limits.max_padding;
/// if let Some(fit) = fit(dir, &mut model, &mut options)?
///     && let Some(memory) = fit.model
/// {
///     let batch = BatchSize::worst(fit.max_tokens, padding, fit.max_length);
///     println!("{} bytes, and {} for a batch", memory.weights(), memory.activations(batch));
/// }
/// # Ok::<(), lexivec_runtime::Error>(())
/// ```
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
            "longer texts do not fit into the GPU's memory and will be rejected or truncated"
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
            "the token budget may exceed the GPU's memory: batches that do not fit are halved"
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
        false => format!("a memory utilization of {}", memory.utilization),
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
                "memory ran out while small batches were captured as CUDA graphs. Free memory on the GPU, \
                 disable CUDA graphs, {SMALLER}. {reason}"
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
