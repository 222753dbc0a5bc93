//! LoRA adapters: low-rank changes to a base model, saved by peft without the base.
//!
//! `adapter_config.json` says how the matrices of `adapter_model.safetensors` are applied. Each of its settings is implemented,
//! or known to have no effect, or rejected by name. None is ignored, because the vectors would be wrong and look right. The fields
//! are those of peft 0.21's `LoraConfig` and `PeftConfig`.

use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::read_json;
use crate::names::{CONFIG, WEIGHTS, WEIGHTS_INDEX};

/// The name of the file of settings.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The name of the file of matrices.
pub(crate) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// The name of the file of matrices in PyTorch's format, which is not read.
const ADAPTER_BIN: &str = "adapter_model.bin";

/// Fields that do not change what a trained adapter computes. Some describe its training; others name its modules, which the
/// tensors' names do as well. `fan_in_fan_out` is for Conv1D: peft switches it off for linear layers, and the models that
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
    "layers_to_transform",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "parent_library",
    "peft_version",
    "qalora_group_size",
    "runtime_config",
    "target_modules",
    "task_type",
];

/// Initialisations that leave the base unchanged. Others (`pissa`, `olora`, `corda`, `loftq`) move a part of the base's weights
/// into the adapter, so the adapter fits no released base.
const INITIALISATIONS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// The settings of an adapter.
///
/// ```
/// use lexivec_models::Adapter;
///
/// let dir = tempfile::tempdir()?;
/// assert!(Adapter::find(dir.path())?.is_none());
///
/// let config = r#"{"peft_type": "LORA", "base_model_name_or_path": "models/nano", "r": 8, "lora_alpha": 16}"#;
/// std::fs::write(dir.path().join("adapter_config.json"), config)?;
/// std::fs::write(dir.path().join("adapter_model.safetensors"), "")?;
/// let adapter = Adapter::find(dir.path())?.expect("the folder has an adapter");
/// assert!(Adapter::is_alone(dir.path()));
/// assert_eq!(adapter.base, "models/nano");
/// let module = "model.layers.0.self_attn.q_proj";
/// assert_eq!((adapter.rank(module), adapter.scale(module)), (8, 2.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adapter {
    /// The folder.
    pub dir: PathBuf,
    /// The base model, as the adapter names it: a folder or a hub id (`base_model_name_or_path`).
    pub base: String,
    /// The base's revision on the hub.
    pub revision: Option<String>,
    rank: usize,
    alpha: f64,
    ranks: Patterns,
    alphas: Patterns,
    rank_stabilised: bool,
}

/// Values for the modules whose names match a regular expression at their end. The first match in the order of the file counts.
#[derive(Debug, Clone, Default)]
struct Patterns(Vec<(Regex, f64)>);

impl Adapter {
    /// Whether `dir` holds an adapter without a base model. A base has a `config.json` and weights. Trainers save the former
    /// beside an adapter, too.
    pub fn is_alone(dir: &Path) -> bool {
        let has = |name: &str| dir.join(name).is_file();
        has(ADAPTER_CONFIG) && !(has(CONFIG) && (has(WEIGHTS) || has(WEIGHTS_INDEX)))
    }

    /// Reads the settings of the adapter in `dir`; none if there is no adapter.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an adapter that cannot be merged into its base exactly, [`Error::Missing`] for matrices
    /// without settings and settings without matrices, [`Error::Invalid`] and [`Error::Json`] for damaged settings.
    pub fn find(dir: &Path) -> Result<Option<Adapter>> {
        let path = dir.join(ADAPTER_CONFIG);
        if !path.is_file() {
            let matrices = [ADAPTER_WEIGHTS, ADAPTER_BIN];
            return match matrices.iter().find(|name| dir.join(name).is_file()) {
                // Without this error, the base alone would be served silently.
                Some(name) => {
                    let hint = format!(
                        "the folder holds {name} without it; download or save the adapter again, or remove {name} to use the \
                         base alone"
                    );
                    Err(Error::missing(path, hint))
                }
                None => Ok(None),
            };
        }
        let config: Map<String, Value> = read_json(&path)?;
        let fields = Fields {
            path: &path,
            fields: &config,
        };
        fields.check_kind()?;
        fields.check_others()?;
        let adapter = Adapter {
            dir: dir.to_path_buf(),
            base: fields.text("base_model_name_or_path").unwrap_or_default(),
            revision: fields.text("revision"),
            rank: fields.number("r", 8.0)? as usize,
            alpha: fields.number("lora_alpha", 8.0)?,
            ranks: Patterns::read(&path, "rank_pattern")?,
            alphas: Patterns::read(&path, "alpha_pattern")?,
            rank_stabilised: fields.get("use_rslora") == Some(&Value::Bool(true)),
        };
        let weights = adapter.weights();
        if !weights.is_file() {
            let hint = if dir.join(ADAPTER_BIN).is_file() {
                "the adapter is in PyTorch's .bin format, which can run code when read; save it as safetensors \
                 (peft: save_pretrained(…, safe_serialization=True))"
            } else {
                "the folder holds adapter_config.json without it; download or save the adapter again, or remove \
                 adapter_config.json to use the base alone"
            };
            return Err(Error::missing(weights, hint));
        }
        Ok(Some(adapter))
    }

