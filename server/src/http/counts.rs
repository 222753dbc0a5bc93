//! What the log line and the metrics say about a request.

use std::time::Duration;

use actix_web::{HttpMessage as _, HttpRequest};

/// The numbers of a request for its log line, span and metrics. A request that is rejected has only `texts`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// The texts of the request.
    pub(crate) texts: usize,
    /// Their tokens.
    pub(crate) tokens: usize,
    /// Texts that did not have to be computed for this request.
    pub(crate) cached: usize,
    /// The longest time that a text waited for its batch.
    pub(crate) queued: Duration,
    /// The time of the longest batch.
    pub(crate) infer: Duration,
}

impl Counts {
    /// Records the texts of a request, before anything can reject it.
    pub(crate) fn record_texts(request: &HttpRequest, texts: usize) {
        let counts = Self {
            texts,
            ..Self::default()
        };
        request.extensions_mut().insert(counts);
    }
}
