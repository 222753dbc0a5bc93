//! The manifest of a converted model, `lexivec.json`.
//!
//! It records the model's source, architecture and number formats, its files with their digests, and the result of
//! verification. It is written last, to another name that is then renamed, so a folder with a manifest is complete and a
//! folder without one is not a model. Fields that a newer lexivec adds are ignored; another *format* is rejected.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decoder::Decoder;
use crate::digest::FileRecord;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::precision::{AttentionForm, Blocks, GraphForm, Layout, Precision, Target};
use crate::source::SourceId;

mod check;
mod graph;
mod parse;
mod quantization;
mod verification;

use parse::parse;

pub use quantization::{LinearGroupPlan, Quantization};
pub use verification::{KnownAnswer, Verification};

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "lexivec.json";

/// The manifest format that this program writes. It rises when an older program would compute a newer model wrongly: operators ignore
/// attributes that they do not know. Format 3 has inputs that are rotated.
pub const FORMAT_VERSION: u32 = 3;
/// The oldest format that this program reads.
pub(crate) const OLDEST_FORMAT: u32 = 2;

/// Everything that a server needs to know about a converted model besides the contents of its files.
///
/// ```
/// use lexivec_models::Manifest;
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// // nano is a checkpoint, which has not been converted.
/// assert!(!Manifest::is_model_dir("models/nano".as_ref()));
/// let error = Manifest::read("models/nano".as_ref()).unwrap_err();
/// assert!(error.to_string().contains("lexivec convert"));
/// # Ok::<(), std::io::Error>(())
/// ```
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
    /// The operators that the graph uses.
    pub target: Target,
    /// The form of attention in graphs of target `cuda`.
    #[serde(default)]
    pub attention: AttentionForm,
    /// The graph's signature.
    pub layout: Layout,
    /// The most tokens of a text.
    pub max_length: usize,
    /// The widths to which an embedding may be truncated.
    pub dimensions: Dimensions,
    /// Prompts, which are put before a text, by name.
    pub prompts: BTreeMap<String, String>,
    /// The name of the prompt that requests without one get.
    pub default_prompt: Option<String>,
    /// How the weight files relate to the checkpoint's.
    pub weights: WeightStorage,
    /// Every file of the model besides the manifest, by its path relative to the folder.
    pub files: BTreeMap<String, FileRecord>,
    /// The result of the conversion's verification.
    pub verification: Verification,
    /// A text and its vector, which a session must reproduce before it serves; none if nothing was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_answer: Option<KnownAnswer>,
    /// The blocks of weights, for precisions in which only weights are integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Blocks>,
    /// The results of calibration, for models that were calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// Remarks for the user, in full sentences.
    pub notes: Vec<String>,
}

/// The checkpoint that a model was converted from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name and commit.
    #[serde(flatten)]
    pub id: SourceId,
    /// The files that were read, by their path relative to the checkpoint.
    pub files: BTreeMap<String, FileRecord>,
}

/// The range of widths to which an embedding may be truncated (Matryoshka representation learning); both ends inclusive.
///
/// ```
/// use lexivec_models::Dimensions;
///
/// let dimensions = Dimensions::up_to(1024);
/// assert_eq!((dimensions.min, dimensions.max), (32, 1024));
/// assert!(dimensions.contains(256) && !dimensions.contains(16));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimensions {
    /// The smallest number of dimensions.
    pub min: usize,
    /// The largest number of dimensions, which is the hidden size.
    pub max: usize,
}

impl Dimensions {
    /// Returns the range that Qwen3-Embedding allows for a model of this width: from 32 dimensions up to all of them.
    pub fn up_to(hidden_size: usize) -> Dimensions {
        Dimensions {
            min: hidden_size.min(32),
            max: hidden_size,
        }
    }

    /// Whether an embedding may be truncated to `width`.
    pub fn contains(self, width: usize) -> bool {
        (self.min..=self.max).contains(&width)
    }
}

/// How a model's weight files relate to the checkpoint's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightStorage {
    /// The conversion wrote them.
    Own,
    /// They are hard links to the checkpoint's safetensors: a write into one file changes the other.
    Linked,
    /// They are clones of the checkpoint's safetensors: separate files that share blocks on the disk until one is written to.
    Cloned,
    /// They are copies of the checkpoint's safetensors, because the folder is on another file system.
    Copied,
}

impl Manifest {
    /// Reads and checks the manifest of the model in `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if there is none, [`Error::Format`] if it has another format, [`Error::Invalid`] for a field that is
    /// missing, of another type or out of range, [`Error::Json`] if the file is not JSON.
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
                "this is not a converted model, or its conversion did not finish; run `lexivec convert`",
            ));
        }
        let text = read_text(&path)?;
        // The format comes first because fields may mean something else in another one.
        let header: Header = parse(&text, &path)?;
        if !(OLDEST_FORMAT..=FORMAT_VERSION).contains(&header.format) {
            return Err(Error::Format {
                path,
                format: header.format,
                program: header.program,
            });
        }
        let manifest: Manifest = parse(&text, &path)?;
        manifest.check_fields(&path)?;
        Ok(manifest)
    }

    /// Writes the manifest into `dir`, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::NoSpace`] if it cannot be written, [`Error::Invalid`] for fields that
    /// [`read`](Self::read) would reject.
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
            // Synced before the rename, so that the name never points at an empty file after a power failure.
            file.sync_all()?;
            fs_err::rename(&sibling, &path)
        };
        write().map_err(|source| {
            let _ = fs_err::remove_file(&sibling);
            Error::io(&path, source)
        })
    }

    /// Returns the properties that decide which execution providers can run the graph.
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

    /// Checks that every file of the model is in `dir` with its recorded size, and that the manifest describes the graph.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Invalid`] for the first file that is missing, has another size, or is used but not listed,
    /// and for a size of the architecture that differs from the graph's.
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
        self.check_graph(dir)
    }

    /// Checks that every file of the model is in `dir` with its recorded digest. This reads all of them.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check), [`Error::Io`], and [`Error::Invalid`] for a file that has changed.
    pub fn verify_digests(&self, dir: &Path) -> Result<()> {
        self.check(dir)?;
        self.files
            .iter()
            .try_for_each(|(name, record)| self.verify_digest(dir, name, record))
    }

    fn verify_digest(&self, dir: &Path, name: &str, record: &FileRecord) -> Result<()> {
        let path = dir.join(name);
        if FileRecord::blake3(&path)? == *record {
            return Ok(());
        }
        let linked = self.weights == WeightStorage::Linked && name.ends_with(".safetensors");
        let how = match linked {
            // `cp` overwrites an existing file in place.
            true => "the checkpoint's file, a hard link to the same contents, was overwritten",
            false => "the file has changed",
        };
        let reason = format!("is not the one in the manifest: {how}; convert the model again");
        Err(Error::invalid(&path, "digest", reason))
    }

    /// Returns a digest that identifies the model: SHA-256, in hexadecimal, over the names and digests of its files in
    /// sorted order.
    ///
    /// Two folders with the same digest give the same vectors for the same token ids, whatever their notes say.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, record) in &self.files {
            // Names hold no zero byte and digests no line feed, so different lists never hash the same bytes.
            hasher.update(name.as_bytes());
            hasher.update([0]);
            hasher.update(record.digest.as_bytes());
            hasher.update(b"\n");
        }
        hex::encode(hasher.finalize())
    }
}

#[cfg(test)]
mod tests;
