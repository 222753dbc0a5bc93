//! Reads request bodies: the one place that judges content type, size and syntax.

use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage, HttpRequest};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use self::content_encoding::Encoding;
use crate::http::errors::ApiError;
use crate::http::limits::memory_budget::{Counted, Share};
use crate::http::pipeline::blocking;
use crate::http::state::AppState;

mod content_encoding;
mod parse;
mod unknown_nulls;

pub(crate) use parse::parse;

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
