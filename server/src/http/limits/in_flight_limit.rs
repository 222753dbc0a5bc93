//! The limit of texts in flight: those that a model has accepted and that have no response yet, in total and per caller.
//!
//! A request of more than an eighth of the limit leaves an eighth for smaller ones. A lone caller may have all the rest.
//! When several callers want capacity, each gets a share by its weight, and a caller above its share is rejected until it
//! is within it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lexivec_runtime::{Caller, Error};

use crate::http::errors::{ApiError, AtCapacity};

/// A request of more than the limit divided by this leaves as many texts free for smaller ones.
const RESERVED_FRACTION: usize = 8;
/// A rejected caller keeps its claim to a share for so long, because its client tries again.
const CLAIM_LASTS: Duration = Duration::from_secs(10);
/// From this many callers on, callers without texts or a claim are forgotten.
const PRUNE_FROM: usize = 1024;

/// The limit of texts in flight of one model; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct InFlightLimit {
    capacity: usize,
    admitted: Arc<Mutex<Admitted>>,
}

/// The texts in flight.
#[derive(Debug, Default)]
struct Admitted {
    texts: usize,
    callers: HashMap<u64, CallerTexts>,
}

/// The texts of one caller in flight.
#[derive(Debug, Default)]
struct CallerTexts {
    texts: usize,
    weight: u32,
    rejected: Option<Instant>,
}

impl CallerTexts {
    /// Whether the caller has texts here, or was rejected recently.
    fn is_present(&self) -> bool {
        self.texts > 0 || self.rejected.is_some_and(|at| at.elapsed() < CLAIM_LASTS)
    }
}

/// The texts of one request in flight. They count until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    in_flight_limit: InFlightLimit,
    caller: u64,
    texts: usize,
}

impl InFlightLimit {
    /// Limits the texts in flight to `capacity`.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            admitted: Arc::default(),
        }
    }

    /// The most texts in flight.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Admits all texts of a request, or none.
    ///
    /// # Errors
    /// [`ApiError::AtCapacity`]; [`Error::InvalidInput`] if the texts never fit.
    pub(crate) fn admit(&self, texts: usize, caller: Caller) -> Result<Permit, ApiError> {
        if texts > self.capacity {
            let reason = format!(
                "the request has {texts} texts, and this server accepts at most {} at a time: send fewer texts per request",
                self.capacity
            );
            let field = "input";
            return Err(Error::InvalidInput { field, reason }.into());
        }
        let mut admitted = self.lock();
        if admitted.callers.len() >= PRUNE_FROM {
            admitted.callers.retain(|_, caller| caller.is_present());
        }
        let fits = self.check(&admitted, texts, caller);
        let own = admitted.callers.entry(caller.flow).or_default();
        own.weight = caller.weight;
        if let Err(rejection) = fits {
            own.rejected = Some(Instant::now());
            return Err(rejection.into());
        }
        own.texts += texts;
        own.rejected = None;
        admitted.texts += texts;
        drop(admitted);
        Ok(Permit {
            in_flight_limit: self.clone(),
            caller: caller.flow,
            texts,
        })
    }

    fn check(&self, admitted: &Admitted, texts: usize, caller: Caller) -> Result<(), AtCapacity> {
        let (capacity, in_flight) = (self.capacity, admitted.texts);
        let free = capacity - in_flight;
        if texts > free {
            return Err(AtCapacity::Full {
                texts,
                in_flight,
                capacity,
            });
        }
        let reserved = capacity / RESERVED_FRACTION;
        let is_large = texts > reserved && texts + reserved <= capacity;
        if is_large && free < texts + reserved {
            return Err(AtCapacity::Reserved {
                texts,
                in_flight,
                capacity,
                reserved,
            });
        }
        let own = admitted.callers.get(&caller.flow);
        let own = own.map_or(0, |caller| caller.texts);
        let others = admitted.callers.iter();
        let others = others.filter(|(flow, other)| **flow != caller.flow && other.is_present());
        let others: u64 = others.map(|(_, other)| u64::from(other.weight)).sum();
        if others == 0 || own == 0 {
            return Ok(());
        }
        let weight = u64::from(caller.weight);
        let share = (capacity - reserved) as u64 * weight / (others + weight);
        if (own + texts) as u64 <= share {
            return Ok(());
        }
        let share = share as usize;
        Err(AtCapacity::ShareExceeded { texts, own, share })
    }

    fn lock(&self) -> MutexGuard<'_, Admitted> {
        // No code under the lock leaves the counts half-changed.
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut admitted = self.in_flight_limit.lock();
        admitted.texts -= self.texts;
        if let Some(caller) = admitted.callers.get_mut(&self.caller) {
            caller.texts -= self.texts;
            if !caller.is_present() {
                admitted.callers.remove(&self.caller);
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

    fn rejection(admitted: Result<Permit, ApiError>) -> AtCapacity {
        match admitted {
            Err(ApiError::AtCapacity(rejection)) => rejection,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lone_caller_gets_nearly_all_capacity_and_yields_when_another_comes() {
        let limit = InFlightLimit::new(80);
        let [a, b] = [caller(1, 1), caller(2, 1)];
        let mut permits: Vec<Permit> = (0..3).map(|_| limit.admit(20, a).unwrap()).collect();
        // An eighth is reserved for small requests.
        assert_eq!(
            rejection(limit.admit(20, a)),
            AtCapacity::Reserved {
                texts: 20,
                in_flight: 60,
                capacity: 80,
                reserved: 10
            }
        );
        let small = limit.admit(5, a).unwrap();
        assert_eq!(
            rejection(limit.admit(30, b)),
            AtCapacity::Full {
                texts: 30,
                in_flight: 65,
                capacity: 80
            }
        );
        // The other caller has a claim now, so the first may not take back what it releases.
        permits.pop();
        assert_eq!(
            rejection(limit.admit(20, a)),
            AtCapacity::ShareExceeded {
                texts: 20,
                own: 45,
                share: 35
            }
        );
        let other = limit.admit(20, b).unwrap();
        drop((permits, small, other));
        let admitted = limit.lock();
        assert!(admitted.callers.values().all(|caller| caller.texts == 0));
        assert_eq!(admitted.texts, 0);
    }

    #[test]
    fn shares_follow_weights_and_one_request_per_caller_is_always_possible() {
        let limit = InFlightLimit::new(80);
        let [a, b] = [caller(1, 3), caller(2, 1)];
        let first = limit.admit(10, a).unwrap();
        let second = limit.admit(10, b).unwrap();
        // Of 70: 52 and 17.
        assert!(limit.admit(10, b).is_err());
        let more = limit.admit(40, a).unwrap();
        // A caller without texts may have one request of any size that fits.
        drop(second);
        let large = limit.admit(20, b).unwrap();
        assert!(limit.admit(1, b).is_err());
        drop((first, more, large));
        assert!(limit.admit(60, b).is_ok());
    }

    #[test]
    fn a_request_that_never_fits_is_invalid() {
        let limit = InFlightLimit::new(8);
        assert!(matches!(
            limit.admit(9, caller(1, 1)),
            Err(ApiError::Runtime {
                source: Error::InvalidInput { .. },
                ..
            })
        ));
        assert!(limit.admit(8, caller(1, 1)).is_ok());
    }
}
