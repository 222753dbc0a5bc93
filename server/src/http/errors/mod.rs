//! The one table from what went wrong to what the client sees.
//!
//! Bodies have OpenAI's shape, `{"error":{"message","type","param","code"}}`; on text-embeddings-inference's routes
//! `shape` gives them its own, `{"error","error_type"}`. OpenAI's clients send a request again after
//! 408, 409, 429 and 5xx, so an error that will not go away by itself has none of these. Details of a failure within
//! the server go to the log, where the request id finds them, and not to the client.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, ResponseError};
use lexivec_runtime::Error as RuntimeError;
use serde::Serialize;
use utoipa::ToSchema;

mod tei;

pub(crate) use tei::TeiErrorBody;

/// An error on its way to a client.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not JSON.
    #[error("the request body is not valid JSON: {0}")]
    InvalidJson(String),
    /// The body broke off, or could not be read.
    #[error("the request body could not be read: {0}")]
    UnreadableBody(String),
    /// The body took too long to arrive.
    #[error("the request body did not arrive within {} s", limit.as_secs_f32())]
    SlowBody {
        /// How long is waited for.
        limit: Duration,
    },
    /// No API key, or one that nobody gave out.
    #[error("{}", if *missing { "no API key was given: send the header `Authorization: Bearer KEY`" } else { "the API key is not known" })]
    InvalidApiKey {
        /// Whether there was none at all.
        missing: bool,
    },
    /// The request was sent to a name that the server does not go by.
    #[error(
        "the host `{host}` is not allowed: send the request to localhost or an IP address, or start the server with \
             --allowed-host NAME"
    )]
    HostNotAllowed {
        /// What `Host` or the request line names, port included; empty without either.
        host: String,
    },
    /// The request took too long within the server.
    #[error("the request was not finished within {} s: send fewer or shorter texts at a time, or try again later", limit.as_secs_f32())]
    DeadlineExceeded {
        /// The server's limit.
        limit: Duration,
    },
    /// The server should get no requests now.
    #[error("not ready: {reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// A field is missing, unknown, or holds what it must not.
    #[error("{reason}")]
    InvalidValue {
        /// The field.
        param: Option<String>,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// No such model is served.
    #[error("the model `{asked}` does not exist; this server has {}", served.join(", "))]
    ModelNotFound {
        /// What was asked for.
        asked: String,
        /// What there is.
        served: Vec<String>,
    },
    /// No such route.
    #[error("there is nothing at {path}; GET /openapi.json lists what there is")]
    NotFound {
        /// What was asked for.
        path: String,
    },
    /// The route is there, but not with this method.
    #[error("this method is not allowed here; allowed: {allow}")]
    MethodNotAllowed {
        /// What is.
        allow: &'static str,
    },
    /// The body is larger than the server reads.
    #[error(
        "the request body is larger than {limit} bytes, the limit of this server: send fewer texts at a time"
    )]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The key has asked for as many tokens as it may.
    #[error(
        "this key may ask for {limit} tokens per minute: try again in {} s",
        whole_seconds(*retry_after)
    )]
    TokensPerMinute {
        /// The limit.
        limit: u64,
        /// When there are enough.
        retry_after: Duration,
    },
    /// Requests hold as many bytes as they may together.
    #[error(
        "the server's memory for requests is used up: try again later, or send fewer texts at a time"
    )]
    NoMemory,
    /// The request, or its answer, is larger than all requests may be together.
    #[error(
        "the request and its answer need more than {limit} bytes, the limit of this server (--request-memory): send \
         fewer texts at a time"
    )]
    RequestTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is not announced as JSON.
    #[error(
        "send the header `Content-Type: application/json` (curl: -H 'Content-Type: application/json')"
    )]
    UnsupportedMediaType,
    /// The body is compressed in a way that is not read.
    #[error(
        "the header `Content-Encoding: {encoding}` names an encoding that is not read here: send the body as it is, or in gzip"
    )]
    UnsupportedEncoding {
        /// What the header says.
        encoding: String,
    },
    /// The engine refused or failed.
    #[error("{}", runtime_message(*item, source))]
    Runtime {
        /// Which of several inputs is to blame.
        item: Option<usize>,
        /// What the engine said.
        source: RuntimeError,
    },
    /// A bug, or a thread pool that is gone.
    #[error("internal error; the server's log has the details under this request's id")]
    Internal(String),
}

impl From<RuntimeError> for ApiError {
    fn from(source: RuntimeError) -> Self {
        Self::Runtime { item: None, source }
    }
}

