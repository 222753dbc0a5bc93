//! The fields of `adapter_config.json`, each checked for its type, and the fields that are rejected.

use std::path::Path;

use serde_json::{Map, Value};

use super::{RANKS, is_rank};
use crate::error::{Error, Result};

/// Fields that do not change what a trained adapter computes. Most describe its training. `fan_in_fan_out` is for Conv1D: peft switches it off for linear layers, and the models that
/// lexivec reads have no other layers.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "base_model_class",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "parent_library",
    "peft_version",
    "qalora_group_size",
    "runtime_config",
    "task_type",
];

/// Initialisations that leave the base unchanged. Others (`pissa`, `olora`, `corda`, `loftq`) move a part of the base's weights
/// into the adapter, so the adapter fits no released base.
const INITIALISATIONS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// The fields of an adapter's settings.
pub(super) struct Fields<'a> {
    pub(super) path: &'a Path,
    pub(super) fields: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// The error for a value that is not `expected`.
    fn other_than(&self, key: &str, value: &Value, expected: &str) -> Error {
        Error::invalid(self.path, key, format!("is {value}; it must be {expected}"))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.other_than(key, other, "a text")),
        }
    }

    pub(super) fn number(&self, key: &str, default: f64) -> Result<f64> {
        self.number_if(key, default, |number| number > 0.0, "a number above 0")
    }

    pub(super) fn rank(&self) -> Result<usize> {
        let rank = self.number_if("r", 8.0, is_rank, "a whole number above 0")?;
        Ok(rank as usize)
    }

    fn number_if(
        &self,
        key: &str,
        default: f64,
        is_valid: fn(f64) -> bool,
        expected: &str,
    ) -> Result<f64> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let number = value.as_f64().filter(|number| is_valid(*number));
        number.ok_or_else(|| self.other_than(key, value, expected))
    }

    pub(super) fn switch(&self, key: &str) -> Result<bool> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(other) => Err(self.other_than(key, other, "true or false")),
        }
    }

    /// `target_modules`: a list of names, or a regular expression of Python's or `all-linear`, which need no check.
    pub(super) fn modules(&self) -> Result<Option<Vec<String>>> {
        let key = "target_modules";
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let names = match value {
            Value::String(_) => return Ok(None),
            Value::Array(names) => names.iter().map(|name| Some(name.as_str()?.to_owned())),
            other => return Err(self.other_than(key, other, "a list of names or a text")),
        };
        let names: Option<Vec<String>> = names.collect();
        let names =
            names.ok_or_else(|| self.other_than(key, value, "a list of names or a text"))?;
        Ok(Some(names).filter(|names| !names.is_empty()))
    }

    /// `layers_to_transform`: an index or a list of indices.
    pub(super) fn layers(&self) -> Result<Option<Vec<u64>>> {
        let key = "layers_to_transform";
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let layers: Option<Vec<u64>> = match value {
            Value::Array(layers) => layers.iter().map(Value::as_u64).collect(),
            one => one.as_u64().map(|layer| vec![layer]),
        };
        let expected = "the index of a layer, or a list of them";
        let layers = layers.ok_or_else(|| self.other_than(key, value, expected))?;
        Ok(Some(layers).filter(|layers| !layers.is_empty()))
    }

    pub(super) fn check_kind(&self) -> Result<()> {
        match self.text("peft_type")?.as_deref() {
            Some("LORA") => Ok(()),
            Some(other) => {
                let hint = "only LoRA is; merge the adapter with peft (merge_and_unload), and convert the result";
                Err(Error::unsupported(
                    self.path,
                    format!("an adapter of type `{other}`"),
                    hint,
                ))
            }
            None => Err(Error::invalid(self.path, "peft_type", "is missing")),
        }
    }

    /// Rejects every setting that is not implemented, including unknown ones of later peft releases.
    pub(super) fn check_others(&self) -> Result<()> {
        const READ: &[&str] = &[
            "alpha_pattern",
            "base_model_name_or_path",
            "lora_alpha",
            "peft_type",
            "layers_to_transform",
            "r",
            RANKS,
            "revision",
            "target_modules",
            "use_rslora",
        ];
        for (key, value) in self.fields {
            let harmless = match key.as_str() {
                "bias" => value == "none",
                "init_lora_weights" => value
                    .as_str()
                    .is_none_or(|name| INITIALISATIONS.contains(&name)),
                key => READ.contains(&key) || HARMLESS.contains(&key) || is_nothing(value),
            };
            if !harmless {
                let hint = "merge the adapter with peft (merge_and_unload), and convert the result";
                return Err(Error::unsupported(
                    self.path,
                    format!("an adapter with {key} {value}"),
                    hint,
                ));
            }
        }
        Ok(())
    }
}

/// Whether a setting has a value that switches it off.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
