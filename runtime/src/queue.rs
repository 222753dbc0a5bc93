//! The bounded queue between requests and worker threads.
//!
//! A mutex and a condition variable, no channel: a worker must choose among what waits, oldest first
//! ([`crate::batch::select`]), which a channel cannot do. An entry whose caller has gone is dropped before it costs
//! anything. Entries of a request enter together or not at all.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::batch::{Limits, select};
use crate::error::{Error, Result};

/// What a worker answers for a text: its full-width state, neither cut nor normalised.
pub type Reply = Result<Vec<f32>>;

/// A text that waits.
#[derive(Debug)]
pub struct Entry {
    /// Its token ids.
    pub ids: Vec<u32>,
    /// Where its answer goes; closed when the caller has gone.
    pub reply: oneshot::Sender<Reply>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Entry>,
    closed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
}

impl Queue {
    /// A queue of at most `capacity` texts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            capacity,
        }
    }

    /// Adds all entries or none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where they do not all fit, [`Error::ShuttingDown`] after [`Queue::close`].
    pub fn push(&self, entries: Vec<Entry>) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::ShuttingDown);
        }
        if state.waiting.len() + entries.len() > self.capacity {
            state.waiting.retain(|entry| !entry.reply.is_closed());
        }
        if state.waiting.len() + entries.len() > self.capacity {
            return Err(Error::Overloaded {
                waiting: state.waiting.len(),
                limit: self.capacity,
            });
        }
        state.waiting.extend(entries);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for work and takes a batch; `None` once the queue is closed and empty.
    #[must_use]
    pub fn next_batch(&self, limits: &Limits) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        loop {
            state.waiting.retain(|entry| !entry.reply.is_closed());
            if !state.waiting.is_empty() {
                break;
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let chosen = select(state.waiting.iter().map(|e| e.ids.len()), limits);
        let mut chosen = chosen.into_iter().peekable();
        let mut batch = Vec::new();
        let mut rest = VecDeque::new();
        for (position, entry) in state.waiting.drain(..).enumerate() {
            if chosen.next_if_eq(&position).is_some() {
                batch.push(entry);
            } else {
                rest.push_back(entry);
            }
        }
        state.waiting = rest;
        let more = !state.waiting.is_empty();
        drop(state);
        if more {
            self.changed.notify_one();
        }
        Some(batch)
    }

    /// Takes no more; what waits is still served.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
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

    /// Texts that may wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(length: usize) -> (Entry, oneshot::Receiver<Reply>) {
        let (reply, receiver) = oneshot::channel();
        (
            Entry {
                ids: vec![0; length],
                reply,
            },
            receiver,
        )
    }

    #[test]
    fn a_full_queue_takes_all_or_none() {
        let queue = Queue::new(3);
        let (a, _ra) = entry(1);
        let (b, _rb) = entry(1);
        queue.push(vec![a, b]).unwrap();
        let (c, rc) = entry(1);
        let (d, _rd) = entry(1);
        let error = queue.push(vec![c, d]).unwrap_err();
        assert!(matches!(
            error,
            Error::Overloaded {
                waiting: 2,
                limit: 3
            }
        ));
        drop(rc);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn who_has_gone_is_not_served_and_makes_room() {
        let queue = Queue::new(1);
        let (a, ra) = entry(1);
        queue.push(vec![a]).unwrap();
        drop(ra);
        let (b, _rb) = entry(2);
        queue.push(vec![b]).unwrap();
        let batch = queue.next_batch(&Limits::default()).unwrap();
        assert_eq!(batch.iter().map(|e| e.ids.len()).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn closing_serves_what_waits_and_ends() {
        let queue = Queue::new(8);
        let (a, _ra) = entry(1);
        queue.push(vec![a]).unwrap();
        queue.close();
        let (b, _rb) = entry(1);
        assert!(matches!(queue.push(vec![b]), Err(Error::ShuttingDown)));
        assert_eq!(queue.next_batch(&Limits::default()).unwrap().len(), 1);
        assert!(queue.next_batch(&Limits::default()).is_none());
    }

    proptest! {
        #[test]
        fn every_entry_comes_out_exactly_once_and_the_oldest_first(
            lengths in prop::collection::vec(1usize..3000, 1..60),
            max_tokens in 1usize..5000,
        ) {
            let queue = Queue::new(lengths.len());
            let limits = Limits { max_tokens, max_padding: 2 };
            let (entries, receivers): (Vec<_>, Vec<_>) = lengths.iter().enumerate().map(|(i, n)| {
                let (mut e, r) = entry(*n);
                e.ids[0] = u32::try_from(i).unwrap();
                (e, r)
            }).unzip();
            queue.push(entries).unwrap();
            queue.close();
            let mut seen = vec![false; lengths.len()];
            while let Some(batch) = queue.next_batch(&limits) {
                let oldest = seen.iter().position(|s| !s).unwrap();
                prop_assert_eq!(batch[0].ids[0] as usize, oldest);
                for e in batch {
                    let i = e.ids[0] as usize;
                    prop_assert!(!seen[i]);
                    seen[i] = true;
                }
            }
            prop_assert!(seen.iter().all(|s| *s));
            drop(receivers);
        }
    }
}
