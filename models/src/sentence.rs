//! The sentence-transformers files of a checkpoint: pooling, prompts and maximum length.
//!
//! lexivec always pools the last token and normalises by L2. A checkpoint that needs anything else is rejected, because its vectors
//! would be wrong and look right. A checkpoint without these files is assumed to use both, and its notes say so.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::{is_plain_relative, read_json, read_json_if_there};

/// The settings of the sentence-transformers files of a checkpoint with supported pooling and normalisation.
///
/// ```
/// use lexivec_models::SentenceConfig;
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// let config = SentenceConfig::read("models/nano".as_ref())?;
/// assert!(config.prompts["query"].starts_with("Instruct: "));
/// assert_eq!(config.longest(32_768), 4096);
/// assert_eq!(config.longest(512), 512);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SentenceConfig {
    /// Prompts, which are put before a text, by name (`prompts` in `config_sentence_transformers.json`). Qwen3-Embedding has
    /// `query` and `document`.
    pub prompts: BTreeMap<String, String>,
    /// The name of the prompt that requests without one get (`default_prompt_name`).
    pub default_prompt: Option<String>,
    /// The maximum length of a text in tokens (`max_seq_length` in `sentence_bert_config.json`).
    pub max_length: Option<usize>,
    /// The tokenizer's maximum length (`model_max_length` in `tokenizer_config.json`), in which sentence-transformers 5.4 and
    /// newer store the limit. It applies if `max_seq_length` is absent.
    pub(crate) tokenizer_length: Option<usize>,
    /// Whether last-token pooling and L2 normalisation are assumed, because there is no `modules.json`.
    pub assumed: bool,
    /// Remarks for the user about how the files were read, in full sentences.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

impl Module {
    /// The class without its path: `Pooling` of `sentence_transformers.models.Pooling`. Later releases moved the classes and kept
    /// their names.
    fn class(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or(&self.kind)
    }
}

#[derive(Deserialize, Default)]
struct Prompts {
    #[serde(default)]
    prompts: Option<BTreeMap<String, Option<String>>>,
    default_prompt_name: Option<String>,
    // Both exist since sentence-transformers 6.
    model_type: Option<String>,
    truncate_dim: Option<usize>,
}

impl SentenceConfig {
    /// Reads the sentence-transformers files of the checkpoint in `dir`. All of them are optional.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for pooling other than last-token and for modules besides Transformer, Pooling and
    /// Normalize; [`Error::Missing`] for a Pooling module without its config; [`Error::Invalid`] and
    /// [`Error::Json`] for damaged files.
    pub fn read(dir: &Path) -> Result<SentenceConfig> {
        let mut notes = Vec::new();
        let modules = read_modules(dir)?;
        match &modules {
            None => notes.push(
                "There is no modules.json: last-token pooling and L2 normalisation are assumed."
                    .to_string(),
            ),
            Some(modules) => check_modules(dir, modules, &mut notes)?,
        }
        let (prompts, default_prompt) =
            read_prompts(&dir.join("config_sentence_transformers.json"), &mut notes)?;
        Ok(SentenceConfig {
            prompts,
            default_prompt,
            max_length: transformer::read(&dir.join("sentence_bert_config.json"))?,
            tokenizer_length: transformer::tokenizer_length(&dir.join("tokenizer_config.json"))?,
            assumed: modules.is_none(),
            notes,
        })
    }

    /// Returns the maximum length of a text in tokens for a model with `max_positions`, as sentence-transformers 6.2 computes it:
    /// `max_seq_length`, else the tokenizer's `model_max_length`, and never more than `max_positions`.
    pub fn longest(&self, max_positions: usize) -> usize {
        let asked = self.max_length.or(self.tokenizer_length);
        asked.unwrap_or(usize::MAX).min(max_positions)
    }
}

/// Returns the config files of the modules that `modules.json` in `dir` lists, relative to `dir`.
pub(crate) fn module_configs(dir: &Path) -> Result<Vec<String>> {
    let modules = read_modules(dir)?.unwrap_or_default();
    Ok(modules
        .iter()
        .filter(|module| module.class() == "Pooling" || is_configured_normalize(module))
        .map(config_of)
        .collect())
}

/// sentence-transformers 6 writes a config for Normalize; older ones leave its folder empty.
fn is_configured_normalize(module: &Module) -> bool {
    module.class() == "Normalize" && !module.path.is_empty()
}

fn config_of(module: &Module) -> String {
    if module.path.is_empty() {
        "config.json".to_string()
    } else {
        format!("{}/config.json", module.path)
    }
}

fn read_modules(dir: &Path) -> Result<Option<Vec<Module>>> {
    let path = dir.join("modules.json");
    let modules: Option<Vec<Module>> = read_json_if_there(&path)?;
    for module in modules.iter().flatten() {
        if !module.path.is_empty() && !is_plain_relative(&module.path) {
            let reason = format!(
                "is `{}`, which does not stay inside the checkpoint",
                module.path
            );
            return Err(Error::invalid(&path, "path", reason));
        }
    }
    Ok(modules)
}

