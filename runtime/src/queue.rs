//! The bounded queue between requests and worker threads.
//!
//! A mutex and two condition variables, no channel: a worker chooses among what waits, which a channel cannot do. Texts of
//! a request enter together or not at all; a text that nobody waits for any more is dropped before it costs anything.
//! [`Fairness`] decides which texts go first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::{Limits, select};
use crate::cache::Key;
use crate::error::{Error, Result};
use crate::fairness::{Caller, Fairness, Load, Place};
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
}

impl Waiting {
    fn place(&self) -> Place {
        Place {
            caller: self.entry.caller,
            request: self.request,
            tag: self.tag,
            tokens: self.entry.ids.len(),
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
        let order = self.fairness.order(&places);
        let lengths = order.iter().map(|i| places[*i].tokens);
        let mut chosen = vec![false; order.len()];
        for place in select(lengths, limits) {
            chosen[order[place]] = true;
        }
        chosen
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
        let full = limits.max_tokens - limits.max_tokens / 4;
        let tokens = |waiting: &Waiting| waiting.entry.ids.len();
        if self.waiting.iter().map(tokens).sum::<usize>() < full {
            return None;
        }
        self.sweep();
        let chosen = self.choose(limits);
        let taken = self.waiting.iter().zip(&chosen);
        let taken = taken.filter(|(_, chosen)| **chosen).map(|(w, _)| tokens(w));
        (taken.sum::<usize>() >= full).then(|| self.take(chosen))
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
    /// [`Error::Overloaded`] where they do not all fit, [`Error::Busy`] where they would not be answered in time,
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
        let tokens: usize = entries.iter().map(|entry| entry.ids.len()).sum();
        let caller = entries
            .first()
            .map_or_else(Caller::default, |entry| entry.caller);
        if let Some(retry_after) = state.fairness.refuse_late(caller, tokens, load) {
            return Err((Error::Busy { retry_after }, entries));
        }
        let tag = state.fairness.enter(caller, tokens);
        let request = state.number();
        let waiting = entries.into_iter().map(|entry| Waiting {
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
            state.fairness.enter(entry.caller, entry.ids.len());
            state.waiting.push_front(Waiting {
                entry,
                tag: 0,
                request,
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

    /// Refuses a request of so many tokens that would not be answered in time: how long it should stay away.
    #[must_use]
    pub fn refuse_late(&self, caller: Caller, tokens: usize, load: Load) -> Option<Duration> {
        self.lock().fairness.refuse_late(caller, tokens, load)
    }

    /// Tokens waiting.
    #[must_use]
    pub fn tokens(&self) -> usize {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;
    use crate::flight::Reply;

    fn entry(length: usize) -> (Entry, oneshot::Receiver<Reply>) {
        let (flight, receiver) = Flight::new();
        let entry = Entry {
            ids: vec![0; length],
            key: None,
            flight,
            since: Instant::now(),
            caller: Caller::default(),
        };
        (entry, receiver)
    }

    /// Batches of so many tokens.
    fn limits(max_tokens: usize) -> Limits {
        Limits {
            max_tokens,
            max_padding: 2,
        }
    }

    /// A request: texts of these lengths, the first token naming the request.
    fn request(name: u32, lengths: &[usize]) -> (Vec<Entry>, Vec<oneshot::Receiver<Reply>>) {
        let texts = lengths.iter().map(|length| {
            let (mut entry, receiver) = entry(*length);
            entry.ids[0] = name;
            (entry, receiver)
        });
        texts.unzip()
    }

    fn lengths(batch: &[Entry]) -> Vec<usize> {
        batch.iter().map(|e| e.ids.len()).collect()
    }

    #[test]
    fn a_full_queue_takes_all_or_none() {
        let queue = Queue::new(3);
        let (two, _receivers) = request(1, &[1, 1]);
        queue.push(two, Load::default()).unwrap();
        let (two, receivers) = request(2, &[1, 1]);
        let (error, back) = queue.push(two, Load::default()).unwrap_err();
        assert!(matches!(
            error,
            Error::Overloaded {
                waiting: 2,
                limit: 3
            }
        ));
        assert_eq!((back.len(), queue.len()), (2, 2));
        drop(receivers);
    }

    #[test]
    fn who_has_gone_is_not_served_and_makes_room() {
        let queue = Queue::new(1);
        let (a, ra) = entry(1);
        queue.push(vec![a], Load::default()).unwrap();
        drop(ra);
        let (b, _rb) = entry(2);
        queue.push(vec![b], Load::default()).unwrap();
        let batch = queue.next_batch(&Limits::default()).unwrap();
        assert_eq!(lengths(&batch), [2]);
        assert_eq!(queue.dropped(), 1);
    }

    #[test]
    fn closing_serves_what_waits_and_ends() {
        let queue = Queue::new(8);
        let (a, _ra) = entry(1);
        queue.push(vec![a], Load::default()).unwrap();
        queue.close();
        let (b, _rb) = entry(1);
        assert!(matches!(
            queue.push(vec![b], Load::default()),
            Err((Error::ShuttingDown, _))
        ));
        assert_eq!(queue.next_batch(&Limits::default()).unwrap().len(), 1);
        assert!(queue.next_batch(&Limits::default()).is_none());
    }

    #[test]
    fn a_batch_is_taken_early_if_it_is_full() {
        let queue = Queue::new(8);
        let limits = limits(8);
        let wanted = AtomicBool::new(true);
        let (some, _r1) = request(1, &[5]);
        queue.push(some, Load::default()).unwrap();
        std::thread::scope(|scope| {
            let early = scope.spawn(|| queue.next_full_batch(&limits, &wanted));
            queue.cancel(&wanted);
            assert!(early.join().unwrap().is_none());
            assert_eq!(queue.len(), 1);

            wanted.store(true, Ordering::Relaxed);
            let early = scope.spawn(|| queue.next_full_batch(&limits, &wanted));
            let (more, _r2) = request(2, &[1, 4]);
            queue.push(more, Load::default()).unwrap();
            assert_eq!(lengths(&early.join().unwrap().unwrap()), [5, 1]);
            assert_eq!(queue.len(), 1);
        });
        wanted.store(true, Ordering::Relaxed);
        queue.close();
        assert!(queue.next_full_batch(&limits, &wanted).is_none());
    }

    #[test]
    fn a_full_batch_is_left_to_an_idle_worker() {
        let queue = Queue::new(8);
        let limits = limits(8);
        let wanted = AtomicBool::new(true);
        let wait_until = |met: &dyn Fn(&State) -> bool| {
            while !met(&queue.lock()) {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let early = scope.spawn(|| queue.next_full_batch(&limits, &wanted));
            wait_until(&|state| state.preparing == 1);
            let idle = scope.spawn(|| queue.next_batch(&limits));
            wait_until(&|state| state.idle == 1);
            let (texts, _receivers) = request(1, &[8]);
            queue.push(texts, Load::default()).unwrap();
            assert_eq!(lengths(&idle.join().unwrap().unwrap()), [8]);
            queue.cancel(&wanted);
            assert!(early.join().unwrap().is_none());
        });
    }

    #[test]
    fn a_batch_that_is_put_back_goes_first() {
        let queue = Queue::new(8);
        let (texts, _receivers) = request(1, &[1, 2, 3]);
        queue.push(texts, Load::default()).unwrap();
        let two = limits(3);
        let batch = queue.next_batch(&two).unwrap();
        assert_eq!(lengths(&batch), [1, 2]);
        queue.put_back(batch);
        assert_eq!(lengths(&queue.next_batch(&two).unwrap()), [1, 2]);
    }

    #[test]
    fn a_single_text_waits_for_two_batches_behind_a_large_request_and_a_long_document() {
        let queue = Queue::new(4096);
        let limits = Limits::default();
        let (large, _r1) = request(1, &[20; 2048]);
        let (document, _r2) = request(2, &[30_000]);
        let (single, _r3) = request(3, &[20]);
        queue.push(large, Load::default()).unwrap();
        queue.push(document, Load::default()).unwrap();
        queue.push(single, Load::default()).unwrap();
        let seen: Vec<bool> = (0..2)
            .map(|_| {
                let batch = queue.next_batch(&limits).unwrap();
                batch.iter().any(|e| e.ids[0] == 3)
            })
            .collect();
        assert!(seen.contains(&true), "{seen:?}");
    }

    #[test]
    fn equal_requests_finish_one_after_another() {
        const REQUESTS: usize = 24;
        let queue = Queue::new(4096);
        let limits = limits(1000);
        let mut receivers = Vec::new();
        for name in 0..REQUESTS {
            let (texts, more) = request(name as u32, &[20; 100]);
            queue.push(texts, Load::default()).unwrap();
            receivers.extend(more);
        }
        queue.close();
        let mut finished = [0; REQUESTS];
        let mut batches = 0;
        while let Some(batch) = queue.next_batch(&limits) {
            batches += 1;
            batch
                .iter()
                .for_each(|entry| finished[entry.ids[0] as usize] = batches);
        }
        let mean = finished.iter().sum::<usize>() as f64 / REQUESTS as f64;
        assert!(mean <= 0.6 * f64::from(batches as u32), "{finished:?}");
    }

    #[test]
    fn a_large_request_is_overtaken_for_a_while_only() {
        let queue = Queue::new(4096);
        let limits = limits(100);
        let (large, _r1) = request(1, &[20; 50]);
        queue.push(large, Load::default()).unwrap();
        let mut receivers = Vec::new();
        let mut left = 50;
        let mut batches = 0;
        while left > 0 {
            // Requests half as large as a batch never stop coming.
            let (small, more) = request(2, &[10; 5]);
            queue.push(small, Load::default()).unwrap();
            receivers.push(more);
            let batch = queue.next_batch(&limits).unwrap();
            left -= batch.iter().filter(|e| e.ids[0] == 1).count();
            batches += 1;
        }
        // Alone it would take ten.
        assert!(batches <= 30, "{batches}");
    }

    #[test]
    fn a_stream_of_short_texts_does_not_hold_a_long_document_back() {
        let queue = Queue::new(4096);
        let limits = Limits::default();
        let mut receivers = Vec::new();
        let mut push = |name, lengths: &[usize]| {
            let (entries, more) = request(name, lengths);
            queue.push(entries, Load::default()).unwrap();
            receivers.extend(more);
        };
        push(1, &[20; 10]);
        push(2, &[30_000]);
        // More short texts arrive before every batch than a batch takes.
        let batches = (0..).take_while(|_| {
            (0..1000).for_each(|_| push(1, &[20]));
            let batch = queue.next_batch(&limits).unwrap();
            assert!(queue.len() < 4000);
            batch.iter().all(|e| e.ids[0] != 2)
        });
        assert!(batches.count() <= 2 * 10);
    }

    proptest! {
        #[test]
        fn every_entry_comes_out_exactly_once_and_nobody_starves(
            requests in prop::collection::vec(prop::collection::vec(1usize..3000, 1..12), 1..12),
            max_tokens in 1usize..5000,
        ) {
            let all: usize = requests.iter().map(Vec::len).sum();
            let queue = Queue::new(all);
            let limits = limits(max_tokens);
            let mut receivers = Vec::new();
            for lengths in &requests {
                let first = receivers.len() as u32;
                let (mut entries, more) = request(0, lengths);
                for (i, entry) in (first..).zip(&mut entries) {
                    entry.ids[0] = i;
                }
                queue.push(entries, Load::default()).unwrap();
                receivers.extend(more);
            }
            queue.close();
            let mut seen = vec![None; all];
            for batch in 0.. {
                let Some(entries) = queue.next_batch(&limits) else { break };
                prop_assert!(!entries.is_empty());
                let tokens: usize = entries.iter().map(|e| e.ids.len()).sum();
                prop_assert!(entries.len() == 1 || tokens <= max_tokens);
                for e in entries {
                    let before = seen[e.ids[0] as usize].replace(batch);
                    prop_assert!(before.is_none());
                }
            }
            for (place, batch) in seen.iter().enumerate() {
                prop_assert!(batch.is_some_and(|b| b < 2 * (place + 1)));
            }
        }
    }
}
