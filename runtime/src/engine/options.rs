//! The options of an engine.

use std::path::PathBuf;

use crate::batch::Limits;
use crate::memory::gpu_memory::GpuMemory;
use crate::model::ModelInfo;
use crate::onnxruntime::execution_provider::{Provider, ProviderSettings};
use crate::onnxruntime::session_settings::SessionSettings;
use crate::scheduling::response_cache::CacheSettings;

/// Tokens of a batch on a CPU, which computes larger batches no faster.
const CPU_BATCH_TOKENS: usize = 2048;
/// Bytes of each session's KV cache on a CPU.
const CPU_KV_CACHE_BYTES: usize = 64 << 20;

/// The options of an [`Engine`](crate::Engine).
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The ONNX Runtime library; `None` to search for it.
    pub onnxruntime: Option<PathBuf>,
    /// The settings of each session.
    pub session: SessionSettings,
    /// Sessions per device. Each has a copy of the weights; on a CPU they share its cores.
    pub sessions: usize,
    /// GPUs by number, with a set of sessions on each; one number for a CPU.
    pub devices: Vec<i32>,
    /// The limits of one batch.
    pub limits: Limits,
    /// Maximum tokens of a text; `None` for the model's limit, or less if memory is short.
    pub max_length: Option<usize>,
    /// Whether the model's files are compared with the digests in its manifest while sessions load.
    pub verify_files: bool,
    /// How much of a GPU's memory the engine may use; bounds `limits` and each session's arena.
    pub gpu_memory: GpuMemory,
    /// Maximum number of texts in the queue.
    pub queue: usize,
    /// The response cache; `None` computes identical texts as often as they are requested.
    pub cache: Option<CacheSettings>,
    /// The name in metrics; `None` for the model's own.
    pub name: Option<String>,
}

/// The defaults for a CPU.
impl Default for EngineOptions {
    fn default() -> Self {
        Self::for_provider(Provider::Cpu)
    }
}

impl EngineOptions {
    /// The defaults for an execution provider.
    ///
    /// On a CPU a batch has at most 2,048 tokens, and each session has a KV cache of 64 MiB for shared prompt prefixes. On a GPU a
    /// batch has at most 16,384 tokens, or fewer if memory is short, and there is no KV cache, because it would be copied to the
    /// device for each batch.
    ///
    /// ```
    /// use lexivec_runtime::{EngineOptions, Provider};
    ///
    /// let cpu = EngineOptions::default();
    /// let gpu = EngineOptions::for_provider(Provider::Cuda);
    /// assert_eq!((cpu.limits.max_tokens, gpu.limits.max_tokens), (2048, 16_384));
    /// assert_eq!((cpu.session.kv_cache_bytes, gpu.session.kv_cache_bytes), (64 << 20, 0));
    /// ```
    #[must_use]
    pub fn for_provider(provider: Provider) -> Self {
        let on_gpu = provider.on_gpu();
        let limits = Limits::default();
        Self {
            onnxruntime: None,
            session: SessionSettings {
                providers: ProviderSettings {
                    order: vec![provider],
                    ..ProviderSettings::default()
                },
                kv_cache_bytes: if on_gpu { 0 } else { CPU_KV_CACHE_BYTES },
                ..SessionSettings::default()
            },
            sessions: 1,
            devices: vec![0],
            limits: Limits {
                max_tokens: if on_gpu {
                    limits.max_tokens
                } else {
                    CPU_BATCH_TOKENS
                },
                ..limits
            },
            max_length: None,
            verify_files: true,
            gpu_memory: GpuMemory::default(),
            queue: 10_240,
            cache: None,
            name: None,
        }
    }

    /// The settings of session `number`.
    pub(super) fn session(&self, number: usize) -> SessionSettings {
        let mut settings = self.session.clone();
        settings.providers.device = self.device(number);
        settings.max_tokens = Some(self.limits.max_tokens);
        let together = self.total_sessions();
        if settings.threads.is_none() && together > 1 && !settings.providers.wants_gpu() {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            settings.threads = Some((cores / together).max(1));
        }
        settings
    }

    /// The GPU of session `number`.
    pub(super) fn device(&self, number: usize) -> i32 {
        self.devices[number % self.devices.len()]
    }

    /// The name of a model in metrics and errors.
    pub(crate) fn name_of<'a>(&'a self, model: &'a ModelInfo) -> &'a str {
        self.name.as_deref().unwrap_or(&model.name)
    }

    /// The GPUs whose memory the metrics show.
    pub(super) fn gpus(&self) -> Vec<i32> {
        match self.session.providers.wants_gpu() {
            true => self.devices.clone(),
            false => Vec::new(),
        }
    }

    /// The number of sessions on all devices.
    pub(crate) fn total_sessions(&self) -> usize {
        self.sessions * self.devices.len()
    }
}
