//! What the benchmarks of the server share. `RESULTS.md` has what was measured.
//!
//! [`load`] sends requests and times them, [`server`] starts what is measured, [`process`] and [`metrics`] read what it
//! cost, [`texts`] makes what is asked for, [`report`] prints.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod client;
pub mod load;
pub mod metrics;
pub mod process;
pub mod report;
pub mod server;
pub mod texts;
