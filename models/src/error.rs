//! The error type of this crate.
//!
//! There is a variant for each remedy: name a missing file, correct a field, choose another checkpoint, free disk space, try the
//! download again. Each names its file or field. The cause is the error's source and not a part of its text, so that a report
//! that prints the whole chain says it once.

use std::io;
use std::path::{Path, PathBuf};

use crate::text::message;

/// An error of reading, downloading or describing a model.
///
/// ```
/// use lexivec_models::{Checkpoint, Error};
///
/// match Checkpoint::open("no/such/folder".as_ref()).unwrap_err() {
///     Error::Missing { path, hint } => {
///         assert!(path.ends_with("config.json"));
///         assert!(hint.contains("name a checkpoint folder"));
///     }
///     error => panic!("{error}"),
/// }
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },

    /// The disk that holds `path` is full.
    #[error("no space left on the disk that holds {}: free some space, or choose another folder, and run it again", path.display())]
    NoSpace {
        /// The file or folder that was being written.
        path: PathBuf,
    },

    /// A file is not JSON, or does not have the expected fields.
    #[error("{} is not the JSON expected there: correct it, or download the checkpoint again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error, with line and column.
        #[source]
        source: serde_json::Error,
    },

    /// A file is not TOML, or does not have the expected fields.
    #[error("{} is not the TOML expected there: correct it", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The parser's error, with line and column.
        #[source]
        source: Box<toml::de::Error>,
    },

    /// A required file does not exist.
    #[error("{} is missing: {hint}", path.display())]
    Missing {
        /// The missing file or folder.
        path: PathBuf,
        /// What the user can do.
        hint: String,
    },

    /// The model is well formed, but lexivec would not serve it correctly.
    #[error("{}: {what} is not supported: {hint}", path.display())]
    Unsupported {
        /// The file that requires it.
        path: PathBuf,
        /// The unsupported property, such as ``pooling mode `mean` ``.
        what: String,
        /// What is supported, or what the user can do.
        hint: String,
    },

    /// A field has an invalid value.
    #[error("{}: `{field}` {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The field, as written in the file.
        field: String,
        /// What is wrong with the value, and what is allowed.
        reason: String,
    },

    /// A manifest has a format that this program does not read.
    #[error("{} has manifest format {format}, written by {program}; this program reads formats {} to {}: convert the model again, or use the program that wrote it", path.display(), crate::manifest::OLDEST_FORMAT, crate::FORMAT_VERSION)]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format version.
        format: u32,
        /// The program that wrote it.
        program: String,
    },

    /// A download failed: the hub denied it, failed, or could not be reached.
    #[error("{repo}: {message}: {hint}")]
    Hub {
        /// The repository on the hub, `owner/name`.
        repo: String,
        /// What happened.
        message: String,
        /// What the user can do.
        hint: String,
        /// The cause, if there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// No instruction has this name.
    #[error("there is no instruction for the domain `{name}`; known are {}", known.join(", "))]
    UnknownDomain {
        /// The name.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },

    /// A word is not one of the allowed ones.
    #[error("`{given}` is no {what}; allowed are {}", allowed.join(", "))]
    UnknownName {
        /// The choice: precision, target or layout.
        what: &'static str,
        /// The word.
        given: String,
        /// The allowed words.
        allowed: Vec<&'static str>,
    },

    /// No environment variable says where lexivec's cache folder is.
    #[error(
        "no folder for cached files: neither LEXIVEC_CACHE, XDG_CACHE_HOME nor HOME is set; set LEXIVEC_CACHE"
    )]
    NoCacheDir,
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps an I/O error at `path`. A full disk becomes [`Error::NoSpace`], because it has another remedy.
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
            field: message(&field.into()),
            reason: message(&reason.into()),
        }
    }

    pub(crate) fn unsupported(
        path: &Path,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Error {
        Error::Unsupported {
            path: path.to_path_buf(),
            what: message(&what.into()),
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

/// The message of an error and of its causes, in one line. A cause that the messages before it already contain is not repeated.
///
/// ```
/// use lexivec_models::{Checkpoint, message_with_causes};
///
/// let error = Checkpoint::open("no/such/folder".as_ref()).unwrap_err();
/// assert_eq!(message_with_causes(&error), error.to_string());
/// ```
#[must_use]
pub fn message_with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_full_disk_is_an_error_of_its_own() {
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
    fn a_value_of_megabytes_makes_a_short_message_without_control_bytes() {
        let value = "\u{1b}[2J".repeat(1 << 20);
        let reason = format!("is `{value}`: correct it");
        for error in [
            Error::invalid(Path::new("a.json"), value.as_str(), reason.as_str()),
            Error::unsupported(Path::new("a.json"), reason.as_str(), "correct it"),
        ] {
            let message = error.to_string();
            assert!(
                message.len() < 20_000 && !message.contains('\u{1b}'),
                "{message}"
            );
            assert!(message.ends_with("correct it"), "{message}");
        }
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
