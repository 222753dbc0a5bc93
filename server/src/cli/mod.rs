//! The command line: one file per subcommand.
//!
//! Flags are parsed by clap into plain structs, checked once into settings, and handed to what does the work. Exit
//! codes: 0 done, 1 failed, 2 wrong usage, 128 and its number where a signal ended the command (130 Ctrl-C, 143 SIGTERM).

use std::fmt;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

mod address;
mod bars;
mod cache_args;
mod common;
mod compare;
mod compute_args;
mod conversion_cache;
mod conversion_hints;
mod convert;
mod doctor;
mod embed;
mod engines;
mod ep_option;
mod http_args;
mod inspect;
mod logging;
mod longest;
mod machine;
mod resolve;
mod serve;
mod switches;

pub(crate) use common::SourceArgs;
pub(crate) use resolve::{Kind, checkpoint, has_graph, kind};

use crate::stdio::{Closed, say};
use crate::{hints, interrupt};

/// Text embeddings with Qwen3-Embedding on ONNX Runtime: convert, serve, embed, compare.
///
/// Every flag can be given as an environment variable as well (shown in brackets); the flag wins. The variable of a flag
/// without a value takes 1/0, true/false, yes/no, on/off.
#[derive(Debug, Parser)]
#[command(name = "lexivec", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Convert a checkpoint to an ONNX model directory
    Convert(Box<convert::Args>),
    /// Serve a model behind an OpenAI-compatible API
    Serve(Box<serve::Args>),
    /// Embed texts from files or standard input
    Embed(Box<embed::Args>),
    /// Show what a model, precision or server costs in quality and gains in speed, against a baseline
    Compare(Box<compare::Args>),
    /// Show what a model directory or checkpoint is
    Inspect(inspect::Args),
    /// Show whether this machine can serve, and what is missing
    Doctor(doctor::Args),
}

/// Wrong usage that clap cannot see: flags that contradict each other.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    crate::telemetry::disable();
    let matches = switches::lenient(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(cli) {
        Ok(code) => code,
        // Who reads our output has gone (`lexivec embed … | head`): nobody is left to tell.
        Err(error) if error.downcast_ref::<Closed>().is_some() => ExitCode::SUCCESS,
        Err(error) => {
            say!("error: {}", chain(&error));
            if let Some(hint) = hints::of_cause(&error) {
                say!("hint: {hint}");
            }
            let usage = error.downcast_ref::<Usage>().is_some();
            // A command that a signal stopped in good order says so, as one that it ended at once does.
            let failed = interrupt::status().unwrap_or(1);
            ExitCode::from(if usage { 2 } else { failed })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    interrupt::install()?;
    match cli.command {
        Command::Convert(args) => convert::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => serve::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Embed(args) => embed::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Compare(args) => compare::run(&args),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::run(&args),
    }
}

/// The message and its causes; a cause whose words the message already holds is not said twice.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent() {
        switches::lenient(Cli::command()).debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_help() {
        for command in Cli::command().get_subcommands() {
            for flag in command.get_arguments().filter(|a| a.get_long().is_some()) {
                let name = flag.get_id().as_str();
                if ["help", "version"].contains(&name) {
                    continue;
                }
                let variable = flag
                    .get_env()
                    .unwrap_or_else(|| panic!("--{name} has none"));
                assert!(variable.to_string_lossy().starts_with("LEXIVEC_"), "{name}");
                assert!(flag.get_help().is_some(), "--{name} has no help");
            }
        }
    }
}
