//! TensorRT's engines, built when a model is converted: building takes minutes, which no start of a server should.

use std::path::Path;

use lexivec_runtime::{Error, Library, Provider, ProviderSettings, SessionSettings, open_network};
use tracing_subscriber::EnvFilter;

use crate::stdio::print;

/// Loads ONNX Runtime's GPU build before the conversion loads the one for CPUs: a process has one, and the GPU build
/// verifies as well.
pub(crate) fn prepare(provider: Provider, onnxruntime: Option<&Path>) {
    if provider == Provider::TensorRt {
        // What is missing is said when it is needed.
        let _ = Library::load(onnxruntime, true);
    }
}

/// Builds the engines of a model directory, as `serve` with its default settings will look for them.
///
/// # Errors
/// The graph does not load. A machine without TensorRT or a GPU is no error: the engines are built at the first start.
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
    // `convert` has no log; the runtime says in it which engine it builds.
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
        Err(error @ Error::Provider { .. }) => {
            print(&format!(
                "  note: engines are built at the first start, because here {error}"
            ))?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
