//! Errors on their way to a client.
//!
//! [`ApiError`] describes what happened. The table in `code` has its status, code, type and retry advice. `response` writes
//! OpenAI's body, and `tei` the body of text-embeddings-inference's routes. Details of a failure within the server go to
//! the log, which has the request id, and not to the client.

use std::time::Duration;

use lexivec_runtime::Error as RuntimeError;

mod at_capacity;
mod code;
mod response;
mod tei;

pub use at_capacity::AtCapacity;
pub(crate) use code::ErrorCode;
pub(crate) use response::ErrorBody;
pub(crate) use tei::TeiErrorBody;

/// An error on its way to a client.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not JSON.
    #[error("the request body is not valid JSON: {0}")]
    InvalidJson(String),
    /// The transfer of the body broke off, or its gzip is damaged.
    #[error("the request body could not be read: {0}")]
    UnreadableBody(String),
    /// The body took too long to arrive.
    #[error("the request body did not arrive within {} s", limit.as_secs_f32())]
    SlowBody {
        /// The time limit of bodies.
        limit: Duration,
    },
    /// The request has no API key, or an unknown one.
    #[error("{}", if *missing { "no API key was given: send the header `Authorization: Bearer KEY`" } else { "the API key is not known" })]
    InvalidApiKey {
        /// Whether the request has no key.
        missing: bool,
    },
    /// The request names a host that the server does not serve.
    #[error(
        "the host `{host}` is not allowed: send the request to localhost or an IP address, or start the server with \
             --allowed-host NAME"
    )]
    HostNotAllowed {
        /// The host in the `Host` header or the request line, with its port; empty without either.
        host: String,
    },
    /// The request took too long within the server.
    #[error("the request was not finished within {} s: send fewer or shorter texts per request, or try again later", limit.as_secs_f32())]
    DeadlineExceeded {
        /// The time limit of requests.
        limit: Duration,
    },
    /// The server should get no requests now.
    #[error("not ready: {reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// A field is missing, unknown, or has an invalid value.
    #[error("{reason}")]
    InvalidValue {
        /// The field.
        param: Option<String>,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The server has no such model.
    #[error("the model `{requested}` does not exist; this server has {}", served.join(", "))]
    ModelNotFound {
        /// The model that the request names.
        requested: String,
        /// The models that the server has.
        served: Vec<String>,
    },
    /// No route has this path.
    #[error("no route has the path {path}; GET /openapi.json lists all routes")]
    NotFound {
        /// The path of the request.
        path: String,
    },
    /// The route does not accept the request's method.
    #[error("this route does not accept this method; it accepts {allow}")]
    MethodNotAllowed {
        /// The methods that it accepts.
        allow: String,
    },
    /// The body is larger than the server reads.
    #[error(
        "the request body is larger than {limit} bytes, the limit of this server: send fewer texts per request"
    )]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The API key has used up its tokens per minute.
    #[error(
        "this key may ask for {limit} tokens per minute: try again in {} s",
        whole_seconds(*retry_after)
    )]
    TokensPerMinute {
        /// The limit.
        limit: u64,
        /// When enough tokens are available.
        retry_after: Duration,
    },
    /// Other requests use up the memory for requests.
    #[error(
        "the server's memory for requests is full: try again later, or send fewer texts per request"
    )]
    RequestMemoryFull,
    /// The request, or its response, needs more memory than one request may have.
    #[error(
        "the request and its response need more than {limit} bytes, the limit of this server (--request-memory): send \
         fewer texts per request"
    )]
    RequestTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Other requests leave no room among the texts in flight.
    #[error(transparent)]
    AtCapacity(#[from] AtCapacity),
    /// The body is not announced as JSON.
    #[error(
        "send the header `Content-Type: application/json` (curl: -H 'Content-Type: application/json')"
    )]
    UnsupportedMediaType,
    /// The body has a content encoding that the server cannot decode.
    #[error(
        "the server cannot decode `Content-Encoding: {encoding}`: send the body uncompressed or in gzip"
    )]
    UnsupportedEncoding {
        /// The value of the header.
        encoding: String,
    },
    /// The engine rejected the request or failed.
    #[error("{}", runtime_message(*item, source))]
    Runtime {
        /// The index of the text that caused the error, where the request has several.
        item: Option<usize>,
        /// The engine's error.
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
    /// The error's code.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidJson(_) => ErrorCode::INVALID_JSON,
            Self::UnreadableBody(_) => ErrorCode::UNREADABLE_BODY,
            Self::InvalidValue { .. } => ErrorCode::INVALID_VALUE,
            Self::SlowBody { .. } => ErrorCode::SLOW_BODY,
            Self::InvalidApiKey { .. } => ErrorCode::INVALID_API_KEY,
            Self::HostNotAllowed { .. } => ErrorCode::HOST_NOT_ALLOWED,
            Self::DeadlineExceeded { .. } => ErrorCode::DEADLINE_EXCEEDED,
            Self::NotReady { .. } => ErrorCode::UNAVAILABLE,
            Self::ModelNotFound { .. } => ErrorCode::MODEL_NOT_FOUND,
            Self::NotFound { .. } => ErrorCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => ErrorCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge { .. } => ErrorCode::BODY_TOO_LARGE,
            Self::RequestTooLarge { .. } => ErrorCode::REQUEST_TOO_LARGE,
            Self::TokensPerMinute { .. } => ErrorCode::RATE_LIMIT_EXCEEDED,
            Self::RequestMemoryFull | Self::AtCapacity(_) => ErrorCode::OVERLOADED,
            Self::UnsupportedMediaType => ErrorCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnsupportedEncoding { .. } => ErrorCode::UNSUPPORTED_CONTENT_ENCODING,
            Self::Runtime { source, .. } => runtime_code(source),
            Self::Internal(_) => ErrorCode::INTERNAL_ERROR,
        }
    }

    /// The request field that caused the error.
    fn param(&self) -> Option<&str> {
        use RuntimeError::{InvalidInput, MuchTooLong, OutOfMemory, TooLong};
        match self {
            Self::InvalidValue { param, .. } => param.as_deref(),
            Self::ModelNotFound { .. } => Some("model"),
            Self::Runtime { source, .. } => match source {
                InvalidInput { field, .. } => Some(field),
                TooLong { .. } | MuchTooLong { .. } | OutOfMemory { .. } => Some("input"),
                _ => None,
            },
            _ => None,
        }
    }

    /// When a retry may succeed, where the error knows better than its code.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TokensPerMinute { retry_after, .. } => Some(*retry_after),
            Self::Runtime {
                source: RuntimeError::Busy { retry_after },
                ..
            } => Some(*retry_after),
            _ => None,
        }
    }

    /// What the log says beyond the message.
    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::Internal(detail) => Some(detail.clone()),
            Self::Runtime { source, .. } if self.code().status.is_server_error() => {
                Some(source.to_string())
            }
            _ => None,
        }
    }

    /// Whether the engine rejected the request because of load, before it computed anything.
    pub(super) fn is_rejection(&self) -> bool {
        use RuntimeError::{Busy, Overloaded, ShuttingDown, TooMuchWork};
        matches!(
            self,
            Self::Runtime {
                source: Busy { .. } | TooMuchWork { .. } | Overloaded { .. } | ShuttingDown,
                ..
            }
        )
    }

    /// An invalid value of the field `param`.
    pub(super) fn invalid(param: &str, reason: impl Into<String>) -> Self {
        Self::InvalidValue {
            param: Some(param.to_owned()),
            reason: reason.into(),
        }
    }
}

