//! From inputs to vectors, for every route that embeds.
//!
//! Room for all texts is taken first, or the request is refused at once; then they are tokenised, queued, and awaited.
//! When the client goes or the time is up, the future is dropped, its receivers with it, and the queue discards what
//! has not been computed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt::time::timeout;
use actix_web::{HttpMessage, HttpRequest, web};
use lexivec_runtime::metrics::Stage;
use lexivec_runtime::{self as runtime, Embedding, Encoding, Engine, Origin, Prefix, Request};
use lexivec_runtime::{Error as RuntimeError, Truncate};

use super::error::ApiError;
use super::input::Input;
use super::log::Counts;
use super::state::{AppState, ServedModel};

/// Texts of at most this many bytes together are tokenised where they are: that takes less time than handing them to
/// another thread.
const SMALL_INPUT: usize = 512;

/// What to embed, and how.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) input: Input,
    pub(super) prefix: Prefix,
    pub(super) dimensions: Option<usize>,
    pub(super) truncate: Truncate,
    pub(super) normalize: bool,
}

/// Embeds; the result is in the order of the inputs.
///
/// # Errors
/// The job is invalid, there is no room or no time for it, or the engine fails.
pub(super) async fn embed(
    request: &HttpRequest,
    state: &AppState,
    model: &ServedModel,
    job: Job,
) -> Result<Vec<Embedding>, ApiError> {
    let limit = state.request_timeout;
    let work = within(request, model, job);
    timeout(limit, work)
        .await
        .unwrap_or(Err(ApiError::DeadlineExceeded { limit }))
}

async fn within(
    request: &HttpRequest,
    model: &ServedModel,
    job: Job,
) -> Result<Vec<Embedding>, ApiError> {
    let engine = &model.engine;
    engine.check_dimensions(job.dimensions)?;
    // The permits go where the work goes, and are held until it ends even if this future is dropped.
    let permits = model.admit(job.input.len())?;
    let (dimensions, normalize) = (job.dimensions, job.normalize);
    let started = Instant::now();
    let (encodings, _permits) = if job.input.bytes() <= SMALL_INPUT {
        (encode(engine, &job)?, permits)
    } else {
        let tokenizing = Arc::clone(engine);
        blocking(move || Ok((encode(&tokenizing, &job)?, permits))).await?
    };
    engine.metrics().stage(Stage::Tokenize, started.elapsed());

    let pending = engine.submit(encodings.iter().map(|e| e.ids.clone()).collect())?;
    let mut counts = Counts {
        texts: encodings.len(),
        tokens: encodings.iter().map(|e| e.ids.len()).sum(),
        ..Counts::default()
    };
    let mut embeddings = Vec::with_capacity(encodings.len());
    let several = encodings.len() > 1;
    for (index, (reply, encoding)) in pending.into_iter().zip(encodings).enumerate() {
        let answer = reply.await.unwrap_or(Err(RuntimeError::ShuttingDown));
        let answer = answer.map_err(|source| ApiError::Runtime {
            item: several.then_some(index),
            source,
        })?;
        counts.cached += usize::from(answer.origin != Origin::Computed);
        counts.queued = counts.queued.max(answer.queued);
        counts.infer = counts.infer.max(answer.infer);
        embeddings.push(engine.finish(&answer, &encoding, dimensions, normalize));
    }
    if counts.infer > Duration::ZERO {
        engine.metrics().stage(Stage::Queue, counts.queued);
        engine.metrics().stage(Stage::Infer, counts.infer);
    }
    engine.metrics().answered(counts.texts, counts.tokens);
    request.extensions_mut().insert(counts);
    Ok(embeddings)
}

fn encode(engine: &Engine, job: &Job) -> Result<Vec<Encoding>, ApiError> {
    let encode = |index, input| {
        let request = Request {
            input,
            prefix: job.prefix.clone(),
            dimensions: job.dimensions,
            truncate: job.truncate,
            normalize: job.normalize,
        };
        let item = (job.input.len() > 1).then_some(index);
        engine
            .encode(&request)
            .map_err(|source| ApiError::Runtime { item, source })
    };
    match &job.input {
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

/// Runs work that takes long off the threads that serve connections.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    web::block(work)
        .await
        .map_err(|error| ApiError::Internal(error.to_string()))?
}
