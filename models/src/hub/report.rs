//! Progress and errors of downloads, as users see them.

use std::io;
use std::path::Path;

use reqwest::StatusCode;

use crate::error::Error;
use crate::secrets::without_password;

/// Receives the progress of downloads. The threads that download call it.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use lexivec_models::DownloadProgress;
///
/// #[derive(Default)]
/// struct Bytes(AtomicU64);
///
/// impl DownloadProgress for Bytes {
///     fn start(&self, file: &str, bytes: Option<u64>) {
///         println!("{file}: {bytes:?} bytes");
///     }
///     fn advance(&self, _file: &str, bytes: u64) {
///         self.0.fetch_add(bytes, Ordering::Relaxed);
///     }
///     fn finish(&self, _file: &str) {}
/// }
///
/// let progress = Bytes::default();
/// progress.advance("config.json", 700);
/// progress.advance("tokenizer.json", 300);
/// assert_eq!(progress.0.into_inner(), 1000);
/// ```
pub trait DownloadProgress: Send + Sync {
    /// The transfer of `file` begins; `bytes` is its size, if the hub states it.
    fn start(&self, file: &str, bytes: Option<u64>);
    /// `bytes` more of `file` have arrived.
    fn advance(&self, file: &str, bytes: u64);
    /// The transfer of `file` has ended, with or without success. Called once for each [`start`](Self::start).
    fn finish(&self, file: &str);
}

/// The hint for a failure that may be temporary.
pub(super) const AGAIN: &str = "run it again; complete files are kept";

/// Why a file could not be downloaded, or found in the cache.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The request failed before the hub's answer was complete.
    #[error(transparent)]
    Request(#[from] reqwest::Error),

    /// The hub answered with an error.
    #[error("the hub answered {status} for {file}")]
    Status {
        status: StatusCode,
        /// Seconds until the next request is allowed, if the hub states them.
        retry_after: Option<u64>,
        file: String,
    },

    /// The hub's commit has no such file.
    #[error("the hub has no {file}")]
    NoFile { file: String },

    /// The cache has no such file.
    #[error("the cache has no {file}")]
    NotCached { file: String },

    /// The cache could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Turns a failure into the error that the user reads.
pub(super) fn hub_error(id: &str, cache: &Path, endpoint: &str, failure: Failure) -> Error {
    let (message, hint) = describe(id, &without_password(endpoint), &failure);
    match failure {
        Failure::Io(source) => Error::io(cache, source),
        failure => Error::Hub {
            repo: id.to_string(),
            message,
            hint,
            source: Some(Box::new(failure)),
        },
    }
}

/// The message and the hint for a failure.
fn describe(id: &str, endpoint: &str, failure: &Failure) -> (String, String) {
    let again = AGAIN.to_string();
    match failure {
        Failure::Status { status, retry_after, .. } => match *status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
                format!("the hub denies access ({status}): the model is gated or private, or does not exist"),
                format!(
                    "check the id; accept the model's licence at {endpoint}/{id}; and set HF_TOKEN to a token that may read it"
                ),
            ),
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = retry_after.map_or("a while".to_string(), |seconds| format!("{seconds} s"));
                (
                    "the hub allows no more requests for now".to_string(),
                    format!("wait {wait} and run it again"),
                )
            }
            status if status.is_server_error() => {
                (format!("the hub fails for now ({status})"), again)
            }
            _ => ("the download failed".to_string(), again),
        },
        Failure::NoFile { file } => (
            format!("the hub has no {file} there"),
            format!(
                "check the id and the revision at {endpoint}/{id}, and HF_TOKEN if the model is private"
            ),
        ),
        Failure::NotCached { file } => (
            format!("{file} is not in the cache, and only the cache may be used"),
            "download the model once while the hub may be used (offline mode and HF_HUB_OFFLINE are off)".to_string(),
        ),
        Failure::Request(error) if error.is_connect() => (
            format!("the hub at {endpoint} cannot be reached"),
            "check the network and the proxy, and HF_ENDPOINT if you use a mirror; a model that is in the cache can be used offline"
                .to_string(),
        ),
        Failure::Request(error) if error.is_redirect() => (
            format!("the hub at {endpoint} redirects in a circle"),
            "check HF_ENDPOINT, which may be a mirror that has moved".to_string(),
        ),
        Failure::Request(_) => ("the connection to the hub was cut".to_string(), again),
        Failure::Io(_) => ("the download failed".to_string(), again),
    }
}

/// Whether the hub gave no usable answer, so that the cache may be used instead.
pub(super) fn is_unreachable(error: &Error) -> bool {
    let Error::Hub {
        source: Some(source),
        ..
    } = error
    else {
        return false;
    };
    match source.downcast_ref::<Failure>() {
        Some(Failure::Request(error)) => error.is_connect() || error.is_timeout(),
        Some(Failure::Status { status, .. }) => status.is_server_error(),
        _ => false,
    }
}
