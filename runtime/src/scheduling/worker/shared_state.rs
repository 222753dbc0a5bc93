//! The state that the workers of a model share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lexivec_models::KnownAnswer;

use super::answers::answer_all;
use crate::batch::{Limits, MIN_TOKEN_BUDGET};
use crate::error::Result;
use crate::integrity::model_files::ModelFiles;
use crate::metrics;
use crate::scheduling::queue::{Entry, Queue};
use crate::scheduling::rate::Rate;
use crate::scheduling::response_cache::ResponseCache;

/// The state that the workers of a model share.
#[derive(Debug)]
pub(crate) struct SharedState {
    pub(crate) queue: Queue,
    /// Maximum tokens of a batch; lowered if memory runs out.
    pub(crate) budget: AtomicUsize,
    pub(crate) max_padding: usize,
    pub(crate) rate: Rate,
    /// The files that sessions map; empty for a caller's own networks.
    pub(crate) files: Arc<ModelFiles>,
    /// The answer that a session must give before it serves.
    pub(crate) known_answer: Option<KnownAnswer>,
    /// The response cache, if there is one.
    pub(crate) response_cache: Option<Arc<ResponseCache>>,
    pub(crate) metrics: metrics::ModelMetrics,
}

impl SharedState {
    /// Queues the texts of a request, all or none.
    ///
    /// # Errors
    /// The queue is full or closed, or the texts would be late. They have been completed with the error.
    pub(crate) fn push(&self, entries: Vec<Entry>) -> Result<()> {
        // The cache had everything, so no worker need wake up.
        if entries.is_empty() {
            return Ok(());
        }
        let pushed = self.queue.push(entries, self.rate.load());
        pushed.map_err(|(error, entries)| {
            answer_all(&entries, &Err(error.clone()));
            error
        })
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_tokens: self.budget.load(Ordering::Relaxed),
            max_padding: self.max_padding,
        }
    }

    /// Lowers the token budget below a batch that did not fit.
    pub(super) fn lower_budget(&self, failed: usize) {
        let lowered = (failed / 2).max(MIN_TOKEN_BUDGET);
        let before = self.budget.fetch_min(lowered, Ordering::Relaxed);
        if lowered < before {
            tracing::warn!(
                before,
                lowered,
                "the device is out of memory: batches will have fewer tokens"
            );
            self.metrics.budget(lowered);
        }
    }
}
