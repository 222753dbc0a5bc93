//! TensorRT's engines, which are built when a model is converted. Building takes minutes, and would delay the first start of a server.

use std::path::Path;

use lexivec_runtime::{Error, Library, Provider, ProviderSettings, SessionSettings, open_network};
use tracing_subscriber::EnvFilter;

use crate::stdio::print;

/// Loads ONNX Runtime's GPU build before the conversion loads the build for CPUs. A process can load only one, and the GPU build can
/// verify a conversion, too.
pub(crate) fn prepare(provider: Provider, onnxruntime: Option<&Path>) {
    if provider == Provider::TensorRt {
        // An error is reported when the library is needed.
        let _ = Library::load(onnxruntime, true);
    }
}

/// Builds the engines of a model directory that `serve` needs with its default settings.
///
/// # Errors
/// The graph does not load. A machine without TensorRT or a GPU is not an error: the engines are then built at the first start.
pub(crate) fn build(
    provider: Provider,
    dir: &Path,
    onnxruntime: Option<&Path>,
) -> anyhow::Result<()> {
    if !matches!(provider, Provider::TensorRt | Provider::TensorRtRtx) {
        return Ok(());
    }
    let settings = SessionSettings {
        providers: ProviderSettings {
            order: vec![provider],
            ..ProviderSettings::default()
        },
        ..SessionSettings::default()
    };
    // `convert` has no log, but the runtime logs which engine it builds.
    let progress = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("lexivec_runtime=info"))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false)
        .without_time()
        .finish();
    let opened = tracing::subscriber::with_default(progress, || {
        let library = Library::load(onnxruntime, provider == Provider::TensorRt)?;
        open_network(library, dir, &settings)
    });
    match opened {
        Ok(_) => print("  engines for this GPU are built")?,
        Err(
            error @ (Error::Provider { .. }
            | Error::UnsupportedModel { .. }
            | Error::ProviderNotBuilt { .. }),
        ) => {
            print(&format!(
                "  note: engines are built at the first start, because here {error}"
            ))?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
