//! The command line: one file per subcommand.
//!
//! clap parses flags into plain structs; each command checks them once and turns them into settings. Exit codes: 0 done, 1 failed,
//! 2 wrong usage, 128 plus the number of a signal that ended the command (130 Ctrl-C, 143 SIGTERM).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use lexivec_models::message_with_causes;

mod address;
mod analysis_args;
mod cache_args;
mod column_args;
mod common;
mod compare;
mod completions;
mod compute_args;
mod config;
mod convert;
mod default_timeout;
mod doctor;
mod embed;
mod engines;
mod ep_option;
#[cfg(test)]
mod flags_page;
mod help;
mod http_args;
mod inspect;
mod logging;
mod machine;
mod man;
mod nearest;
mod progress;
mod resolve;
mod serve;
mod sql;
mod switches;
mod terms;
mod vector_args;

pub(crate) use common::SourceArgs;
pub(crate) use resolve::{SourceKind, checkpoint, has_export, source_kind};

use crate::stdio::{Closed, say};
use crate::usage::Usage;
use crate::{hints, interrupt};

/// Text embeddings with Qwen3-Embedding on ONNX Runtime: convert, serve, embed, compare.
///
/// Every flag has an environment variable, which --help shows in brackets, and a key in the file that --config names. A flag wins over
/// its variable, and the variable over the file. `--switch=off` turns a switch off that a variable or the file turns on. Switches and
/// their variables take 1/0, true/false, yes/no, on/off. An empty variable counts as unset.
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
    /// Cluster a file of terms by their vectors, and draw a map of them
    Terms(Box<terms::Args>),
    /// Find the terms of a file that are nearest to queries
    Nearest(Box<nearest::Args>),
    /// Run SQL with embed(text) over files, on this machine or on a cluster
    Sql(sql::Args),
    /// Show what a model, precision or server costs in quality and gains in speed, against a baseline
    Compare(Box<compare::Args>),
    /// Describe a model directory or checkpoint
    Inspect(inspect::Args),
    /// Check whether this machine can serve, and list what is missing
    Doctor(doctor::Args),
    /// Print a shell script that completes commands and flags
    Completions(completions::Args),
    /// Write a manual page for each command
    #[command(hide = true)]
    Man(man::Args),
}

/// The command line of the program. `hide_variables` leaves the environment variables out of the help.
fn command(hide_variables: bool) -> clap::Command {
    let command = config::configurable(switches::with_values(Cli::command()));
    help::with_summaries(command, hide_variables)
}

/// The command line as manual pages, completions and the page of flags show it: without hidden commands, and with plain switches,
/// because a shell would complete a file name after a flag with a value.
fn documented() -> clap::Command {
    let command = help::with_summaries(config::configurable(Cli::command()), false);
    let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
    let about = command.get_about().cloned().unwrap_or_default();
    let long_about = command.get_long_about().cloned();
    clap::Command::new("lexivec")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about(about)
        .long_about(long_about.unwrap_or_default())
        .subcommands(shown.cloned().collect::<Vec<_>>())
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    crate::telemetry::disable();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // The short help has a line per flag, and no room for the names of variables.
    let is_short_help = arguments.iter().any(|argument| argument == "-h");
    let command = config::without_unset_variables(command(is_short_help));
    let outcome = config::read(command, &arguments).and_then(|matches| match matches {
        Some(matches) => run(Cli::from_arg_matches(&matches)?),
        None => Ok(ExitCode::SUCCESS),
    });
    outcome.unwrap_or_else(|error| exit_code(&error))
}

/// Reports an error, and returns the exit code that it calls for.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        error.exit();
    }
    // The reader of the output has closed it (`lexivec embed … | head`), so nobody reads an error either.
    if error.downcast_ref::<Closed>().is_some() {
        return ExitCode::SUCCESS;
    }
    say!("error: {}", message_with_causes(error.as_ref()));
    if let Some(hint) = hints::of(error) {
        say!("hint: {hint}");
    }
    let usage = error.downcast_ref::<Usage>().is_some();
    // A command that a signal stopped in good order has the same exit code as one that the signal ended at once.
    let failed = interrupt::status().unwrap_or(1);
    ExitCode::from(if usage { 2 } else { failed })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // Another program takes over, and handles signals by itself.
    if !matches!(cli.command, Command::Sql(_)) {
        interrupt::install()?;
    }
    match cli.command {
        Command::Convert(args) => convert::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => serve::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Embed(args) => embed::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Terms(args) => terms::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Nearest(args) => nearest::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Sql(args) => Err(sql::run(&args)),
        Command::Compare(args) => compare::run(&args),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Man(args) => man::run(&args).map(|()| ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent() {
        command(false).debug_assert();
    }

    #[test]
    fn documents_show_the_visible_commands_and_switches_without_values() {
        let mut documented = documented().disable_help_subcommand(true);
        documented.build();
        let shown: Vec<_> = documented
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        let visible = command(false);
        let visible = visible.get_subcommands().filter(|c| !c.is_hide_set());
        assert_eq!(
            shown,
            visible.map(clap::Command::get_name).collect::<Vec<_>>()
        );
        let serve = documented.find_subcommand("serve").unwrap();
        let mut arguments = serve.get_arguments();
        let offline = arguments.find(|arg| arg.get_id() == "offline").unwrap();
        assert_eq!(offline.to_string(), "--offline");
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_help() {
        for command in command(false).get_subcommands() {
            for flag in command.get_arguments().filter(|a| a.get_long().is_some()) {
                let name = flag.get_id().as_str();
                if ["help", "version", "print_config", "out"].contains(&name) {
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

    #[test]
    fn the_short_help_has_a_short_line_per_flag() {
        for command in command(true).get_subcommands() {
            for flag in command.get_arguments() {
                let summary = help::summary(flag);
                let shown = format!("{} {}: {summary}", command.get_name(), flag.get_id());
                assert!(!summary.contains(". ") && summary.len() <= 170, "{shown}");
            }
        }
    }
}