/// The code of an error of the engine.
fn runtime_code(error: &RuntimeError) -> ErrorCode {
    match error {
        RuntimeError::InvalidInput { .. } => ErrorCode::INVALID_VALUE,
        RuntimeError::TooLong { .. }
        | RuntimeError::MuchTooLong { .. }
        | RuntimeError::OutOfMemory { .. } => ErrorCode::CONTEXT_LENGTH_EXCEEDED,
        RuntimeError::NonFinite => ErrorCode::NOT_FINITE,
        RuntimeError::Overloaded { .. } | RuntimeError::Busy { .. } => ErrorCode::OVERLOADED,
        RuntimeError::TooMuchWork { .. } => ErrorCode::REQUEST_TOO_LARGE,
        RuntimeError::ShuttingDown | RuntimeError::ModelChanged { .. } => ErrorCode::UNAVAILABLE,
        // The engine's enum may grow. An unknown error is the server's fault.
        _ => ErrorCode::INTERNAL_ERROR,
    }
}

/// The message of an error of the engine, without details that only the operator should see.
fn runtime_message(item: Option<usize>, source: &RuntimeError) -> String {
    let message = match source {
        // Its message has a path.
        RuntimeError::ModelChanged { .. } => {
            "the model's files have changed since the server opened them: it has to be restarted".to_owned()
        }
        _ if runtime_code(source) == ErrorCode::INTERNAL_ERROR => {
            "the model failed on this request; the server's log has the details under this request's id".to_owned()
        }
        _ => source.to_string(),
    };
    match item {
        Some(index) => format!("input[{index}]: {message}"),
        None => message,
    }
}

/// Rounds up to seconds, to at least one.
fn whole_seconds(time: Duration) -> u32 {
    time.as_secs_f64().ceil().max(1.0) as u32
}
