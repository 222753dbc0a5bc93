//! The longest text that an engine accepts: the model's limit, a user's, or what the memory of a CPU allows.
//!
//! On a CPU, ONNX Runtime's attention keeps a score for each head and each pair of a text's tokens: 16 heads and 32,768
//! tokens would take 69 GB.

use super::host_memory::host_memory;
use crate::engine::options::EngineOptions;
use crate::model::ModelInfo;
use crate::onnxruntime::execution_provider::Provider;

/// The scores of all sessions together may take one in this many bytes of the process's memory.
const PART: usize = 3;
/// Bytes of a score: a float32, and half as much for what surrounds it. Measured: 8 heads and 12,000 tokens take 7.0 GB.
const SCORE: usize = 6;

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
    let fits = longest_text(host_memory() / PART / sessions.max(1), model.heads);
    if fits < model.max_length {
        tracing::warn!(
            max_length = fits,
            of = model.max_length,
            "longer texts do not fit into memory and will be rejected or truncated"
        );
        model.max_length = fits;
    }
}

/// The longest text whose scores take at most this many bytes.
fn longest_text(bytes: usize, heads: usize) -> usize {
    (bytes / (SCORE * heads.max(1))).isqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_the_square_of_the_length() {
        assert_eq!(longest_text(7_000_000_000, 8), 12_076);
        assert_eq!(longest_text(28_000_000_000, 8), 24_152);
    }
}
