//! text-embeddings-inference's routes, so that its clients move by changing a URL: `POST /embed` (and `POST /`, which
//! huggingface_hub's InferenceClient asks), `POST /tokenize`, `GET /info`.
//!
//! They mean the first model. What is not served is refused by name: `encoding_format` other than float, and the routes
//! of other tasks (`/rerank`, `/predict`, `/embed_all`, `/embed_sparse`), which are not there.

use std::time::Instant;

use actix_web::http::header::{self, HeaderName};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use lexivec_models::Precision;
use lexivec_runtime::metrics::Stage;
use lexivec_runtime::{Prompt, Truncate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

use super::body::{self, Parsed};
use super::caller;
use super::error::ApiError;
use super::input::{Input, MAX_ITEMS};
use super::pipeline::{self, Job, blocking, canceled_when_dropped, numbers};
use super::state::{AppState, ServedModel};
use super::whole::Whole;
use crate::prefix::Choice;

/// The body of `POST /embed`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbedRequest {
    /// A text, texts, token ids, or lists of token ids.
    inputs: Input,
    /// Whether a text that is too long may be cut; off by default.
    truncate: Option<bool>,
    /// Which end is cut.
    truncation_direction: Option<Direction>,
    /// One of the checkpoint's prompts, put before each text.
    prompt_name: Option<String>,
    /// Whether vectors are scaled to unit length; on by default.
    normalize: Option<bool>,
    /// Width of the vectors, 1 to the model's.
    #[schema(value_type = Option<usize>, minimum = 1)]
    dimensions: Option<Whole>,
    /// Only `float` is served here; `POST /v1/embeddings` has base64.
    encoding_format: Option<Format>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
enum Direction {
    /// The beginning is cut.
    #[serde(alias = "left")]
    Left,
    /// The end is cut.
    #[serde(alias = "right")]
    Right,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Float,
}

/// Embeds texts, as text-embeddings-inference does.
#[utoipa::path(post, path = "/embed", tag = "text-embeddings-inference", request_body = EmbedRequest,
    responses((status = 200, body = Vec<Vec<f32>>)))]
pub(super) async fn embed(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Parsed {
        value: asked,
        share,
    } = body::json::<EmbedRequest>(&state, &request, payload).await?;
    let (Some(Format::Float) | None) = asked.encoding_format;
    let model = state.first_model()?;
    let prefix = match (&asked.inputs, &asked.prompt_name) {
        (Input::Tokens(_), None) => Prompt::None,
        (Input::Tokens(_), Some(_)) => {
            let reason =
                "a prompt goes before a text, and `inputs` is token ids: send text instead";
            return Err(ApiError::invalid("prompt_name", reason));
        }
        (Input::Texts(_), name) => prompt(&state, model, name.as_deref())?,
    };
    let job = Job {
        input: asked.inputs,
        prompt: prefix,
        dimensions: asked.dimensions.map(|Whole(width)| width as usize),
        truncate: match (asked.truncate, asked.truncation_direction) {
            (None | Some(false), _) => Truncate::Refuse,
            (Some(true), Some(Direction::Left)) => Truncate::Start,
            (Some(true), Some(Direction::Right) | None) => Truncate::End,
        },
        normalize: asked.normalize.unwrap_or(true),
        cache_salt: None,
    };
    let started = Instant::now();
    let (embeddings, share) = pipeline::embed(&request, &state, model, job, share).await?;
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
    let response = pipeline::respond(response, share, numbers, write).await?;
    model
        .engine
        .metrics()
        .stage(Stage::Respond, respond.elapsed());
    Ok(response)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))
}

fn prompt(state: &AppState, model: &ServedModel, name: Option<&str>) -> Result<Prompt, ApiError> {
    let choice = Choice {
        prompt_name: name,
        ..Choice::default()
    };
    Ok(choice.resolve(model.engine.model(), &state.instructions)?)
}

/// Most bytes of the texts of `POST /tokenize`: its answer may be a hundred times as large.
const MAX_TOKENIZED: usize = 1 << 20;
/// Bytes that a token of the answer takes, as a value and as JSON.
const TOKEN: usize = 160;

