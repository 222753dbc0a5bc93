//! The `lexivec` program: command line and HTTP.
//!
//! * [`cli`] has a file per command, which checks the flags and starts the work.
//! * [`http`] is the server. The program and its tests share one [`configure`](http::configure).
//! * [`embed`] reads texts from files and writes their vectors.
//! * `terms` analyses a file of terms: principal components, clusters.
//! * [`prefix`] resolves the prompt before a text, for `cli` and `http`.
//! * [`projections`] reads the projections that `terms` wrote, for `embed` and `http`.

#![cfg_attr(test, allow(clippy::unwrap_used))]
// These macros panic if the reader has closed the pipe; `stdio` has replacements.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod embed;
#[cfg(test)]
mod generated;
mod hints;
pub mod http;
mod interrupt;
mod memory_trim;
mod paths;
pub mod prefix;
pub mod projections;
mod stdio;
mod surrogate;
mod telemetry;
mod terms;
mod usage;
