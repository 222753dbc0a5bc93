//! Locks: the standard library's, or, under `--cfg lexivec_loom`, those of loom, which tries the orders of events one
//! after another (`make test-loom`).

#[cfg(not(lexivec_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(lexivec_loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
