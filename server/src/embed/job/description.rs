//! What a job says about itself: in the record of an unfinished output, and in a file that has room for it.

use std::collections::BTreeMap;

use lexivec_runtime::{Engine, Prompt, Request, Truncate};
use serde::{Deserialize, Serialize};

use super::super::settings::OnError;
use super::super::write::OutputFormat;
use super::Job;

/// What vectors are: the model and the settings that decide them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Description {
    model: String,
    model_digest: String,
    dimensions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    instruction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projection_digest: Option<String>,
}

impl Description {
    /// The description as metadata of a .parquet file.
    pub(super) fn metadata(self) -> Vec<(String, String)> {
        let pairs = [
            ("version", Some(env!("CARGO_PKG_VERSION").to_owned())),
            ("model", Some(self.model)),
            ("model_digest", Some(self.model_digest)),
            ("dimensions", Some(self.dimensions.to_string())),
            ("instruction", self.instruction),
            ("prompt", self.prompt),
            ("projection_digest", self.projection_digest),
        ];
        let pairs = pairs.into_iter();
        pairs
            .filter_map(|(key, value)| Some((format!("lexivec.{key}"), value?)))
            .collect()
    }
}

impl Job {
    /// The settings that decide the vectors and which rows have one.
    pub(super) fn settings(
        &self,
        engine: &Engine,
        template: &Request<'_>,
    ) -> BTreeMap<String, String> {
        let model = engine.model();
        let dimensions = template.dimensions.unwrap_or(model.hidden_size);
        let truncation = match template.truncate {
            Truncate::Reject => "none",
            Truncate::End => "end",
            Truncate::Start => "start",
        };
        let on_error = match self.on_error {
            OnError::Stop => "stop",
            OnError::Skip => "skip",
        };
        let settings = [
            ("model", format!("{} {}", model.name, model.digest)),
            ("prompt", recorded_prompt(&template.prompt)),
            ("dimensions", dimensions.to_string()),
            ("maximum length", model.max_length.to_string()),
            ("truncation", truncation.to_owned()),
            ("format", self.format.as_str().to_owned()),
            ("--on-error", on_error.to_owned()),
            ("--skip-empty", self.skip_empty.to_string()),
        ];
        let errors = self.rejects.identity().map(|path| ("--errors", path));
        let projection = self.projection.as_ref();
        let projection = projection.map(|file| ("--projection", file.digest().to_owned()));
        let is_parquet = self.format == OutputFormat::Parquet;
        let column = is_parquet.then(|| ("--vector-column", self.vector_column.clone()));
        let parts = self.parts.as_ref();
        let parts = parts.map(|parts| ("--part-rows", parts.most_rows().to_string()));
        let further = errors.into_iter().chain(projection).chain(column);
        let further = further.chain(parts);
        let settings = settings.into_iter().chain(further);
        settings
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// What a file of vectors says about them.
    pub(super) fn description(&self, engine: &Engine, template: &Request<'_>) -> Description {
        let model = engine.model();
        let dimensions = template.dimensions.unwrap_or(model.hidden_size);
        let projection = self.projection.as_deref();
        let width = projection.map_or(dimensions, |file| file.projection().output_width());
        let (instruction, prompt) = match &template.prompt {
            Prompt::None => (None, None),
            Prompt::Instruction(text) => (Some(text.clone()), None),
            Prompt::Verbatim(text) => (None, Some(text.clone())),
        };
        Description {
            model: model.name.clone(),
            model_digest: model.digest.clone(),
            dimensions: width,
            instruction,
            prompt,
            projection_digest: projection.map(|file| file.digest().to_owned()),
        }
    }
}

/// The prompt as records of unfinished jobs contain it.
fn recorded_prompt(prompt: &Prompt) -> String {
    match prompt {
        Prompt::None => "none".to_owned(),
        Prompt::Instruction(text) => format!("instruction {text:?}"),
        Prompt::Verbatim(text) => format!("prompt {text:?}"),
    }
}
