//! The bounded queue between requests and worker threads.
//!
//! It is a mutex with two condition variables instead of a channel, because a worker chooses among the waiting texts.
//! The texts of a request enter together or not at all. A text that no one waits for any more is dropped before it
//! costs anything. [`Fairness`] decides which texts run first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::batch::{Limits, select};
use crate::cache::Key;
use crate::error::{Error, Result};
use crate::scheduling::admission::{Load, Rejection};
use crate::scheduling::fairness::{Caller, Fairness, QueuedText};
use crate::scheduling::in_flight::InFlight;
use crate::scheduling::sync::{Condvar, Mutex, MutexGuard};

/// A text that waits to be computed.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its token ids.
    pub(crate) ids: Vec<u32>,
    /// The key of its cached state; `None` without a response cache.
    pub(crate) key: Option<Key>,
    /// Everyone who waits for it.
    pub(crate) in_flight: Arc<InFlight>,
    /// When it was requested.
    pub(crate) since: Instant,
    /// The caller that requested it first.
    pub(crate) caller: Caller,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    /// The tag of its request (see [`crate::scheduling::fairness`]).
    tag: u64,
    /// The number of its request. The texts of a request are adjacent.
    request: u64,
    /// Its cost to compute.
    cost: usize,
}

impl Waiting {
    fn place(&self) -> QueuedText {
        QueuedText {
            caller: self.entry.caller,
            request: self.request,
            tag: self.tag,
            tokens: self.entry.ids.len(),
            cost: self.cost,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// In order of arrival.
    waiting: VecDeque<Waiting>,
    closed: bool,
    /// Number of threads that wait for a batch.
    idle: usize,
    /// Number of threads that wait for a full batch. An idle thread goes first, because it computes the batch at once.
    preparing: usize,
    fairness: Fairness,
    /// The load when the last request came.
    load: Load,
    /// The number of the next request.
    next_request: u64,
    dropped: u64,
}

impl State {
    /// Drops abandoned texts.
    fn sweep(&mut self) {
        let before = self.waiting.len();
        let fairness = &mut self.fairness;
        self.waiting.retain(|waiting| {
            let abandoned = waiting.entry.in_flight.is_abandoned();
            if abandoned {
                fairness.leave(&waiting.place());
            }
            !abandoned
        });
        self.dropped += (before - self.waiting.len()) as u64;
    }

    /// Returns a number for a request.
    fn number(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// The properties that decide the order.
    fn places(&self) -> Vec<QueuedText> {
        self.waiting.iter().map(Waiting::place).collect()
    }

    /// For each waiting text, whether it belongs to the next batch.
    fn choose(&self, limits: &Limits) -> Vec<bool> {
        let places = self.places();
        let most = self.batch_cost();
        let batch = limits.max_tokens.min(most);
        let order = self.fairness.order(&places, batch, self.load.speed());
        let lengths = order.iter().map(|i| places[*i].tokens);
        let mut chosen = vec![false; order.len()];
        let mut cost = 0;
        for i in select(lengths, limits)
            .into_iter()
            .map(|place| order[place])
        {
            if cost == 0 || cost + places[i].cost <= most {
                chosen[i] = true;
                cost += places[i].cost;
            }
        }
        chosen
    }

    /// Maximum cost of a batch; unlimited if no request has a deadline.
    fn batch_cost(&self) -> usize {
        let is_due = |waiting: &Waiting| waiting.entry.caller.deadline.is_some();
        let limit = self.load.batch_cost;
        let limit = limit.filter(|_| self.waiting.iter().any(is_due));
        limit.unwrap_or(usize::MAX)
    }

    /// Removes the chosen texts.
    fn take(&mut self, chosen: Vec<bool>) -> Vec<Entry> {
        self.fairness.serve(&self.places(), &chosen);
        let mut batch = Vec::new();
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        for (waiting, chosen) in self.waiting.drain(..).zip(chosen) {
            if chosen {
                batch.push(waiting.entry);
            } else {
                rest.push_back(waiting);
            }
        }
        self.waiting = rest;
        batch
    }

    /// Takes the next batch if it is so full that later texts would hardly add to it.
    fn take_full(&mut self, limits: &Limits) -> Option<Vec<Entry>> {
        if self.idle > 0 {
            return None;
        }
        let most = (limits.max_tokens, self.batch_cost());
        let full = |tokens: usize, cost: usize| {
            tokens >= most.0 - most.0 / 4 || cost >= most.1 - most.1 / 4
        };
        let sums = |(tokens, cost): (usize, usize), waiting: &Waiting| {
            (tokens + waiting.entry.ids.len(), cost + waiting.cost)
        };
        let (tokens, cost) = self.waiting.iter().fold((0, 0), sums);
        if !full(tokens, cost) {
            return None;
        }
        self.sweep();
        let chosen = self.choose(limits);
        let taken = self.waiting.iter().zip(&chosen);
        let taken = taken.filter_map(|(waiting, chosen)| chosen.then_some(waiting));
        let (tokens, cost) = taken.fold((0, 0), sums);
        full(tokens, cost).then(|| self.take(chosen))
    }
}

/// The bounded queue of texts that wait for a session.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    /// Signals that a batch can be taken or that the queue was closed.
    changed: Condvar,
    /// Signals the same to threads that wait for full batches. A text that wakes one of them must also wake a worker.
    filling: Condvar,
    capacity: usize,
}

impl Queue {
    /// A queue of at most `capacity` texts.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            filling: Condvar::new(),
            capacity,
        }
    }

