//! `POST /embed`.

use std::time::Instant;

use actix_web::http::header::HeaderName;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use lexivec_runtime::metrics::Stage;
use lexivec_runtime::{Prompt, Truncate};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{json, prompt};
use crate::http::body::{self, Parsed};
use crate::http::counts::Counts;
use crate::http::errors::ApiError;
use crate::http::pipeline::{self, EmbeddingTask, numbers};
use crate::http::state::AppState;
use crate::http::types::input::Input;
use crate::http::types::integer::Integer;

/// The body of `POST /embed`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object with `inputs`")]
pub(crate) struct EmbedRequest {
    /// A text, texts, token ids, or lists of token ids.
    inputs: Input,
    /// Whether a text that is too long is truncated; off by default.
    truncate: Option<bool>,
    /// Which end of a text that is too long is dropped.
    truncation_direction: Option<TruncationDirection>,
    /// One of the checkpoint's prompts, put before each text.
    prompt_name: Option<String>,
    /// Whether vectors are scaled to unit length; on by default.
    normalize: Option<bool>,
    /// Width of the vectors, 1 to the model's.
    #[schema(value_type = Option<usize>, minimum = 1)]
    dimensions: Option<Integer>,
    /// Must be `float`; `POST /v1/embeddings` has base64.
    encoding_format: Option<FloatFormat>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
enum TruncationDirection {
    /// The start.
    #[serde(alias = "left")]
    Left,
    /// The end.
    #[serde(alias = "right")]
    Right,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FloatFormat {
    Float,
}

/// Embeds texts, as text-embeddings-inference does.
#[utoipa::path(post, path = "/embed", tag = "text-embeddings-inference", request_body = EmbedRequest,
    responses((status = 200, body = Vec<Vec<f32>>)))]
pub(crate) async fn embed(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Parsed {
        value: params,
        reservation,
    } = body::json::<EmbedRequest>(&state, &request, payload).await?;
    let (Some(FloatFormat::Float) | None) = params.encoding_format;
    let model = state.first_model()?;
    let prompt = match (&params.inputs, &params.prompt_name) {
        (Input::Tokens(_), None) => Prompt::None,
        (Input::Tokens(_), Some(_)) => {
            let reason =
                "a prompt is put before a text, but `inputs` has token ids: send text instead";
            return Err(ApiError::invalid("prompt_name", reason));
        }
        (Input::Texts(_), name) => prompt(&state, model, name.as_deref())?,
    };
    Counts::record_texts(&request, params.inputs.len());
    let task = EmbeddingTask {
        input: params.inputs,
        prompt,
        dimensions: params.dimensions.map(|Integer(width)| width as usize),
        projection: None,
        truncate: match (params.truncate, params.truncation_direction) {
            (None | Some(false), _) => Truncate::Reject,
            (Some(true), Some(TruncationDirection::Left)) => Truncate::Start,
            (Some(true), Some(TruncationDirection::Right) | None) => Truncate::End,
        },
        normalize: params.normalize.unwrap_or(true),
        cache_salt: None,
    };
    let started = Instant::now();
    let (embeddings, reservation) =
        pipeline::embed(&request, &state, model, task, reservation).await?;
    let tokens: usize = embeddings.iter().map(|e| e.tokens).sum();
    let ms = started.elapsed().as_millis();
    let respond = Instant::now();
    let numbers = numbers(&embeddings);
    let mut response = HttpResponse::Ok();
    response.insert_header((
        HeaderName::from_static("x-compute-tokens"),
        tokens.to_string(),
    ));
    response.insert_header((HeaderName::from_static("x-total-time"), ms.to_string()));
    let write = move || {
        let vectors: Vec<&[f32]> = embeddings.iter().map(|e| e.vector.as_slice()).collect();
        json(&vectors)
    };
    let response = pipeline::respond(response, reservation, numbers, write).await?;
    model
        .engine
        .metrics()
        .stage(Stage::Respond, respond.elapsed());
    Ok(response)
}
