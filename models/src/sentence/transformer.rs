//! The settings of sentence-transformers' Transformer module, and the tokenizer's limit.
//!
//! Up to sentence-transformers 5.3, `sentence_bert_config.json` holds `max_seq_length` and `do_lower_case`. Since 5.4 it says how
//! the network is called and how texts are prepared, and the limit is only in `tokenizer_config.json`
//! (`sentence_transformers/base/modules/transformer.py`, `Transformer.config_keys`). All releases also read arguments for loading
//! the model from it, under two names each (`Transformer._load_init_kwargs`). A setting that would change vectors is rejected by
//! name.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::read_json_if_there;

/// Arguments of the tokenizer that do not change the tokens of a single text.
const HARMLESS: [&str; 5] = [
    "padding",
    "padding_side",
    "pad_to_multiple_of",
    "return_tensors",
    "return_attention_mask",
];

/// Arguments for loading the tokenizer and the network that do not change vectors beyond the precision.
const HARMLESS_LOADING: [&str; 9] = [
    "attn_implementation",
    "device_map",
    "dtype",
    "padding_side",
    "revision",
    "token",
    "torch_dtype",
    "trust_remote_code",
    "use_fast",
];

/// Fields whose entries sentence-transformers passes to transformers when it loads a model. Each has had two names.
const LOADING: [&str; 6] = [
    "config_args",
    "config_kwargs",
    "model_args",
    "model_kwargs",
    "processor_kwargs",
    "tokenizer_args",
];

/// Reads `max_seq_length`; none if it is not set.
///
/// # Errors
/// [`Error::Unsupported`] for a setting that would change vectors; [`Error::Invalid`] for a length that is not a number.
pub(super) fn read(path: &Path) -> Result<Option<usize>> {
    let config: Map<String, Value> = read_json_if_there(path)?.unwrap_or_default();
    let config = Config {
        path,
        fields: &config,
    };
    if config.get("do_lower_case") == Some(&Value::Bool(true)) {
        let hint = "a model whose tokenizer.json does the lower-casing is";
        return Err(Error::unsupported(path, "do_lower_case", hint));
    }
    config.only("transformer_task", "feature-extraction")?;
    config.only("module_output_name", "token_embeddings")?;
    config.check_text_modality()?;
    config.check_processing()?;
    config.check_loading()?;
    for key in ["query_length", "document_length", "query_expansion"] {
        if config.get(key).is_some() {
            let hint = "one limit for all texts (model_max_length in tokenizer_config.json) is";
            return Err(Error::unsupported(path, key, hint));
        }
    }
    length(path, "max_seq_length", config.get("max_seq_length"))
}

/// Reads `model_max_length` of a `tokenizer_config.json`; none if it is not set.
///
/// # Errors
/// [`Error::Invalid`] for a length that is not a number.
pub(super) fn tokenizer_length(path: &Path) -> Result<Option<usize>> {
    let config: Map<String, Value> = read_json_if_there(path)?.unwrap_or_default();
    length(path, "model_max_length", config.get("model_max_length"))
}

/// Parses a number of tokens. transformers writes 10^30 for a tokenizer without a limit.
fn length(path: &Path, field: &str, value: Option<&Value>) -> Result<Option<usize>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            // The cast saturates.
            Some(tokens) if tokens >= 1.0 => Ok(Some(tokens as usize)),
            _ => Err(Error::invalid(
                path,
                field,
                format!("is {value}; it must be a number of tokens, at least 1"),
            )),
        },
    }
}

struct Config<'a> {
    path: &'a Path,
    fields: &'a Map<String, Value>,
}

impl Config<'_> {
    /// Returns a field if it exists and is not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn only(&self, key: &str, allowed: &str) -> Result<()> {
        match self.get(key) {
            Some(other) if other != allowed => {
                Err(self.unsupported(format!("{key} {other}"), &format!("only `{allowed}` is")))
            }
            _ => Ok(()),
        }
    }

    /// Rejects texts that go through a chat template, or vectors from another output than the last hidden state.
    fn check_text_modality(&self) -> Result<()> {
        let Some(modalities) = self.get("modality_config") else {
            return Ok(());
        };
        let text = modalities.get("text");
        let is = |key: &str, expected: &str| {
            let value = text.and_then(|text| text.get(key));
            value.is_some_and(|value| value == expected)
        };
        if is("method", "forward") && is("method_output_name", "last_hidden_state") {
            return Ok(());
        }
        let shown = text.map_or("without `text`".to_owned(), |text| {
            format!("with text {text}")
        });
        Err(self.unsupported(
            format!("a modality_config {shown}"),
            "texts must be embedded by `forward`, from its `last_hidden_state`",
        ))
    }

    /// Rejects arguments of the tokenizer's call that would change tokens.
    fn check_processing(&self) -> Result<()> {
        let Some(kwargs) = self.get("processing_kwargs") else {
            return Ok(());
        };
        for part in ["common", "text"] {
            let arguments = kwargs.get(part).and_then(Value::as_object);
            for (name, value) in arguments.into_iter().flatten() {
                let usual = name == "truncation" && value == &Value::Bool(true);
                if !usual && !value.is_null() && !HARMLESS.contains(&name.as_str()) {
                    return Err(self.unsupported(
                        format!("processing_kwargs with {part}.{name} {value}"),
                        "only padding and truncation to the maximum length are",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Rejects arguments that would load another configuration, network or tokenizer than the files beside this one describe.
    fn check_loading(&self) -> Result<()> {
        for field in LOADING {
            let arguments = self.get(field).and_then(Value::as_object);
            for (name, value) in arguments.into_iter().flatten() {
                if !value.is_null() && !HARMLESS_LOADING.contains(&name.as_str()) {
                    return Err(self.unsupported(
                        format!("{field} with {name} {value}"),
                        "write it into config.json or tokenizer_config.json instead",
                    ));
                }
            }
        }
        Ok(())
    }

    fn unsupported(&self, what: String, hint: &str) -> Error {
        Error::unsupported(self.path, what, hint)
    }
}
