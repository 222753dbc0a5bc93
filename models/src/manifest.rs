//! The manifest of a converted model, `lexivec.json`.
//!
//! It says where the model came from, what it computes, which files belong to it with their digests, and how it
//! was verified. It is written last, to a sibling that is then renamed: a folder with a manifest is complete, a
//! folder without one is no model. Fields that a newer lexivec adds are ignored; another *format* is refused.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::SourceId;
use crate::decoder::Decoder;
use crate::digest::{FileRecord, hexadecimal};
use crate::error::{Error, Result};
use crate::files::{is_plain_relative, parse_json, read_text};
use crate::precision::{Attention, Blocks, GraphForm, Layout, LinearPrecision, Precision, Target};

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "lexivec.json";

/// The manifest format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 2;

/// Everything a server needs to know about a converted model besides its files' contents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format version, [`FORMAT_VERSION`] when written by this program.
    pub format: u32,
    /// The program that wrote it, such as `lexivec 0.1.0`.
    pub program: String,
    /// The checkpoint it was made from.
    pub source: Source,
    /// The architecture.
    pub decoder: Decoder,
    /// The number formats.
    pub precision: Precision,
    /// The operators used.
    pub target: Target,
    /// The form of attention in graphs of target `cuda`.
    #[serde(default)]
    pub attention: Attention,
    /// The graph's signature.
    pub layout: Layout,
    /// The most tokens of a text.
    pub max_length: usize,
    /// The widths to which an embedding may be cut.
    pub dimensions: Dimensions,
    /// Texts put before an input, by name.
    pub prompts: BTreeMap<String, String>,
    /// The name of the prompt used when none is asked for.
    pub default_prompt: Option<String>,
    /// Whose weight files these are.
    pub weights: WeightStorage,
    /// Every file of the model besides the manifest, by its path relative to the folder.
    pub files: BTreeMap<String, FileRecord>,
    /// How the conversion was verified.
    pub verification: Verification,
    /// What a session has to answer before it serves; none where nothing was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_answer: Option<KnownAnswer>,
    /// How weights are stored where they alone are integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Blocks>,
    /// How linear layers were quantised, where calibration decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// What a user should know about the model; full sentences.
    pub notes: Vec<String>,
}

/// A text and its vector, as the model computed them when it was verified: a session that computes another vector is damaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownAnswer {
    /// The text's token ids, special tokens included.
    pub tokens: Vec<u32>,
    /// The beginning of its vector, scaled to unit length.
    pub vector: Vec<f32>,
}

impl KnownAnswer {
    /// Whether a model of this architecture can compute it.
    fn fits(&self, decoder: &Decoder) -> bool {
        let is_known = |id: &u32| (*id as usize) < decoder.vocab_size;
        let widths = 1..=decoder.hidden_size;
        !self.tokens.is_empty()
            && self.tokens.iter().all(is_known)
            && widths.contains(&self.vector.len())
            && self.vector.iter().all(|value| value.is_finite())
    }
}

/// What calibration measured and decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Texts it was calibrated on.
    pub texts: usize,
    /// Tokens of these texts.
    pub tokens: usize,
    /// The cosine to float32 that every text was to keep.
    pub min_cosine_asked: f64,
    /// The mean cosine that was to be kept.
    #[serde(default)]
    pub mean_cosine_asked: f64,
    /// The least cosine found on these texts.
    pub min_cosine: f64,
    /// The mean cosine found on a part of these texts, for which nothing was rounded.
    pub mean_cosine: f64,
    /// Every linear group (layers that read the same input, such as query, key and value), in the order of the network.
    #[serde(alias = "products")]
    pub linear_layers: Vec<LinearPlan>,
}

