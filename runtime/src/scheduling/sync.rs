//! Locks: the standard library's or, with the feature `loom`, those of loom, which tries the possible orders of events
//! (`make test-loom`).

#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
