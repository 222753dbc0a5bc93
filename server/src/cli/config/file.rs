//! The configuration file: which keys it may hold, and what their values are as flags.

use std::any::TypeId;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use lexivec_models::secrets::MASK;
use lexivec_models::text;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::Usage;
use crate::stdio::say;

/// Bytes that a configuration file may have: far more than all settings need.
const LARGEST_FILE: u64 = 1 << 20;
/// The mode bit that lets every user of the machine read a file.
const READ_BY_OTHERS: u32 = 0o004;

/// A key of a command's table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The argument that the key stands for.
    pub(super) id: String,
    /// The key's line, the first being 1.
    pub(super) line: usize,
    /// The values as they would stand on the command line.
    pub(super) values: Vec<String>,
}

/// Reads a command's table.
///
/// # Errors
/// The file cannot be read, or is not TOML; a table or key is unknown, or a value has the wrong type. The message names file and line.
pub(super) fn read(path: &Path, name: &str, command: &Command) -> anyhow::Result<Vec<Setting>> {
    let shown = path.display();
    // A pipe or a device might never end.
    if !fs_err::metadata(path).context("--config")?.is_file() {
        return Err(anyhow!("--config: {shown} is not a regular file"));
    }
    let text = text::read_up_to(path, LARGEST_FILE).context("--config")?;
    let error = |line: usize, reason: &str| anyhow!(Usage(format!("{shown}:{line}: {reason}")));
    let document = DeTable::parse(&text).map_err(|found| {
        let line = found.span().map_or(1, |span| line(&text, span.start));
        error(line, found.message())
    })?;
    let known: Vec<&str> = command
        .get_subcommands()
        .filter(|command| super::is_configurable(command))
        .map(Command::get_name)
        .collect();
    let mut settings = Vec::new();
    for (key, value) in document.get_ref() {
        let at = line(&text, key.span().start);
        let key = key.get_ref().as_ref();
        let table = table(key, value.get_ref(), name, &known);
        let table = table.map_err(|reason| error(at, &reason))?;
        let Some(command) = command.find_subcommand(name).filter(|_| key == name) else {
            continue;
        };
        for (key, value) in table {
            let at = line(&text, key.span().start);
            let key = key.get_ref().as_ref();
            let arg = find(command, key).ok_or_else(|| error(at, &unknown(command, key)))?;
            let values = values(arg, value.get_ref());
            let values = values.map_err(|reason| error(at, &format!("`{key}` {reason}")))?;
            if arg.is_hide_env_values_set() {
                check_secret(&values).map_err(|reason| error(at, &format!("`{key}` {reason}")))?;
                warn_of_readers(path, key)?;
            }
            settings.push(Setting {
                id: arg.get_id().to_string(),
                line: at,
                values,
            });
        }
    }
    Ok(settings)
}

/// The table at the top level of the file, which must be that of a command.
fn table<'a>(
    key: &str,
    value: &'a DeValue<'_>,
    name: &str,
    known: &[&str],
) -> Result<&'a DeTable<'a>, String> {
    match (value.as_table(), known.contains(&key)) {
        (Some(table), true) => Ok(table),
        (Some(_), false) => {
            let known = known.join(", ");
            Err(format!("there is no command `{key}`; there are {known}"))
        }
        (None, true) => Err(format!(
            "`{key}` is a table: write `[{key}]`, once and in single brackets"
        )),
        (None, false) => Err(format!(
            "`{key}` belongs into a command's table: put it below `[{name}]`"
        )),
    }
}

/// The arguments that a file may set.
pub(super) fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let elsewhere = ["help", "version", "config", "print_config"];
    command
        .get_arguments()
        .filter(move |arg| !elsewhere.contains(&arg.get_id().as_str()) && !arg.is_hide_set())
}

/// The key of an argument: the flag's name. A flag that shares its name with an argument without dashes has its identifier as key
/// (`models` for `serve --model`).
pub(super) fn key(command: &Command, arg: &Arg) -> String {
    let id = arg.get_id().as_str().replace('_', "-");
    let mut positionals = command.get_positionals();
    match arg.get_long() {
        Some(long) if !positionals.any(|other| other.get_id() == long) => long.to_owned(),
        _ => id,
    }
}