impl ApiError {
    /// Whether the server refused to compute anything, for reasons of its own.
    pub(crate) fn is_refusal(&self) -> bool {
        use RuntimeError::{Busy, Overloaded, ShuttingDown, TooMuchWork};
        matches!(
            self,
            Self::Runtime {
                source: Busy { .. } | TooMuchWork { .. } | Overloaded { .. } | ShuttingDown,
                ..
            }
        )
    }

    /// A field's fault.
    pub(crate) fn invalid(param: &str, reason: impl Into<String>) -> Self {
        Self::InvalidValue {
            param: Some(param.to_owned()),
            reason: reason.into(),
        }
    }
}

/// At least one.
fn whole_seconds(time: Duration) -> u32 {
    time.as_secs_f64().ceil().max(1.0) as u32
}

fn runtime_message(item: Option<usize>, source: &RuntimeError) -> String {
    let message = match source {
        RuntimeError::InvalidInput { .. }
        | RuntimeError::TooLong { .. }
        | RuntimeError::MuchTooLong { .. }
        | RuntimeError::OutOfMemory { .. }
        | RuntimeError::Overloaded { .. }
        | RuntimeError::Busy { .. }
        | RuntimeError::TooMuchWork { .. }
        | RuntimeError::ShuttingDown
        | RuntimeError::NonFinite => source.to_string(),
        // The path is nobody's business but the operator's.
        RuntimeError::ModelChanged { .. } => {
            "the model's files have changed since the server opened them: it has to be restarted".to_owned()
        }
        _ => "the model failed on this request; the server's log has the details under this request's id".to_owned(),
    };
    match item {
        Some(index) => format!("input[{index}]: {message}"),
        None => message,
    }
}

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

/// What a client sees besides the message.
struct Row {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    retry: Retry,
}

/// Whether to send the request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// As the status says.
    ByStatus,
    /// After so many seconds.
    After(u32),
    /// Never, although the status says otherwise: OpenAI's clients heed `x-should-retry`.
    Never,
}

impl Row {
    const fn permanent(status: StatusCode, code: &'static str) -> Self {
        Self {
            status,
            kind: INVALID,
            code,
            retry: Retry::ByStatus,
        }
    }

    const fn passing(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        seconds: u32,
    ) -> Self {
        Self {
            status,
            kind,
            code,
            retry: Retry::After(seconds),
        }
    }

    const INTERNAL: Self = Self {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: SERVER,
        code: "internal_error",
        retry: Retry::ByStatus,
    };
}

