//! Embeds the inputs of a request, for every route that embeds.
//!
//! It admits all texts of the request or none. Then it tokenises, submits and awaits them. When the client disconnects or the
//! deadline passes, the future is dropped, and the queue drops the texts that have not been computed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::rt::time::timeout;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use lexivec_runtime::metrics::Stage;
use lexivec_runtime::{
    self as runtime, Caller, Embedding, EmbeddingStream, EncodedRequest, Engine, Origin, Prompt,
    Request, Truncate,
};

use super::blocking::{Canceled, blocking, canceled_when_dropped};
use super::counts::Counts;
use super::errors::ApiError;
use super::limits::caller;
use super::limits::keys::ApiKey;
use super::limits::memory_budget::Reservation;
use super::limits::rate_limit::{RateLimitStatus, TokenBucket};
use super::state::{AppState, ServedModel};
use super::types::input::Input;
use crate::projections::ProjectionFile;

/// Texts of at most this many bytes together, prompts included, are tokenised on the connection's thread, because that
/// takes less time than handing them to another thread.
const SMALL_INPUT: usize = 512;

/// Texts of at most this many bytes together are tokenised whatever the load is, because the response cache may have
/// them: that takes about 3 ms.
const LOOKED_UP: usize = 16 << 10;

/// Bytes of a number in a response: as float32, and as 13 characters of JSON and a comma.
const NUMBER: usize = 4 + 14;

/// The texts of a request, and how to embed them.
#[derive(Debug)]
pub(super) struct EmbeddingTask {
    pub(super) input: Input,
    pub(super) prompt: Prompt,
    pub(super) dimensions: Option<usize>,
    /// Reduces the vectors, which the engine computes in the projection's input width.
    pub(super) projection: Option<Arc<ProjectionFile>>,
    pub(super) truncate: Truncate,
    pub(super) normalize: bool,
    /// Separates cached states from those of requests with another salt, or none.
    pub(super) cache_salt: Option<String>,
}

impl EmbeddingTask {
    /// Bytes of each prompt.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let prompt = self.prompt.apply("").len();
        self.input.lengths().map(move |bytes| bytes + prompt)
    }

    /// Bytes of all prompts.
    fn bytes(&self) -> usize {
        self.lengths().fold(0, usize::saturating_add)
    }
}

/// Embeds the inputs; the result is in their order. The response's bytes are counted in `memory`.
///
/// # Errors
/// The task is invalid, the server has no capacity or no time for it, or the engine fails.
pub(super) async fn embed(
    request: &HttpRequest,
    state: &AppState,
    model: &ServedModel,
    task: EmbeddingTask,
    mut memory: Reservation,
) -> Result<(Vec<Embedding>, Reservation), ApiError> {
    let numbers = task.dimensions.unwrap_or(model.engine.model().hidden_size);
    let numbers = numbers.saturating_mul(task.input.len());
    model.engine.check_dimensions(task.dimensions)?;
    memory.add(numbers.saturating_mul(NUMBER))?;
    let limit = state.request_timeout;
    let caller = caller::caller(request, limit);
    let work = within(request, state, model, task, memory, caller);
    timeout(limit, work)
        .await
        .unwrap_or(Err(ApiError::DeadlineExceeded { limit }))
}

async fn within(
    request: &HttpRequest,
    state: &AppState,
    model: &ServedModel,
    task: EmbeddingTask,
    memory: Reservation,
    caller: Caller,
) -> Result<(Vec<Embedding>, Reservation), ApiError> {
    let engine = &model.engine;
    tell_limits(request, model.rate_limit_status(state.request_timeout));
    if task.bytes() > LOOKED_UP {
        engine.check_load(caller, task.lengths())?;
    }
    // The permit and the memory move with the work, which keeps them until it ends even if this future is dropped.
    let held = (model.admit(task.input.len(), caller)?, memory);
    let texts = task.input.len();
    let cache_salt = task.cache_salt.clone();
    let (projection, normalize) = (task.projection.clone(), task.normalize);
    let started = Instant::now();
    let (wanted, canceled) = canceled_when_dropped();
    let (encoded, (_permit, memory)) = if task.bytes() <= SMALL_INPUT {
        (encode(engine, &task, &canceled)?, held)
    } else {
        let tokenizing = Arc::clone(engine);
        blocking(move || Ok((encode(&tokenizing, &task, &canceled)?, held))).await?
    };
    drop(wanted);
    engine.metrics().stage(Stage::Tokenize, started.elapsed());

    let key = caller::key(request);
    let allowance = key.as_ref().and_then(|key| key.rate_limit.as_ref());
    let tokens = encoded.iter().map(|request| request.ids().len()).sum();
    if let Some(allowance) = allowance {
        charge(request, allowance, tokens)?;
    }
    let scope = cache_scope(key.as_deref(), cache_salt.as_deref());
    let submitted = engine.submit(encoded, caller, scope.as_deref());
    let embeddings = match submitted {
        Ok(stream) => collect(stream, texts).await,
        Err(error) => Err(error.into()),
    };
    if let (Some(allowance), Err(error)) = (allowance, &embeddings)
        && error.is_rejection()
    {
        allowance.refund(tokens);
    }
    let embeddings = embeddings?;
    let mut counts = Counts {
        texts: embeddings.len(),
        tokens,
        ..Counts::default()
    };
    for embedding in &embeddings {
        counts.cached += usize::from(embedding.origin != Origin::Computed);
        counts.queued = counts.queued.max(embedding.queued);
        counts.infer = counts.infer.max(embedding.infer);
    }
    if counts.infer > Duration::ZERO {
        engine.metrics().stage(Stage::Queue, counts.queued);
        engine.metrics().stage(Stage::Infer, counts.infer);
    }
    engine.metrics().answered(counts.texts, counts.tokens);
    request.extensions_mut().insert(counts);
    match projection {
        Some(file) => project(file, embeddings, normalize, memory).await,
        None => Ok((embeddings, memory)),
    }
}

