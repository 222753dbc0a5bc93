//! What a model directory says of itself, whoever wrote it.

use std::collections::BTreeMap;
use std::path::Path;

use lexivec_models::{
    Decoder, Dimensions, Manifest, Precision, SentenceConfig, Target, digest_file,
};

use crate::error::Result;

/// A served model's properties.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// The source's name: a hub id or a folder's name.
    pub name: String,
    /// Width of the full vector.
    pub hidden_size: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// The longest sequence in tokens.
    pub max_length: usize,
    /// Widths that the model was trained for.
    pub dimensions: Dimensions,
    /// Named prompts of the checkpoint, put before a text as they are.
    pub prompts: BTreeMap<String, String>,
    /// The prompt used where none is asked for.
    pub default_prompt: Option<String>,
    /// `None` for another exporter's model.
    pub precision: Option<Precision>,
    /// `None` for another exporter's model.
    pub target: Option<Target>,
    /// Identifies the exact weights and graph, as hexadecimal.
    pub digest: String,
}

impl ModelInfo {
    /// Reads a model directory: lexivec.json, or, for another exporter's, config.json and sentence-transformers' files.
    ///
    /// # Errors
    /// A file is missing, damaged, or describes what cannot be served.
    pub fn read(dir: &Path) -> Result<Self> {
        if Manifest::is_model_dir(dir) {
            let manifest = Manifest::read(dir)?;
            manifest.check(dir)?;
            return Ok(Self {
                digest: manifest.digest(),
                name: manifest.source.id.name,
                hidden_size: manifest.decoder.hidden_size,
                vocabulary: manifest.decoder.vocab_size,
                max_length: manifest.max_length,
                dimensions: manifest.dimensions,
                prompts: manifest.prompts,
                default_prompt: manifest.default_prompt,
                precision: Some(manifest.precision),
                target: Some(manifest.target),
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
            max_length: sentence
                .max_length
                .unwrap_or(usize::MAX)
                .min(decoder.max_positions),
            dimensions: Dimensions::up_to(decoder.hidden_size),
            prompts: sentence.prompts,
            default_prompt: sentence.default_prompt,
            precision: None,
            target: None,
            digest: digest_file(&config)?.sha256,
        })
    }
}
