//! The one error type of this crate.
//!
//! A variant says what the caller can do about it: name a missing file, correct a field, choose another
//! checkpoint, free disk space, try the download again. Each names the file or field it is about, and keeps the
//! cause as its source instead of folding it into the text, so that a report prints the whole chain once.

use std::io;
use std::path::{Path, PathBuf};

/// Everything that can go wrong while finding out what a model is.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },

    /// The disk that holds `path` is full.
    #[error("no space left on the disk that holds {}: free some space, or choose another folder, and run it again", path.display())]
    NoSpace {
        /// The file or folder that was being written.
        path: PathBuf,
    },

    /// A file is not JSON, or not JSON of the expected shape.
    #[error("{} is not the JSON expected there: correct it, or download the checkpoint again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why parsing stopped.
        #[source]
        source: serde_json::Error,
    },

    /// A file is not TOML, or not TOML of the expected shape.
    #[error("{} is not the TOML expected there: correct it", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why parsing stopped.
        #[source]
        source: Box<toml::de::Error>,
    },

    /// A file that is needed is not there.
    #[error("{} is missing: {hint}", path.display())]
    Missing {
        /// The file or folder that was looked for.
        path: PathBuf,
        /// What to do about it.
        hint: String,
    },

    /// The model is well formed, but would not be served correctly.
    #[error("{}: {what} is not supported: {hint}", path.display())]
    Unsupported {
        /// The file that asks for it.
        path: PathBuf,
        /// What is asked for, such as ``pooling mode `mean` ``.
        what: String,
        /// What is supported, or what to do.
        hint: String,
    },

    /// A field holds a value that cannot be right.
    #[error("{}: `{field}` {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The field, as written in the file.
        field: String,
        /// What is wrong with it and what is allowed.
        reason: String,
    },

    /// A manifest in another format than this program reads.
    #[error("{} has manifest format {format}, written by {program}; this program reads format {}: convert the model again, or use the program that wrote it", path.display(), crate::FORMAT_VERSION)]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format version.
        format: u32,
        /// The program that wrote it, as it names itself.
        program: String,
    },

    /// The hub, or the way to it, refused or failed.
    #[error("{repo}: {message}: {hint}")]
    Hub {
        /// The repository on the hub, `owner/name`.
        repo: String,
        /// What happened.
        message: String,
        /// What to do about it.
        hint: String,
        /// What the hub client reported, where it reported something.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// No instruction is known under this name.
    #[error("there is no instruction for the domain `{name}`; known are {}", known.join(", "))]
    UnknownDomain {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },

    /// A word that stands for none of the choices.
    #[error("`{given}` is no {what}; allowed are {}", allowed.join(", "))]
    UnknownName {
        /// What was expected: precision, target or layout.
        what: &'static str,
        /// The word given.
        given: String,
        /// The words allowed.
        allowed: Vec<&'static str>,
    },

    /// A folder for our own files could not be chosen.
    #[error(
        "no folder for cached files: neither LEXIVEC_CACHE, XDG_CACHE_HOME nor HOME is set; set LEXIVEC_CACHE"
    )]
    NoCacheDir,
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps an I/O failure at `path`; a full disk becomes [`Error::NoSpace`], because what helps is different.
    pub fn io(path: impl AsRef<Path>, source: io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        if is_disk_full(&source) {
            Error::NoSpace { path }
        } else {
            Error::Io { path, source }
        }
    }

    pub(crate) fn invalid(
        path: &Path,
        field: impl Into<String>,
        reason: impl Into<String>,
    ) -> Error {
        Error::Invalid {
            path: path.to_path_buf(),
            field: field.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(
        path: &Path,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Error {
        Error::Unsupported {
            path: path.to_path_buf(),
            what: what.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn missing(path: impl Into<PathBuf>, hint: impl Into<String>) -> Error {
        Error::Missing {
            path: path.into(),
            hint: hint.into(),
        }
    }
}

/// Whether the failure means that the disk, or the user's share of it, is used up.
fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn full_disk_is_its_own_error() {
        let error = Error::io("/models/x", io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(error, Error::NoSpace { .. }));
        assert!(error.to_string().contains("/models/x"));
        // The form in which the operating system reports it.
        assert!(matches!(
            Error::io("/x", io::Error::from_raw_os_error(28)),
            Error::NoSpace { .. }
        ));
    }

    #[test]
    fn other_failures_keep_their_source() {
        let error = Error::io(
            "/models/x",
            io::Error::from(io::ErrorKind::PermissionDenied),
        );
        assert!(matches!(error, Error::Io { .. }));
        assert!(error.source().is_some());
    }
}
