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

mod fields;
mod ordered;

use fields::Fields;

/// The name of the file of settings.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The name of the file of matrices.
pub(crate) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// The name of the file of matrices in PyTorch's format, which is not read.
const ADAPTER_BIN: &str = "adapter_model.bin";

/// The field of ranks by module.
const RANKS: &str = "rank_pattern";

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
    /// The base model, as the adapter names it: a folder or a hub id (`base_model_name_or_path`). Empty if it names none.
    pub base: String,
    /// The base's revision on the hub.
    pub revision: Option<String>,
    rank: usize,
    alpha: f64,
    ranks: Patterns,
    alphas: Patterns,
    rank_stabilised: bool,
    /// The ends of the names of its modules (`target_modules`); `None` if a regular expression gives them.
    modules: Option<Vec<String>>,
    /// The layers that it changes (`layers_to_transform`); `None` for all.
    layers: Option<Vec<u64>>,
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
            base: fields.text("base_model_name_or_path")?.unwrap_or_default(),
            revision: fields.text("revision")?,
            rank: fields.rank()?,
            alpha: fields.number("lora_alpha", 8.0)?,
            ranks: Patterns::read(&path, RANKS)?,
            alphas: Patterns::read(&path, "alpha_pattern")?,
            rank_stabilised: fields.switch("use_rslora")?,
            modules: fields.modules()?,
            layers: fields.layers()?,
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

    /// The setting by which peft leaves out a module, and would ignore its matrices.
    pub fn left_out_by(&self, module: &str) -> Option<&'static str> {
        let ends = |end: &String| {
            let before = module.strip_suffix(end.as_str());
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        if self
            .modules
            .as_ref()
            .is_some_and(|ends_of| !ends_of.iter().any(ends))
        {
            return Some("target_modules");
        }
        let mut parts = module.split('.').skip_while(|part| *part != "layers");
        let layer = parts.nth(1).and_then(|index| index.parse().ok());
        let layers = self.layers.as_ref()?;
        let is_listed = layer.is_some_and(|layer| layers.contains(&layer));
        (!is_listed).then_some("layers_to_transform")
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
            let is_valid = match field {
                RANKS => is_rank(value),
                _ => value > 0.0,
            };
            match Regex::new(&anchored) {
                Ok(regex) if is_valid => Ok((regex, value)),
                Ok(_) => {
                    let number = if field == RANKS {
                        "a whole number"
                    } else {
                        "a number"
                    };
                    let reason =
                        format!("gives {value} to `{pattern}`; it must be {number} above 0");
                    Err(Error::invalid(path, field, reason))
                }
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

/// Whether a number can be a rank: whole, and above 0.
fn is_rank(number: f64) -> bool {
    number >= 1.0 && number.fract() == 0.0
}

#[cfg(test)]
mod tests;
