//! Why a comparison fails.

use std::path::PathBuf;

use lexivec_runtime::Error as RuntimeError;

/// A comparison that cannot be made. Each variant names the system, text or file at fault.
///
/// ```
/// use lexivec_evaluate::{Error, beir};
///
/// let error = beir::read("no/such/folder".as_ref(), None, None).unwrap_err();
/// assert!(matches!(error, Error::DataSet { .. }));
/// assert!(error.to_string().contains("corpus.jsonl"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A checkpoint cannot be read, or its reference graph cannot be built.
    #[error(transparent)]
    Checkpoint(#[from] lexivec_convert::Error),
    /// A model does not load.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A file or folder cannot be read.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// A system could not embed texts.
    #[error("{system}: {source}")]
    System {
        /// Its name.
        system: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A system returned something other than a vector of its width for each text.
    #[error("{system}: {reason}")]
    Response {
        /// Its name.
        system: String,
        /// What is wrong with the response.
        reason: String,
    },
    /// A file of a data set is damaged.
    #[error("{place}: {reason}")]
    DataSet {
        /// The file, with its line if known.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// The retrieval set does not have the split.
    #[error("{}: there is no {file}; the set has the splits {}", folder.display(), splits.join(", "))]
    MissingSplit {
        /// The folder of judgements.
        folder: PathBuf,
        /// The missing file.
        file: String,
        /// The splits that exist.
        splits: Vec<String>,
    },
    /// A server cannot be reached, or answers with an error.
    #[error("{address}: {reason}")]
    Server {
        /// Its address.
        address: String,
        /// What went wrong.
        reason: String,
        /// The HTTP status, if the server answered.
        status: Option<u16>,
    },
    /// A server does not say which models it has, and no model was named.
    #[error("the server does not list its models, and no model was named: {source}")]
    UnknownModel {
        /// Why there is no list.
        source: Box<Error>,
    },
    /// A server has several models, and none was named.
    #[error("{address}: the server has the models {}", models.join(", "))]
    AmbiguousModel {
        /// Its address.
        address: String,
        /// The names of its models.
        models: Vec<String>,
    },
    /// The comparison was stopped from outside (Ctrl-C).
    #[error("stopped; nothing was written")]
    Interrupted,
}

/// The result of a step of a comparison.
pub type Result<T, E = Error> = std::result::Result<T, E>;
