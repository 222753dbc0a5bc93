//! Code that the benchmarks of the server share. `RESULTS.md` has the results.
//!
//! [`load`] sends requests and times them, [`server`] starts servers, [`process`] and [`metrics`] read their resource use and
//! counters, [`texts`] creates request bodies, and [`report`] prints tables.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod client;
pub mod load;
pub mod metrics;
pub mod process;
pub mod report;
pub mod server;
pub mod texts;
