//! Reads request bodies: the one place that judges content type, size and syntax.

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage, HttpRequest};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::ApiError;

/// The largest body in bytes, for the message of its error: actix does not tell the limit that it keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit(pub(super) usize);

/// Parses a JSON body, as actix's extractor left it.
///
/// # Errors
/// The body is too large, broken off, not announced as JSON, not JSON, or not JSON of `T`'s shape. In the last case the
/// field is named: the types of request bodies begin their messages with its name in backticks ([`in_field`]).
pub(super) fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    body: Result<Bytes, Error>,
) -> Result<T, ApiError> {
    let bytes = body.map_err(|error| unreadable(request, &error))?;
    let kind = request.content_type();
    if !kind.eq_ignore_ascii_case("application/json")
        && !kind.to_ascii_lowercase().ends_with("+json")
    {
        return Err(ApiError::UnsupportedMediaType);
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        // A broken text would be blamed on the field it breaks off in.
        match serde_json::from_slice::<IgnoredAny>(&bytes) {
            Err(syntax) => ApiError::InvalidJson(syntax.to_string()),
            Ok(_) => ApiError::InvalidValue {
                param: field_of(&error.to_string()),
                reason: error.to_string(),
            },
        }
    })
}

fn unreadable(request: &HttpRequest, error: &Error) -> ApiError {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => {
            let limit = request.app_data::<BodyLimit>().map_or(0, |limit| limit.0);
            ApiError::BodyTooLarge { limit }
        }
        _ => ApiError::UnreadableBody(error.to_string()),
    }
}

/// Begins a parser's message with the field it is about.
pub(super) fn in_field<E: serde::de::Error>(field: &str, message: impl std::fmt::Display) -> E {
    E::custom(format_args!("`{field}`: {message}"))
}

fn field_of(message: &str) -> Option<String> {
    let (name, _) = message.strip_prefix('`')?.split_once("`: ")?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found_where_in_field_put_it() {
        let error: serde_json::Error = in_field("input", "a string is expected");
        assert_eq!(field_of(&error.to_string()), Some("input".to_owned()));
        assert_eq!(field_of("missing field `input`: x"), None);
    }
}
