//! A text in flight, and everyone who waits for it.
//!
//! An identical text that is requested meanwhile is coalesced: it waits for the same result. Each waiter holds a
//! receiver. A text that no one waits for any more is abandoned, and is dropped before it costs anything.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cache::PooledState;
use crate::error::Result;
use crate::request::Origin;
use crate::scheduling::sync::{Mutex, MutexGuard};

/// A state, and how it was obtained.
#[derive(Debug, Clone)]
pub(crate) struct Completed {
    /// The pooled hidden state.
    pub(crate) state: PooledState,
    /// Where the state came from.
    pub(crate) origin: Origin,
    /// How long the text waited for a session.
    pub(crate) queued: Duration,
    /// How long its batch took.
    pub(crate) infer: Duration,
}

/// The reply that every waiter receives.
pub(crate) type Reply = Result<Completed>;

/// A text in flight. Everyone who waits for it gets the same reply.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// The waiters; `None` once the text is complete or abandoned.
    waiting: Mutex<Option<Vec<oneshot::Sender<Reply>>>>,
}

impl InFlight {
    /// Creates a text in flight and its first receiver.
    #[must_use]
    pub(crate) fn new() -> (Arc<Self>, oneshot::Receiver<Reply>) {
        let (sender, receiver) = oneshot::channel();
        let in_flight = Self {
            waiting: Mutex::new(Some(vec![sender])),
        };
        (Arc::new(in_flight), receiver)
    }

    /// Adds a waiter. Returns `None` if the text is complete or abandoned.
    #[must_use]
    pub(crate) fn coalesce(&self) -> Option<oneshot::Receiver<Reply>> {
        let mut waiting = self.lock();
        let (sender, receiver) = oneshot::channel();
        waiting.as_mut()?.push(sender);
        Some(receiver)
    }

    /// Abandons the text if no waiter is left. Returns whether the text is abandoned or complete.
    #[must_use]
    pub(crate) fn is_abandoned(&self) -> bool {
        let mut waiting = self.lock();
        if let Some(senders) = &mut *waiting {
            // Waiters that left are removed, so that a text that is requested again and again keeps no list of them.
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                *waiting = None;
            }
        }
        waiting.is_none()
    }

    /// Sends the reply to every waiter. All but the first are told that their text was coalesced.
    pub(crate) fn complete(&self, reply: &Reply) {
        let senders = self.lock().take().unwrap_or_default();
        for (place, sender) in senders.into_iter().enumerate() {
            let mut reply = reply.clone();
            if let Ok(answer) = &mut reply
                && place > 0
                && answer.origin == Origin::Computed
            {
                answer.origin = Origin::Coalesced;
            }
            // A waiter that left meanwhile needs no reply.
            let _ = sender.send(reply);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<oneshot::Sender<Reply>>>> {
        // Nothing under the lock leaves it half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn answer() -> Reply {
        Ok(Completed {
            state: vec![1.0].into(),
            origin: Origin::Computed,
            queued: Duration::ZERO,
            infer: Duration::ZERO,
        })
    }

    #[test]
    fn every_waiter_gets_one_reply_and_knows_whether_it_was_coalesced() {
        let (in_flight, first) = InFlight::new();
        let second = in_flight.coalesce().unwrap();
        in_flight.complete(&answer());
        assert_eq!(
            first.blocking_recv().unwrap().unwrap().origin,
            Origin::Computed
        );
        assert_eq!(
            second.blocking_recv().unwrap().unwrap().origin,
            Origin::Coalesced
        );
        assert!(in_flight.coalesce().is_none());
        in_flight.complete(&Err(Error::ShuttingDown));
    }

    #[test]
    fn it_is_abandoned_when_the_last_waiter_has_gone() {
        let (in_flight, first) = InFlight::new();
        let second = in_flight.coalesce().unwrap();
        drop(first);
        assert!(!in_flight.is_abandoned());
        drop(second);
        assert!(in_flight.is_abandoned());
        assert!(in_flight.coalesce().is_none());
    }
}
