//! `--print-config`: the settings of a command as TOML, each with its source.

use std::fmt::Write as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use lexivec_models::secrets::{MASK, without_password};
use toml::Value;

use super::file::{ValueType, arguments, key, takes_several, value_type};
use super::{Inserted, variable_of};
use crate::cli::help;

/// A table that `--config` reads again. Settings without a value are comments.
pub(super) fn as_toml(
    name: &str,
    command: &Command,
    given: &ArgMatches,
    inserted: &[Inserted],
) -> String {
    let mut text = format!("[{name}]\n");
    for arg in arguments(command) {
        let key = key(command, arg);
        // Writing into a string cannot fail.
        let _ = match value(arg, given) {
            Some(value) => writeln!(text, "{key} = {value}  # {}", source(arg, given, inserted)),
            None => match help::computed_default(arg) {
                Some(default) => writeln!(text, "# {key}: not set; default: {default}"),
                None => writeln!(text, "# {key}: not set"),
            },
        };
    }
    text
}

fn source(arg: &Arg, given: &ArgMatches, inserted: &[Inserted]) -> String {
    let id = arg.get_id().as_str();
    if let Some(inserted) = inserted.iter().find(|value| value.id == id) {
        return inserted.source.clone();
    }
    match given.value_source(id) {
        Some(ValueSource::CommandLine) => "flag".to_owned(),
        Some(ValueSource::EnvVariable) => variable_of(arg),
        _ => "default".to_owned(),
    }
}

fn value(arg: &Arg, given: &ArgMatches) -> Option<Value> {
    let id = arg.get_id().as_str();
    if value_type(arg) == ValueType::Switch {
        return given.get_one::<bool>(id).map(|on| Value::Boolean(*on));
    }
    let raw = given.get_raw(id)?;
    let mut values = raw.map(|raw| scalar(arg, &raw.to_string_lossy()));
    match takes_several(arg) {
        true => Some(Value::Array(values.collect())),
        false => values.next(),
    }
}

fn scalar(arg: &Arg, raw: &str) -> Value {
    if arg.is_hide_env_values_set() {
        return Value::String(MASK.to_owned());
    }
    let number = || {
        let integer = raw.trim().parse().map(Value::Integer);
        integer.or_else(|_| raw.trim().parse().map(Value::Float))
    };
    let text = || Value::String(without_password(raw));
    match value_type(arg) {
        ValueType::Number => number().unwrap_or_else(|_| text()),
        // An address such as 1.50 is no number, although it looks like one.
        ValueType::Other => match number() {
            Ok(number) if number.to_string() == raw => number,
            _ => text(),
        },
        ValueType::Switch | ValueType::Text => text(),
    }
}
