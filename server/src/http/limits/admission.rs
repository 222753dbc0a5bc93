//! How many texts a model has accepted and not yet answered, and whose they are.
//!
//! A request of more than an eighth of the room leaves an eighth to smaller ones. One caller alone may have all the rest.
//! When others want some, each gets a part by its share. A caller who holds more is refused until it holds no more than that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lexivec_runtime::{Caller, Error};

/// Requests of more than this part of the room leave as much to smaller ones.
const QUEUE_FOR_SMALL: usize = 8;
/// A caller that was refused is taken into account for so long: its client tries again.
const REFUSED_COUNTS_FOR: Duration = Duration::from_secs(10);
/// From this many callers on, those that have nothing here are forgotten.
const PRUNE_FROM: usize = 1024;

/// The room of one model; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    capacity: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    callers: HashMap<u64, Held>,
}

#[derive(Debug, Default)]
struct Held {
    texts: usize,
    share: u32,
    refused: Option<Instant>,
}

impl Held {
    /// Whether its caller has texts here, or was refused lately.
    fn is_present(&self) -> bool {
        self.texts > 0
            || self
                .refused
                .is_some_and(|at| at.elapsed() < REFUSED_COUNTS_FOR)
    }
}

/// Room that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Room,
    caller: u64,
    texts: usize,
}

impl Room {
    /// Room for so many texts.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Arc::default(),
        }
    }

    /// Texts that may be accepted and not yet answered.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes room for `texts` texts, all or none.
    ///
    /// # Errors
    /// [`Error::Overloaded`]; [`Error::InvalidInput`] where there never will be.
    pub(crate) fn take(&self, texts: usize, caller: Caller) -> Result<Taken, Error> {
        if texts > self.capacity {
            return Err(Error::InvalidInput {
                field: "input",
                reason: format!(
                    "{texts} texts are more than this server ever takes at a time ({})",
                    self.capacity
                ),
            });
        }
        let mut state = self.lock();
        if state.callers.len() >= PRUNE_FROM {
            state.callers.retain(|_, held| held.is_present());
        }
        let fits = self.fits(&state, texts, caller);
        let held = state.callers.entry(caller.flow).or_default();
        held.share = caller.weight;
        if !fits {
            held.refused = Some(Instant::now());
            return Err(Error::Overloaded {
                waiting: state.used,
                limit: self.capacity,
            });
        }
        held.texts += texts;
        held.refused = None;
        state.used += texts;
        drop(state);
        Ok(Taken {
            room: self.clone(),
            caller: caller.flow,
            texts,
        })
    }

    fn fits(&self, state: &State, texts: usize, caller: Caller) -> bool {
        let free = self.capacity - state.used;
        if texts > free {
            return false;
        }
        let reserved = self.capacity / QUEUE_FOR_SMALL;
        let is_large = texts > reserved && texts + reserved <= self.capacity;
        if is_large && free < texts + reserved {
            return false;
        }
        let own = state.callers.get(&caller.flow).map_or(0, |held| held.texts);
        let others = state.callers.iter();
        let others = others.filter(|(flow, held)| **flow != caller.flow && held.is_present());
        let others: u64 = others.map(|(_, held)| u64::from(held.share)).sum();
        if others == 0 || own == 0 {
            return true;
        }
        let (all, weight) = ((self.capacity - reserved) as u64, u64::from(caller.weight));
        (own + texts) as u64 <= all * weight / (others + weight)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the counts half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        state.used -= self.texts;
        if let Some(held) = state.callers.get_mut(&self.caller) {
            held.texts -= self.texts;
            if !held.is_present() {
                state.callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(flow: u64, weight: u32) -> Caller {
        Caller {
            flow,
            weight,
            deadline: None,
        }
    }

    #[test]
    fn one_caller_alone_has_nearly_everything_and_gives_way_when_another_comes() {
        let room = Room::new(80);
        let [a, b] = [caller(1, 1), caller(2, 1)];
        let mut held: Vec<Taken> = (0..3).map(|_| room.take(20, a).unwrap()).collect();
        // An eighth is left to small requests.
        assert!(room.take(20, a).is_err());
        let small = room.take(5, a).unwrap();
        assert!(room.take(30, b).is_err());
        // The other one wants to come in: the first may not take again what it gives back.
        held.pop();
        assert!(room.take(20, a).is_err());
        let other = room.take(20, b).unwrap();
        drop((held, small, other));
        assert!(room.lock().callers.values().all(|held| held.texts == 0));
        assert_eq!(room.lock().used, 0);
    }

    #[test]
    fn shares_are_by_weight_and_one_request_always_has_its_chance() {
        let room = Room::new(80);
        let [a, b] = [caller(1, 3), caller(2, 1)];
        let first = room.take(10, a).unwrap();
        let second = room.take(10, b).unwrap();
        // Of 70: 52 and 17.
        assert!(room.take(10, b).is_err());
        let more = room.take(40, a).unwrap();
        // Who has nothing here may have one request of any size, if there is room.
        drop(second);
        let large = room.take(20, b).unwrap();
        assert!(room.take(1, b).is_err());
        drop((first, more, large));
        assert!(room.take(60, b).is_ok());
    }

    #[test]
    fn what_never_fits_is_the_requests_fault() {
        let room = Room::new(8);
        assert!(matches!(
            room.take(9, caller(1, 1)),
            Err(Error::InvalidInput { .. })
        ));
        assert!(room.take(8, caller(1, 1)).is_ok());
    }
}
