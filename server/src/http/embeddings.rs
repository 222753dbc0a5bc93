//! `POST /v1/embeddings`.

use std::time::Instant;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use lexivec_runtime::Prompt;
use lexivec_runtime::metrics::Stage;

use super::answer;
use super::body::{self, Parsed};
use super::error::ApiError;
use super::input::Input;
use super::pipeline::{self, Job, numbers};
use super::request::EmbeddingsRequest;
use super::state::{AppState, ServedModel};
use crate::prefix::Choice;

/// Embeds a text, texts, token ids, or lists of token ids.
///
/// Also at `/embeddings`, for clients whose base URL has no `/v1`. The body may be compressed with gzip.
#[utoipa::path(post, path = "/v1/embeddings", tag = "embeddings", request_body = EmbeddingsRequest,
    responses((status = 200, body = answer::Embeddings)))]
pub(super) async fn create(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Parsed {
        value: asked,
        share,
    } = body::json::<EmbeddingsRequest>(&state, &request, payload).await?;
    let model = state.model(&asked.model)?;
    let prefix = prefix(&asked, model, &state)?;
    let format = asked.encoding_format;
    let job = Job {
        input: asked.input,
        prompt: prefix,
        dimensions: asked.dimensions,
        truncate: asked.truncate.into(),
        normalize: asked.normalize,
        cache_salt: asked.cache_salt,
    };
    let (embeddings, share) = pipeline::embed(&request, &state, model, job, share).await?;

    let started = Instant::now();
    let (name, numbers) = (model.name.clone(), numbers(&embeddings));
    let write = move || answer::json(&name, &embeddings, format);
    let response = pipeline::respond(HttpResponse::Ok(), share, numbers, write).await?;
    model
        .engine
        .metrics()
        .stage(Stage::Respond, started.elapsed());
    Ok(response)
}

/// What stands before the texts. Token ids are a whole prompt already.
fn prefix(
    asked: &EmbeddingsRequest,
    model: &ServedModel,
    state: &AppState,
) -> Result<Prompt, ApiError> {
    let choice = Choice {
        instruction: asked.instruction.as_deref(),
        domain: asked.domain.as_deref(),
        prompt_name: asked.prompt_name.as_deref(),
    };
    match (&asked.input, choice.given()) {
        (Input::Texts(_), _) => Ok(choice.resolve(model.engine.model(), &state.instructions)?),
        (Input::Tokens(_), None) if state.refuse_token_ids => {
            let reason = "this server takes no token ids, for they may be another model's: send text instead \
                          (LangChain: check_embedding_ctx_length=False)";
            Err(ApiError::invalid("input", reason))
        }
        (Input::Tokens(_), None) => Ok(Prompt::None),
        (Input::Tokens(_), Some(field)) => {
            let reason = format!(
                "`{field}` goes before a text, and `input` is token ids: send text instead"
            );
            Err(ApiError::invalid(field, reason))
        }
    }
}
