//! `server/FLAGS.md`: all flags, from the definition of the command line. A test keeps the committed page up to date.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::{documented, help};

const INTRODUCTION: &str = "\
# Flags

This page is generated from the program. `lexivec COMMAND --help` has the whole text of each flag.

A flag wins over its environment variable, the variable over the file that `--config` names, and the file over the default.
`--print-config` shows each value and its source.

In the file each command has a table, such as `[serve]`. A key is the flag's name without dashes in front. Flags that may be repeated take
arrays, and switches take true or false. The key of `serve --model` is `models`, because `model` is the argument.

```toml
[serve]
model = \"Qwen/Qwen3-Embedding-0.6B\"
max-batch-tokens = 4096
cors-allow-origin = [\"https://app.example.com\"]
offline = true
```

A variable holds several values separated by commas. A switch, such as `--offline`, is a flag that needs no value. `--offline=off` turns it
off on the command line, even if a variable or the file turns it on. Switches and their variables take 1/0, true/false, yes/no, on/off.
An empty variable counts as unset; an empty `LEXIVEC_API_KEY` is an error.
";

/// The page, in Markdown.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut command = documented();
    command.build();
    let is_ours = |command: &&Command| command.get_name() != "help";
    for command in command.get_subcommands().filter(is_ours) {
        let about = command.get_about().map(ToString::to_string);
        // Writing into a string cannot fail.
        let _ = write!(
            page,
            "\n## lexivec {}\n\n{}.\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n",
            command.get_name(),
            about.unwrap_or_default()
        );
        let shown = |arg: &&Arg| {
            !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
        };
        for arg in command.get_arguments().filter(shown) {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} |",
                code(&name(arg)),
                code(&arg.get_env().unwrap_or_default().to_string_lossy()),
                cell(&default(arg)),
                cell(&help::summary(arg))
            );
        }
    }
    page
}

fn name(arg: &Arg) -> String {
    match arg.get_short() {
        Some(short) => format!("-{short}, {arg}"),
        None => arg.to_string(),
    }
}

fn default(arg: &Arg) -> String {
    let values = arg.get_default_values();
    if values.is_empty() || !arg.get_action().takes_values() {
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
    crate::generated::assert_current("FLAGS.md", &page(), "flags_page");
}
