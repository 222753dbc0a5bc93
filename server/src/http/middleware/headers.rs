//! Response headers: security headers for browsers, and the rate limit for clients.

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _};

use crate::http::limits::rate_limit::RateLimitStatus;
use crate::http::routes;

/// The document viewer loads its own files, uses inline styles, and connects to this server only.
const VIEWER: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; font-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The middleware that adds security headers.
pub(crate) async fn add_security_headers<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let viewer = routes::is_viewer(request.path());
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if viewer {
        headers.insert(CONTENT_SECURITY_POLICY, VIEWER);
    }
    Ok(response)
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-tokens");

/// The middleware that adds OpenAI's rate limit headers, where a handler has left a [`RateLimitStatus`].
pub(crate) async fn add_rate_limits<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let mut response = next.call(request).await?;
    let left = response
        .request()
        .extensions()
        .get::<RateLimitStatus>()
        .copied();
    if let Some(left) = left {
        let headers = response.headers_mut();
        headers.insert(LIMIT, left.limit.into());
        headers.insert(REMAINING, left.remaining.into());
        if let Ok(reset) = HeaderValue::from_str(&seconds(left.reset)) {
            headers.insert(RESET, reset);
        }
    }
    Ok(response)
}

/// Formats a duration as OpenAI does: `1.25s`.
fn seconds(time: Duration) -> String {
    format!("{:.2}s", time.as_secs_f64())
}