    /// The path of the adapter's matrices.
    pub fn weights(&self) -> PathBuf {
        self.dir.join(ADAPTER_WEIGHTS)
    }

    /// The path of the adapter's settings.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join(ADAPTER_CONFIG)
    }

    /// The rank of a module's matrices; `module` is its name in the model that was trained, such as
    /// `model.layers.0.self_attn.q_proj`.
    pub fn rank(&self, module: &str) -> usize {
        self.ranks
            .of(module)
            .map_or(self.rank, |rank| rank as usize)
    }

    /// The factor for the product of a module's two matrices: alpha / r, or alpha / sqrt(r) for rsLoRA (arXiv 2312.03732).
    pub fn scale(&self, module: &str) -> f64 {
        let rank = self.rank(module) as f64;
        let alpha = self.alphas.of(module).unwrap_or(self.alpha);
        match self.rank_stabilised {
            true => alpha / rank.sqrt(),
            false => alpha / rank,
        }
    }
}

impl Patterns {
    /// Reads a field of `adapter_config.json`, in the order of its entries.
    fn read(path: &Path, field: &str) -> Result<Self> {
        let entries = ordered::entries(path, field)?;
        let compile = |(pattern, value): (String, f64)| {
            // peft: `re.match(rf"(.*\.)?({key})$", name)`.
            let anchored = format!(r"^(?:.*\.)?(?:{pattern})$");
            match Regex::new(&anchored) {
                Ok(regex) if value > 0.0 => Ok((regex, value)),
                Ok(_) => Err(Error::invalid(
                    path,
                    field,
                    format!("gives {value} to `{pattern}`; it must be above 0"),
                )),
                Err(error) => Err(Error::invalid(
                    path,
                    field,
                    format!("has the pattern `{pattern}`, which cannot be read: {error}"),
                )),
            }
        };
        entries
            .into_iter()
            .map(compile)
            .collect::<Result<_>>()
            .map(Self)
    }

    fn of(&self, module: &str) -> Option<f64> {
        let found = self.0.iter().find(|(pattern, _)| pattern.is_match(module));
        found.map(|(_, value)| *value)
    }
}

mod ordered {
    //! Reads the entries of a JSON object in their order, which `serde_json`'s own map does not keep.

    use std::fmt;
    use std::path::Path;

    use serde::de::{MapAccess, Visitor};
    use serde::{Deserialize, Deserializer};

    use crate::error::Result;
    use crate::files::read_json;

    #[derive(Deserialize, Default)]
    struct File {
        #[serde(default)]
        rank_pattern: Option<Entries>,
        #[serde(default)]
        alpha_pattern: Option<Entries>,
    }

    struct Entries(Vec<(String, f64)>);

    impl<'de> Deserialize<'de> for Entries {
        fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
            struct InOrder;
            impl<'de> Visitor<'de> for InOrder {
                type Value = Entries;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object of numbers")
                }

                fn visit_map<A: MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> std::result::Result<Entries, A::Error> {
                    let mut entries = Vec::new();
                    while let Some(entry) = map.next_entry()? {
                        entries.push(entry);
                    }
                    Ok(Entries(entries))
                }
            }
            from.deserialize_map(InOrder)
        }
    }

    pub(super) fn entries(path: &Path, field: &str) -> Result<Vec<(String, f64)>> {
        let file: File = read_json(path)?;
        let entries = match field {
            "rank_pattern" => file.rank_pattern,
            _ => file.alpha_pattern,
        };
        Ok(entries.map_or_else(Vec::new, |entries| entries.0))
    }
}

struct Fields<'a> {
    path: &'a Path,
    fields: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<String> {
        let text = self.get(key)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn number(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().filter(|n| *n > 0.0).ok_or_else(|| {
                let reason = format!("is {value}; it must be a number above 0");
                Error::invalid(self.path, key, reason)
            }),
        }
    }

    fn check_kind(&self) -> Result<()> {
        match self.text("peft_type").as_deref() {
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
    fn check_others(&self) -> Result<()> {
        const READ: &[&str] = &[
            "alpha_pattern",
            "base_model_name_or_path",
            "lora_alpha",
            "peft_type",
            "r",
            "rank_pattern",
            "revision",
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

#[cfg(test)]
mod tests;
