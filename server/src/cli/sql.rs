//! `lexivec sql`: runs the program `lexivec-sql`, as git and cargo run external subcommands.
//!
//! It is a program of its own (server/sql), because DataFusion and Ballista would triple what a build of `lexivec serve` compiles.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The program's name.
const PROGRAM: &str = "lexivec-sql";

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Args {
    /// Arguments of lexivec-sql, which lies beside this program or on PATH. `lexivec sql --help` shows them
    #[arg(
        value_name = "ARGUMENTS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    arguments: Vec<OsString>,
}

/// Replaces this process by `lexivec-sql`, so its exit code and signals are the command's.
///
/// # Errors
/// There is no such program, or it cannot be started.
pub(crate) fn run(args: &Args) -> anyhow::Error {
    let program = beside().unwrap_or_else(|| PROGRAM.into());
    let error = Command::new(&program).args(&args.arguments).exec();
    match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!(
            "{PROGRAM} is not installed: SQL is a program of its own, which is found beside lexivec or on PATH. \
             `cargo install --locked --path server/sql` builds it from the repository"
        ),
        _ => anyhow::Error::new(error).context(format!("{} cannot be started", program.display())),
    }
}

/// The program beside this one.
fn beside() -> Option<PathBuf> {
    let found = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    found.is_file().then_some(found)
}
