//! The defaults of an engine, which depend on the execution provider.

use crate::batch::Limits;
use crate::engine::EngineOptions;
use crate::execution_provider::{Provider, ProviderSettings};
use crate::gpu_memory::GpuMemory;
use crate::session::SessionSettings;

/// Tokens of a batch on a CPU, which computes larger batches no faster.
const CPU_BATCH_TOKENS: usize = 2048;
/// Bytes of keys and values on a CPU that are cached for shared prompt prefixes.
const CPU_PREFIX_BYTES: usize = 64 << 20;

impl EngineOptions {
    /// The defaults for an execution provider.
    ///
    /// On a CPU a batch has at most 2,048 tokens, and 64 MiB per session hold keys and values of shared prompt prefixes. On a GPU a batch
    /// has at most 16,384 tokens, or fewer if memory is short, and prefixes are not cached because the cache would be copied to the
    /// device for each batch.
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
                prefix_bytes: if on_gpu { 0 } else { CPU_PREFIX_BYTES },
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
}

/// The defaults for a CPU.
impl Default for EngineOptions {
    fn default() -> Self {
        Self::for_provider(Provider::Cpu)
    }
}
