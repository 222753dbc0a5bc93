//! The source of the codes of quantised weights.

use std::sync::Arc;

use memmap2::Mmap;

use crate::weights::Tensor;

/// Where the codes of quantised weights come from.
#[derive(Debug, Clone)]
pub(super) enum CodeSource {
    /// These tensors, stacked by rows (output channels), are rounded to nearest when the graph is written.
    RoundToNearest(Vec<Tensor>),
    /// A file that calibration has written holds the codes from byte `start` on.
    Stored { file: Arc<Mmap>, start: usize },
}