fn check_modules(dir: &Path, modules: &[Module], notes: &mut Vec<String>) -> Result<()> {
    let path = dir.join("modules.json");
    let classes: Vec<&str> = modules.iter().map(Module::class).collect();
    if let Some(other) = classes
        .iter()
        .find(|class| !matches!(**class, "Transformer" | "Pooling" | "Normalize"))
    {
        let hint = "a model of Transformer, Pooling (last token) and Normalize is";
        return Err(Error::unsupported(&path, format!("module `{other}`"), hint));
    }
    match classes[..] {
        ["Transformer", "Pooling", "Normalize"] => {}
        ["Transformer", "Pooling"] => notes.push(
            "modules.json has no Normalize module, but lexivec normalises vectors by L2: cosine similarities are \
             unchanged, dot products are not."
                .to_string(),
        ),
        _ => {
            let what = format!("the module sequence {}", classes.join(", "));
            return Err(Error::unsupported(&path, what, "Transformer, Pooling, Normalize is"));
        }
    }
    if !modules[0].path.is_empty() {
        let what = format!("a Transformer module in the folder `{}`", modules[0].path);
        return Err(Error::unsupported(
            &path,
            what,
            "move its files beside modules.json, with an empty path",
        ));
    }
    if let Some(normalize) = modules
        .iter()
        .find(|module| is_configured_normalize(module))
    {
        check_normalize(&dir.join(config_of(normalize)))?;
    }
    check_pooling(&dir.join(config_of(&modules[1])))
}

fn check_normalize(path: &Path) -> Result<()> {
    let config: Map<String, Value> = read_json_if_there(path)?.unwrap_or_default();
    for key in ["module_input_name", "module_output_name"] {
        match config.get(key) {
            None | Some(Value::Null) => {}
            Some(name) if name == "sentence_embedding" => {}
            Some(other) => {
                let what = format!("the {key} {other} of a Normalize module");
                return Err(Error::unsupported(
                    path,
                    what,
                    "only `sentence_embedding` is",
                ));
            }
        }
    }
    Ok(())
}

fn check_pooling(path: &Path) -> Result<()> {
    if !path.is_file() {
        return Err(Error::missing(
            path,
            "modules.json names this pooling config; download the checkpoint again",
        ));
    }
    let config: Map<String, Value> = read_json(path)?;
    // Older files have one switch for each mode, newer ones the name of one mode or several.
    let mut modes: Vec<&str> = config
        .iter()
        .filter(|(_, value)| **value == Value::Bool(true))
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .collect();
    match config.get("pooling_mode") {
        Some(Value::String(mode)) => modes.push(mode),
        Some(Value::Array(several)) => modes.extend(several.iter().filter_map(Value::as_str)),
        _ => {}
    }
    modes.retain(|mode| *mode != "lasttoken");
    if let Some(other) = modes.first() {
        let other = other.trim_end_matches("_tokens").trim_end_matches("_token");
        let hint =
            "only `lasttoken` is; a model trained with other pooling needs a server that has it";
        return Err(Error::unsupported(
            path,
            format!("pooling mode `{other}`"),
            hint,
        ));
    }
    let named = config
        .get("pooling_mode")
        .is_some_and(|mode| mode.is_string() || mode.is_array());
    if named || config.get("pooling_mode_lasttoken") == Some(&Value::Bool(true)) {
        Ok(())
    } else {
        // sentence-transformers would use mean pooling here.
        Err(Error::unsupported(
            path,
            "a pooling config that does not choose `lasttoken`",
            "only `lasttoken` is",
        ))
    }
}

fn read_prompts(
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<(BTreeMap<String, String>, Option<String>)> {
    let Prompts {
        prompts,
        default_prompt_name,
        model_type,
        truncate_dim,
    } = read_json_if_there(path)?.unwrap_or_default();
    if let Some(other) = model_type.filter(|kind| kind != "SentenceTransformer") {
        return Err(Error::unsupported(
            path,
            format!("model_type `{other}`"),
            "only `SentenceTransformer`, one dense vector for each text, is",
        ));
    }
    if let Some(width) = truncate_dim {
        notes.push(format!(
            "config_sentence_transformers.json truncates vectors to {width} dimensions (truncate_dim): lexivec returns the full \
             width unless a request asks for `dimensions` {width}."
        ));
    }
    let prompts: BTreeMap<_, _> = prompts
        .unwrap_or_default()
        .into_iter()
        .map(|(name, text)| (name, text.unwrap_or_default()))
        .collect();
    match &default_prompt_name {
        Some(name) if !prompts.contains_key(name) => {
            let reason = format!("is `{name}`, which is not among the prompts");
            Err(Error::invalid(path, "default_prompt_name", reason))
        }
        _ => Ok((prompts, default_prompt_name)),
    }
}

mod transformer;

#[cfg(test)]
mod tests;
