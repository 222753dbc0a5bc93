//! The `lexivec` program. Its code is in the library, where tests and benchmarks can use it.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lexivec_server::cli::main()
}
