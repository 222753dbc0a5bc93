//! Reads and parses request bodies: the one place that checks content type, content encoding, size, time and JSON.
//!
//! Chunks go straight into one buffer, and memory for each is reserved before it is stored. `parse` turns the buffer into a value
//! without a JSON tree in between.

use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage, HttpRequest};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use self::content_encoding::ContentEncoding;
use crate::http::blocking::blocking;
use crate::http::errors::ApiError;
use crate::http::limits::memory_budget::{CountedBuffer, Reservation};
use crate::http::state::AppState;
use crate::http::types::input::with_longest;

mod content_encoding;
mod parse;
mod unknown_nulls;

pub(crate) use parse::parse;

/// The limit of a body in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// The time limit for a body to arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyTimeout(pub(crate) Duration);

/// Bodies of more bytes are parsed off the threads that serve connections.
const LARGE: usize = 64 << 10;

/// A parsed body, and its memory.
pub(crate) struct Parsed<T> {
    pub(crate) value: T,
    pub(crate) reservation: Reservation,
}

/// Reads and parses a JSON body.
///
/// # Errors
/// The body is too large, too slow, cut short, not announced as JSON, in an unsupported content encoding, not JSON, or not a
/// `T`. The last error names the field.
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
    let encoding = ContentEncoding::of(request)?;
    let limit = request
        .app_data::<BodyLimit>()
        .map_or(2 << 20, |limit| limit.0);
    let mut reservation = state.budget.reservation();
    let bytes = read(request, payload, limit, &mut reservation).await?;
    let length = bytes.len();
    let longest = state.longest_text();
    let parse = move || {
        let (body, reservation) = decode(bytes, encoding, limit, reservation)?;
        with_longest(longest, || parse_counted(&body, reservation))
    };
    // The size of a compressed body is unknown until it is decoded.
    if length > LARGE || encoding != ContentEncoding::Identity {
        blocking(parse).await
    } else {
        parse()
    }
}

/// Decodes a body. Afterwards the reservation covers only the decoded bytes.
fn decode(
    bytes: Bytes,
    encoding: ContentEncoding,
    limit: usize,
    mut reservation: Reservation,
) -> Result<(Bytes, Reservation), ApiError> {
    match encoding {
        ContentEncoding::Identity => Ok((bytes, reservation)),
        ContentEncoding::Gzip => {
            let compressed = reservation.bytes();
            let decoded = content_encoding::gunzip(&bytes, limit, &mut reservation)?;
            drop(bytes);
            reservation.release(compressed);
            Ok((decoded.into(), reservation))
        }
    }
}

/// Parses a body within the memory budget. Afterwards the reservation covers only the value.
fn parse_counted<T: DeserializeOwned>(
    bytes: &[u8],
    mut reservation: Reservation,
) -> Result<Parsed<T>, ApiError> {
    let read = reservation.bytes();
    // Both exist for a while.
    reservation.add(value_bytes(bytes))?;
    let value = parse(bytes)?;
    reservation.release(read);
    Ok(Parsed { value, reservation })
}

/// The most bytes that the value of a body takes: texts are no larger than in JSON. A token id takes four bytes, and may be one
/// digit and a comma; the last one of the body has no comma.
fn value_bytes(json: &[u8]) -> usize {
    let commas = json.iter().filter(|byte| **byte == b',').count();
    json.len() + 2 * (commas + 1)
}

/// Receives a body within the limits of size, time and memory.
async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, ApiError> {
    let time_limit = request
        .app_data::<BodyTimeout>()
        .map_or(Duration::from_secs(60), |timeout| timeout.0);
    // A body whose announced length is too large is not read at all.
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::BodyTooLarge { limit });
    }
    timeout(time_limit, read_chunks(payload, limit, reservation))
        .await
        .unwrap_or(Err(ApiError::SlowBody { limit: time_limit }))
}

async fn read_chunks(
    mut payload: Payload,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, ApiError> {
    let mut body = CountedBuffer::new(limit);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| ApiError::UnreadableBody(error.to_string()))?;
        body.extend(&chunk, reservation)?;
    }
    Ok(body.into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::types::input::Input;

    #[test]
    fn the_memory_of_a_value_is_known_before_it_is_parsed() {
        for json in ["[1,1,1,1,1,1,1,1]", "[[1,1],[16383,1,1]]", r#"["a","b,c"]"#] {
            let value: Input = serde_json::from_str(json).unwrap();
            let taken: usize = value.lengths().sum();
            assert!(value_bytes(json.as_bytes()) >= taken, "{json}: {taken}");
        }
        // Four bytes for a digit and a comma.
        let ids = format!("[{}1]", "1,".repeat(999));
        assert!(ids.len() < 4000 && value_bytes(ids.as_bytes()) >= 4000);
    }
}
