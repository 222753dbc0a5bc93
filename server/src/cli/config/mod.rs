//! The command line together with environment variables and a configuration file.
//!
//! A flag wins over its environment variable, the variable over the file, and the file over the default. The values of the file join
//! the command line as flags before clap reads it. So clap checks them as it checks flags, and a new flag needs no code here.

mod file;
mod print;

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};

use self::file::Setting;
use super::address::is_service_link;
use super::{Usage, embed};
use crate::stdio::print_exactly;

/// An empty list of API keys must stay an error, because it would open the server to everybody.
const NEVER_EMPTY: &str = "LEXIVEC_API_KEY";

/// The flags that every configurable command has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct ConfigArgs {
    /// TOML file of settings. Each command has a table of its own, such as `[serve]`; a key is a flag's name without dashes in front,
    /// such as `max-batch-tokens = 4096`. Flags that may be repeated take arrays, and switches take true or false. A flag wins
    /// over its environment variable, the variable over the file. Relative paths start at the working folder
    #[arg(long, env = "LEXIVEC_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print all settings as TOML, each with its source, and exit. Secrets are masked
    #[arg(long)]
    print_config: bool,
}

/// Adds `--config` and `--print-config` to each command that reads environment variables.
pub(super) fn configurable(command: Command) -> Command {
    let flags = ConfigArgs::augment_args(Command::new("config"));
    command.mut_subcommands(|command| {
        let reads_variables = command.get_arguments().any(|arg| arg.get_env().is_some());
        match reads_variables {
            true => command.args(flags.get_arguments().cloned()),
            false => command,
        }
    })
}

/// Makes environment variables that the user has not set count as unset: compose files pass on unset variables as empty ones, and
/// Kubernetes sets some by itself.
pub(super) fn without_unset_variables(command: Command) -> Command {
    command.mut_subcommands(|command| {
        command.mut_args(|arg| match arg.get_env().is_some_and(is_unset) {
            true => arg.env(None::<&'static str>),
            false => arg,
        })
    })
}

fn is_unset(name: &OsStr) -> bool {
    let Some(value) = std::env::var_os(name) else {
        return false;
    };
    let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
    is_service_link(&name, &value) || value.is_empty() && name != NEVER_EMPTY
}

/// An argument whose value does not come from the command line as the user wrote it.
struct Inserted {
    id: String,
    /// The argument as clap's errors show it.
    shown: String,
    /// Such as `lexivec.toml:3`.
    source: String,
}

/// Reads the command line; `None` if `--print-config` has printed its result.
///
/// # Errors
/// A [`clap::Error`], which includes requests for help; or the configuration file cannot be read or used.
pub(super) fn read(
    mut command: Command,
    arguments: &[OsString],
) -> anyhow::Result<Option<ArgMatches>> {
    command.build();
    let tolerant = command.clone().ignore_errors(true);
    let first = tolerant.try_get_matches_from(arguments)?;
    let found = first.subcommand().and_then(|(name, given)| {
        let subcommand = command.find_subcommand(name)?;
        Some((name, given, subcommand))
    });
    let Some((name, given, subcommand)) = found.filter(|(_, _, c)| is_configurable(c)) else {
        return Ok(Some(command.try_get_matches_from(arguments)?));
    };
    let path = given.get_one::<PathBuf>("config");
    let settings = match path {
        Some(path) => file::read(path, name, &command)?,
        None => Vec::new(),
    };
    let (merged, inserted) = merge(arguments, subcommand, given, path, settings)?;
    // clap has no value for a switch if it stopped at an error before.
    let print_config = given.get_one("print_config").copied().unwrap_or(false);
    let matches = match command.clone().try_get_matches_from(&merged) {
        Err(error) if print_config && error.kind() == ErrorKind::MissingRequiredArgument => command
            .clone()
            .ignore_errors(true)
            .try_get_matches_from(&merged)?,
        other => other.map_err(|error| placed(error, subcommand, &inserted))?,
    };
    if let Some((name, given)) = matches.subcommand().filter(|_| print_config) {
        print_exactly(print::as_toml(name, subcommand, given, &inserted).trim_end())?;
        return Ok(None);
    }
    Ok(Some(matches))
}

fn is_configurable(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == "config")
}

/// Whether an argument is on the command line or in the environment.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches!(
        matches.value_source(id),
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}

/// Whether an argument that excludes this one is on the command line or in the environment.
fn is_excluded(command: &Command, given: &ArgMatches, arg: &Arg) -> bool {
    let excludes = |a: &Arg, b: &Arg| {
        let others = command.get_arg_conflicts_with(a);
        others.iter().any(|other| other.get_id() == b.get_id())
    };
    command
        .get_arguments()
        .filter(|other| other.get_id() != arg.get_id() && is_given(given, other.get_id().as_str()))
        .any(|other| excludes(arg, other) || excludes(other, arg))
}

