//! The table of error codes. To add a code, add a row here and name it in [`ApiError::code`](super::ApiError::code).
//!
//! OpenAI's clients send a request again after 408, 409, 429 and 5xx. Errors that a retry cannot fix have other
//! statuses, or [`Retry::Never`].

use actix_web::http::StatusCode;

use self::ErrorType::{InvalidRequest, RateLimit, Server};
use self::Retry::{After, ByStatus, Never};

/// An error code, and everything else that a client sees of an error besides its message and field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorCode {
    /// The code in response bodies, logs and metrics.
    pub(crate) name: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) error_type: ErrorType,
    pub(crate) retry: Retry,
}

/// The `type` in OpenAI's error bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorType {
    /// The request cannot succeed as it is.
    InvalidRequest,
    /// The request exceeds a limit that other requests or earlier ones used up.
    RateLimit,
    /// The server failed.
    Server,
}

/// Whether a client should send the request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The status alone decides.
    ByStatus,
    /// The client should wait for this many seconds, unless the error knows a better time.
    After(u32),
    /// The client should not, although the status suggests it. OpenAI's clients read `x-should-retry`.
    Never,
}

#[rustfmt::skip]
impl ErrorCode {
    pub(crate) const INVALID_JSON: Self = new("invalid_json", StatusCode::BAD_REQUEST, InvalidRequest, ByStatus);
    /// The transfer broke off, or the body is not the gzip that its header announces.
    pub(crate) const UNREADABLE_BODY: Self = new("unreadable_body", StatusCode::BAD_REQUEST, InvalidRequest, ByStatus);
    pub(crate) const INVALID_VALUE: Self = new("invalid_value", StatusCode::BAD_REQUEST, InvalidRequest, ByStatus);
    pub(crate) const CONTEXT_LENGTH_EXCEEDED: Self = new("context_length_exceeded", StatusCode::BAD_REQUEST, InvalidRequest, ByStatus);
    pub(crate) const INVALID_API_KEY: Self = new("invalid_api_key", StatusCode::UNAUTHORIZED, InvalidRequest, ByStatus);
    pub(crate) const HOST_NOT_ALLOWED: Self = new("host_not_allowed", StatusCode::FORBIDDEN, InvalidRequest, ByStatus);
    pub(crate) const MODEL_NOT_FOUND: Self = new("model_not_found", StatusCode::NOT_FOUND, InvalidRequest, ByStatus);
    pub(crate) const NOT_FOUND: Self = new("not_found", StatusCode::NOT_FOUND, InvalidRequest, ByStatus);
    pub(crate) const METHOD_NOT_ALLOWED: Self = new("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, InvalidRequest, ByStatus);
    /// The client was slow, not the server. A retry may succeed.
    pub(crate) const SLOW_BODY: Self = new("slow_body", StatusCode::REQUEST_TIMEOUT, InvalidRequest, ByStatus);
    pub(crate) const BODY_TOO_LARGE: Self = new("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, InvalidRequest, ByStatus);
    /// The request needs more memory or time than any request may have.
    pub(crate) const REQUEST_TOO_LARGE: Self = new("request_too_large", StatusCode::PAYLOAD_TOO_LARGE, InvalidRequest, ByStatus);
    pub(crate) const UNSUPPORTED_MEDIA_TYPE: Self = new("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, InvalidRequest, ByStatus);
    pub(crate) const UNSUPPORTED_CONTENT_ENCODING: Self = new("unsupported_content_encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, InvalidRequest, ByStatus);
    /// The API key has used up its tokens per minute.
    pub(crate) const RATE_LIMIT_EXCEEDED: Self = new("rate_limit_exceeded", StatusCode::TOO_MANY_REQUESTS, RateLimit, After(1));
    /// Other requests leave too little memory, capacity or time.
    pub(crate) const OVERLOADED: Self = new("overloaded", StatusCode::TOO_MANY_REQUESTS, RateLimit, After(1));
    pub(crate) const INTERNAL_ERROR: Self = new("internal_error", StatusCode::INTERNAL_SERVER_ERROR, Server, ByStatus);
    /// The model's output is not finite, and would not be the next time either.
    pub(crate) const NOT_FINITE: Self = new("internal_error", StatusCode::INTERNAL_SERVER_ERROR, Server, Never);
    pub(crate) const DEADLINE_EXCEEDED: Self = new("deadline_exceeded", StatusCode::SERVICE_UNAVAILABLE, Server, After(1));
    /// The server is shutting down, or a model cannot compute now.
    pub(crate) const UNAVAILABLE: Self = new("unavailable", StatusCode::SERVICE_UNAVAILABLE, Server, After(5));
}

const fn new(
    name: &'static str,
    status: StatusCode,
    error_type: ErrorType,
    retry: Retry,
) -> ErrorCode {
    ErrorCode {
        name,
        status,
        error_type,
        retry,
    }
}

impl ErrorType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            InvalidRequest => "invalid_request_error",
            RateLimit => "rate_limit_error",
            Server => "server_error",
        }
    }
}
