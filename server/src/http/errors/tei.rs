//! Error bodies of text-embeddings-inference, `{"error","error_type"}`.
//!
//! Clients such as `@huggingface/inference` show nothing but the string `error`, so it has to name the field.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiError;
use super::response::clip;

/// text-embeddings-inference's body of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TeiErrorBody {
    /// What is wrong and what to do; names the request field that caused the error.
    error: String,
    /// `Validation`, `Overloaded`, `Unhealthy` or `Backend`.
    error_type: &'static str,
}

impl ApiError {
    /// The error's body on text-embeddings-inference's routes, where the field `input` is called `inputs`.
    pub(super) fn tei_body(&self, status: StatusCode) -> TeiErrorBody {
        let message = self.to_string();
        let message = match (self, message.strip_prefix("input[")) {
            (Self::Runtime { .. }, Some(item)) => format!("inputs[{item}"),
            _ => message,
        };
        let param = match (self, self.param()) {
            (Self::Runtime { .. }, Some("input")) => Some("inputs"),
            (_, param) => param,
        };
        let is_named =
            |param: &str| message.contains(&format!("`{param}")) || message.starts_with(param);
        let error = match param {
            Some(param) if !is_named(param) => format!("`{param}`: {message}"),
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
