//! What keeps two models from being compared.

use lexivec_runtime::Error as RuntimeError;

/// A comparison that could not be made; each variant names the side, text or file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be read or its reference graph not built.
    #[error(transparent)]
    Checkpoint(#[from] crate::Error),
    /// A model does not load.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A side did not embed what it was given.
    #[error("{side}: {source}")]
    Side {
        /// Its name.
        side: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A side answered with what it was not asked for.
    #[error("{side}: {reason}")]
    Answer {
        /// Its name.
        side: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The comparison was stopped from outside (Ctrl-C).
    #[error("stopped; nothing was written")]
    Interrupted,
}

/// A result of comparing.
pub type Result<T, E = Error> = std::result::Result<T, E>;
