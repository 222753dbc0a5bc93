//! Checkpoint folders in the layout of Hugging Face.
//!
//! Opening a checkpoint reads every small file and finds the weights without reading them, so an unsupported model is rejected
//! at once. The checkpoint itself names its weight files; the names must not lead out of its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::adapter::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::files::{is_plain_name, read_json};
use crate::manifest::MANIFEST_FILE;
use crate::names::{CONFIG, SMALL_FILES, TOKENIZER, TOKENIZER_FILES, WEIGHTS, WEIGHTS_INDEX};
use crate::sentence::{SentenceConfig, module_configs};
use crate::source::SourceId;

/// A checkpoint that is complete and that lexivec can serve.
///
/// ```
/// use lexivec_models::{Checkpoint, Error};
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// assert!(Checkpoint::is_checkpoint("models/nano".as_ref()));
/// let checkpoint = Checkpoint::open("models/nano".as_ref())?;
/// assert_eq!(checkpoint.source.name, "nano");
/// assert_eq!(checkpoint.max_length(), 4096);
/// let names: Vec<_> = checkpoint.files().into_iter().map(|(name, _)| name).collect();
/// assert!(names.contains(&"model.safetensors".into()));
///
/// let error = Checkpoint::open("models".as_ref()).unwrap_err();
/// assert!(matches!(error, Error::Missing { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The folder; for a model with an adapter, the folder of the base.
    pub dir: PathBuf,
    /// The architecture, from `config.json`.
    pub decoder: Decoder,
    /// Pooling, prompts and maximum length, from the sentence-transformers files.
    pub sentence: SentenceConfig,
    /// The folder of the sentence-transformers files.
    sentence_dir: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// The safetensors files, in order of their names.
    pub weights: Vec<PathBuf>,
    /// The adapter that a conversion merges into the weights.
    pub adapter: Option<Adapter>,
    /// The model's source.
    pub source: SourceId,
    /// Remarks for the user about how the checkpoint was read, in full sentences.
    pub notes: Vec<String>,
    /// Whether weight files may hold tensors that the architecture does not use. [`open`](Self::open) sets it to `false`,
    /// because unused tensors are the only sign that config.json belongs to other weights.
    pub allow_unused_tensors: bool,
}

impl Checkpoint {
    /// Reads the checkpoint in `dir`, with the adapter beside its weights if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] for missing files, [`Error::Unsupported`] for a model that lexivec would not serve correctly, and the errors of [`Decoder::read`], [`SentenceConfig::read`] and [`Adapter::find`].
    pub fn open(dir: &Path) -> Result<Checkpoint> {
        let adapter = Adapter::find(dir)?;
        if let Some(adapter) = adapter.as_ref().filter(|_| Adapter::is_alone(dir)) {
            let hint = match adapter.base.as_str() {
                "" => "the folder holds an adapter without its base, which adapter_config.json does not name \
                       (base_model_name_or_path)"
                    .to_owned(),
                base => format!(
                    "the folder holds an adapter without its base, which is `{base}` (base_model_name_or_path)"
                ),
            };
            return Err(Error::missing(dir.join(WEIGHTS), hint));
        }
        Checkpoint::read(dir, adapter)
    }

    /// Reads the checkpoint in `base` with an adapter from another folder. The adapter's tokenizer and sentence-transformers
    /// files take precedence over the base's, because it was trained with them.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); [`Error::Unsupported`] if the base has an adapter of its own.
    pub fn open_adapted(adapter: Adapter, base: &Path) -> Result<Checkpoint> {
        if base.join(ADAPTER_CONFIG).is_file() {
            return Err(Error::unsupported(
                &adapter.config(),
                format!("a base that is an adapter itself ({})", base.display()),
                "merge that one into its base with peft (merge_and_unload), and name the result",
            ));
        }
        Checkpoint::read(base, Some(adapter))
    }

