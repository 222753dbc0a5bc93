//! Flags that several subcommands share.

use std::path::PathBuf;

use clap::Args;
use lexivec_models::{HubOptions, Instructions};

use super::Usage;
use crate::embed::{Kind, Reader, RowError, Text};
use crate::stdio::say;

/// `--onnxruntime`, else ORT_DYLIB_PATH.
pub(crate) fn library(flag: Option<&PathBuf>) -> Option<PathBuf> {
    let variable = || {
        std::env::var_os("ORT_DYLIB_PATH")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    flag.cloned().or_else(variable)
}

/// Where checkpoints come from. HF_TOKEN, HF_HOME and HF_ENDPOINT are honoured as everywhere.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hugging Face hub")]
pub(crate) struct HubArgs {
    /// Branch, tag or commit to download. Default: the catalog's, else main
    #[arg(long, env = "LEXIVEC_REVISION", value_name = "REVISION")]
    pub(crate) revision: Option<String>,

    /// Use what the hub cache holds, and no network
    #[arg(long, env = "LEXIVEC_OFFLINE")]
    pub(crate) offline: bool,
}

impl HubArgs {
    pub(crate) fn options(&self) -> HubOptions {
        HubOptions {
            revision: self.revision.clone(),
            offline: self.offline,
        }
    }
}

/// How a checkpoint is read.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckpointArgs {
    /// Convert a checkpoint whose files hold tensors that its config.json has no use for, such as those of more layers than it
    /// names. Without this flag they are an error, because the weights and config.json then rarely belong together
    #[arg(long, env = "LEXIVEC_ALLOW_UNUSED_TENSORS")]
    pub(crate) allow_unused_tensors: bool,

    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

/// What a folder is taken as.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// Use the ONNX export of another tool (model.onnx or onnx/model.onnx) of a folder that holds a checkpoint as well. Without
    /// this flag the checkpoint is converted
    #[arg(long, env = "LEXIVEC_ONNX")]
    pub(crate) onnx: bool,

    #[command(flatten)]
    pub(crate) checkpoint: CheckpointArgs,
}

/// Where files hold their texts.
#[derive(Debug, Clone, Args)]
pub(crate) struct TextArgs {
    /// Field of a .jsonl line that holds the text
    #[arg(long, env = "LEXIVEC_FIELD", default_value = "text")]
    field: String,

    /// Column of a .csv file that holds the text
    #[arg(long, env = "LEXIVEC_COLUMN", default_value = "text")]
    column: String,

    /// What the files hold, whatever they are called: txt (a text per line), jsonl or csv. Default: by each file's ending;
    /// standard input and pipes hold a text per line
    #[arg(
        long,
        env = "LEXIVEC_INPUT_FORMAT",
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    input_format: Option<Kind>,
}

impl TextArgs {
    /// The texts of files, or of standard input where none is named.
    ///
    /// # Errors
    /// [`Usage`] for a file of a kind that is not read.
    pub(crate) fn reader(&self, files: &[PathBuf]) -> Result<Reader, Usage> {
        Reader::new(files, self.input_format, &self.field, &self.column).map_err(Usage)
    }
}

/// "1 row was", "2 rows were".
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun} was"),
        _ => format!("{count} {noun}s were"),
    }
}

/// All texts of a reader whose rows need not keep their numbers; says how many empty ones were left out.
///
/// # Errors
/// A file or a row cannot be read.
pub(crate) fn all_texts(reader: Reader) -> anyhow::Result<Vec<Text>> {
    let (mut texts, mut empty) = (Vec::new(), 0);
    for row in reader {
        match row {
            Ok(text) => texts.push(text),
            Err(RowError::Empty { .. }) => empty += 1,
            Err(RowError::File(error)) => return Err(error),
            Err(error) => return Err(error.into()),
        }
    }
    if empty > 0 {
        say!("note: {} left out", counted(empty, "empty row"));
    }
    Ok(texts)
}

/// The registry of domain instructions.
#[derive(Debug, Clone, Args)]
pub(crate) struct DomainArgs {
    /// A TOML file of domain instructions, added to the built-in ones, or in their place if it says `replace = true`
    #[arg(long, env = "LEXIVEC_DOMAINS", value_name = "FILE")]
    pub(crate) domains: Option<PathBuf>,
}

impl DomainArgs {
    pub(crate) fn load(&self) -> lexivec_models::Result<Instructions> {
        Instructions::load(self.domains.as_deref())
    }
}
