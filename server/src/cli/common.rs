//! Flags that several subcommands share.

use std::path::PathBuf;

use clap::Args;
use lexivec_models::{HubOptions, Instructions};

use super::Usage;
use crate::embed::{InputFormat, Reader, RowError, Text, expand};
use crate::stdio::say;

/// The path of ONNX Runtime's library: `--onnxruntime`, else ORT_DYLIB_PATH.
pub(crate) fn library(flag: Option<&PathBuf>) -> Option<PathBuf> {
    let variable = || {
        std::env::var_os("ORT_DYLIB_PATH")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    flag.cloned().or_else(variable)
}

/// The flags for downloads. HF_TOKEN, HF_HOME and HF_ENDPOINT have their usual meaning.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hugging Face hub")]
pub(crate) struct HubArgs {
    /// Branch, tag or commit of the hub's repository. Default: the one that this version was tested with, for models that it
    /// knows; main for others
    #[arg(long, env = "LEXIVEC_REVISION", value_name = "REVISION")]
    pub(crate) revision: Option<String>,

    /// Use the hub's cache only, without the network
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

/// The flags that decide how a checkpoint is read.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Checkpoints")]
pub(crate) struct CheckpointArgs {
    /// Convert a checkpoint whose files hold tensors that config.json does not describe. Without this flag they are an error,
    /// because the weights and config.json then rarely belong together
    #[arg(long, env = "LEXIVEC_ALLOW_UNUSED_TENSORS")]
    pub(crate) allow_unused_tensors: bool,

    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

/// The flags that decide what is read from a folder.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Checkpoints")]
pub(crate) struct SourceArgs {
    /// Use the ONNX export of another tool in a folder that also holds a checkpoint. The export is model.onnx or
    /// onnx/model.onnx. Without this flag the checkpoint is converted
    #[arg(long, env = "LEXIVEC_ONNX")]
    pub(crate) onnx: bool,

    #[command(flatten)]
    pub(crate) checkpoint: CheckpointArgs,
}

/// The flags that say where a file holds its texts.
#[derive(Debug, Clone, Args)]
pub(crate) struct TextArgs {
    /// Field of a .jsonl line that holds the text
    #[arg(long, env = "LEXIVEC_FIELD", default_value = "text")]
    field: String,

    /// Column of a .csv, .tsv, .parquet or .arrow file that holds the text
    #[arg(long, env = "LEXIVEC_COLUMN", default_value = "text")]
    column: String,

    /// Format of all input files: txt (a text per line), jsonl, csv, tsv, parquet or arrow. Default: by each file's ending; txt for standard input
    /// and pipes
    #[arg(
        long,
        env = "LEXIVEC_INPUT_FORMAT",
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    input_format: Option<InputFormat>,
}

impl TextArgs {
    /// The texts of files, folders, patterns and object stores, or of standard input where none is named.
    ///
    /// # Errors
    /// [`Usage`] for a file of an unsupported format.
    pub(crate) fn reader(&self, files: &[PathBuf]) -> Result<Reader, Usage> {
        let files = expand(files, self.input_format.is_some()).map_err(Usage)?;
        Reader::of(files, self.input_format, &self.field, &self.column).map_err(Usage)
    }
}

/// "1 row was", "2 rows were".
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun} was"),
        _ => format!("{count} {noun}s were"),
    }
}

/// Reads all texts. Empty rows are left out and their number is reported, so callers must not need row numbers.
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

/// The flag of the domain instructions.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Instructions")]
pub(crate) struct DomainArgs {
    /// TOML file of domain instructions. They are added to the built-in ones, or replace them if the file says `replace = true`
    #[arg(long, env = "LEXIVEC_DOMAINS", value_name = "FILE")]
    pub(crate) domains: Option<PathBuf>,
}

impl DomainArgs {
    pub(crate) fn load(&self) -> lexivec_models::Result<Instructions> {
        Instructions::load(self.domains.as_deref())
    }
}
