//! `GET /info`.

use actix_web::HttpResponse;
use actix_web::web::Data;
use lexivec_models::Precision;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::errors::ApiError;
use crate::http::state::AppState;
use crate::http::types::input::MAX_ITEMS;

/// The model and its limits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Info<'a> {
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
    embedding: EmbeddingPooling,
}

#[derive(Debug, Serialize, ToSchema)]
struct EmbeddingPooling {
    pooling: &'static str,
}

/// Describes the model, as text-embeddings-inference does.
#[utoipa::path(get, path = "/info", tag = "text-embeddings-inference", responses((status = 200, body = Info)))]
pub(crate) async fn info(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let served = state.first_model()?;
    let model = served.engine.model();
    Ok(HttpResponse::Ok().json(Info {
        model_id: &model.name,
        model_sha: &model.digest,
        model_dtype: model.precision.map_or("float32", Precision::as_str),
        model_type: ModelType {
            embedding: EmbeddingPooling {
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
