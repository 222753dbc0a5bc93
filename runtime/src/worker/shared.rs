//! What the workers of a model share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lexivec_models::KnownAnswer;

use super::LEAST_BUDGET;
use super::answers::answer_all;
use crate::batch::Limits;
use crate::error::Result;
use crate::metrics;
use crate::model_files::ModelFiles;
use crate::queue::{Entry, Queue};
use crate::rate::Rate;
use crate::results::Results;

/// What the workers of a model share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    /// Tokens of a batch at most; lowered where memory runs out.
    pub(crate) budget: AtomicUsize,
    pub(crate) max_padding: usize,
    pub(crate) rate: Rate,
    /// What sessions map; nothing for networks of a caller's own.
    pub(crate) files: Arc<ModelFiles>,
    /// What a session has to answer before it serves.
    pub(crate) known_answer: Option<KnownAnswer>,
    /// What is kept of the results; `None` where nothing is.
    pub(crate) results: Option<Arc<Results>>,
    pub(crate) metrics: metrics::Model,
}

impl Shared {
    /// Queues texts, all or none.
    ///
    /// # Errors
    /// The queue is full or closed, or they would not be computed in time. The texts have been answered with the error.
    pub(crate) fn push(&self, entries: Vec<Entry>) -> Result<()> {
        // Everything was known: a worker need not wake up.
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

    /// Lowers the budget below a batch that did not fit.
    pub(super) fn lower_budget(&self, failed: usize) {
        let lowered = (failed / 2).max(LEAST_BUDGET);
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