    fn read(dir: &Path, adapter: Option<Adapter>) -> Result<Checkpoint> {
        let config = dir.join(CONFIG);
        if !config.is_file() {
            return Err(Error::missing(&config, hint_without_config(dir)));
        }
        let own = adapter.as_ref().map_or(dir, |adapter| &adapter.dir);
        let first_with = |name: &str| match own.join(name).is_file() {
            true => own,
            false => dir,
        };
        let decoder = Decoder::read(&config)?;
        let sentence_dir = first_with("modules.json");
        let sentence = SentenceConfig::read(sentence_dir)?;
        let tokenizer = first_with(TOKENIZER).join(TOKENIZER);
        if !tokenizer.is_file() {
            let hint = "save the model's fast tokenizer there (transformers: AutoTokenizer.from_pretrained(…)\
                        .save_pretrained(…))";
            return Err(Error::missing(tokenizer, hint));
        }
        let weights = find_weights(dir)?;
        let mut notes = sentence.notes.clone();
        notes.extend(length_note(&decoder, &sentence));
        let mut source = SourceId::of(own);
        if let Some(adapter) = &adapter {
            let base = SourceId::of(dir);
            notes.push(format!(
                "The LoRA adapter of {} is merged into the weights of {}.",
                source.name, base.name
            ));
            // An adapter beside the weights has the same source.
            if adapter.dir == dir {
                source = base;
            }
        }
        Ok(Checkpoint {
            dir: dir.to_path_buf(),
            decoder,
            sentence,
            sentence_dir: sentence_dir.to_path_buf(),
            tokenizer,
            weights,
            source,
            notes,
            adapter,
            allow_unused_tensors: false,
        })
    }

    /// The maximum length of a text in tokens: the model's own limit, or a smaller one of `sentence_bert_config.json` or
    /// `tokenizer_config.json`.
    pub fn max_length(&self) -> usize {
        self.sentence.longest(self.decoder.max_positions)
    }

    /// Whether `dir` looks like a checkpoint: a `config.json` beside safetensors weights, or an adapter.
    pub fn is_checkpoint(dir: &Path) -> bool {
        let has = |name: &str| dir.join(name).is_file();
        Adapter::is_alone(dir) || has(CONFIG) && (has(WEIGHTS) || has(WEIGHTS_INDEX))
    }

    /// Every file that a conversion reads: its name in a model directory or in the checkpoint, and its path.
    pub fn files(&self) -> Vec<(PathBuf, PathBuf)> {
        let small = self.copied_files().into_iter();
        let small = small.map(|name| (name.clone(), self.path_of(&name)));
        let weights = self.weights.iter();
        let weights = weights.filter_map(|path| Some((path.file_name()?.into(), path.clone())));
        let adapter = self.adapter.iter();
        let adapter = adapter.flat_map(|adapter| {
            [
                (ADAPTER_CONFIG.into(), adapter.config()),
                (ADAPTER_WEIGHTS.into(), adapter.weights()),
            ]
        });
        small.chain(weights).chain(adapter).collect()
    }

    /// The path of one of the [small files](Self::copied_files). With an adapter, it is in the adapter's or the base's folder.
    pub fn path_of(&self, name: &Path) -> PathBuf {
        let tokenizer_dir = self.tokenizer.parent().unwrap_or(&self.dir);
        let folder = match name.to_str() {
            Some(CONFIG) => &self.dir,
            Some(name) if TOKENIZER_FILES.contains(&name) => tokenizer_dir,
            _ => &self.sentence_dir,
        };
        folder.join(name)
    }

    /// The small files to copy into a converted model, by their names there. Only files that exist are listed.
    pub fn copied_files(&self) -> Vec<PathBuf> {
        let modules = module_configs(&self.sentence_dir).unwrap_or_default();
        let names: BTreeSet<PathBuf> = SMALL_FILES
            .iter()
            .map(PathBuf::from)
            .chain(modules.iter().map(PathBuf::from))
            .collect();
        names
            .into_iter()
            .filter(|name| self.path_of(name).is_file())
            .collect()
    }
}

