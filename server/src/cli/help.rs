//! The help of every command, from the doc comments of its flags.
//!
//! `-h` shows the first sentence of each, `--help` the whole text and the environment variable. A sentence that begins with
//! "Default:" states a default that the program computes; help shows it like the defaults that clap knows.

use clap::{Arg, Command};

/// The beginning of the sentence that states a computed default.
const DEFAULT: &str = "Default: ";
/// Characters of the longest computed default that `-h` shows.
const SHORT_DEFAULT: usize = 48;

/// Divides the help of all flags into a summary and a text.
pub(super) fn with_summaries(command: Command, hide_variables: bool) -> Command {
    command.mut_subcommands(|command| {
        command.mut_args(|arg| {
            let Some(text) = text(&arg) else {
                return arg;
            };
            let (prose, default) = without_default(&text);
            let shown = |default: &String| format!(" [default: {default}]");
            let whole = prose.clone() + &default.as_ref().map_or(String::new(), shown);
            let short = default.filter(|default| default.chars().count() <= SHORT_DEFAULT);
            let summary = first_sentence(&prose).to_owned();
            let summary = summary + &short.as_ref().map_or(String::new(), shown);
            arg.help(summary).long_help(whole).hide_env(hide_variables)
        })
    })
}

/// The first sentence of an argument's help, without its default.
#[cfg(test)]
pub(super) fn summary(arg: &Arg) -> String {
    let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let end = text.find(" [default: ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// The default that the program computes, as the help of the argument states it.
pub(super) fn computed_default(arg: &Arg) -> Option<String> {
    let text = text(arg)?;
    let begin = text.rfind("[default: ")? + "[default: ".len();
    Some(text[begin..].trim_end_matches(']').to_owned())
}

fn text(arg: &Arg) -> Option<String> {
    let help = arg.get_long_help().or(arg.get_help())?;
    Some(help.to_string().trim().to_owned())
}

/// Takes the sentence of the default out of a text.
fn without_default(text: &str) -> (String, Option<String>) {
    let Some((before, after)) = text.split_once(DEFAULT) else {
        return (text.to_owned(), None);
    };
    let (default, rest) = match end_of_sentence(after) {
        Some(end) => (&after[..end], after[end + 1..].trim_start()),
        None => (after.trim_end_matches('.'), ""),
    };
    let prose = format!("{before}{rest}");
    let prose = prose.trim_end().trim_end_matches('.');
    (prose.to_owned(), Some(default.to_owned()))
}

fn first_sentence(text: &str) -> &str {
    end_of_sentence(text).map_or(text, |end| &text[..end])
}

/// The place of the full stop that ends the first of several sentences.
fn end_of_sentence(text: &str) -> Option<usize> {
    let ends = text.match_indices('.').map(|(place, _)| place);
    ends.into_iter().find(|place| {
        let rest = &text[place + 1..];
        let next = rest.trim_start().chars().next();
        rest.starts_with(char::is_whitespace) && next.is_some_and(|c| !c.is_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_in_prose_becomes_a_default_in_brackets() {
        for (text, prose, default) in [
            ("Threads", "Threads", None),
            (
                "Threads. Default: one per core",
                "Threads",
                Some("one per core"),
            ),
            (
                "Library. Default: ./NAME, then 0.5 of it. Give a path",
                "Library. Give a path",
                Some("./NAME, then 0.5 of it"),
            ),
        ] {
            let (found, computed) = without_default(text);
            assert_eq!((found.as_str(), computed.as_deref()), (prose, default));
        }
    }

    #[test]
    fn a_summary_is_the_first_sentence() {
        assert_eq!(first_sentence("One"), "One");
        assert_eq!(
            first_sentence("One of 0.9, e.g. this. Two"),
            "One of 0.9, e.g. this"
        );
    }
}
