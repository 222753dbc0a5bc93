//! Models and instructions: `GET /v1/models`, `/v1/models/{id}` and `/v1/domains`.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use lexivec_models::{Instruction, Precision};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::errors::ApiError;
use crate::http::state::{AppState, ServedModel};

/// A list in OpenAI's format.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// Always `list`.
    object: &'static str,
    data: Vec<T>,
}

/// A model: OpenAI's four fields, then lexivec's.
#[derive(Serialize, ToSchema)]
#[schema(as = Model)]
pub(crate) struct ModelEntry<'a> {
    /// The model's name in requests.
    id: &'a str,
    object: &'static str,
    /// Always 0. OpenAI has the time of publication here, which a model directory does not record.
    created: u64,
    owned_by: &'a str,
    dimensions: usize,
    min_dimensions: usize,
    max_length: usize,
    precision: Option<&'a str>,
    execution_provider: &'a str,
    prompts: Vec<&'a str>,
}

impl<'a> ModelEntry<'a> {
    fn of(served: &'a ServedModel) -> Self {
        let model = served.engine.model();
        Self {
            id: &served.name,
            object: "model",
            created: 0,
            owned_by: model
                .name
                .split_once('/')
                .map_or("lexivec", |(owner, _)| owner),
            dimensions: model.hidden_size,
            min_dimensions: model.dimensions.min,
            max_length: model.max_length,
            precision: model.precision.map(Precision::as_str),
            execution_provider: &served.provider,
            prompts: model.prompts.keys().map(String::as_str).collect(),
        }
    }
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, body = List<ModelEntry>)))]
pub(crate) async fn models(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(List {
        object: "list",
        data: state.models.iter().map(ModelEntry::of).collect(),
    })
}

/// Shows a model. Its id may hold a slash, plain or percent-encoded.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path, description = "the model's name")),
    responses((status = 200, body = ModelEntry)))]
pub(crate) async fn model(
    state: Data<AppState>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(ModelEntry::of(state.model(&id)?)))
}

/// An instruction of the registry. This is the schema of [`Instruction`], which is another crate's type.
#[derive(ToSchema)]
#[schema(as = Instruction)]
#[allow(dead_code)]
pub(crate) struct InstructionSchema {
    /// Its name in requests: the domain, or `domain/library`.
    name: String,
    domain: String,
    /// The texts that it is put before: queries or documents.
    role: String,
    /// The instruction itself.
    text: String,
    source: Option<String>,
    /// Other names in requests.
    aliases: Vec<String>,
}

/// Lists the instructions by domain.
#[utoipa::path(get, path = "/v1/domains", tag = "models", responses((status = 200, body = List<InstructionSchema>)))]
pub(crate) async fn domains(state: Data<AppState>) -> HttpResponse {
    let data: Vec<&Instruction> = state.instructions.iter().collect();
    HttpResponse::Ok().json(List {
        object: "list",
        data,
    })
}
