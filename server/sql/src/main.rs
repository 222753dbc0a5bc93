//! The program `lexivec-sql`, which `lexivec sql` starts: SQL with `embed(text [, instruction [, dimensions]])` on DataFusion, on this machine
//! or on a Ballista cluster.
//!
//! ```text
//! cli/ ──▶ session.rs ──▶ query.rs ──▶ output/          one query
//!              │    └───▶ job/ ──────▶ output/          one query per shard, with a manifest
//!              ▼
//!          embed/ the function; on a cluster codec.rs carries it to cluster/ (scheduler, executors)
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod cluster;
mod codec;
mod embed;
mod job;
mod output;
mod query;
mod session;
mod tables;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