/// The command line with the values of the file added, and what was added.
///
/// # Errors
/// A positional of the file has no place on the command line.
fn merge(
    arguments: &[OsString],
    command: &Command,
    given: &ArgMatches,
    path: Option<&PathBuf>,
    settings: Vec<Setting>,
) -> anyhow::Result<(Vec<OsString>, Vec<Inserted>)> {
    let at = arguments.iter().skip(1);
    let at = at.take_while(|a| a.as_os_str() != command.get_name());
    let (before, after) = arguments.split_at((at.count() + 2).min(arguments.len()));
    let (mut flags, mut inserted) = (Vec::new(), Vec::new());
    let mut positionals: Vec<(usize, Vec<OsString>)> = Vec::new();
    let mut insert = |arg: &Arg, source: String| {
        inserted.push(Inserted {
            id: arg.get_id().to_string(),
            shown: arg.to_string(),
            source,
        });
    };
    let omitted = omitted_model(command, given);
    let mut model = None;
    if let Some(arg) = omitted {
        let variable = arg.get_env().and_then(std::env::var_os);
        model = variable.inspect(|_| insert(arg, variable_of(arg)));
    }
    let model_from_file = omitted.is_some() && model.is_none();
    let file = path.map_or_else(String::new, |path| path.display().to_string());
    for setting in settings {
        let Some(arg) = command.get_arguments().find(|a| *a.get_id() == setting.id) else {
            continue;
        };
        let source = format!("{file}:{}", setting.line);
        if model_from_file && setting.id == "model" {
            let value = setting.values.first();
            let is_flag = |value: &&String| value.starts_with('-');
            if let Some(value) = value.filter(is_flag) {
                return Err(Usage(format!("{source}: `{value}` is not a model")).into());
            }
            model = value.map(OsString::from);
        } else if is_given(given, &setting.id) || is_excluded(command, given, arg) {
            continue;
        } else if let Some(index) = arg.get_index() {
            positionals.push((index, setting.values.iter().map(OsString::from).collect()));
        } else if let Some(long) = arg.get_long() {
            let values = setting.values.iter();
            flags.extend(values.map(|value| OsString::from(format!("--{long}={value}"))));
        }
        insert(arg, source);
    }
    complete(command, given, &mut positionals, insert)?;
    let mut merged = before.to_vec();
    merged.extend(flags);
    merged.extend(model);
    merged.extend_from_slice(after);
    // A flag without its value must not take a positional of the file as its value.
    if !positionals.is_empty() && !after.iter().any(|argument| argument == "--") {
        merged.push("--".into());
    }
    merged.extend(positionals.into_iter().flat_map(|(_, values)| values));
    Ok((merged, inserted))
}

/// Sorts the file's positionals by their index. Adds those before them that come from the environment, because the command line
/// distinguishes positionals only by their order.
///
/// # Errors
/// A positional before them has no value.
fn complete(
    command: &Command,
    given: &ArgMatches,
    positionals: &mut Vec<(usize, Vec<OsString>)>,
    mut insert: impl FnMut(&Arg, String),
) -> anyhow::Result<()> {
    let last = positionals.iter().map(|(index, _)| *index).max();
    for arg in command.get_positionals() {
        let (index, id) = (arg.get_index().unwrap_or(0), arg.get_id().as_str());
        let source = given.value_source(id);
        let is_before = last.is_some_and(|last| index < last);
        let is_in_file = positionals.iter().any(|(found, _)| *found == index);
        if !is_before || is_in_file || source == Some(ValueSource::CommandLine) {
            continue;
        }
        if source != Some(ValueSource::EnvVariable) {
            let reason = "the configuration file sets arguments that come after it";
            return Err(Usage(format!("{arg} is missing: {reason}")).into());
        }
        let values = given.get_raw(id).into_iter().flatten();
        positionals.push((index, values.map(OsString::from).collect()));
        insert(arg, variable_of(arg));
    }
    positionals.sort_by_key(|(index, _)| *index);
    Ok(())
}

/// The model argument of `embed`, if the first argument is a file of texts: the model then comes from the environment or the file.
fn omitted_model<'a>(command: &'a Command, given: &ArgMatches) -> Option<&'a Arg> {
    if command.get_name() != embed::NAME
        || given.value_source("model") != Some(ValueSource::CommandLine)
    {
        return None;
    }
    let first = given.get_one::<String>("model")?;
    let mut arguments = command.get_arguments();
    arguments
        .find(|arg| arg.get_id() == "model")
        .filter(|_| embed::is_file_of_texts(Path::new(first)))
}

fn variable_of(arg: &Arg) -> String {
    let name = arg.get_env().unwrap_or_default().to_string_lossy();
    format!("environment variable {name}")
}

/// Whether an argument is text, and its variable is not.
fn is_not_text(arg: &Arg) -> bool {
    let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let value = arg.get_env().and_then(std::env::var_os);
    !is_path && value.is_some_and(|value| value.to_str().is_none())
}

/// Adds the place of a wrong value to an error, if the value comes from the file or an environment variable.
fn placed(error: clap::Error, command: &Command, inserted: &[Inserted]) -> anyhow::Error {
    if error.kind() == ErrorKind::InvalidUtf8
        && let Some(arg) = command.get_arguments().find(|arg| is_not_text(arg))
    {
        return Usage(format!("{} is not UTF-8", variable_of(arg))).into();
    }
    let named = |shown: &str| match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => arg == shown,
        Some(ContextValue::Strings(args)) => args.iter().any(|arg| arg == shown),
        _ => false,
    };
    let in_file = inserted.iter().find(|value| named(&value.shown));
    let place = in_file.map(|value| value.source.clone()).or_else(|| {
        let mut arguments = command.get_arguments();
        let arg = arguments.find(|arg| named(&arg.to_string()))?;
        let Some(ContextValue::String(invalid)) = error.get(ContextKind::InvalidValue) else {
            return None;
        };
        let value = std::env::var(arg.get_env()?).ok()?;
        // A flag without a value has an empty one, which every variable contains.
        (!invalid.is_empty() && value.contains(invalid)).then(|| variable_of(arg))
    });
    let Some(place) = place else {
        return error.into();
    };
    let text = error.to_string();
    let reason = text.trim().trim_start_matches("error: ");
    Usage(format!("{place}: {reason}")).into()
}

#[cfg(test)]
mod tests;
