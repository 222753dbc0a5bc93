//! The longest text that an engine accepts: the model's limit, a user's, or what the memory of a CPU allows.

use crate::engine::options::EngineOptions;
use crate::memory::host_memory::host_memory;
use crate::model::ModelInfo;
use crate::onnxruntime::execution_provider::Provider;

/// The longest texts of all sessions together may take one in this many bytes of the process's memory.
const PART: usize = 3;

/// Lowers the model's limit to the user's or, on a CPU without one, to what fits into memory.
///
/// ```
/// use lexivec_runtime::{EngineOptions, ModelInfo, limit_length};
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// let mut model = ModelInfo::read("models/nano".as_ref())?;
/// let options = EngineOptions { max_length: Some(512), ..EngineOptions::default() };
/// limit_length(&mut model, &options);
/// assert_eq!(model.max_length, 512);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn limit_length(model: &mut ModelInfo, options: &EngineOptions) {
    if let Some(asked) = options.max_length {
        model.max_length = model.max_length.min(asked);
        return;
    }
    if options.session.providers.first() != Provider::Cpu {
        return;
    }
    let sessions = options.total_sessions() * options.gpu_memory.engines;
    let fits = model
        .text_memory
        .longest(host_memory() / PART / sessions.max(1));
    if fits < model.max_length {
        tracing::warn!(
            max_length = fits,
            of = model.max_length,
            "longer texts do not fit into memory and will be rejected or truncated"
        );
        model.max_length = fits;
    }
}
