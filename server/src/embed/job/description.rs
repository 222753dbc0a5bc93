//! What a job says about itself: in the record of an unfinished output, and in a file that has room for it.

use std::collections::BTreeMap;

use lexivec_runtime::{Engine, Prompt, Request};

use super::super::write::OutputFormat;
use super::Job;

impl Job {
    /// The settings that decide the vectors and which rows have one.
    pub(super) fn settings(
        &self,
        engine: &Engine,
        template: &Request<'_>,
    ) -> BTreeMap<String, String> {
        let model = engine.model();
        let dimensions = template.dimensions.unwrap_or(model.hidden_size);
        let settings = [
            ("model", format!("{} {}", model.name, model.digest)),
            ("prompt", recorded_prompt(&template.prompt)),
            ("dimensions", dimensions.to_string()),
            ("maximum length", model.max_length.to_string()),
            ("truncation", format!("{:?}", template.truncate)),
            ("format", self.format.as_str().to_owned()),
            ("--on-error", format!("{:?}", self.on_error)),
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
    pub(super) fn description(
        &self,
        engine: &Engine,
        template: &Request<'_>,
    ) -> Vec<(String, String)> {
        let model = engine.model();
        let dimensions = template.dimensions.unwrap_or(model.hidden_size);
        let projection = self.projection.as_deref();
        let width = projection.map_or(dimensions, |file| file.projection().output_width());
        let prompt = match &template.prompt {
            Prompt::None => None,
            Prompt::Instruction(text) => Some(("instruction", text.clone())),
            Prompt::Verbatim(text) => Some(("prompt", text.clone())),
        };
        let pairs = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("model", model.name.clone()),
            ("model_digest", model.digest.clone()),
            ("dimensions", width.to_string()),
        ];
        let projection = projection.map(|file| ("projection_digest", file.digest().to_owned()));
        let pairs = pairs.into_iter().chain(prompt).chain(projection);
        pairs
            .map(|(key, value)| (format!("lexivec.{key}"), value))
            .collect()
    }
}

/// The prompt as records of unfinished jobs contain it.
fn recorded_prompt(prompt: &Prompt) -> String {
    match prompt {
        Prompt::None => "None".to_owned(),
        Prompt::Instruction(text) => format!("Instruction({text:?})"),
        Prompt::Verbatim(text) => format!("Prompt({text:?})"),
    }
}
