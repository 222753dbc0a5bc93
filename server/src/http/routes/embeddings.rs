//! `POST /v1/embeddings`.

use std::sync::Arc;
use std::time::Instant;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use lexivec_runtime::Prompt;
use lexivec_runtime::metrics::Stage;

use crate::http::body::{self, Parsed};
use crate::http::counts::Counts;
use crate::http::errors::ApiError;
use crate::http::pipeline::{self, EmbeddingTask, numbers};
use crate::http::state::{AppState, ServedModel};
use crate::http::types::embeddings_request::EmbeddingsRequest;
use crate::http::types::embeddings_response;
use crate::http::types::input::Input;
use crate::http::types::integer::Integer;
use crate::prefix::Choice;
use crate::projections::ProjectionFile;

/// Embeds a text, texts, token ids, or lists of token ids.
///
/// Also at `/embeddings`, for clients whose base URL has no `/v1`. The body may be compressed with gzip.
#[utoipa::path(post, path = "/v1/embeddings", tag = "embeddings", request_body = EmbeddingsRequest,
    responses((status = 200, body = embeddings_response::EmbeddingsSchema)))]
pub(crate) async fn create(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Parsed {
        value: params,
        reservation,
    } = body::json::<EmbeddingsRequest>(&state, &request, payload).await?;
    let model = state.model(&params.model)?;
    let prompt = prompt(&params, model, &state)?;
    let projection = projection(&params, model, &state)?;
    let format = params.encoding_format.unwrap_or_default();
    Counts::record_texts(&request, params.input.len());
    let task = EmbeddingTask {
        input: params.input,
        prompt,
        dimensions: match &projection {
            Some(file) => Some(file.projection().input_width()),
            None => params.dimensions.map(|Integer(width)| width as usize),
        },
        projection,
        truncate: params.truncate.unwrap_or_default().into(),
        normalize: params.normalize.unwrap_or(true),
        cache_salt: params.cache_salt,
    };
    let (embeddings, reservation) =
        pipeline::embed(&request, &state, model, task, reservation).await?;

    let started = Instant::now();
    let (name, numbers) = (model.name.clone(), numbers(&embeddings));
    let write = move || embeddings_response::json(&name, &embeddings, format);
    let response = pipeline::respond(HttpResponse::Ok(), reservation, numbers, write).await?;
    model
        .engine
        .metrics()
        .stage(Stage::Respond, started.elapsed());
    Ok(response)
}

/// The projection that the request names.
fn projection(
    params: &EmbeddingsRequest,
    model: &ServedModel,
    state: &AppState,
) -> Result<Option<Arc<ProjectionFile>>, ApiError> {
    let Some(name) = &params.projection else {
        return Ok(None);
    };
    let invalid = |reason: String| ApiError::invalid("projection", reason);
    let file = state.projections.get(name).map_err(invalid)?;
    let unfit = |error| invalid(format!("the projection `{name}` does not fit: {error}"));
    file.check_engine(&model.engine).map_err(unfit)?;
    let width = file.projection().output_width();
    if let Some(Integer(asked)) = params.dimensions
        && asked as usize != width
    {
        let reason = format!(
            "`dimensions` is {asked}, and the projection `{name}` returns {width} dimensions: leave `dimensions` out"
        );
        return Err(ApiError::invalid("dimensions", reason));
    }
    Ok(Some(Arc::clone(file)))
}

/// The prompt of the texts. Token ids are a complete prompt already.
fn prompt(
    params: &EmbeddingsRequest,
    model: &ServedModel,
    state: &AppState,
) -> Result<Prompt, ApiError> {
    let choice = Choice {
        instruction: params.instruction.as_deref(),
        domain: params.domain.as_deref(),
        prompt_name: params.prompt_name.as_deref(),
    };
    match (&params.input, choice.given()) {
        (Input::Texts(_), _) => Ok(choice.resolve(model.engine.model(), &state.instructions)?),
        (Input::Tokens(_), None) if state.refuse_token_ids => {
            let reason = "this server accepts no token ids, because they may be another model's: send text instead \
                          (LangChain: check_embedding_ctx_length=False)";
            Err(ApiError::invalid("input", reason))
        }
        (Input::Tokens(_), None) => Ok(Prompt::None),
        (Input::Tokens(_), Some(field)) => {
            let reason = format!(
                "`{field}` is put before a text, but `input` has token ids: send text instead"
            );
            Err(ApiError::invalid(field, reason))
        }
    }
}