/// The body of `POST /tokenize`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenizeRequest {
    #[schema(schema_with = texts_schema)]
    inputs: Input,
    /// Whether the tokens that the tokenizer adds are shown; on by default.
    add_special_tokens: Option<bool>,
    /// One of the checkpoint's prompts, put before each text.
    prompt_name: Option<String>,
}

fn texts_schema() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let texts = ArrayBuilder::new().items(text());
    let texts = texts.min_items(Some(1)).max_items(Some(MAX_ITEMS));
    let described = OneOfBuilder::new().description(Some("A text or texts."));
    described.item(text()).item(texts).into()
}

/// A token of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SimpleToken {
    id: u32,
    text: String,
    special: bool,
    /// Its first character; none for special tokens.
    start: Option<usize>,
    /// The character behind it.
    stop: Option<usize>,
}

/// Shows the tokens of texts.
#[utoipa::path(post, path = "/tokenize", tag = "text-embeddings-inference", request_body = TokenizeRequest,
    responses((status = 200, body = Vec<Vec<SimpleToken>>)))]
pub(super) async fn tokenize(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Parsed {
        value: asked,
        mut share,
    } = body::json::<TokenizeRequest>(&state, &request, payload).await?;
    let model = state.first_model()?;
    let Input::Texts(texts) = asked.inputs else {
        let reason = "`inputs` is token ids already: send a text or texts";
        return Err(ApiError::invalid("inputs", reason));
    };
    let bytes: usize = texts.iter().map(String::len).sum();
    if bytes > MAX_TOKENIZED {
        let reason = format!(
            "the texts have {bytes} bytes; at most {MAX_TOKENIZED} are tokenised at a time"
        );
        return Err(ApiError::invalid("inputs", reason));
    }
    let caller = caller::caller(&request, state.request_timeout);
    let room = model.admit(texts.len(), caller)?;
    let prefix = prompt(&state, model, asked.prompt_name.as_deref())?;
    // A token has at least a byte.
    let most = bytes + prefix.apply("").len() * texts.len();
    share.add(most.saturating_mul(TOKEN))?;
    let special = asked.add_special_tokens.unwrap_or(true);
    let engine = model.engine.clone();
    let (_wanted, canceled) = canceled_when_dropped();
    let tokens = blocking(move || {
        let _room = room;
        let tokens = texts.iter().map(|text| {
            canceled.check()?;
            let tokens = engine.tokenizer().tokens(&prefix.apply(text), special)?;
            let simple = tokens.into_iter().map(|token| SimpleToken {
                id: token.id,
                text: token.text,
                special: token.place.is_none(),
                start: token.place.map(|p| p.0),
                stop: token.place.map(|p| p.1),
            });
            Ok(simple.collect::<Vec<_>>())
        });
        Ok((json(&tokens.collect::<Result<Vec<_>, ApiError>>()?)?, share))
    });
    let (json, share) = tokens.await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(share.body(json)))
}

/// What is served.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Info<'a> {
    model_id: &'a str,
    /// The digest of the model's files.
    model_sha: &'a str,
    /// Its precision.
    model_dtype: &'a str,
    model_type: ModelType,
    max_concurrent_requests: usize,
    max_input_length: usize,
    max_batch_tokens: usize,
    max_client_batch_size: usize,
    auto_truncate: bool,
    tokenization_workers: usize,
    version: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct ModelType {
    embedding: Pooling,
}

#[derive(Debug, Serialize, ToSchema)]
struct Pooling {
    pooling: &'static str,
}

/// Tells what is served, as text-embeddings-inference does.
#[utoipa::path(get, path = "/info", tag = "text-embeddings-inference", responses((status = 200, body = Info)))]
pub(super) async fn info(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let served = state.first_model()?;
    let model = served.engine.model();
    Ok(HttpResponse::Ok().json(Info {
        model_id: &model.name,
        model_sha: &model.digest,
        model_dtype: model.precision.map_or("float32", Precision::as_str),
        model_type: ModelType {
            embedding: Pooling {
                pooling: "last_token",
            },
        },
        max_concurrent_requests: served.capacity(),
        max_input_length: model.max_length,
        max_batch_tokens: served.max_batch_tokens,
        max_client_batch_size: MAX_ITEMS,
        auto_truncate: false,
        tokenization_workers: state.tokenizers,
        version: env!("CARGO_PKG_VERSION"),
    }))
}