/// How one linear group is computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearPlan {
    /// Its layers: `layers.0.self_attn.q_proj+k_proj+v_proj`.
    pub name: String,
    /// The number format.
    pub precision: LinearPrecision,
    /// SmoothQuant's strength; `None` if the group is not smoothed.
    pub smoothing: Option<f32>,
    /// How weights became codes: `nearest`, `clipped` or `gptq`.
    pub rounding: String,
    /// The mean of 1 - cosine if only this group is quantised, as coarsely as the precision allows.
    #[serde(alias = "effect")]
    pub sensitivity: f64,
}

/// The checkpoint a model was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name and commit.
    #[serde(flatten)]
    pub id: SourceId,
    /// The files that were read, by their path relative to the checkpoint.
    pub files: BTreeMap<String, FileRecord>,
}

/// The widths, in numbers, to which an embedding may be cut (Matryoshka representation learning); both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimensions {
    /// The narrowest.
    pub min: usize,
    /// The widest, which is the hidden size.
    pub max: usize,
}

impl Dimensions {
    /// What Qwen3-Embedding allows for a model of this width: any number of dimensions from 32 up to all of them.
    pub fn up_to(hidden_size: usize) -> Dimensions {
        Dimensions {
            min: hidden_size.min(32),
            max: hidden_size,
        }
    }

    /// Whether an embedding may be cut to `width`.
    pub fn contains(self, width: usize) -> bool {
        (self.min..=self.max).contains(&width)
    }
}

/// Whose weight files a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightStorage {
    /// Written by the conversion.
    Own,
    /// The checkpoint's safetensors, hard-linked: a write into one file changes the other.
    Linked,
    /// The checkpoint's safetensors, cloned: a file of its own that shares the checkpoint's blocks until one is written into.
    Cloned,
    /// The checkpoint's safetensors, copied because the folder is on another file system.
    Copied,
}

/// How a conversion was verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Verification {
    /// The model's vectors were compared with a reference and were close enough.
    Passed {
        /// What they were compared with.
        against: String,
        /// The execution provider that ran it.
        #[serde(default = "cpu")]
        on: String,
        /// How many texts were compared.
        texts: usize,
        /// The cosine similarity of the worst text.
        min_cosine: f64,
        /// The mean cosine similarity.
        mean_cosine: f64,
        /// The worst text.
        worst_text: String,
    },
    /// Nothing was compared.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// Who ran every verification before manifests said it.
fn cpu() -> String {
    "cpu".to_owned()
}

