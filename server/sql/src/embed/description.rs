//! What a plan says about the model: enough to know the type of the vectors, and to refuse another model.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use datafusion::logical_expr::{ReturnFieldArgs, ScalarUDF};
use lexivec::ModelInfo;
use serde::{Deserialize, Serialize};

use super::arguments::{Constants, failed};

/// The model of a plan, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Description {
    /// lexivec's version.
    pub(crate) version: String,
    /// The model's name.
    pub(crate) model: String,
    /// Identifies its weights and its graph.
    pub(crate) model_digest: String,
    /// Width of a full vector.
    pub(crate) width: usize,
    /// Whether texts that are too long are truncated.
    pub(crate) truncate: bool,
}

const PREFIX: &str = "lexivec.";

impl Description {
    pub(crate) fn new(info: &ModelInfo, truncate: bool) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: info.name.clone(),
            model_digest: info.digest.clone(),
            width: info.hidden_size,
            truncate,
        }
    }

    /// The metadata of a column of vectors, with the keys of `lexivec embed`. The instruction is the argument as the query has it.
    pub(super) fn metadata(&self, constants: &Constants) -> HashMap<String, String> {
        let truncate = self.truncate.then(|| "true".to_owned());
        let pairs = [
            ("version", Some(self.version.clone())),
            ("model", Some(self.model.clone())),
            ("model_digest", Some(self.model_digest.clone())),
            ("dimensions", Some(constants.dimensions.to_string())),
            ("instruction", constants.instruction.clone()),
            ("truncate", truncate),
        ];
        let pairs = pairs.into_iter();
        pairs
            .filter_map(|(key, value)| Some((format!("{PREFIX}{key}"), value?)))
            .collect()
    }

    /// The description that a registered function has.
    ///
    /// DataFusion's wrapper of asynchronous functions hides what it wraps. The type of its result has the description, so this asks for
    /// the type of `embed(text)`.
    ///
    /// # Errors
    /// The function is not [`Embed`](super::Embed).
    pub(crate) fn of(function: &ScalarUDF) -> Result<Self> {
        let text = Arc::new(Field::new("text", DataType::Utf8, true));
        let field = function.return_field_from_args(ReturnFieldArgs {
            arg_fields: &[text],
            scalar_arguments: &[None],
        })?;
        let found = |key: &str| field.metadata().get(&format!("{PREFIX}{key}"));
        let (Some(version), Some(model), Some(model_digest), Some(width)) = (
            found("version"),
            found("model"),
            found("model_digest"),
            found("dimensions").and_then(|width| width.parse().ok()),
        ) else {
            return failed("another function has this name, and is not lexivec's");
        };
        Ok(Self {
            version: version.clone(),
            model: model.clone(),
            model_digest: model_digest.clone(),
            width,
            truncate: found("truncate").is_some(),
        })
    }

    /// Checks that the model of a process computes what a plan asks for.
    ///
    /// # Errors
    /// The versions or the models differ.
    pub(crate) fn check(&self, here: &Self) -> Result<()> {
        if self.version != here.version {
            return failed(&format!(
                "the plan was made by lexivec {}, and this executor is lexivec {}: run the same version everywhere",
                self.version, here.version
            ));
        }
        if self.model_digest != here.model_digest {
            return failed(&format!(
                "the plan needs the model {} with the digest {}, and this executor has {} with {}: give the executors and the query the \
                 same model in the same precision",
                self.model,
                short(&self.model_digest),
                here.model,
                short(&here.model_digest)
            ));
        }
        Ok(())
    }
}

/// The beginning of a digest, which is enough to tell two apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