fn find<'a>(command: &'a Command, wanted: &str) -> Option<&'a Arg> {
    arguments(command).find(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        key(command, arg) == wanted || aliases.contains(&wanted)
    })
}

/// Says which flag is nearest to an unknown key. clap knows, because it answers mistyped flags in the same way.
fn unknown(command: &Command, key: &str) -> String {
    let name = command.get_name();
    let asked = [name.to_owned(), format!("--{key}")];
    let error = command.clone().try_get_matches_from(asked).err();
    let suggested = error.and_then(|error| match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(flag)) => Some(flag.trim_start_matches('-').to_owned()),
        _ => None,
    });
    match suggested {
        Some(flag) => format!("there is no setting `{key}`; did you mean `{flag}`?"),
        None => {
            format!("there is no setting `{key}`; `lexivec {name} --help` lists the flags")
        }
    }
}

/// Whether an argument may be given several times, or takes a list.
pub(super) fn takes_several(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// The type of a value in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueType {
    Switch,
    Number,
    Text,
    /// A text or a number, which the argument's own parser reads.
    Other,
}

pub(super) fn value_type(arg: &Arg) -> ValueType {
    let parsed = arg.get_value_parser().type_id();
    let is_one_of = |types: &[TypeId]| types.iter().any(|of| parsed == *of);
    let numbers = [
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<f64>(),
    ];
    if is_one_of(&[TypeId::of::<bool>()]) {
        ValueType::Switch
    } else if is_one_of(&numbers) {
        ValueType::Number
    } else if is_one_of(&[TypeId::of::<String>(), TypeId::of::<PathBuf>()]) {
        ValueType::Text
    } else {
        ValueType::Other
    }
}

fn values(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value.as_array() {
        Some(items) if takes_several(arg) => {
            let items = items.iter().map(Spanned::get_ref);
            items.map(|item| scalar(arg, item)).collect()
        }
        _ => scalar(arg, value).map(|value| vec![value]),
    }
}

fn scalar(arg: &Arg, value: &DeValue<'_>) -> Result<String, String> {
    let wanted = value_type(arg);
    match (wanted, value) {
        (ValueType::Switch, DeValue::Boolean(on)) => Ok(on.to_string()),
        (ValueType::Number | ValueType::Other, DeValue::Integer(number)) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            Ok(read.map_or_else(|_| number.as_str().to_owned(), |n| n.to_string()))
        }
        (ValueType::Number | ValueType::Other, DeValue::Float(number)) => {
            Ok(number.as_str().to_owned())
        }
        (ValueType::Text | ValueType::Other, DeValue::String(text)) => Ok(text.to_string()),
        _ => Err(mismatch(wanted, value)),
    }
}

fn mismatch(wanted: ValueType, value: &DeValue<'_>) -> String {
    let wanted = match wanted {
        ValueType::Switch => "true or false",
        ValueType::Number => "a number without quotes",
        ValueType::Text | ValueType::Other => "a text in quotes",
    };
    let found = match value.type_str() {
        found @ ("array" | "integer") => format!("an {found}"),
        found => format!("a {found}"),
    };
    format!("takes {wanted}, and this is {found}")
}

fn line(text: &str, position: usize) -> usize {
    let before = text.as_bytes().iter().take(position);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// An empty list of keys would open the server to everybody, and a masked secret would be known to everybody.
fn check_secret(values: &[String]) -> Result<(), &'static str> {
    if values.is_empty() {
        return Err("is empty: leave it out if no secret is needed");
    }
    match values.iter().any(|value| value == MASK) {
        true => Err("is masked, as --print-config prints it: put the secret here"),
        false => Ok(()),
    }
}

fn warn_of_readers(path: &Path, key: &str) -> anyhow::Result<()> {
    let mode = fs_err::metadata(path)?.permissions().mode();
    if mode & READ_BY_OTHERS != 0 {
        let shown = path.display();
        say!(
            "warning: {shown} holds `{key}`, and every user of this machine can read it: run `chmod o-r {shown}`"
        );
    }
    Ok(())
}