/// Products of more numbers than this are computed off the threads that serve connections: a millisecond and more.
const LARGE_PRODUCT: usize = 1 << 20;

/// Projects all vectors. The engine's caches hold them as they were before.
///
/// # Errors
/// A vector has no part along the components.
async fn project(
    file: Arc<ProjectionFile>,
    mut embeddings: Vec<Embedding>,
    normalize: bool,
    memory: Reservation,
) -> Result<(Vec<Embedding>, Reservation), ApiError> {
    let size = file.projection().input_width() * file.projection().output_width();
    let (wanted, canceled) = canceled_when_dropped();
    let is_large = size.saturating_mul(embeddings.len()) > LARGE_PRODUCT;
    let work = move || {
        for (index, embedding) in embeddings.iter_mut().enumerate() {
            canceled.check()?;
            let projection = file.projection();
            let projected = match normalize {
                true => projection.reduce_one(&embedding.vector),
                false => projection.coordinates_of(&embedding.vector),
            };
            embedding.vector = projected.map_err(|error| {
                let reason = format!("the vector of text {index} cannot be projected: {error}");
                ApiError::invalid("projection", reason)
            })?;
        }
        Ok((embeddings, memory))
    };
    let result = if is_large {
        blocking(work).await
    } else {
        work()
    };
    drop(wanted);
    result
}

/// Deducts tokens from a key's allowance.
///
/// # Errors
/// The key's bucket does not have them.
fn charge(request: &HttpRequest, allowance: &TokenBucket, tokens: usize) -> Result<(), ApiError> {
    match allowance.take(tokens) {
        Ok(left) => {
            tell_limits(request, Some(left));
            Ok(())
        }
        Err((left, retry_after)) => {
            tell_limits(request, Some(left));
            Err(ApiError::TokensPerMinute {
                limit: left.limit,
                retry_after,
            })
        }
    }
}

/// Waits for all embeddings of a request.
///
/// # Errors
/// That of the first text that has none.
async fn collect(mut stream: EmbeddingStream, texts: usize) -> Result<Vec<Embedding>, ApiError> {
    let mut embeddings = Vec::with_capacity(texts);
    while let Some(embedding) = stream.next().await {
        let item = (texts > 1).then_some(embeddings.len());
        embeddings.push(embedding.map_err(|source| ApiError::Runtime { item, source })?);
    }
    Ok(embeddings)
}

/// Puts the remaining limits into the response's headers.
fn tell_limits(request: &HttpRequest, left: Option<RateLimitStatus>) {
    if let Some(left) = left {
        request.extensions_mut().insert(left);
    }
}

/// The scope that separates cached states by key and by request.
fn cache_scope(key: Option<&ApiKey>, salt: Option<&str>) -> Option<String> {
    let key = key.and_then(ApiKey::cache_scope);
    match (key, salt) {
        (None, None) => None,
        (key, salt) => Some(format!(
            "{} salt {}",
            key.unwrap_or_default(),
            salt.unwrap_or_default()
        )),
    }
}

fn encode(
    engine: &Engine,
    task: &EmbeddingTask,
    canceled: &Canceled,
) -> Result<Vec<EncodedRequest>, ApiError> {
    engine.tokenizer().check_prompt(&task.prompt)?;
    let encode = |index, input| {
        canceled.check()?;
        let request = Request {
            input,
            prompt: task.prompt.clone(),
            dimensions: task.dimensions,
            truncate: task.truncate,
            // A projection takes unit vectors.
            normalize: task.normalize || task.projection.is_some(),
        };
        let item = (task.input.len() > 1).then_some(index);
        engine
            .encode(&request)
            .map_err(|source| ApiError::Runtime { item, source })
    };
    match &task.input {
        Input::Texts(texts) => {
            let texts = texts.iter().enumerate();
            texts
                .map(|(i, text)| encode(i, runtime::Input::Text(text.into())))
                .collect()
        }
        Input::Tokens(lists) => {
            let lists = lists.iter().enumerate();
            lists
                .map(|(i, ids)| encode(i, runtime::Input::Tokens(ids.into())))
                .collect()
        }
    }
}

/// Responses of more numbers than this are written off the threads that serve connections, because other requests
/// should not wait that long.
const LARGE_ANSWER: usize = 1 << 16;

/// The number of components of all vectors.
pub(super) fn numbers(embeddings: &[Embedding]) -> usize {
    embeddings.iter().map(|e| e.vector.len()).sum()
}

/// Writes a response of this many numbers as JSON, and sends it as part of `memory`.
///
/// # Errors
/// It cannot be written.
pub(super) async fn respond(
    mut response: HttpResponseBuilder,
    memory: Reservation,
    numbers: usize,
    write: impl FnOnce() -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Result<HttpResponse, ApiError> {
    let (json, memory) = if numbers > LARGE_ANSWER {
        blocking(move || Ok((write()?, memory))).await?
    } else {
        (write()?, memory)
    };
    Ok(response
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(memory.body(json)))
}