    /// Adds the texts of a request, all or none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if they do not all fit, [`Error::Busy`] or [`Error::TooMuchWork`] if they would be late, and
    /// [`Error::ShuttingDown`] after [`Queue::close`]. The entries come back, so that the caller can complete them with the error.
    pub(crate) fn push(&self, entries: Vec<Entry>, load: Load) -> Result<(), (Error, Vec<Entry>)> {
        let mut state = self.lock();
        if state.closed {
            return Err((Error::ShuttingDown, entries));
        }
        if state.waiting.len() + entries.len() > self.capacity {
            state.sweep();
        }
        if state.waiting.len() + entries.len() > self.capacity {
            let error = Error::Overloaded {
                waiting: state.waiting.len(),
                limit: self.capacity,
            };
            return Err((error, entries));
        }
        let cost = |entry: &Entry| load.cost(entry.ids.len());
        let total = entries.iter().map(cost).fold(0, usize::saturating_add);
        let caller = entries
            .first()
            .map_or_else(Caller::default, |entry| entry.caller);
        let admitted = state.fairness.admit(caller, entries.len(), total, load);
        if let Err(rejection) = admitted {
            return Err((rejection.into(), entries));
        }
        state.load = load;
        let tag = state.fairness.enter(caller, total);
        let request = state.number();
        let waiting = entries.into_iter().map(|entry| Waiting {
            cost: cost(&entry),
            entry,
            tag,
            request,
        });
        state.waiting.extend(waiting);
        let preparing = state.preparing > 0;
        drop(state);
        self.changed.notify_one();
        if preparing {
            self.filling.notify_all();
        }
        Ok(())
    }

    /// Puts back a batch that was taken and not computed. It runs first.
    pub(crate) fn put_back(&self, entries: Vec<Entry>) {
        let mut state = self.lock();
        let request = state.number();
        for entry in entries.into_iter().rev() {
            let cost = state.load.cost(entry.ids.len());
            state.fairness.enter(entry.caller, cost);
            state.waiting.push_front(Waiting {
                entry,
                tag: 0,
                request,
                cost,
            });
        }
        drop(state);
        self.changed.notify_one();
        self.filling.notify_all();
    }

    /// Waits for work and takes a batch. Returns `None` once the queue is closed and empty.
    #[must_use]
    pub(crate) fn next_batch(&self, limits: &Limits) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        loop {
            state.sweep();
            if !state.waiting.is_empty() {
                break;
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        let chosen = state.choose(limits);
        let batch = state.take(chosen);
        let more = !state.waiting.is_empty();
        let preparing = state.preparing > 0;
        drop(state);
        if more {
            self.changed.notify_one();
        }
        if more && preparing {
            self.filling.notify_all();
        }
        Some(batch)
    }

    /// Waits until a full batch can be taken, for a worker that is still busy. Returns `None` once it is no longer
    /// wanted (see [`Queue::cancel`]) or the queue is closed.
    ///
    /// A batch that is taken early misses the texts that come later, so it must have three quarters of its tokens.
    #[must_use]
    pub(crate) fn next_full_batch(
        &self,
        limits: &Limits,
        wanted: &AtomicBool,
    ) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        while wanted.load(Ordering::Relaxed) && !state.closed {
            if let Some(batch) = state.take_full(limits) {
                return Some(batch);
            }
            state.preparing += 1;
            state = self
                .filling
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.preparing -= 1;
        }
        None
    }

    /// Ends the wait of [`Queue::next_full_batch`].
    pub(crate) fn cancel(&self, wanted: &AtomicBool) {
        let state = self.lock();
        wanted.store(false, Ordering::Relaxed);
        drop(state);
        self.filling.notify_all();
    }

    /// Rejects new texts from now on. Waiting texts are still served.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
        self.filling.notify_all();
    }

    /// Whether [`Queue::close`] was called.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The number of waiting texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether no text waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks whether a request with texts of these lengths would meet its deadline.
    ///
    /// # Errors
    /// The request would be late.
    pub(crate) fn admits(
        &self,
        caller: Caller,
        lengths: impl Iterator<Item = usize>,
        load: Load,
    ) -> Result<(), Rejection> {
        let (mut texts, mut cost) = (0, 0usize);
        for length in lengths {
            texts += 1;
            cost = cost.saturating_add(load.cost(length));
        }
        self.lock().fairness.admit(caller, texts, cost, load)
    }

    /// The cost of the waiting texts.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.lock().fairness.waiting()
    }

    /// The maximum number of waiting texts.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of texts dropped since the start, because no one waited for them.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests;
#[cfg(all(test, not(feature = "loom")))]
mod tests;
