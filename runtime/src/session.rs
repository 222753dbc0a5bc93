//! Opens ONNX Runtime sessions: the one place that configures them.

use std::path::Path;

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::error::{Error, Result};
use crate::execution_provider::ProviderSettings;
use crate::library::Library;

/// How a session computes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionSettings {
    /// Where it computes.
    pub providers: ProviderSettings,
    /// Threads within an operator; `None` for one per physical core.
    pub threads: Option<usize>,
    /// Keep weights where the file's map has them, and nothing folded or repacked: slower, and hardly any memory
    /// beyond the map. For one-off runs over models larger than memory.
    pub lean: bool,
    /// Bytes of keys and values kept of prefixes that texts share, for packed graphs; 0 keeps none. Vectors are the
    /// same, to the last bit on a CPU.
    pub prefix_bytes: usize,
}

/// Where a graph is.
pub(crate) enum Source<'a> {
    /// A file, its external data beside it.
    File(&'a Path),
    /// In memory, its external data in a folder.
    Memory { onnx: &'a [u8], data: &'a Path },
}

impl Source<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Memory { data, .. } => data,
        }
    }
}

pub(crate) fn open(
    library: &Library,
    source: &Source<'_>,
    settings: &SessionSettings,
) -> Result<Session> {
    let load = |reason: &str| Error::Load {
        path: source.path().to_path_buf(),
        reason: reason.to_owned(),
    };
    let configured = |e: ort::Error<SessionBuilder>| load(e.message());
    let mut builder = Session::builder(library.environment()).map_err(|e| load(e.message()))?;
    for provider in &settings.providers.order {
        let Some(dispatch) = settings.providers.dispatch(*provider) else {
            continue;
        };
        builder = builder
            .with_execution_providers([dispatch])
            .map_err(|e| Error::Provider {
                provider: provider.name(),
                reason: provider.did_not_start(e.message()),
            })?;
    }
    if let Some(threads) = settings.threads {
        builder = builder.with_intra_threads(threads).map_err(configured)?;
    }
    // Patterns are kept per input shape, and here hardly two batches have the same.
    builder = builder.with_memory_pattern(false).map_err(configured)?;
    if settings.lean {
        builder = builder.with_prepacking(false).map_err(configured)?;
        // Each of these would widen every weight at once.
        builder = builder
            .with_disabled_optimizers(
                "ConstantFolding;PropagateCastOps;FuseFp16InitializerToFp32NodeTransformer",
            )
            .map_err(configured)?;
    } else {
        builder = builder
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(configured)?;
    }
    match source {
        Source::File(path) => builder
            .commit_from_file(path)
            .map_err(|e| load(e.message())),
        Source::Memory { onnx, data } => {
            let data = data.to_string_lossy();
            let key = "session.model_external_initializers_file_folder_path";
            let mut builder = builder.with_config_entry(key, data).map_err(configured)?;
            builder
                .commit_from_memory(onnx)
                .map_err(|e| load(e.message()))
        }
    }
}
