//! The settings of a session.

use crate::batch::Limits;
use crate::onnxruntime::engine_cache::EngineCache;
use crate::onnxruntime::execution_provider::{Provider, ProviderSettings};

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
    /// [`Limits::default`](crate::batch::Limits).
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
    /// Whether attention may round its factors to bf16: in int8 models, whose activations have fewer bits anyway.
    pub(crate) bf16_attention: bool,
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

/// Ranges of all dynamic inputs, as the providers' options write them: `input_ids:1,kv_index:1x1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The minimum shapes.
    pub(crate) min: String,
    /// The shapes to choose kernels for.
    pub(crate) opt: String,
    /// The maximum shapes.
    pub(crate) max: String,
}
