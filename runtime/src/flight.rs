//! A text on its way to its vector, and everybody who waits for it.
//!
//! Identical texts that are asked for while the first is still under way join it instead of being computed again.
//! Whoever waits holds a receiver; a flight that nobody waits for any more is dropped before it costs anything.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cache::State;
use crate::error::Result;
use crate::sync::{Mutex, MutexGuard};

/// Where a state came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This request had it computed.
    Computed,
    /// Another request was having it computed already.
    Joined,
    /// The result cache knew it.
    Cached,
}

/// A state and what it took.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The state.
    pub state: State,
    /// Where it came from.
    pub origin: Origin,
    /// How long it waited for a session.
    pub queued: Duration,
    /// How long its batch took.
    pub infer: Duration,
}

/// What everybody who waits for a text receives.
pub type Reply = Result<Answer>;

/// See the module.
#[derive(Debug)]
pub struct Flight {
    /// `None` once it has landed or was given up.
    waiting: Mutex<Option<Vec<oneshot::Sender<Reply>>>>,
}

impl Flight {
    /// A flight and its first passenger.
    #[must_use]
    pub fn new() -> (Arc<Self>, oneshot::Receiver<Reply>) {
        let (sender, receiver) = oneshot::channel();
        let flight = Self {
            waiting: Mutex::new(Some(vec![sender])),
        };
        (Arc::new(flight), receiver)
    }

    /// Waits for this flight as well; `None` where it is over.
    #[must_use]
    pub fn join(&self) -> Option<oneshot::Receiver<Reply>> {
        let mut waiting = self.lock();
        let (sender, receiver) = oneshot::channel();
        waiting.as_mut()?.push(sender);
        Some(receiver)
    }

    /// Ends the flight if everybody who waited has gone; true once it is over.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        let mut waiting = self.lock();
        if let Some(senders) = &mut *waiting {
            // Who has gone is forgotten, so that a text asked for again and again keeps no list of the departed.
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                *waiting = None;
            }
        }
        waiting.is_none()
    }

    /// Answers all who wait; those who did not ask first are told that they joined.
    pub fn land(&self, reply: &Reply) {
        let senders = self.lock().take().unwrap_or_default();
        for (place, sender) in senders.into_iter().enumerate() {
            let mut reply = reply.clone();
            if let Ok(answer) = &mut reply
                && place > 0
                && answer.origin == Origin::Computed
            {
                answer.origin = Origin::Joined;
            }
            // Who has gone meanwhile wants no answer.
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
        Ok(Answer {
            state: vec![1.0].into(),
            origin: Origin::Computed,
            queued: Duration::ZERO,
            infer: Duration::ZERO,
        })
    }

    #[test]
    fn all_who_wait_are_answered_once_and_know_whether_they_joined() {
        let (flight, first) = Flight::new();
        let second = flight.join().unwrap();
        flight.land(&answer());
        assert_eq!(
            first.blocking_recv().unwrap().unwrap().origin,
            Origin::Computed
        );
        assert_eq!(
            second.blocking_recv().unwrap().unwrap().origin,
            Origin::Joined
        );
        assert!(flight.join().is_none());
        flight.land(&Err(Error::ShuttingDown));
    }

    #[test]
    fn it_is_given_up_when_the_last_has_gone() {
        let (flight, first) = Flight::new();
        let second = flight.join().unwrap();
        drop(first);
        assert!(!flight.is_given_up());
        drop(second);
        assert!(flight.is_given_up());
        assert!(flight.join().is_none());
    }
}
