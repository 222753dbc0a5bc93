//! What the server has: `GET /v1/models`, `/v1/domains` and `/health`.

use actix_web::HttpResponse;
use actix_web::web::Data;
use lexivec_models::{Instruction, Precision};
use serde::Serialize;

use super::state::{AppState, ServedModel};

#[derive(Serialize)]
struct List<T> {
    object: &'static str,
    data: Vec<T>,
}

/// OpenAI's four fields, then ours.
#[derive(Serialize)]
struct Model<'a> {
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

pub(super) async fn models(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(List {
        object: "list",
        data: state.models.iter().map(Model::of).collect(),
    })
}

pub(super) async fn domains(state: Data<AppState>) -> HttpResponse {
    let data: Vec<&Instruction> = state.instructions.iter().collect();
    HttpResponse::Ok().json(List {
        object: "list",
        data,
    })
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}