impl Manifest {
    /// Reads and checks the manifest of the model in `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where there is none, [`Error::Format`] where another version wrote it,
    /// [`Error::Json`] and [`Error::Invalid`] where it is damaged.
    pub fn read(dir: &Path) -> Result<Manifest> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
            #[serde(default)]
            program: String,
        }
        let path = dir.join(MANIFEST_FILE);
        if !path.is_file() {
            return Err(Error::missing(
                path,
                "this is no converted model, or its conversion did not finish; run `lexivec convert`",
            ));
        }
        let text = read_text(&path)?;
        // The format first: the fields of another one may have another meaning.
        let header: Header = parse_json(&text, &path)?;
        if header.format != FORMAT_VERSION {
            return Err(Error::Format {
                path,
                format: header.format,
                program: header.program,
            });
        }
        let manifest: Manifest = parse_json(&text, &path)?;
        manifest.check_fields(&path)?;
        Ok(manifest)
    }

    fn check_fields(&self, path: &Path) -> Result<()> {
        let names = self.files.keys().chain(self.source.files.keys());
        if let Some(bad) = names.into_iter().find(|name| !is_plain_relative(name)) {
            return Err(Error::invalid(
                path,
                "files",
                format!("names `{bad}`, which does not stay inside the folder"),
            ));
        }
        let Dimensions { min, max } = self.dimensions;
        if min == 0 || min > max || max > self.decoder.hidden_size {
            let reason = format!(
                "is {min} to {max}; the hidden size is {}",
                self.decoder.hidden_size
            );
            return Err(Error::invalid(path, "dimensions", reason));
        }
        if self.max_length == 0 {
            return Err(Error::invalid(
                path,
                "max_length",
                "is 0; at least 1 token is needed",
            ));
        }
        if let Some(known) = &self.known_answer
            && !known.fits(&self.decoder)
        {
            return Err(Error::invalid(
                path,
                "known_answer",
                "is none that this model could give: its tokens or its vector are not the model's",
            ));
        }
        match &self.default_prompt {
            Some(name) if !self.prompts.contains_key(name) => Err(Error::invalid(
                path,
                "default_prompt",
                format!("is `{name}`, which is not among the prompts"),
            )),
            _ => Ok(()),
        }
    }

    /// Writes the manifest into `dir`, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::NoSpace`] where it cannot be written, [`Error::Invalid`] for fields that
    /// [`read`](Self::read) would refuse.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(MANIFEST_FILE);
        self.check_fields(&path)?;
        let mut text = serde_json::to_string_pretty(self).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        text.push('\n');
        let sibling = dir.join(format!(".{MANIFEST_FILE}.{}", std::process::id()));
        let write = || {
            let mut file = fs_err::File::create(&sibling)?;
            file.write_all(text.as_bytes())?;
            // On the disk before the rename is: after a power failure the name must not point at an empty file.
            file.sync_all()?;
            fs_err::rename(&sibling, &path)
        };
        write().map_err(|source| {
            let _ = fs_err::remove_file(&sibling);
            Error::io(&path, source)
        })
    }

    /// What decides who can run the graph.
    pub fn form(&self) -> GraphForm {
        GraphForm {
            precision: self.precision,
            compute: self.blocks.map(|blocks| blocks.compute),
            target: self.target,
            attention: self.attention,
        }
    }

    /// Whether `dir` holds a converted model.
    pub fn is_model_dir(dir: &Path) -> bool {
        dir.join(MANIFEST_FILE).is_file()
    }

    /// Checks that every file of the model is in `dir` with its recorded size.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Invalid`] for the first file that is not.
    pub fn check(&self, dir: &Path) -> Result<()> {
        for (name, record) in &self.files {
            let path = dir.join(name);
            let Ok(metadata) = fs_err::metadata(&path) else {
                return Err(Error::missing(
                    path,
                    "the manifest names this file; convert the model again",
                ));
            };
            if metadata.len() != record.size {
                let reason = format!(
                    "is {} bytes, the manifest says {}; convert the model again",
                    metadata.len(),
                    record.size
                );
                return Err(Error::invalid(&path, "size", reason));
            }
        }
        Ok(())
    }

    /// Checks that every file of the model is in `dir` with its recorded digest; reads all of them.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check), [`Error::Io`], and [`Error::Invalid`] for a file that has changed.
    pub fn verify_digests(&self, dir: &Path) -> Result<()> {
        self.check(dir)?;
        for (name, record) in &self.files {
            let path = dir.join(name);
            if FileRecord::blake3(&path)? != *record {
                let linked =
                    self.weights == WeightStorage::Linked && name.ends_with(".safetensors");
                let how = match linked {
                    // `cp` writes into a file that is there.
                    true => {
                        "the checkpoint's file, which is the same by a hard link, was written into"
                    }
                    false => "the file has changed",
                };
                let reason =
                    format!("is not the one in the manifest: {how}; convert the model again");
                return Err(Error::invalid(&path, "digest", reason));
            }
        }
        Ok(())
    }

    /// Identifies the model: SHA-256, in hexadecimal, over the names and digests of its files in sorted order.
    ///
    /// Two folders with the same digest give the same vectors for the same token ids, whatever their notes say.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, record) in &self.files {
            // A name holds no zero byte and a digest no line feed, so the fields cannot run into each other.
            hasher.update(name.as_bytes());
            hasher.update([0]);
            hasher.update(record.digest.as_bytes());
            hasher.update(b"\n");
        }
        hexadecimal(&hasher.finalize())
    }
}

#[cfg(test)]
mod tests;
