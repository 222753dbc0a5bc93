//! Request ids, and one log line per request.
//!
//! A client's `x-request-id` is echoed if it is short and plain, for it goes into headers and logs; otherwise one is
//! made. The line has numbers and the route's pattern: never text, never a path that a scanner made up.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};

use super::error::ApiError;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones are replaced.
const MAX_ID: usize = 128;

/// What a handler counted, for the log line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) texts: usize,
    pub(super) tokens: usize,
}

/// The middleware.
pub(super) async fn request(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let id = request
        .headers()
        .get(REQUEST_ID)
        .filter(|id| is_plain(id))
        .cloned()
        .unwrap_or_else(new_id);
    let mut response = next.call(request).await?;
    log(&response, id.to_str().unwrap_or_default(), started);
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

fn log<B>(response: &ServiceResponse<B>, id: &str, started: Instant) {
    let request = response.request();
    let counts = request
        .extensions()
        .get::<Counts>()
        .copied()
        .unwrap_or_default();
    let route = request
        .match_pattern()
        .unwrap_or_else(|| "unmatched".to_owned());
    let method = request.method().as_str();
    let status = response.status().as_u16();
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    let detail = response
        .response()
        .error()
        .and_then(|e| e.as_error::<ApiError>())
        .and_then(ApiError::detail);
    let Counts { texts, tokens } = counts;
    if let Some(detail) = detail {
        tracing::error!(
            id,
            method,
            route,
            status,
            texts,
            tokens,
            ms,
            detail,
            "request failed"
        );
    } else if route == "/health" {
        tracing::debug!(id, method, route, status, ms, "request");
    } else {
        tracing::info!(id, method, route, status, texts, tokens, ms, "request");
    }
}

fn is_plain(id: &HeaderValue) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn new_id() -> HeaderValue {
    // Random per process, then counted: unique without a system call per request.
    static PROCESS: LazyLock<u64> =
        LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!(
        "req_{:016x}{:08x}",
        *PROCESS,
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("req_0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_plain_and_strange_ones_are_not_taken_over() {
        let (a, b) = (new_id(), new_id());
        assert_ne!(a, b);
        assert!(is_plain(&a));
        for strange in ["", "a b", &"x".repeat(129)] {
            assert!(
                !is_plain(&HeaderValue::from_str(strange).unwrap()),
                "{strange:?}"
            );
        }
        assert!(!is_plain(&HeaderValue::from_bytes(b"\xff").unwrap()));
    }
}
