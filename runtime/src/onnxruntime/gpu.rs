//! Adds the execution providers of NVIDIA GPUs to sessions.

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};
use ort::session::builder::SessionBuilder;

use super::{plugin, provider_config};
use crate::error::Result;
use crate::onnxruntime::execution_provider::{Provider, rejection};
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session_settings::SessionSettings;

/// Adds a GPU's provider to a session.
///
/// # Errors
/// The provider does not start, or rejects an option.
pub(crate) fn add(
    builder: SessionBuilder,
    library: &Library,
    provider: Provider,
    settings: &SessionSettings,
) -> Result<SessionBuilder> {
    let options = provider_config::options(provider, settings);
    let dispatch: ExecutionProviderDispatch = match provider {
        Provider::Cuda => configured(ep::CUDA::default(), &options).build(),
        Provider::TensorRt => configured(ep::TensorRT::default(), &options).build(),
        plugin => return plugin::attach(builder, library, plugin, settings),
    };
    builder
        .with_execution_providers([dispatch.error_on_failure()])
        .map_err(|e| rejection::error(provider, &settings.providers.options, e.message()))
}

fn configured<E: ArbitrarilyConfigurableExecutionProvider>(
    provider: E,
    options: &[(String, String)],
) -> E {
    options.iter().fold(provider, |ep, (key, value)| {
        ep.with_arbitrary_config(key, value)
    })
}
