//! The metrics of the runtime, through the `metrics` facade: the program that uses this crate chooses the exporter, or
//! none.
//!
//! Names follow Prometheus's conventions. Label values come from closed sets; `model` is the name that the engine was
//! given. Handles are created when an engine opens, so a recorder must be installed before.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::error::{Error, Result};
use crate::network::PooledStates;

const STAGE: &str = "lexivec_stage_duration_seconds";
const TEXTS: &str = "lexivec_texts_total";
const TOKENS: &str = "lexivec_tokens_total";
const BATCH_INPUT_TOKENS: &str = "lexivec_batch_input_tokens_total";
const PACKED_TOKENS_COMPUTED: &str = "lexivec_packed_tokens_computed_total";
const PACKED_TOKENS_CACHED: &str = "lexivec_packed_tokens_cached_total";
const GRAPHS_CAPTURED: &str = "lexivec_cuda_graphs_captured_total";
const GRAPHS_REPLAYED: &str = "lexivec_cuda_graphs_replayed_total";
const BATCHES: &str = "lexivec_batches_total";
const BATCHES_PREPARED: &str = "lexivec_batches_prepared_total";
const BATCH_TOKENS: &str = "lexivec_batch_tokens";
const BATCH_TEXTS: &str = "lexivec_batch_texts";
const BUDGET: &str = "lexivec_batch_token_budget";
const QUEUE: &str = "lexivec_queue_texts";
const QUEUE_CAPACITY: &str = "lexivec_queue_capacity_texts";
const DROPPED: &str = "lexivec_texts_dropped_total";
const SESSIONS: &str = "lexivec_sessions_ready";
const RECREATIONS: &str = "lexivec_session_recreations_total";
const GPU_MEMORY: &str = "lexivec_gpu_memory_bytes";
/// Counter of keys looked up; labels `tier` (memory, redis) and `outcome` (hit, miss).
pub(crate) const CACHE_LOOKUPS: &str = "lexivec_cache_lookups_total";
/// Counter of texts that were coalesced with an identical one in flight.
pub(crate) const CACHE_COALESCED: &str = "lexivec_cache_coalesced_total";
/// Gauge of the memory tier's size in bytes.
pub(crate) const CACHE_BYTES: &str = "lexivec_cache_bytes";
/// Gauge of the memory tier's entries.
pub(crate) const CACHE_ENTRIES: &str = "lexivec_cache_entries";
/// Counter of the Redis tier's failures; label `kind` (timeout, connection, server, value, overflow, unavailable).
pub(crate) const CACHE_ERRORS: &str = "lexivec_cache_errors_total";
/// Gauge of Redis caches (one per model) that are not in use.
pub(crate) const CACHE_BREAKER_OPEN: &str = "lexivec_cache_breaker_open";

