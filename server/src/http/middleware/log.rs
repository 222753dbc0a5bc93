//! Request ids, and one log line per request.
//!
//! A client's `x-request-id` is kept if it is short and plain, because it goes into headers and logs. Other requests get a
//! new id. The line has numbers and the route's pattern: never text, and never a path or method that a scanner invented.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use opentelemetry::global;
use opentelemetry::propagation::Extractor;
use tracing::{Instrument as _, Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::http::counts::Counts;
use crate::http::errors::{ApiError, ErrorCode};
use crate::http::limits::caller;
use crate::http::metrics;
use crate::http::routes;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The most bytes of a client's request id.
const MAX_ID: usize = 128;

/// The middleware that gives each request an id, and logs it.
pub(crate) async fn log_request(
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
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        id = id.to_str().unwrap_or_default(),
        http.request.method = metrics::known(request.method()),
        http.route = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
        key = tracing::field::Empty,
        texts = tracing::field::Empty,
        tokens = tracing::field::Empty,
        cached = tracing::field::Empty,
        queue_ms = tracing::field::Empty,
        infer_ms = tracing::field::Empty,
    );
    join_trace(&span, request.headers());
    let mut response = next.call(request).instrument(span.clone()).await?;
    record(&response, &span, id.to_str().unwrap_or_default(), started);
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

/// Makes the span a part of the caller's trace, if the request names one (W3C `traceparent`).
fn join_trace(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let caller = global::get_text_map_propagator(|known| known.extract(&Headers(headers)));
        // This fails if no traces are exported, which is no error.
        let _ = span.set_parent(caller);
    }
}

/// Lets opentelemetry read headers.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Updates the metrics and writes the log line. This runs outside the span, whose fields would repeat those of the line.
fn record<B>(response: &ServiceResponse<B>, span: &Span, id: &str, started: Instant) {
    let request = response.request();
    let counts = request
        .extensions()
        .get::<Counts>()
        .copied()
        .unwrap_or_default();
    let route = request
        .match_pattern()
        .unwrap_or_else(|| "unmatched".to_owned());
    let status = response.status().as_u16();
    let took = started.elapsed();
    let code = response.response().extensions().get::<ErrorCode>().copied();
    metrics::request(&route, request.method(), status, took, code);
    let detail = response
        .response()
        .error()
        .and_then(|e| e.as_error::<ApiError>())
        .and_then(ApiError::detail);
    let method = metrics::known(request.method());
    let key = caller::key(request);
    let key = key.as_ref().and_then(|key| key.name.as_deref());
    if let Some(key) = key {
        // These metrics count texts with a vector.
        let served = match response.status().is_success() {
            true => counts,
            false => Counts::default(),
        };
        metrics::of_key(key, &served, status);
        span.record("key", key);
    }
    let Counts {
        texts,
        tokens,
        cached,
        ..
    } = counts;
    let [queue_ms, infer_ms, ms] = [counts.queued, counts.infer, took].map(milliseconds);
    span.record("http.route", &route);
    span.record("http.response.status_code", status);
    span.record("texts", texts);
    span.record("tokens", tokens);
    span.record("cached", cached);
    span.record("queue_ms", queue_ms);
    span.record("infer_ms", infer_ms);
    if let Some(detail) = detail {
        tracing::error!(
            id,
            method,
            route,
            status,
            key,
            texts,
            tokens,
            ms,
            detail,
            "request failed"
        );
    } else if routes::log_level(&route) == Level::DEBUG {
        tracing::debug!(id, method, route, status, ms, "request");
    } else {
        let code = code.map(|code| code.name);
        tracing::info!(
            id, method, route, status, code, key, texts, tokens, cached, queue_ms, infer_ms, ms,
            "request"
        );
    }
}

/// Milliseconds, rounded to microseconds.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn is_plain(id: &HeaderValue) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn new_id() -> HeaderValue {
    // A random number per process and a counter are unique without a system call per request.
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
    fn new_ids_are_unique_and_plain_and_other_ids_are_replaced() {
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
