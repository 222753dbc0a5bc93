//! Opens ONNX Runtime sessions: the one place that configures them.

use std::path::Path;

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, SelectedOutputMarker, Session};

use super::{gpu, operators, placement, plugin, provider_config};
use crate::error::{Error, Result};
use crate::network::shapes::Profile;
use crate::onnxruntime::engine_cache::EngineCache;
use crate::onnxruntime::execution_provider::{Provider, ProviderSettings, rejection};
use crate::onnxruntime::library::Library;
use crate::scheduling::batch::Limits;

/// The settings of a session.
///
/// ```
/// use lexivec_runtime::{Provider, SessionSettings};
///
/// let settings = SessionSettings { threads: Some(4), ..SessionSettings::default() };
/// assert_eq!(settings.providers.first(), Provider::Cpu);
/// assert_eq!(settings.kv_cache_bytes, 0);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionSettings {
    /// The execution providers.
    pub providers: ProviderSettings,
    /// Threads within an operator; `None` for one per physical core.
    pub threads: Option<usize>,
    /// Reads weights from the file's map, and folds or repacks nothing: slower, with hardly any memory beyond the map.
    /// For one-off runs of models that are larger than memory.
    pub low_memory: bool,
    /// Bytes of the KV cache for prompt prefixes that texts share, for packed graphs; 0 disables it. Vectors are the
    /// same, to the last bit on a CPU.
    pub kv_cache_bytes: usize,
    /// Maximum tokens of a batch, which TensorRT's engines are built for; `None` for
    /// [`Limits::default`](crate::scheduling::batch::Limits).
    pub max_tokens: Option<usize>,
    /// Maximum bytes of the session's arena on a GPU; `None` for no limit.
    pub memory_limit: Option<usize>,
    /// Whether small batches are captured as CUDA graphs, if the model allows it.
    pub cuda_graphs: bool,
    /// The model's traits. [`open_network`](crate::open_network) fills them in from the manifest.
    pub model: ModelTraits,
}

/// The traits of a model that decide how its sessions are configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelTraits {
    /// Whether the graph can be captured on CUDA: all of its nodes run there, and none allocates by itself.
    pub(crate) capturable: bool,
    /// The bounds of the inputs' shapes, for TensorRT.
    pub(crate) profile: Option<Profile>,
    /// The folders of TensorRT's engines.
    pub(crate) engines: Option<EngineCache>,
}

impl SessionSettings {
    /// Maximum tokens of a batch.
    pub(crate) fn batch_tokens(&self) -> usize {
        let default = Limits::default().max_tokens;
        self.max_tokens.unwrap_or(default)
    }

    /// Whether the session captures CUDA graphs.
    pub(crate) fn captures(&self) -> bool {
        self.cuda_graphs && self.model.capturable && self.providers.first() == Provider::Cuda
    }
}

/// Where a graph is.
pub(crate) enum GraphSource<'a> {
    /// A file, its external data beside it.
    File(&'a Path),
    /// In memory, its external data in a folder.
    Memory { onnx: &'a [u8], data: &'a Path },
}

impl GraphSource<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Memory { data, .. } => data,
        }
    }
}

pub(crate) fn open(
    library: &Library,
    source: &GraphSource<'_>,
    settings: &SessionSettings,
) -> Result<Session> {
    let load = |reason: &str| Error::Load {
        path: source.path().to_path_buf(),
        reason: reason.to_owned(),
    };
    let rejected = |e: ort::Error<SessionBuilder>| load(e.message());
    let mut builder = Session::builder(library.environment()).map_err(|e| load(e.message()))?;
    for provider in settings.providers.with_implied() {
        builder = add_provider(builder, library, provider, settings)?;
    }
    if settings.providers.first() == Provider::Cpu {
        let operators = operators::domain().map_err(|e| load(e.message()))?;
        builder = builder.with_operators(operators).map_err(rejected)?;
    }
    for (key, value) in provider_config::session_entries(settings) {
        builder = builder.with_config_entry(key, value).map_err(rejected)?;
    }
    if let Some(threads) = settings.threads {
        builder = builder.with_intra_threads(threads).map_err(rejected)?;
    }
    // ONNX Runtime keeps patterns per input shape, and hardly two batches here have the same.
    builder = builder.with_memory_pattern(false).map_err(rejected)?;
    if settings.low_memory {
        builder = builder.with_prepacking(false).map_err(rejected)?;
        // Each of these would widen every weight at once.
        builder = builder
            .with_disabled_optimizers(
                "ConstantFolding;PropagateCastOps;FuseFp16InitializerToFp32NodeTransformer",
            )
            .map_err(rejected)?;
    } else {
        builder = builder
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(rejected)?;
    }
    let committed = match source {
        GraphSource::File(path) => builder.commit_from_file(path),
        GraphSource::Memory { onnx, data } => {
            let data = data.to_string_lossy();
            let key = "session.model_external_initializers_file_folder_path";
            let mut builder = builder.with_config_entry(key, data).map_err(rejected)?;
            builder.commit_from_memory(onnx)
        }
    };
    let session = committed.map_err(|e| {
        let order = settings.providers.with_implied();
        let provider = rejection::at_load(&order, &settings.providers.options, e.message());
        provider.unwrap_or_else(|| load(e.message()))
    })?;
    placement::check(&session, source.path(), settings)?;
    Ok(session)
}

/// Texts from this length on leave so much memory in the CPU's arena that it is freed after them.
const LONG: usize = 1024;

/// Makes a run over texts of this length free its memory, if the CPU computes.
pub(crate) fn free_after<O: SelectedOutputMarker>(
    options: &mut RunOptions<O>,
    length: usize,
    on_gpu: bool,
) -> ort::Result<()> {
    if length >= LONG && !on_gpu {
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    }
    Ok(())
}

fn add_provider(
    builder: SessionBuilder,
    library: &Library,
    provider: Provider,
    settings: &SessionSettings,
) -> Result<SessionBuilder> {
    match provider {
        Provider::Cpu => Ok(builder),
        Provider::OpenVino => plugin::attach(builder, library, provider, settings),
        Provider::Cuda | Provider::TensorRt | Provider::TensorRtRtx => {
            gpu::add(builder, library, provider, settings)
        }
    }
}
