//! Long work off the threads that serve connections, and how it ends when nobody waits for it.

use std::sync::{Arc, Weak};

use actix_web::web;

use super::errors::ApiError;

/// Runs long work off the threads that serve connections.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    web::block(work)
        .await
        .map_err(|error| ApiError::Internal(error.to_string()))?
}

/// Tells work on another thread that no one waits for it any more.
#[derive(Debug, Clone)]
pub(super) struct Canceled(Weak<()>);

impl Canceled {
    /// Checked between texts, so that a client that disconnects leaves at most one text's work behind.
    ///
    /// # Errors
    /// The future that waits was dropped; nobody sees the error.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        match self.0.strong_count() {
            0 => Err(ApiError::Internal("the request was given up".to_owned())),
            _ => Ok(()),
        }
    }
}

/// A guard for a future to hold, and the flag that tells when it was dropped.
pub(super) fn canceled_when_dropped() -> (Arc<()>, Canceled) {
    let wanted = Arc::new(());
    let canceled = Canceled(Arc::downgrade(&wanted));
    (wanted, canceled)
}
