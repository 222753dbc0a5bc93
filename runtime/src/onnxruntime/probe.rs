//! Tests whether an execution provider starts, by opening a graph of one node on it.

use std::path::Path;

use crate::error::{Error, Result};
use crate::onnxruntime::execution_provider::{Provider, ProviderSettings};
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session::{self, GraphSource};
use crate::onnxruntime::session_settings::SessionSettings;

/// `y = Identity(x)`, float32 `[1]`, opset 17; made with onnx.helper.
const IDENTITY: &[u8] = include_bytes!("../../data/identity.onnx");

/// Opens a tiny graph on `provider`, with the options and the device of `settings`.
///
/// # Errors
/// [`Error::Provider`] says what is missing.
///
/// # Example
/// ```no_run
/// use lexivec_runtime::{Library, Provider, ProviderSettings, probe};
///
/// let library = Library::load(None, true)?;
/// probe(library, Provider::Cuda, &ProviderSettings::default())?;
/// # Ok::<(), lexivec_runtime::Error>(())
/// ```
pub fn probe(library: &Library, provider: Provider, settings: &ProviderSettings) -> Result<()> {
    let of_provider = settings
        .options
        .iter()
        .filter(|option| option.provider == provider);
    let settings = SessionSettings {
        providers: ProviderSettings {
            order: vec![provider],
            options: of_provider.cloned().collect(),
            ..settings.clone()
        },
        ..SessionSettings::default()
    };
    let source = GraphSource::Memory {
        onnx: IDENTITY,
        data: Path::new("."),
    };
    match session::open(library, &source, &settings) {
        Ok(_) => Ok(()),
        Err(Error::Load { reason, .. }) => Err(Error::Provider {
            provider: provider.name(),
            reason: provider.did_not_start(&reason),
        }),
        Err(error) => Err(error),
    }
}
