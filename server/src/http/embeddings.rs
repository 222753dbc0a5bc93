//! `POST /v1/embeddings`.
//!
//! Room for all texts is taken first, or the request is refused at once; then they are tokenised off the threads that
//! serve connections, queued, and awaited. When the client goes, this future is dropped, its receivers with it, and
//! the queue discards what has not been computed.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{self, Bytes, Data};
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use lexivec_runtime::{self as runtime, Embedding, Encoding, Engine, Prefix, Request};

use super::answer;
use super::body;
use super::error::ApiError;
use super::input::Input;
use super::log::Counts;
use super::request::EmbeddingsRequest;
use super::state::AppState;
use crate::prefix::Choice;

/// Answers beyond this many numbers are written off the threads that serve connections: a large one takes longer than
/// other requests should wait.
const LARGE_ANSWER: usize = 1 << 16;

pub(super) async fn create(
    state: Data<AppState>,
    request: HttpRequest,
    body: Result<Bytes, Error>,
) -> Result<HttpResponse, ApiError> {
    let asked: EmbeddingsRequest = body::json(&request, body)?;
    let model = state.model(&asked.model)?;
    let engine = &model.engine;
    engine.check_dimensions(asked.dimensions)?;
    let prefix = prefix(&asked, engine, &state)?;

    let permits = model.admit(asked.input.len())?;
    let (dimensions, format) = (asked.dimensions, asked.encoding_format);
    let tokenizing = Arc::clone(engine);
    // The permits travel with the work, which goes on to its end even if this future is dropped.
    let (encodings, _permits) =
        blocking(move || Ok((encode(&tokenizing, &asked, &prefix)?, permits))).await?;
    let tokens = encodings.iter().map(|e| e.ids.len()).sum();
    request.extensions_mut().insert(Counts {
        texts: encodings.len(),
        tokens,
    });

    let embeddings = compute(engine, encodings, dimensions).await?;
    let json = if embeddings.len() * engine.model().hidden_size > LARGE_ANSWER {
        let name = model.name.clone();
        blocking(move || answer::json(&name, &embeddings, format)).await?
    } else {
        answer::json(&model.name, &embeddings, format)?
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(json))
}

/// What stands before the texts. Token ids are a whole prompt already.
fn prefix(
    asked: &EmbeddingsRequest,
    engine: &Engine,
    state: &AppState,
) -> Result<Prefix, ApiError> {
    let choice = Choice {
        instruction: asked.instruction.as_deref(),
        domain: asked.domain.as_deref(),
        prompt_name: asked.prompt_name.as_deref(),
    };
    match (&asked.input, choice.given()) {
        (Input::Texts(_), _) => Ok(choice.resolve(engine.model(), &state.instructions)?),
        (Input::Tokens(_), None) => Ok(Prefix::None),
        (Input::Tokens(_), Some(field)) => {
            let reason = format!(
                "`{field}` goes before a text, and `input` is token ids: send text instead"
            );
            Err(ApiError::invalid(field, reason))
        }
    }
}

fn encode(
    engine: &Engine,
    asked: &EmbeddingsRequest,
    prefix: &Prefix,
) -> Result<Vec<Encoding>, ApiError> {
    let request = |input| Request {
        input,
        prefix: prefix.clone(),
        dimensions: asked.dimensions,
        truncate: asked.truncate,
    };
    let encode = |(index, input)| {
        let item = (asked.input.len() > 1).then_some(index);
        engine
            .encode(&request(input))
            .map_err(|source| ApiError::Runtime { item, source })
    };
    match &asked.input {
        Input::Texts(texts) => {
            let inputs = texts.iter().map(|text| runtime::Input::Text(text.into()));
            inputs.enumerate().map(encode).collect()
        }
        Input::Tokens(lists) => {
            let inputs = lists.iter().map(|ids| runtime::Input::Tokens(ids.into()));
            inputs.enumerate().map(encode).collect()
        }
    }
}

async fn compute(
    engine: &Engine,
    encodings: Vec<Encoding>,
    dimensions: Option<usize>,
) -> Result<Vec<Embedding>, ApiError> {
    let pending = engine.submit(encodings.iter().map(|e| e.ids.clone()).collect())?;
    let several = encodings.len() > 1;
    let mut embeddings = Vec::with_capacity(encodings.len());
    for (index, (reply, encoding)) in pending.into_iter().zip(encodings).enumerate() {
        let state = reply.await.unwrap_or(Err(runtime::Error::ShuttingDown));
        let state = state.map_err(|source| ApiError::Runtime {
            item: several.then_some(index),
            source,
        })?;
        embeddings.push(engine.finish(state, &encoding, dimensions));
    }
    Ok(embeddings)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    web::block(work)
        .await
        .map_err(|error| ApiError::Internal(error.to_string()))?
}