fn hint_without_config(dir: &Path) -> String {
    if dir.join(MANIFEST_FILE).is_file() {
        format!(
            "this is a converted model (it has {MANIFEST_FILE}); name the checkpoint that it was converted from"
        )
    } else if dir.is_dir() {
        "name a folder that holds a Hugging Face checkpoint".to_string()
    } else {
        "there is no such folder; name a checkpoint folder, or a hub id such as Qwen/Qwen3-Embedding-0.6B".to_string()
    }
}

fn length_note(decoder: &Decoder, sentence: &SentenceConfig) -> Option<String> {
    let asked = sentence
        .max_length
        .filter(|length| *length > decoder.max_positions)?;
    let most = decoder.max_positions;
    Some(format!(
        "sentence_bert_config.json asks for {asked} tokens, but the model supports {most}: {most} is used."
    ))
}

/// Finds the weight files of the checkpoint in `dir`: the single file, or the shards that the index names.
fn find_weights(dir: &Path) -> Result<Vec<PathBuf>> {
    let single = dir.join(WEIGHTS);
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = dir.join(WEIGHTS_INDEX);
    if !index.is_file() {
        let hint = hint_without_weights(dir);
        return Err(Error::missing(single, hint));
    }
    let shards: Vec<PathBuf> = shard_names(&index)?
        .into_iter()
        .map(|name| dir.join(name))
        .collect();
    match shards.iter().find(|shard| !shard.is_file()) {
        Some(absent) => Err(Error::missing(
            absent,
            format!("{WEIGHTS_INDEX} names this shard; download the checkpoint again"),
        )),
        None => Ok(shards),
    }
}

/// Returns the names of the shards in an index of sharded weights, in order.
pub(crate) fn shard_names(index: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index_file: Index = read_json(index)?;
    let names: BTreeSet<String> = index_file.weight_map.into_values().collect();
    if let Some(bad) = names
        .iter()
        .find(|name| !is_plain_name(name) || !name.ends_with(".safetensors"))
    {
        let reason = format!("names `{bad}`, which is not a safetensors file in the same folder");
        return Err(Error::invalid(index, "weight_map", reason));
    }
    if names.is_empty() {
        return Err(Error::invalid(index, "weight_map", "names no file"));
    }
    Ok(names.into_iter().collect())
}

/// The hint for a folder without a weight file, which depends on the weights of other names and formats in it.
fn hint_without_weights(dir: &Path) -> String {
    let entries = fs_err::read_dir(dir).into_iter().flatten().flatten();
    // Files that trainers save beside the weights.
    let other = ["training_args", "optimizer", "scheduler", "rng_state"];
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !other.iter().any(|other| name.starts_with(other)))
        .collect();
    names.sort();
    let ending = |endings: &[&str]| {
        let is_it = |name: &&String| endings.iter().any(|ending| name.ends_with(ending));
        names.iter().find(is_it)
    };
    let save =
        "save the model as safetensors (transformers: save_pretrained(…, safe_serialization=True))";
    if let Some(name) = ending(&[".safetensors"]) {
        format!(
            "the folder has {name}, and a checkpoint has {WEIGHTS}, or shards that {WEIGHTS_INDEX} names; download or save the \
             model again"
        )
    } else if ending(&[".bin", ".pt", ".pth", ".ckpt", ".bin.index.json"]).is_some() {
        format!("the weights are in PyTorch's .bin format, which can run code when read; {save}")
    } else if let Some(name) = ending(&[".gguf"]) {
        format!(
            "{name} has the weights in llama.cpp's format, which is not read; name the checkpoint that it was made from"
        )
    } else if let Some(name) = ending(&[".h5", ".msgpack"]) {
        format!(
            "{name} has the weights in the format of TensorFlow or Flax, which is not read; {save}"
        )
    } else {
        format!("a checkpoint has {WEIGHTS}, or shards named by {WEIGHTS_INDEX}")
    }
}

#[cfg(test)]
mod tests;
