//! What the server has: `GET /v1/models`, `/v1/models/{id}` and `/v1/domains`.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use lexivec_models::{Instruction, Precision};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::errors::ApiError;
use crate::http::state::{AppState, ServedModel};

/// OpenAI's list.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// Always `list`.
    object: &'static str,
    data: Vec<T>,
}

/// A model: OpenAI's four fields, then ours.
#[derive(Serialize, ToSchema)]
pub(crate) struct Model<'a> {
    /// What requests call it.
    id: &'a str,
    object: &'static str,
    /// OpenAI has the time of publication here, which a model directory does not know.
    created: u64,
    owned_by: &'a str,
    dimensions: usize,
    min_dimensions: usize,
    max_length: usize,
    precision: Option<&'a str>,
    execution_provider: &'a str,
    prompts: Vec<&'a str>,
}

impl<'a> Model<'a> {
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
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, body = List<Model>)))]
pub(crate) async fn models(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(List {
        object: "list",
        data: state.models.iter().map(Model::of).collect(),
    })
}

/// Shows a model. Its id may hold a slash, plain or percent-encoded.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path, description = "the model's name")),
    responses((status = 200, body = Model)))]
pub(crate) async fn model(
    state: Data<AppState>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(Model::of(state.model(&id)?)))
}

/// An instruction of the registry; the document's shape of [`Instruction`], which is another crate's.
#[derive(ToSchema)]
#[schema(as = Instruction)]
#[allow(dead_code)]
pub(crate) struct InstructionSchema {
    /// What requests call it: the domain, or `domain/library`.
    name: String,
    domain: String,
    /// What it is put before.
    role: String,
    /// Its words.
    text: String,
    source: Option<String>,
    /// Other names that requests may call it by.
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
