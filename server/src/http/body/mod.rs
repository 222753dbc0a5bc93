//! Reads request bodies: the one place that judges content type, size and syntax.

use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage, HttpRequest};
use futures_util::StreamExt as _;
use serde::de::{DeserializeOwned, IgnoredAny};

use self::content_encoding::Encoding;
use self::unknown_nulls::Tolerant;
use crate::http::errors::ApiError;
use crate::http::limits::memory_budget::{Counted, Share};
use crate::http::pipeline::blocking;
use crate::http::state::AppState;
use crate::surrogate;

mod content_encoding;
mod unknown_nulls;

/// The largest body in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// How long a body may take to arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyTimeout(pub(crate) Duration);

/// Bodies of more bytes are parsed off the threads that serve connections.
const LARGE: usize = 64 << 10;

/// A parsed body, and the bytes that it counts for.
pub(crate) struct Parsed<T> {
    pub(crate) value: T,
    pub(crate) share: Share,
}

/// Reads and parses a JSON body.
///
/// # Errors
/// The body is too large, too slow, broken off, not announced as JSON, compressed in a way that is not read, not JSON, or not
/// JSON of `T`'s shape. In the last case the field is named.
pub(crate) async fn json<T: DeserializeOwned + Send + 'static>(
    state: &AppState,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Parsed<T>, ApiError> {
    let kind = request.content_type();
    if !kind.eq_ignore_ascii_case("application/json")
        && !kind.to_ascii_lowercase().ends_with("+json")
    {
        return Err(ApiError::UnsupportedMediaType);
    }
    let encoding = Encoding::of(request)?;
    let limit = request
        .app_data::<BodyLimit>()
        .map_or(2 << 20, |limit| limit.0);
    let mut share = state.budget.share();
    let bytes = read(request, payload, limit, &mut share).await?;
    let length = bytes.len();
    let parse = move || {
        let (body, share) = decode(bytes, encoding, limit, share)?;
        parse_counted(&body, share)
    };
    // How large a compressed body is shows only when it is decoded.
    if length > LARGE || encoding != Encoding::Identity {
        blocking(parse).await
    } else {
        parse()
    }
}

/// A body as its client wrote it; the share counts that alone.
fn decode(
    bytes: Bytes,
    encoding: Encoding,
    limit: usize,
    mut share: Share,
) -> Result<(Bytes, Share), ApiError> {
    match encoding {
        Encoding::Identity => Ok((bytes, share)),
        Encoding::Gzip => {
            let packed = share.bytes();
            let decoded = content_encoding::gunzip(&bytes, limit, &mut share)?;
            drop(bytes);
            share.give_back(packed);
            Ok((decoded.into(), share))
        }
    }
}

fn parse_counted<T: DeserializeOwned>(
    bytes: &[u8],
    mut share: Share,
) -> Result<Parsed<T>, ApiError> {
    let read = share.bytes();
    // What is parsed is about as large as the body, and both are there for a while.
    share.add(bytes.len())?;
    let value = parse(bytes)?;
    share.give_back(read);
    Ok(Parsed { value, share })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(Tolerant(&mut reader)).map_err(|error| {
        let path = error.path().to_string();
        (path, error.into_inner())
    });
    let ended = |value| match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => Err((".".to_owned(), error)),
    };
    parsed.and_then(ended).map_err(|(path, error)| {
        if is_of_an_escape(&error.to_string())
            && let Some(lone) = surrogate::find(bytes)
        {
            return ApiError::InvalidValue {
                param: lone.field().map(str::to_owned),
                reason: lone.to_string(),
            };
        }
        // A broken text would be blamed on the field it breaks off in.
        match serde_json::from_slice::<IgnoredAny>(bytes) {
            Err(syntax) => ApiError::InvalidJson(syntax.to_string()),
            Ok(_) => ApiError::InvalidValue {
                param: field_of(&error.to_string(), &path),
                reason: error.to_string(),
            },
        }
    })
}

/// Whether a message is serde_json's about a `\u` escape, behind the field it is about or alone.
fn is_of_an_escape(message: &str) -> bool {
    let field = message
        .strip_prefix('`')
        .and_then(|rest| rest.split_once("`: "));
    let message = field.map_or(message, |(_, rest)| rest);
    [
        "unexpected end of hex escape",
        "lone leading surrogate in hex escape",
    ]
    .iter()
    .any(|kind| message.starts_with(kind))
}

async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    share: &mut Share,
) -> Result<Bytes, ApiError> {
    let patience = request
        .app_data::<BodyTimeout>()
        .map_or(Duration::from_secs(60), |timeout| timeout.0);
    // A body that says it is too large is not read at all.
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::BodyTooLarge { limit });
    }
    timeout(patience, chunks(payload, limit, share))
        .await
        .unwrap_or(Err(ApiError::SlowBody { limit: patience }))
}

/// A body as it comes, counted before it is kept.
async fn chunks(mut payload: Payload, limit: usize, share: &mut Share) -> Result<Bytes, ApiError> {
    let mut body = Counted::new(limit);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| ApiError::UnreadableBody(error.to_string()))?;
        body.extend(&chunk, share)?;
    }
    Ok(body.into_bytes().into())
}

/// Begins a parser's message with the field it is about.
pub(crate) fn in_field<E: serde::de::Error>(field: &str, message: impl std::fmt::Display) -> E {
    E::custom(format_args!("`{field}`: {message}"))
}

/// The field that a parser's message is about: named by the message, else by the place in the body.
fn field_of(message: &str, path: &str) -> Option<String> {
    let quoted = |after: &str| {
        let (_, rest) = message.split_once(after)?;
        Some(rest.split_once('`')?.0)
    };
    let begins = message
        .strip_prefix('`')
        .and_then(|rest| rest.split_once("`: "));
    let named = begins
        .map(|(name, _)| name)
        .or_else(|| quoted("unknown field `"))
        .or_else(|| quoted("missing field `"));
    let place = path
        .split(['.', '['])
        .next()
        .filter(|p| !p.is_empty() && *p != "?");
    named.or(place).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_the_parser_itself_are_of_an_escape() {
        for (json, expected) in [
            (r#""\ud800""#, true),
            (r#""\ud800\u0041""#, true),
            (r#""\udc00""#, true),
            (r#""\u00""#, false),
        ] {
            let error = serde_json::from_str::<String>(json).unwrap_err();
            assert_eq!(is_of_an_escape(&error.to_string()), expected, "{error}");
            let error: serde_json::Error = in_field("input", error);
            assert_eq!(is_of_an_escape(&error.to_string()), expected, "{error}");
        }
        let named = "unknown field `hex escape`, expected `input`";
        assert!(!is_of_an_escape(named));
    }

    #[test]
    fn the_field_is_found_in_the_message_or_by_its_place() {
        let error: serde_json::Error = in_field("input", "a string is expected");
        assert_eq!(field_of(&error.to_string(), "."), Some("input".to_owned()));
        let missing = "missing field `inputs` at line 1 column 2";
        assert_eq!(field_of(missing, "."), Some("inputs".to_owned()));
        let wrong = "invalid type: string, expected usize";
        assert_eq!(field_of(wrong, "dimensions"), Some("dimensions".to_owned()));
        assert_eq!(field_of(wrong, "inputs[3].x"), Some("inputs".to_owned()));
        assert_eq!(field_of(wrong, "."), None);
    }
}
