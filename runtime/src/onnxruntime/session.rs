//! Opens ONNX Runtime sessions.

use std::path::Path;

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, SelectedOutputMarker, Session, SessionInputValue};

use super::{gpu, operators, placement, plugin, provider_config};
use crate::error::{Error, Result};
use crate::onnxruntime::execution_provider::{Provider, rejection};
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session_settings::SessionSettings;

/// A graph's input, with its name.
pub(crate) type NamedInput<'a> = (&'a str, SessionInputValue<'static>);

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
        let operators =
            operators::domain(settings.model.bf16_attention).map_err(|e| load(e.message()))?;
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
