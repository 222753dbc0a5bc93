//! Errors in the shape of text-embeddings-inference, `{"error","error_type"}`.
//!
//! `error` is a string, because that is all that clients such as `@huggingface/inference` show. So the string names the field.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, clip};

/// text-embeddings-inference's body of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TeiErrorBody {
    /// What is wrong and what to do; names the request's field to blame.
    error: String,
    /// `Validation`, `Overloaded`, `Unhealthy` or `Backend`.
    error_type: &'static str,
}

impl ApiError {
    /// Converts the error. The engine calls the field of the texts `input`; on these routes it is `inputs`.
    pub(crate) fn in_tei_shape(&self, status: StatusCode) -> TeiErrorBody {
        let message = self.to_string();
        let message = match (self, message.strip_prefix("input[")) {
            (Self::Runtime { .. }, Some(item)) => format!("inputs[{item}"),
            _ => message,
        };
        let param = match (self, self.param()) {
            (Self::Runtime { .. }, Some("input")) => Some("inputs"),
            (_, param) => param,
        };
        let named =
            |param: &str| message.contains(&format!("`{param}")) || message.starts_with(param);
        let error = match param {
            Some(param) if !named(param) => format!("`{param}`: {message}"),
            _ => message,
        };
        TeiErrorBody {
            error: clip(error),
            error_type: match status {
                StatusCode::TOO_MANY_REQUESTS => "Overloaded",
                StatusCode::SERVICE_UNAVAILABLE => "Unhealthy",
                status if status.is_server_error() => "Backend",
                _ => "Validation",
            },
        }
    }
}
