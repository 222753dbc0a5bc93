//! Switches: flags that need no value.

use clap::{Arg, ArgAction, Command};

/// Values of a switch as help shows them.
const VALUES: &str = "on|off";

/// Makes every switch accept `--switch=off`, which overrides a variable or a file that turns the switch on. Both the flag and the
/// variable take 1/0, true/false, yes/no, on/off.
pub(crate) fn with_values(command: Command) -> Command {
    command.mut_subcommands(|command| {
        command.mut_args(|flag| match flag.get_action() {
            ArgAction::SetTrue => with_value(flag),
            _ => flag,
        })
    })
}

/// The value needs an equals sign, so that a switch never takes the argument after it as its value.
fn with_value(switch: Arg) -> Arg {
    switch
        .action(ArgAction::Set)
        .value_name(VALUES)
        .value_parser(parse)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("on")
        .default_value("off")
        .hide_default_value(true)
}

/// Reads the value of a switch. An empty value is off.
fn parse(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!(
            "`{text}` is neither on (1, true, yes, on) nor off (0, false, no, off)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn a_switch_takes_a_value_only_after_an_equals_sign() {
        let model = |arguments: &[&str]| {
            let arguments = [&["lexivec", "inspect"], arguments].concat();
            let matches = with_values(Cli::command()).try_get_matches_from(arguments);
            let matches = matches.unwrap().subcommand().unwrap().1.clone();
            let model: Option<&PathBuf> = matches.get_one("dir");
            (model.cloned().unwrap(), matches.get_flag("json"))
        };
        for (arguments, json) in [
            (&["off"][..], false),
            (&["--json", "off"], true),
            (&["--json=off", "off"], false),
            (&["off", "--json=1"], true),
        ] {
            assert_eq!(
                model(arguments),
                (PathBuf::from("off"), json),
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn words_for_on_and_off() {
        for word in ["1", "true", "YES", "On", " on "] {
            assert_eq!(parse(word), Ok(true), "{word}");
        }
        for word in ["0", "False", "no", "OFF", ""] {
            assert_eq!(parse(word), Ok(false), "{word}");
        }
        assert!(parse("maybe").unwrap_err().contains("`maybe`"));
    }

    /// For clap a switch that is off counts as given, so a switch that excludes other flags would exclude them even when it is off.
    #[test]
    fn switches_neither_need_nor_exclude_others() {
        for command in Cli::command().get_subcommands() {
            for flag in command.get_arguments() {
                if matches!(flag.get_action(), ArgAction::SetTrue) {
                    let name = flag.get_id();
                    assert!(command.get_arg_conflicts_with(flag).is_empty(), "--{name}");
                }
            }
        }
    }
}
