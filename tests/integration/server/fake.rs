//! A network whose every batch the test decides on.
//!
//! PooledStates are a digest of the token ids, so that a vector tells for which text it was computed.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use lexivec_runtime::{Error, Network, PooledStates, Result};

use super::client::PATIENCE;

pub(crate) const WIDTH: usize = 8;

/// What happens to a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Computed,
    Slow(Duration),
    Failed,
    Panicked,
    NotFinite,
    /// Whatever its size.
    OutOfMemory,
}

/// What the networks of one engine share with the test.
pub(crate) struct Control {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    /// Batches begin, and do not end.
    held: bool,
    /// Sessions do not open.
    closed: bool,
    /// Of the vectors of sessions opened from now on.
    width: usize,
    /// Tokens that the device has memory for.
    memory: usize,
    fate: Box<dyn FnMut() -> Fate + Send>,
    /// The token ids of every batch that began.
    batches: Vec<Vec<Vec<u32>>>,
    /// Whether [`Inner::batches`] is kept.
    recording: bool,
    /// Sessions opened.
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
                fate: Box::new(|| Fate::Computed),
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

    /// Whether sessions open.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.lock().closed = closed;
    }

    /// The width of sessions opened from now on.
    pub(crate) fn set_width(&self, width: usize) {
        self.lock().width = width;
    }

    /// How many tokens the device has memory for.
    pub(crate) fn set_memory(&self, tokens: usize) {
        self.lock().memory = tokens;
    }

    /// What happens to the next batches; those after them are computed.
    pub(crate) fn next(&self, fates: &[Fate]) {
        let mut fates: VecDeque<Fate> = fates.iter().copied().collect();
        self.always(move || fates.pop_front().unwrap_or(Fate::Computed));
    }

    /// What happens to all batches.
    pub(crate) fn always(&self, fate: impl FnMut() -> Fate + Send + 'static) {
        self.lock().fate = Box::new(fate);
    }

    /// Forgets the batches, and keeps no more of them.
    pub(crate) fn stop_recording(&self) {
        let mut inner = self.lock();
        inner.recording = false;
        inner.batches.clear();
    }

    /// The token ids of every batch that has begun.
    pub(crate) fn batches(&self) -> Vec<Vec<Vec<u32>>> {
        self.lock().batches.clone()
    }

    /// Texts in the batches that have begun.
    pub(crate) fn texts(&self) -> usize {
        self.lock().batches.iter().map(Vec::len).sum()
    }

    /// Sessions opened since the start.
    pub(crate) fn opened(&self) -> usize {
        self.lock().opened
    }

    /// Waits until so many batches have begun.
    pub(crate) fn wait_for_batches(&self, count: usize) {
        let inner = self.lock();
        let (inner, waited) = self
            .changed
            .wait_timeout_while(inner, PATIENCE, |inner| inner.batches.len() < count)
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

    /// Notes a batch, and waits until it may end.
    fn begin(&self, sequences: &[&[u32]]) -> (Fate, usize) {
        let mut inner = self.lock();
        if inner.recording {
            inner
                .batches
                .push(sequences.iter().map(|s| s.to_vec()).collect());
        }
        self.changed.notify_all();
        let mut inner = self.changed.wait_while(inner, |inner| inner.held).unwrap();
        ((inner.fate)(), inner.memory)
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
        let (fate, memory) = self.control.begin(sequences);
        let packed_tokens = sequences.iter().map(|s| s.len()).sum();
        if packed_tokens > memory || matches!(fate, Fate::OutOfMemory) {
            let reason = "Failed to allocate memory for requested buffer".to_owned();
            return Err(Error::OutOfMemory { reason });
        }
        let state = |ids: &&[u32]| state(ids).into_iter().cycle().take(self.width);
        let mut values: Vec<f32> = sequences.iter().flat_map(state).collect();
        match fate {
            Fate::Computed | Fate::OutOfMemory => {}
            Fate::Slow(time) => std::thread::sleep(time),
            Fate::Failed => return Err(Error::Inference("secret detail".to_owned())),
            // A panic that writes no backtrace.
            Fate::Panicked => std::panic::resume_unwind(Box::new("wanted")),
            Fate::NotFinite => values.fill(f32::NAN),
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
        // From -1 to 1, and never all near 0.
        (digest.finish() >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// The vector that a client must get for token ids.
pub(crate) fn vector(ids: &[u32]) -> Vec<f32> {
    cut(ids, WIDTH)
}

/// The same, of fewer dimensions.
pub(crate) fn cut(ids: &[u32], dimensions: usize) -> Vec<f32> {
    lexivec_runtime::vector::truncate(&state(ids), dimensions, true)
}
