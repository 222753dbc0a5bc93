//! Switches, which are flags without a value, and their environment variables.

use clap::{ArgAction, Command};

/// Makes the variable of every switch accept 1/0, true/false, yes/no, on/off. clap accepts only true and false.
pub(crate) fn lenient(command: Command) -> Command {
    command.mut_subcommands(|command| {
        command.mut_args(|flag| match flag.get_action() {
            ArgAction::SetTrue => flag.value_parser(switch),
            _ => flag,
        })
    })
}

/// Reads the variable of a switch. An empty one is off, because compose files pass on variables that are not set.
fn switch(text: &str) -> Result<bool, String> {
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
    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn words_for_on_and_off() {
        for word in ["1", "true", "YES", "On", " on "] {
            assert_eq!(switch(word), Ok(true), "{word}");
        }
        for word in ["0", "False", "no", "OFF", ""] {
            assert_eq!(switch(word), Ok(false), "{word}");
        }
        assert!(switch("maybe").unwrap_err().contains("`maybe`"));
    }

    /// For clap a variable of `0` counts as given, so a switch that excludes other flags would refuse them.
    #[test]
    fn flags_without_a_value_neither_need_nor_exclude_others() {
        for command in lenient(Cli::command()).get_subcommands() {
            for flag in command.get_arguments() {
                if matches!(flag.get_action(), ArgAction::SetTrue) {
                    let name = flag.get_id();
                    assert!(command.get_arg_conflicts_with(flag).is_empty(), "--{name}");
                }
            }
        }
    }
}
