//! The source of the codes of quantised weights.

use std::sync::Arc;

use memmap2::Mmap;

use crate::weights::{Tensor, rows_of};

/// Where the codes of quantised weights come from.
#[derive(Debug, Clone)]
pub(super) enum CodeSource {
    /// These tensors, stacked by rows (output channels), are rounded to nearest when the graph is written.
    RoundToNearest(Vec<Tensor>),
    /// A file that calibration has written holds the codes from byte `start` on.
    Stored { file: Arc<Mmap>, start: usize },
}

impl CodeSource {
    /// The codes of `count` output channels from `first` on, which lie `skipped` bytes behind the start of stored codes.
    pub(super) fn part(&self, first: usize, count: usize, skipped: usize) -> Self {
        match self {
            Self::RoundToNearest(tensors) => Self::RoundToNearest(rows_of(tensors, first, count)),
            Self::Stored { file, start } => Self::Stored {
                file: Arc::clone(file),
                start: start + skipped,
            },
        }
    }
}
