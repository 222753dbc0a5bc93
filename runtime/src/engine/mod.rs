//! The engine: text in, vectors out, with the tokenizer, response cache, queue and workers of one model.
//!
//! * [`options`] has the options of an engine; [`open`] opens a model directory with them.
//! * [`embedding`] is the protocol of embedding: encode, submit, await.
//! * [`open_network`] chooses the network for a graph and an execution provider.
//! * [`fit`] derives limits from the memory of GPUs, [`length_limit`] the longest text on a CPU.

mod embedding;
pub(crate) mod fit;
pub(crate) mod length_limit;
mod open;
pub(crate) mod open_network;
pub(crate) mod options;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use self::embedding::{EmbeddingStream, EncodedRequest};
pub use self::open::OpenNetwork;
pub use self::options::EngineOptions;
use crate::memory::gpu_memory;
use crate::metrics::ModelMetrics;
use crate::model::ModelInfo;
use crate::scheduling::admission::Load;
use crate::scheduling::health::Health;
use crate::scheduling::queue::Queue;
use crate::scheduling::worker::SharedState;
use crate::scheduling::workers::Workers;
use crate::tokenization::Tokenizer;

/// A model that embeds texts. Threads share it by reference. Dropping it computes the waiting texts first.
///
/// ```no_run
/// use lexivec_runtime::{Engine, EngineOptions, Request};
///
/// let engine = Engine::open("nano-fp32".as_ref(), &EngineOptions::default())?;
/// let embeddings = engine.embed(&[Request::text("cardiac arrest"), Request::text("心脏骤停")])?;
/// assert_eq!(embeddings[0].vector.len(), engine.model().hidden_size);
/// # Ok::<(), lexivec_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    model: ModelInfo,
    tokenizer: Tokenizer,
    shared: Arc<SharedState>,
    gpus: Vec<i32>,
    workers: Workers,
}

impl Engine {
    /// The model.
    #[must_use]
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The measured load of the sessions.
    #[must_use]
    pub fn load(&self) -> Load {
        self.shared.rate.load()
    }

    /// Maximum tokens of a batch. It is less than the options say if memory ran out.
    #[must_use]
    pub fn batch_tokens(&self) -> usize {
        self.shared.budget.load(Ordering::Relaxed)
    }

    /// The queue, for its length and to close it.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    /// Rejects new texts and waits for those that the engine has. Returns false if a batch has not ended after `patience`.
    #[must_use]
    pub fn close(&self, patience: Duration) -> bool {
        self.shared.queue.close();
        let until = Instant::now() + patience;
        self.workers.join_until(until)
    }

    /// The health of the sessions.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::of(self.workers.heartbeats())
    }

    /// A file of the model that has changed since it was opened, by contents or because another took its place.
    #[must_use]
    pub fn changed_file(&self) -> Option<&Path> {
        let change = self.shared.files.obvious_change();
        change.map(|change| change.path.as_path())
    }

    /// The metrics of this model.
    #[must_use]
    pub fn metrics(&self) -> &ModelMetrics {
        &self.shared.metrics
    }

    /// Samples the queue, sessions, cache and GPUs. Call it before metrics are read.
    pub fn sample_metrics(&self) {
        let queue = &self.shared.queue;
        let ready = self.health().ready;
        self.shared
            .metrics
            .sample(queue.len(), queue.capacity(), queue.dropped(), ready);
        if let Some(cache) = &self.shared.response_cache {
            cache.sample();
        }
        gpu_memory::sample(&self.gpus);
    }
}
