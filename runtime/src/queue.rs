//! The bounded queue between requests and worker threads.
//!
//! A mutex and two condition variables, no channel: a worker chooses among what waits, which a channel cannot do. Texts of
//! a request enter together or not at all; a text that nobody waits for any more is dropped before it costs anything.
//! [`Fairness`] decides which texts go first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::admission::{Load, Refusal};
use crate::batch::{Limits, select};
use crate::cache::Key;
use crate::error::{Error, Result};
use crate::fairness::{Caller, Fairness, Place};
use crate::flight::Flight;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// A text that waits.
#[derive(Debug)]
pub struct Entry {
    /// Its token ids.
    pub ids: Vec<u32>,
    /// Under which its state is kept; `None` where nothing is kept.
    pub key: Option<Key>,
    /// Who waits for it.
    pub flight: Arc<Flight>,
    /// When it was asked for.
    pub since: Instant,
    /// Who asked for it first.
    pub caller: Caller,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    /// Its place in the order of its caller's requests.
    tag: u64,
    /// The texts of a request have the same number, and stand side by side.
    request: u64,
    /// What it takes to compute.
    cost: usize,
}

impl Waiting {
    fn place(&self) -> Place {
        Place {
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
    /// In the order of their arrival.
    waiting: VecDeque<Waiting>,
    closed: bool,
    /// Threads that wait for a batch.
    idle: usize,
    /// Threads that wait for a full batch. They leave it to an idle one, which would compute it at once.
    preparing: usize,
    fairness: Fairness,
    /// As it was when the last request came.
    load: Load,
    /// The number of the next request.
    next_request: u64,
    dropped: u64,
}

impl State {
    /// Drops what nobody waits for.
    fn sweep(&mut self) {
        let before = self.waiting.len();
        let fairness = &mut self.fairness;
        self.waiting.retain(|waiting| {
            let given_up = waiting.entry.flight.is_given_up();
            if given_up {
                fairness.leave(&waiting.place());
            }
            !given_up
        });
        self.dropped += (before - self.waiting.len()) as u64;
    }

    /// A number for a request.
    fn number(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// What the order depends on.
    fn places(&self) -> Vec<Place> {
        self.waiting.iter().map(Waiting::place).collect()
    }

    /// For each text that waits, whether it belongs to the next batch.
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

    /// Cost of a batch at most. It is not limited where no request has a deadline.
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

    /// The next batch, if texts that come later would hardly add to it.
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

/// See the module.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    /// A batch can be taken, or the queue was closed.
    changed: Condvar,
    /// The same, for those who wait for full batches: a text that wakes one of them must wake a worker as well.
    filling: Condvar,
    capacity: usize,
}

impl Queue {
    /// A queue of at most `capacity` texts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            filling: Condvar::new(),
            capacity,
        }
    }

    /// Adds a request's texts, all or none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where they do not all fit, [`Error::Busy`] or [`Error::TooMuchWork`] where they would not be
    /// answered in time,
    /// [`Error::ShuttingDown`] after [`Queue::close`]; the entries come back, for their flights to be told.
    pub fn push(&self, entries: Vec<Entry>, load: Load) -> Result<(), (Error, Vec<Entry>)> {
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
        if let Err(refusal) = admitted {
            return Err((refusal.into(), entries));
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

    /// Puts a batch back that was taken and not computed. It goes first now.
    pub fn put_back(&self, entries: Vec<Entry>) {
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

    /// Waits for work and takes a batch; `None` once the queue is closed and empty.
    #[must_use]
    pub fn next_batch(&self, limits: &Limits) -> Option<Vec<Entry>> {
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

    /// Waits until a full batch can be taken, for a worker that is still busy with another; `None` once it is no longer
    /// wanted (see [`Queue::cancel`]) or the queue is closed.
    ///
    /// A batch taken early takes no text that comes later, so that only one with three quarters of its tokens is taken.
    #[must_use]
    pub fn next_full_batch(&self, limits: &Limits, wanted: &AtomicBool) -> Option<Vec<Entry>> {
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
    pub fn cancel(&self, wanted: &AtomicBool) {
        let state = self.lock();
        wanted.store(false, Ordering::Relaxed);
        drop(state);
        self.filling.notify_all();
    }

    /// Takes no more; what waits is still served.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
        self.filling.notify_all();
    }

    /// Whether [`Queue::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Texts waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a request of texts of these lengths would be answered in time.
    ///
    /// # Errors
    /// It would not.
    pub fn admits(
        &self,
        caller: Caller,
        lengths: impl Iterator<Item = usize>,
        load: Load,
    ) -> Result<(), Refusal> {
        let (mut texts, mut cost) = (0, 0usize);
        for length in lengths {
            texts += 1;
            cost = cost.saturating_add(load.cost(length));
        }
        self.lock().fairness.admit(caller, texts, cost, load)
    }

    /// The cost of what waits.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.lock().fairness.waiting()
    }

    /// Texts that may wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Texts dropped since the start because nobody waited for them any more.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// The loom crate includes this file by its path, and has tests of its own.
#[cfg(all(test, not(lexivec_loom)))]
#[path = "queue/tests.rs"]
mod tests;
