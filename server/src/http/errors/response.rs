//! Turns an error into its HTTP response, with OpenAI's body `{"error":{"message","type","param","code"}}`.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::code::{ErrorCode, Retry};
use super::{ApiError, whole_seconds};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// OpenAI's body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorFields,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorFields {
    /// What is wrong and what to do.
    message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    error_type: &'static str,
    /// The request field that caused the error.
    param: Option<String>,
    /// The error code, for programs.
    code: &'static str,
}

/// The longest message in bytes: it may quote what the client sent, which may be megabytes.
const MAX_MESSAGE: usize = 1000;

/// Shortens a message to [`MAX_MESSAGE`].
pub(super) fn clip(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE));
        text.push('…');
    }
    text
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code().status
    }

    fn error_response(&self) -> HttpResponse {
        let code = self.code();
        let mut response = HttpResponse::build(code.status);
        match code.retry {
            Retry::ByStatus => {}
            Retry::After(seconds) => {
                let seconds = self.retry_after().map_or(seconds, whole_seconds);
                response.insert_header((header::RETRY_AFTER, seconds.to_string()));
            }
            Retry::Never => {
                response.insert_header((SHOULD_RETRY, "false"));
            }
        }
        match self {
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, allow.as_str()));
            }
            Self::InvalidApiKey { .. } => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            // RFC 9110, 12.5.3: a 415 lists the supported encodings.
            Self::UnsupportedEncoding { .. } => {
                response.insert_header((header::ACCEPT_ENCODING, "gzip, identity"));
            }
            // Part of the body is unread, and would be taken for the next request.
            Self::SlowBody { .. }
            | Self::BodyTooLarge { .. }
            | Self::RequestTooLarge { .. }
            | Self::RequestMemoryFull => {
                response.force_close();
            }
            _ => {}
        }
        let mut response = response.json(ErrorBody {
            error: ErrorFields {
                message: clip(self.to_string()),
                error_type: code.error_type.as_str(),
                param: self.param().map(|param| clip(param.to_owned())),
                code: code.name,
            },
        });
        let mut extensions = response.extensions_mut();
        extensions.insert::<ErrorCode>(code);
        extensions.insert(self.tei_body(code.status));
        drop(extensions);
        response
    }
}
