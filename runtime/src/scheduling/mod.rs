//! Scheduling: which texts run when, on which session, and who gets their results.
//!
//! * [`queue`] holds the waiting texts; [`admission`] rejects requests that would be late, [`fairness`] orders the others, and
//!   [`batch`](crate::batch) chooses those that run together.
//! * [`worker`] owns a session and computes batches; [`workers`] are those of an engine; [`rate`] measures their speed and [`health`] their heartbeats.
//! * [`in_flight`] connects a text with everyone who waits for it; [`response_cache`] coalesces identical texts and reuses
//!   cached states.
//! * [`sync`] has the locks, which loom replaces in its tests.

pub(crate) mod admission;
pub(crate) mod fairness;
pub(crate) mod health;
pub(crate) mod in_flight;
pub(crate) mod queue;
pub(crate) mod rate;
pub(crate) mod response_cache;
pub(crate) mod sync;
pub(crate) mod worker;
pub(crate) mod workers;
