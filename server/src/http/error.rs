//! The one table from what went wrong to what the client sees.
//!
//! Bodies have OpenAI's shape, `{"error":{"message","type","param","code"}}`. Its clients send a request again after
//! 408, 409, 429 and 5xx, so an error that will not go away by itself has none of these. Details of a failure within
//! the server go to the log, where the request id finds them, and not to the client.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError};
use lexivec_runtime::Error as RuntimeError;
use serde::Serialize;

/// An error on its way to a client.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not JSON.
    #[error("the request body is not valid JSON: {0}")]
    InvalidJson(String),
    /// The body broke off, or could not be read.
    #[error("the request body could not be read: {0}")]
    UnreadableBody(String),
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
    #[error(
        "there is nothing at {path}; the API is at /v1/embeddings, /v1/models, /v1/domains and /health"
    )]
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
    /// The body is not announced as JSON.
    #[error(
        "send the header `Content-Type: application/json` (curl: -H 'Content-Type: application/json')"
    )]
    UnsupportedMediaType,
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
    /// A field's fault.
    pub(super) fn invalid(param: &str, reason: impl Into<String>) -> Self {
        Self::InvalidValue {
            param: Some(param.to_owned()),
            reason: reason.into(),
        }
    }
}

fn runtime_message(item: Option<usize>, source: &RuntimeError) -> String {
    let message = match source {
        RuntimeError::InvalidInput { .. }
        | RuntimeError::TooLong { .. }
        | RuntimeError::Overloaded { .. }
        | RuntimeError::ShuttingDown
        | RuntimeError::NonFinite => source.to_string(),
        _ => "the model failed on this request; the server's log has the details under this request's id".to_owned(),
    };
    match item {
        Some(index) => format!("input[{index}]: {message}"),
        None => message,
    }
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

/// What a client sees besides the message.
struct Row {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    /// Seconds after which to try again.
    retry_after: Option<u32>,
}

impl Row {
    const fn permanent(status: StatusCode, code: &'static str) -> Self {
        Self {
            status,
            kind: INVALID,
            code,
            retry_after: None,
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
            retry_after: Some(seconds),
        }
    }

    const INTERNAL: Self = Self {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: SERVER,
        code: "internal_error",
        retry_after: None,
    };
}

impl ApiError {
    fn row(&self) -> Row {
        match self {
            Self::InvalidJson(_) | Self::UnreadableBody(_) => {
                Row::permanent(StatusCode::BAD_REQUEST, "invalid_json")
            }
            Self::InvalidValue { .. } => Row::permanent(StatusCode::BAD_REQUEST, "invalid_value"),
            Self::ModelNotFound { .. } => Row::permanent(StatusCode::NOT_FOUND, "model_not_found"),
            Self::NotFound { .. } => Row::permanent(StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed { .. } => {
                Row::permanent(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
            }
            Self::BodyTooLarge { .. } => {
                Row::permanent(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
            }
            Self::UnsupportedMediaType => {
                Row::permanent(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::Runtime { source, .. } => match source {
                RuntimeError::InvalidInput { .. } => {
                    Row::permanent(StatusCode::BAD_REQUEST, "invalid_value")
                }
                RuntimeError::TooLong { .. } => {
                    Row::permanent(StatusCode::BAD_REQUEST, "context_length_exceeded")
                }
                RuntimeError::Overloaded { .. } => Row::passing(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    "overloaded",
                    1,
                ),
                RuntimeError::ShuttingDown => {
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
                source: RuntimeError::TooLong { .. },
                ..
            } => Some("input"),
            Self::Runtime { .. }
            | Self::InvalidJson(_)
            | Self::UnreadableBody(_)
            | Self::NotFound { .. }
            | Self::MethodNotAllowed { .. }
            | Self::BodyTooLarge { .. }
            | Self::UnsupportedMediaType
            | Self::Internal(_) => None,
        }
    }

    /// What only the log gets to see.
    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::Internal(detail) => Some(detail.clone()),
            Self::Runtime { source, .. } if self.row().status.is_server_error() => {
                Some(source.to_string())
            }
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: String,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.row().status
    }

    fn error_response(&self) -> HttpResponse {
        let row = self.row();
        let mut response = HttpResponse::build(row.status);
        if let Some(seconds) = row.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Self::MethodNotAllowed { allow } = self {
            response.insert_header((header::ALLOW, *allow));
        }
        response.json(Body {
            error: Fields {
                message: self.to_string(),
                kind: row.kind,
                param: self.param(),
                code: row.code,
            },
        })
    }
}
