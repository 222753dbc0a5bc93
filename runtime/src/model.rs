//! The properties of a model directory, ours or another exporter's.

use std::collections::BTreeMap;
use std::path::Path;

use lexivec_models::{
    Decoder, Dimensions, KnownAnswer, Manifest, Precision, SentenceConfig, Target,
};
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::integrity::model_files::ModelFiles;
use crate::memory::text_memory::TextMemory;

/// A served model's properties.
///
/// ```
/// use lexivec_runtime::ModelInfo;
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// // A checkpoint has the files that are read of an export.
/// let model = ModelInfo::read("models/nano".as_ref())?;
/// assert_eq!((model.name.as_str(), model.hidden_size, model.max_length), ("nano", 256, 4096));
/// assert!(model.dimensions.contains(64));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// The source's name: a hub id or a folder's name.
    pub name: String,
    /// Width of a full vector.
    pub hidden_size: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// The memory that its texts take on a CPU.
    pub text_memory: TextMemory,
    /// Maximum sequence length in tokens.
    pub max_length: usize,
    /// Widths that the model was trained for.
    pub dimensions: Dimensions,
    /// Named prompts of the checkpoint, put before a text as they are.
    pub prompts: BTreeMap<String, String>,
    /// The prompt that is used if a request names none.
    pub default_prompt: Option<String>,
    /// `None` for another exporter's model.
    pub precision: Option<Precision>,
    /// `None` for another exporter's model.
    pub target: Option<Target>,
    /// The answer that a session must give before it serves; `None` for another exporter's model.
    pub known_answer: Option<KnownAnswer>,
    /// Identifies the exact weights and graph, as hexadecimal.
    pub digest: String,
}

impl ModelInfo {
    /// Reads a model directory: lexivec.json, or, for another exporter's, config.json and sentence-transformers' files.
    ///
    /// # Errors
    /// A file is missing or damaged, or describes a model that cannot be served.
    pub fn read(dir: &Path) -> Result<Self> {
        // The manifest already contains the digests.
        let files = match Manifest::is_model_dir(dir) {
            true => ModelFiles::default(),
            false => ModelFiles::snapshot(dir)?,
        };
        Self::of_files(dir, &files)
    }

    /// As [`read`](Self::read), for files that were recorded before.
    pub(crate) fn of_files(dir: &Path, files: &ModelFiles) -> Result<Self> {
        if Manifest::is_model_dir(dir) {
            let manifest = Manifest::read(dir)?;
            manifest.check(dir)?;
            return Ok(Self {
                digest: manifest.digest(),
                name: manifest.source.id.name,
                hidden_size: manifest.decoder.hidden_size,
                vocabulary: manifest.decoder.vocab_size,
                text_memory: TextMemory::of(&manifest.decoder, Some(manifest.target)),
                max_length: manifest.max_length,
                dimensions: manifest.dimensions,
                prompts: manifest.prompts,
                default_prompt: manifest.default_prompt,
                precision: Some(manifest.precision),
                target: Some(manifest.target),
                known_answer: manifest.known_answer,
            });
        }
        let config = dir.join("config.json");
        let decoder = Decoder::read(&config)?;
        let sentence = SentenceConfig::read(dir)?;
        let name = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        Ok(Self {
            name: name
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            hidden_size: decoder.hidden_size,
            vocabulary: decoder.vocab_size,
            text_memory: TextMemory::of(&decoder, None),
            max_length: sentence.longest(decoder.max_positions),
            dimensions: Dimensions::up_to(decoder.hidden_size),
            prompts: sentence.prompts,
            default_prompt: sentence.default_prompt,
            precision: None,
            target: None,
            known_answer: None,
            digest: digest_of_files(dir, files),
        })
    }
}

/// The digest of another exporter's model, which has no manifest. It covers every file in its folder and the folders
/// below, because two exports of one checkpoint may differ in any of them.
fn digest_of_files(dir: &Path, files: &ModelFiles) -> String {
    let mut all = Sha256::new();
    for (path, digest) in files.digests() {
        let name = path.strip_prefix(dir).unwrap_or(path);
        all.update(name.to_string_lossy().as_bytes());
        all.update([0]);
        all.update(digest);
    }
    hex::encode(all.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_exporters_weights_are_part_of_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("onnx")).unwrap();
        let digest = |weights: &str| {
            fs_err::write(dir.path().join("config.json"), "{}").unwrap();
            fs_err::write(dir.path().join("onnx/model.onnx_data"), weights).unwrap();
            digest_of_files(dir.path(), &ModelFiles::snapshot(dir.path()).unwrap())
        };
        assert_ne!(digest("fp32"), digest("fp16"));
        assert_eq!(digest("fp16"), digest("fp16"));
    }
}
