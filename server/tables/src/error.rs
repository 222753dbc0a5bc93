use std::path::{Path, PathBuf};

/// Why a table cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// The file is no table, is damaged, or lacks what is asked of it.
    #[error("{}: {reason}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A column is missing, or holds something else than is asked for.
    #[error("{}: {reason}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The rows have a column of the name that the column of vectors is to have.
    #[error("the rows have a column `{0}` already, and the vectors need another name")]
    Taken(String),
    /// Rows cannot be written.
    #[error("the table cannot be written: {0}")]
    Write(String),
}

impl Error {
    pub(crate) fn table(path: &Path, reason: impl Into<String>) -> Self {
        Self::Table {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn column(path: &Path, reason: impl Into<String>) -> Self {
        Self::Column {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// Whether another name of a column would help.
    #[must_use]
    pub fn is_of_column(&self) -> bool {
        matches!(self, Self::Column { .. } | Self::Taken(_))
    }

    pub(crate) fn write(error: impl std::fmt::Display) -> Self {
        Self::Write(error.to_string())
    }
}

/// The result of reading or writing a table.
pub type Result<T, E = Error> = std::result::Result<T, E>;