impl ApiError {
    fn row(&self) -> Row {
        match self {
            Self::InvalidJson(_) | Self::UnreadableBody(_) => {
                Row::permanent(StatusCode::BAD_REQUEST, "invalid_json")
            }
            Self::InvalidValue { .. } => Row::permanent(StatusCode::BAD_REQUEST, "invalid_value"),
            // The client was slow, not the server; sending it again may go better.
            Self::SlowBody { .. } => Row::permanent(StatusCode::REQUEST_TIMEOUT, "slow_body"),
            Self::InvalidApiKey { .. } => {
                Row::permanent(StatusCode::UNAUTHORIZED, "invalid_api_key")
            }
            Self::HostNotAllowed { .. } => {
                Row::permanent(StatusCode::FORBIDDEN, "host_not_allowed")
            }
            Self::DeadlineExceeded { .. } => Row::passing(
                StatusCode::SERVICE_UNAVAILABLE,
                SERVER,
                "deadline_exceeded",
                1,
            ),
            Self::NotReady { .. } => {
                Row::passing(StatusCode::SERVICE_UNAVAILABLE, SERVER, "unavailable", 5)
            }
            Self::ModelNotFound { .. } => Row::permanent(StatusCode::NOT_FOUND, "model_not_found"),
            Self::NotFound { .. } => Row::permanent(StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed { .. } => {
                Row::permanent(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
            }
            Self::BodyTooLarge { .. } => {
                Row::permanent(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
            }
            Self::RequestTooLarge { .. } => {
                Row::permanent(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large")
            }
            Self::TokensPerMinute { retry_after, .. } => Row::passing(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "rate_limit_exceeded",
                whole_seconds(*retry_after),
            ),
            Self::NoMemory => Row::passing(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "overloaded",
                1,
            ),
            Self::UnsupportedMediaType => {
                Row::permanent(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::UnsupportedEncoding { .. } => Row::permanent(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_encoding",
            ),
            Self::Runtime { source, .. } => match source {
                RuntimeError::InvalidInput { .. } => {
                    Row::permanent(StatusCode::BAD_REQUEST, "invalid_value")
                }
                RuntimeError::TooLong { .. }
                | RuntimeError::MuchTooLong { .. }
                | RuntimeError::OutOfMemory { .. } => {
                    Row::permanent(StatusCode::BAD_REQUEST, "context_length_exceeded")
                }
                // The same text overflows again.
                RuntimeError::NonFinite => Row {
                    retry: Retry::Never,
                    ..Row::INTERNAL
                },
                RuntimeError::Overloaded { .. } => Row::passing(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    "overloaded",
                    1,
                ),
                RuntimeError::Busy { retry_after } => Row::passing(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    "overloaded",
                    whole_seconds(*retry_after),
                ),
                RuntimeError::TooMuchWork { .. } => {
                    Row::permanent(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large")
                }
                RuntimeError::ShuttingDown | RuntimeError::ModelChanged { .. } => {
                    Row::passing(StatusCode::SERVICE_UNAVAILABLE, SERVER, "unavailable", 5)
                }
                // The engine's enum may grow; what this table does not know is the server's fault.
                _ => Row::INTERNAL,
            },
            Self::Internal(_) => Row::INTERNAL,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::InvalidValue { param, .. } => param.as_deref(),
            Self::ModelNotFound { .. } => Some("model"),
            Self::Runtime {
                source: RuntimeError::InvalidInput { field, .. },
                ..
            } => Some(field),
            Self::Runtime {
                source:
                    RuntimeError::TooLong { .. }
                    | RuntimeError::MuchTooLong { .. }
                    | RuntimeError::OutOfMemory { .. },
                ..
            } => Some("input"),
            Self::Runtime { .. }
            | Self::InvalidJson(_)
            | Self::UnreadableBody(_)
            | Self::SlowBody { .. }
            | Self::InvalidApiKey { .. }
            | Self::HostNotAllowed { .. }
            | Self::DeadlineExceeded { .. }
            | Self::TokensPerMinute { .. }
            | Self::NotReady { .. }
            | Self::NotFound { .. }
            | Self::MethodNotAllowed { .. }
            | Self::BodyTooLarge { .. }
            | Self::RequestTooLarge { .. }
            | Self::NoMemory
            | Self::UnsupportedMediaType
            | Self::UnsupportedEncoding { .. }
            | Self::Internal(_) => None,
        }
    }

    /// What only the log gets to see.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Internal(detail) => Some(detail.clone()),
            Self::Runtime { source, .. } if self.row().status.is_server_error() => {
                Some(source.to_string())
            }
            _ => None,
        }
    }
}

/// OpenAI's body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: Fields,
}

#[derive(Debug, Serialize, ToSchema)]
struct Fields {
    /// What is wrong and what to do.
    message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The request's field to blame.
    param: Option<String>,
    /// What went wrong, for programs.
    code: &'static str,
}

/// The most bytes of a message: it may quote what the client sent, which may be megabytes.
const LONGEST: usize = 1000;

fn clip(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

/// The code of an answer that is an error, for the log and the metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code(pub(crate) &'static str);

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.row().status
    }

    fn error_response(&self) -> HttpResponse {
        let row = self.row();
        let mut response = HttpResponse::build(row.status);
        match row.retry {
            Retry::ByStatus => {}
            Retry::After(seconds) => {
                response.insert_header((header::RETRY_AFTER, seconds.to_string()));
            }
            Retry::Never => {
                response.insert_header((SHOULD_RETRY, "false"));
            }
        }
        match self {
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, *allow));
            }
            Self::InvalidApiKey { .. } => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            // By RFC 9110, 12.5.3: which encodings there are.
            Self::UnsupportedEncoding { .. } => {
                response.insert_header((header::ACCEPT_ENCODING, "gzip, identity"));
            }
            // What is left of the body would be taken for the next request.
            Self::SlowBody { .. }
            | Self::BodyTooLarge { .. }
            | Self::RequestTooLarge { .. }
            | Self::NoMemory => {
                response.force_close();
            }
            _ => {}
        }
        let mut response = response.json(ErrorBody {
            error: Fields {
                message: clip(self.to_string()),
                kind: row.kind,
                param: self.param().map(|param| clip(param.to_owned())),
                code: row.code,
            },
        });
        response.extensions_mut().insert(Code(row.code));
        response
            .extensions_mut()
            .insert(self.in_tei_shape(row.status));
        response
    }
}
