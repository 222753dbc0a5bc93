//! The execution providers of GPUs in a build without feature `cuda`, which cannot be started.

use ort::session::builder::SessionBuilder;

use crate::error::{Error, Result};
use crate::onnxruntime::execution_provider::Provider;
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session_settings::SessionSettings;

/// Refuses to start.
///
/// # Errors
/// Always.
pub(crate) fn add(
    _builder: SessionBuilder,
    _library: &Library,
    provider: Provider,
    _settings: &SessionSettings,
) -> Result<SessionBuilder> {
    let provider = provider.name();
    Err(Error::ProviderNotBuilt { provider })
}