/// Describes each metric to the installed recorder.
///
/// ```
/// use metrics_util::debugging::DebuggingRecorder;
///
/// let recorder = DebuggingRecorder::new();
/// let snapshotter = recorder.snapshotter();
/// metrics::with_local_recorder(&recorder, || {
///     lexivec_runtime::metrics::describe();
///     metrics::counter!("lexivec_texts_total").increment(2);
/// });
/// let (_, _, description, _) = &snapshotter.snapshot().into_vec()[0];
/// assert_eq!(description.as_deref(), Some("Texts answered with a vector"));
/// ```
pub fn describe() {
    describe_histogram!(
        STAGE,
        Unit::Seconds,
        "Time of a request's stages: tokenize, queue, infer, respond"
    );
    describe_counter!(TEXTS, "Texts answered with a vector");
    describe_counter!(TOKENS, "Tokens of the texts answered");
    describe_counter!(
        BATCH_INPUT_TOKENS,
        "Tokens of the texts in batches, before shared prefixes are merged"
    );
    describe_counter!(
        PACKED_TOKENS_COMPUTED,
        "Packed tokens that graphs computed; fewer than batch input tokens if texts share prefixes"
    );
    describe_counter!(
        PACKED_TOKENS_CACHED,
        "Packed tokens that graphs read from the KV cache and did not compute"
    );
    describe_counter!(
        GRAPHS_CAPTURED,
        "CUDA graphs captured for small batches, when sessions open"
    );
    describe_counter!(
        GRAPHS_REPLAYED,
        "Batches that were launched as a captured CUDA graph"
    );
    describe_counter!(
        BATCHES,
        "Batches by outcome: ok, error, panic, out_of_memory, stopped (no caller waited any more)"
    );
    describe_counter!(
        BATCHES_PREPARED,
        "Batches that were planned while a device computed the batch before"
    );
    describe_histogram!(BATCH_TOKENS, "Tokens of a batch");
    describe_histogram!(BATCH_TEXTS, "Texts of a batch");
    describe_gauge!(
        BUDGET,
        "Maximum tokens of a batch; falls when a device runs out of memory"
    );
    describe_gauge!(QUEUE, "Texts waiting for a session");
    describe_gauge!(QUEUE_CAPACITY, "Maximum number of waiting texts");
    describe_counter!(
        DROPPED,
        "Texts dropped because their callers disconnected before they were computed"
    );
    describe_gauge!(SESSIONS, "Sessions that serve");
    describe_counter!(RECREATIONS, "Sessions recreated after a failure");
    describe_gauge!(
        GPU_MEMORY,
        Unit::Bytes,
        "Memory of the GPUs in use, by device and kind: used (by all programs) or free"
    );
    describe_counter!(
        CACHE_LOOKUPS,
        "Keys that were looked up in a cache tier, by tier and outcome."
    );
    describe_counter!(
        CACHE_COALESCED,
        "Texts coalesced with an identical text in flight instead of being computed."
    );
    describe_gauge!(
        CACHE_BYTES,
        Unit::Bytes,
        "Bytes in the in-process response cache."
    );
    describe_gauge!(CACHE_ENTRIES, "Vectors in the in-process response cache.");
    describe_counter!(
        CACHE_ERRORS,
        "Failures of the Redis cache, by kind: timeout (no reply in time), connection (refused or lost), server (an \
         error, or an unexpected reply), value (a stored value is invalid), overflow \
         (not tried: the queue is full), unavailable (not tried: the breaker is open)."
    );
    describe_gauge!(
        CACHE_BREAKER_OPEN,
        "Redis caches, one per model, that are not in use because Redis failed or is not connected yet; 0 when all \
         are in use."
    );
}

/// A stage of a request whose duration is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From text to token ids.
    Tokenize,
    /// From token ids to the beginning of the batch.
    Queue,
    /// The batch.
    Infer,
    /// From vectors to bytes.
    Respond,
}

/// Publishes the memory of a GPU, whichever models use it.
pub(crate) fn gpu_memory(device: i32, used: usize, free: usize) {
    for (kind, bytes) in [("used", used), ("free", free)] {
        let device = device.to_string();
        gauge!(GPU_MEMORY, "device" => device, "kind" => kind).set(bytes as f64);
    }
}

/// The metric handles of one model.
#[derive(Debug)]
pub struct ModelMetrics {
    stages: [Histogram; 4],
    texts: Counter,
    tokens: Counter,
    batch_input_tokens: Counter,
    packed_tokens_computed: Counter,
    packed_tokens_cached: Counter,
    graphs_captured: Counter,
    graphs_replayed: Counter,
    outcomes: [Counter; 5],
    prepared: Counter,
    batch_tokens: Histogram,
    batch_texts: Histogram,
    budget: Gauge,
    queue: Gauge,
    queue_capacity: Gauge,
    dropped: Counter,
    sessions: Gauge,
    recreations: Counter,
}

