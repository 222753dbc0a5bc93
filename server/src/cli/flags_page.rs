//! `server/FLAGS.md`: all flags, from the definition of the command line. A test keeps the committed page up to date.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::{command, help};

const INTRODUCTION: &str = "# Flags

Generated from the program; `lexivec COMMAND --help` has the whole text of each flag. A flag wins over its environment variable, the \
                            variable over the file that `--config` names, and the file over the default. In the file, each command \
                            has a table (`[serve]`), a key is the flag's name without dashes in front, flags that may be repeated take \
                            arrays, and switches take `true` or `false`. A variable holds several values separated by commas. \
                            `--print-config` shows each value and its source.
";

/// The page, in Markdown.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let command = command(false);
    for command in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let about = command.get_about().map(ToString::to_string);
        // Writing into a string cannot fail.
        let _ = write!(
            page,
            "\n## lexivec {}\n\n{}.\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n",
            command.get_name(),
            about.unwrap_or_default()
        );
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        for arg in shown {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} |",
                code(&name(command, arg)),
                code(&arg.get_env().unwrap_or_default().to_string_lossy()),
                cell(&default(arg)),
                cell(&help::summary(arg))
            );
        }
    }
    page
}

fn name(command: &Command, arg: &Arg) -> String {
    let shown = arg.to_string();
    match arg.get_short().filter(|_| !arg.is_positional()) {
        Some(short) => format!("-{short}, {shown}"),
        None if arg.is_positional() && arg.get_value_names().is_none() => {
            format!("[{}]", command.get_name().to_uppercase())
        }
        None => shown,
    }
}

fn default(arg: &Arg) -> String {
    let values = arg.get_default_values();
    if values.is_empty() || arg.get_action().takes_values().eq(&false) {
        return help::computed_default(arg).unwrap_or_default();
    }
    let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
    format!("`{}`", values.join(","))
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", cell(text)),
    }
}

/// A vertical bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// `LEXIVEC_UPDATE=1 cargo nextest run flags_page` writes the page.
#[test]
fn the_committed_page_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/FLAGS.md");
    if std::env::var_os("LEXIVEC_UPDATE").is_some() {
        fs_err::write(path, page()).unwrap();
    }
    let committed = fs_err::read_to_string(path).unwrap();
    assert!(
        committed == page(),
        "server/FLAGS.md differs from the flags of the program: LEXIVEC_UPDATE=1 cargo nextest run flags_page"
    );
}
