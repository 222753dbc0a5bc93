//! text-embeddings-inference's routes, so that its clients need only another URL.
//!
//! Requests name no model: they use the first. Unsupported features are errors that name them: an `encoding_format`
//! other than float, and the routes of [other tasks](OTHER_TASKS).

use lexivec_runtime::Prompt;
use serde::Serialize;

use crate::http::errors::ApiError;
use crate::http::state::{AppState, ServedModel};
use crate::prefix::Choice;

pub(super) mod embed;
pub(super) mod info;
pub(super) mod tokenize;

/// text-embeddings-inference's routes that this server does not have. Its clients may call them, and read the 404.
pub(super) const OTHER_TASKS: [&str; 8] = [
    "/embed_all",
    "/embed_sparse",
    "/rerank",
    "/predict",
    "/similarity",
    "/decode",
    "/invocations",
    "/vertex",
];

/// Writes a response as JSON.
fn json(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))
}

/// The prompt of each text: one of the checkpoint's prompts, or its default.
fn prompt(state: &AppState, model: &ServedModel, name: Option<&str>) -> Result<Prompt, ApiError> {
    let choice = Choice {
        prompt_name: name,
        ..Choice::default()
    };
    Ok(choice.resolve(model.engine.model(), &state.instructions)?)
}
