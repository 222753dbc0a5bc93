//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 128 plus the number of a signal.

mod model_args;
mod query_args;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use lexivec_models::message_with_causes;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub(crate) use model_args::ModelArgs;
use query_args::QueryArgs;

use crate::cluster::{self, ExecutorArgs, SchedulerArgs};
use crate::embed::NAME;

/// SQL with embed(text [, instruction [, dimensions]]), on this machine or on a cluster
///
/// `embed` returns a vector of float32 numbers of unit length; null stays null. The instruction is the name of a domain or of one of the
/// checkpoint's prompts ('medical'), an instruction of several words, or NULL. The dimensions are a whole number. Both are constants.
#[derive(Debug, Parser)]
#[command(name = "lexivec sql", bin_name = "lexivec sql", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a query. The word `query` may be left out: lexivec sql "SELECT …"
    Query(Box<QueryArgs>),
    /// Plan queries and give tasks to executors
    Scheduler(SchedulerArgs),
    /// Compute tasks with one model
    Executor(ExecutorArgs),
}

/// The command line with `query` added where no command is named.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    let command = Cli::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    let known: Vec<_> = names
        .chain(["help", "-h", "--help", "-V", "--version"])
        .collect();
    let first = arguments.get(1);
    if first.is_some_and(|first| !known.iter().any(|name| first == name)) {
        arguments.insert(1, "query".into());
    }
    arguments
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments());
    // Ballista's plans contain texts of queries, and it logs them from level info on.
    let level = if matches!(cli.command, Command::Query(_)) {
        "off"
    } else {
        "warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

/// DataFusion's message where it plans a call of an asynchronous function that it cannot make.
const NOT_AWAITED: &str = "async functions should not be called directly";

/// The message of an error in the words of this program.
fn message(error: &anyhow::Error) -> String {
    // DataFusion's messages contain their causes.
    let text = message_with_causes(error.as_ref());
    match text.contains(NOT_AWAITED) {
        true => format!(
            "{NAME}() cannot be called in ORDER BY and some other places: give the call a name in SELECT, in a subquery if need be, and use the name"
        ),
        false => text,
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::new()?;
    let work = async {
        match &cli.command {
            Command::Query(args) => args.run().await,
            Command::Scheduler(args) => cluster::run_scheduler(args).await,
            Command::Executor(args) => {
                let model = args.model.load().await?;
                cluster::run_executor(args, model).await
            }
        }
    };
    let outcome = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            done = work => done.map(|()| ExitCode::SUCCESS),
            // Dropping the work removes unfinished files.
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
            _ = terminated.recv() => Ok(ExitCode::from(143)),
        }
    });
    // A batch that runs cannot be stopped, and nobody waits for it.
    runtime.shutdown_background();
    outcome
}
