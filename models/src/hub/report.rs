//! What is told to the user: how far a download is, and what to do about a failure.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use hf_hub::HFError;

use crate::error::{Error, is_disk_full};

/// Is told how downloads go on; called from the threads that download.
pub trait Progress: Send + Sync {
    /// The transfer of `file` begins; `bytes` is its size where the hub said it.
    fn start(&self, file: &str, bytes: Option<u64>);
    /// `bytes` more of `file` have arrived.
    fn advance(&self, file: &str, bytes: u64);
    /// The transfer of `file` has ended, well or not; once for each [`start`](Self::start).
    fn finish(&self, file: &str);
}

/// What to do about a failure that passes.
pub(super) const AGAIN: &str = "run it again; what has arrived complete is kept";

/// What a failure of the hub client means for the user.
pub(super) fn hub_error(id: &str, cache: &Path, endpoint: &str, error: HFError) -> Error {
    let (message, hint) = describe(id, endpoint, &error);
    match error {
        HFError::Io(source) => Error::io(cache, source),
        error
            if causes(&error)
                .filter_map(|cause| cause.downcast_ref::<io::Error>())
                .any(is_disk_full) =>
        {
            Error::NoSpace {
                path: cache.to_path_buf(),
            }
        }
        error => Error::Hub {
            repo: id.to_string(),
            message,
            hint,
            source: Some(Box::new(error)),
        },
    }
}

fn describe(id: &str, endpoint: &str, error: &HFError) -> (String, String) {
    let again = AGAIN.to_string();
    match error {
        HFError::AuthRequired { context } | HFError::Forbidden { context } => (
            format!("the hub refuses access ({}): the model is gated or private, or does not exist", context.status),
            format!(
                "check the id; accept the model's licence at {endpoint}/{id}; and set HF_TOKEN to a token that may read it"
            ),
        ),
        HFError::RepoNotFound { .. } | HFError::RevisionNotFound { .. } => (
            "the hub has no such model or revision".to_string(),
            "check the id and --revision, and HF_TOKEN if the model is private".to_string(),
        ),
        HFError::EntryNotFound { path, .. } => (
            format!("the hub has no {path} there"),
            format!("check the id and --revision at {endpoint}/{id}, and HF_TOKEN if the model is private"),
        ),
        HFError::LocalEntryNotFound { path } => (
            format!("{path} is not in the cache, and only the cache may be used"),
            "download once without --offline and HF_HUB_OFFLINE".to_string(),
        ),
        HFError::RateLimited { retry_after, .. } => {
            let wait = retry_after.map_or("a while".to_string(), |time| format!("{} s", time.as_secs()));
            ("the hub allows no more requests for now".to_string(), format!("wait {wait} and run it again"))
        }
        HFError::CacheLockTimeout { path } => (
            "another program is downloading the same file".to_string(),
            format!("wait for it and run it again; it holds {}", path.display()),
        ),
        HFError::Request { source, .. } if source.is_connect() => (
            format!("the hub at {endpoint} cannot be reached"),
            "check the network and the proxy, and HF_ENDPOINT if you use a mirror; or use --offline".to_string(),
        ),
        HFError::Request { source, .. } if source.is_redirect() => (
            format!("the hub at {endpoint} redirects in a circle"),
            "check HF_ENDPOINT, which may be a mirror that has moved".to_string(),
        ),
        HFError::Request { .. } | HFError::Xet { .. } => ("the connection to the hub was cut".to_string(), again),
        HFError::MalformedResponse { .. } => ("the hub's answer is incomplete".to_string(), again),
        HFError::Http { context } if context.status.is_server_error() => {
            (format!("the hub fails for now ({})", context.status), again)
        }
        HFError::Url(_) => (format!("`{endpoint}` is no address of a hub"), "correct HF_ENDPOINT".to_string()),
        _ => ("the download failed".to_string(), again),
    }
}

/// Whether the hub gave no usable answer, so that the cache may stand in for it.
pub(super) fn is_unreachable(error: &Error) -> bool {
    let Error::Hub {
        source: Some(source),
        ..
    } = error
    else {
        return false;
    };
    match source.downcast_ref::<HFError>() {
        Some(HFError::Request { source, .. }) => source.is_connect() || source.is_timeout(),
        Some(HFError::Http { context }) => context.status.is_server_error(),
        _ => false,
    }
}

/// Whether a failed request failed only after the other side had answered.
pub(super) fn is_answer(error: &HFError) -> bool {
    matches!(error, HFError::Request { source, .. } if source.is_decode() || source.is_body() || source.is_redirect())
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = causes(error).map(ToString::to_string).collect();
    // Many an error repeats its cause.
    words.dedup_by(|cause, effect| effect.contains(cause.as_str()));
    words.join(": ")
}

/// An error and its causes.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