impl ModelMetrics {
    /// Creates the handles of the model that is served as `name`.
    #[must_use]
    pub(crate) fn new(name: &str) -> Self {
        let model = || ("model", name.to_owned());
        let stage =
            |stage: &'static str| histogram!(STAGE, "model" => name.to_owned(), "stage" => stage);
        let outcome = |outcome: &'static str| counter!(BATCHES, "model" => name.to_owned(), "outcome" => outcome);
        Self {
            stages: ["tokenize", "queue", "infer", "respond"].map(stage),
            texts: counter!(TEXTS, &[model()]),
            tokens: counter!(TOKENS, &[model()]),
            batch_input_tokens: counter!(BATCH_INPUT_TOKENS, &[model()]),
            packed_tokens_computed: counter!(PACKED_TOKENS_COMPUTED, &[model()]),
            packed_tokens_cached: counter!(PACKED_TOKENS_CACHED, &[model()]),
            graphs_captured: counter!(GRAPHS_CAPTURED, &[model()]),
            graphs_replayed: counter!(GRAPHS_REPLAYED, &[model()]),
            outcomes: ["ok", "error", "panic", "out_of_memory", "stopped"].map(outcome),
            prepared: counter!(BATCHES_PREPARED, &[model()]),
            batch_tokens: histogram!(BATCH_TOKENS, &[model()]),
            batch_texts: histogram!(BATCH_TEXTS, &[model()]),
            budget: gauge!(BUDGET, &[model()]),
            queue: gauge!(QUEUE, &[model()]),
            queue_capacity: gauge!(QUEUE_CAPACITY, &[model()]),
            dropped: counter!(DROPPED, &[model()]),
            sessions: gauge!(SESSIONS, &[model()]),
            recreations: counter!(RECREATIONS, &[model()]),
        }
    }

    /// Records the duration of a stage of one request.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let place = match stage {
            Stage::Tokenize => 0,
            Stage::Queue => 1,
            Stage::Infer => 2,
            Stage::Respond => 3,
        };
        self.stages[place].record(took);
    }

    /// Counts answered texts and their tokens.
    pub fn answered(&self, texts: usize, tokens: usize) {
        self.texts.increment(texts as u64);
        self.tokens.increment(tokens as u64);
    }

    pub(crate) fn batch(&self, texts: usize, tokens: usize, outcome: &Result<PooledStates>) {
        let place = match outcome {
            Ok(states) => {
                self.batch_texts.record(texts as f64);
                self.batch_tokens.record(tokens as f64);
                self.batch_input_tokens.increment(tokens as u64);
                self.packed_tokens_computed
                    .increment(states.packed_tokens as u64);
                self.packed_tokens_cached
                    .increment(states.cached_tokens as u64);
                self.graphs_replayed.increment(u64::from(states.replayed));
                0
            }
            Err(Error::Panicked) => 2,
            Err(Error::OutOfMemory { .. }) => 3,
            Err(Error::Stopped) => 4,
            Err(_) => 1,
        };
        self.outcomes[place].increment(1);
    }

    /// Counts a batch that was planned before its turn.
    pub(crate) fn batch_prepared(&self) {
        self.prepared.increment(1);
    }

    pub(crate) fn budget(&self, tokens: usize) {
        self.budget.set(tokens as f64);
    }

    /// Counts the captured graphs of a session that opened.
    pub(crate) fn session_opened(&self, captured: usize) {
        self.graphs_captured.increment(captured as u64);
    }

    pub(crate) fn session_recreated(&self) {
        self.recreations.increment(1);
    }

    /// Records sampled values: waiting texts and their limit, texts dropped since the start, sessions that serve.
    pub(crate) fn sample(&self, waiting: usize, capacity: usize, dropped: u64, sessions: usize) {
        self.queue.set(waiting as f64);
        self.queue_capacity.set(capacity as f64);
        self.dropped.absolute(dropped);
        self.sessions.set(sessions as f64);
    }
}
