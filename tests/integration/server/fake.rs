//! A network that computes each batch as the test decides.
//!
//! A pooled state is a digest of the token ids, so that a vector tells for which text it was computed.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use lexivec_runtime::{Error, Network, PooledStates, Result};

use super::client::TIMEOUT;

pub(crate) const WIDTH: usize = 8;

/// The outcome of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BatchOutcome {
    Computed,
    Slow(Duration),
    Failed,
    Panicked,
    NotFinite,
    /// Out of memory, whatever the batch's size.
    OutOfMemory,
}

/// The state that the networks of one engine share with the test.
pub(crate) struct Control {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    /// Whether batches begin but do not end.
    held: bool,
    /// Whether opening a session fails.
    closed: bool,
    /// The vector width of sessions opened from now on.
    width: usize,
    /// The tokens that the device has memory for.
    memory: usize,
    outcome: Box<dyn FnMut() -> BatchOutcome + Send>,
    /// The token ids of every batch that began.
    batches: Vec<Vec<Vec<u32>>>,
    /// Whether [`Inner::batches`] is kept.
    recording: bool,
    /// The number of sessions opened.
    opened: usize,
}

impl Control {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                held: false,
                closed: false,
                width: WIDTH,
                memory: usize::MAX,
                outcome: Box::new(|| BatchOutcome::Computed),
                batches: Vec::new(),
                recording: true,
                opened: 0,
            }),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// From now on batches begin and do not end.
    pub(crate) fn hold(&self) {
        self.lock().held = true;
    }

    /// Lets all batches end.
    pub(crate) fn release(&self) {
        self.lock().held = false;
        self.changed.notify_all();
    }

    /// Makes opening a session fail, or succeed again.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.lock().closed = closed;
    }

    /// Sets the vector width of sessions opened from now on.
    pub(crate) fn set_width(&self, width: usize) {
        self.lock().width = width;
    }

    /// Sets the tokens that the device has memory for.
    pub(crate) fn set_memory(&self, tokens: usize) {
        self.lock().memory = tokens;
    }

    /// Sets the outcomes of the next batches. Later batches are computed.
    pub(crate) fn next(&self, outcomes: &[BatchOutcome]) {
        let mut outcomes: VecDeque<BatchOutcome> = outcomes.iter().copied().collect();
        self.always(move || outcomes.pop_front().unwrap_or(BatchOutcome::Computed));
    }

    /// Sets the outcome of all batches.
    pub(crate) fn always(&self, outcome: impl FnMut() -> BatchOutcome + Send + 'static) {
        self.lock().outcome = Box::new(outcome);
    }

    /// Drops the recorded batches, and records no more.
    pub(crate) fn stop_recording(&self) {
        let mut inner = self.lock();
        inner.recording = false;
        inner.batches.clear();
    }

    /// The token ids of every batch that has begun.
    pub(crate) fn batches(&self) -> Vec<Vec<Vec<u32>>> {
        self.lock().batches.clone()
    }

    /// The number of texts in the batches that have begun.
    pub(crate) fn texts(&self) -> usize {
        self.lock().batches.iter().map(Vec::len).sum()
    }

    /// The number of sessions opened since the start.
    pub(crate) fn opened(&self) -> usize {
        self.lock().opened
    }

    /// Waits until so many batches have begun.
    pub(crate) fn wait_for_batches(&self, count: usize) {
        let inner = self.lock();
        let (inner, waited) = self
            .changed
            .wait_timeout_while(inner, TIMEOUT, |inner| inner.batches.len() < count)
            .unwrap();
        assert!(
            !waited.timed_out(),
            "{} of {count} batches began",
            inner.batches.len()
        );
    }

    /// Opens a session.
    pub(crate) fn open(self: &Arc<Self>) -> Result<Box<dyn Network>> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Error::Inference("the device is away".to_owned()));
        }
        inner.opened += 1;
        Ok(Box::new(Fake {
            control: Arc::clone(self),
            width: inner.width,
        }))
    }

    /// Records a batch, and waits until it may end.
    fn begin(&self, sequences: &[&[u32]]) -> (BatchOutcome, usize) {
        let mut inner = self.lock();
        if inner.recording {
            inner
                .batches
                .push(sequences.iter().map(|s| s.to_vec()).collect());
        }
        self.changed.notify_all();
        let mut inner = self.changed.wait_while(inner, |inner| inner.held).unwrap();
        ((inner.outcome)(), inner.memory)
    }
}

struct Fake {
    control: Arc<Control>,
    width: usize,
}

impl Network for Fake {
    fn hidden_size(&self) -> usize {
        self.width
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
        let (outcome, memory) = self.control.begin(sequences);
        let packed_tokens = sequences.iter().map(|s| s.len()).sum();
        if packed_tokens > memory || matches!(outcome, BatchOutcome::OutOfMemory) {
            let reason = "Failed to allocate memory for requested buffer".to_owned();
            return Err(Error::OutOfMemory { reason });
        }
        let state = |ids: &&[u32]| state(ids).into_iter().cycle().take(self.width);
        let mut values: Vec<f32> = sequences.iter().flat_map(state).collect();
        match outcome {
            BatchOutcome::Computed | BatchOutcome::OutOfMemory => {}
            BatchOutcome::Slow(time) => std::thread::sleep(time),
            BatchOutcome::Failed => return Err(Error::Inference("secret detail".to_owned())),
            // This panic writes no backtrace.
            BatchOutcome::Panicked => std::panic::resume_unwind(Box::new("wanted")),
            BatchOutcome::NotFinite => values.fill(f32::NAN),
        }
        Ok(PooledStates {
            values,
            packed_tokens,
            cached_tokens: 0,
            replayed: false,
        })
    }
}

/// The state of token ids.
fn state(ids: &[u32]) -> [f32; WIDTH] {
    std::array::from_fn(|place| {
        let mut digest = DefaultHasher::new();
        (place, ids).hash(&mut digest);
        // Between -1 and 1, and never all near 0.
        (digest.finish() >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// The vector that a client must get for token ids.
pub(crate) fn vector(ids: &[u32]) -> Vec<f32> {
    truncated_vector(ids, WIDTH)
}

/// The same, of fewer dimensions.
pub(crate) fn truncated_vector(ids: &[u32], dimensions: usize) -> Vec<f32> {
    lexivec_runtime::vector::truncate(&state(ids), dimensions, true)
}
