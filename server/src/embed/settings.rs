//! The settings and the result of a job.

use std::path::Path;
use std::sync::Arc;

use crate::projections::ProjectionFile;

/// What to do when a row cannot be embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnError {
    /// End the job; what was written to a file is kept.
    Stop,
    /// Leave the row out.
    Skip,
}

/// The result of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Vectors written, those of an earlier run included.
    pub texts: usize,
    /// Vectors of an earlier run.
    pub resumed: usize,
    /// Texts that were truncated.
    pub truncated: u64,
    /// Empty rows that were left out.
    pub empty: u64,
    /// Rows that were left out because of an error.
    pub rejected: u64,
}

/// The settings of a job.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// The output; `None` is standard output.
    pub output: Option<&'a Path>,
    /// The file of rows that are left out. Default: OUTPUT.errors.jsonl.
    pub errors: Option<&'a Path>,
    /// What to do when a row cannot be embedded.
    pub on_error: OnError,
    /// Whether empty rows are left out.
    pub skip_empty: bool,
    /// Reduces each vector before it is written.
    pub projection: Option<Arc<ProjectionFile>>,
    /// The column of vectors in a .parquet output.
    pub vector_column: &'a str,
    /// The rows with which a part is full, if the output is a folder of parts.
    pub part_rows: Option<usize>,
    /// Whether to resume an unfinished output.
    pub resume: bool,
}
