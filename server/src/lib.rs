//! The `lexivec` program: command line and HTTP.
//!
//! * [`cli`] has a file per subcommand; each turns its flags into checked settings and calls what does the work.
//! * [`http`] is the server: one [`configure`](http::configure) for the program and its tests, one table of errors.
//! * [`embed`] reads texts from files and writes their vectors.
//! * [`prefix`] decides what stands before a text, for both.

#![cfg_attr(test, allow(clippy::unwrap_used))]
// These macros panic when the reader has closed the pipe; `stdio` has replacements.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod embed;
mod hints;
pub mod http;
mod interrupt;
mod links;
mod memory_trim;
pub mod prefix;
mod stdio;
mod surrogate;
mod telemetry;
