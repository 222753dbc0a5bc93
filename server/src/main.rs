//! The `lexivec` program; all of it is in the library, where tests and benchmarks reach it.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lexivec_server::cli::main()
}
