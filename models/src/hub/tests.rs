//! Downloads from a stand-in hub on this machine, with and without failures.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::config::HubConfig;
use super::fetch::download_with;
use super::report::{DownloadProgress, Failure, hub_error};
use super::*;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result, message_with_causes};

mod failures;
mod files;
mod hostile;
mod offline;
mod stand_in;

use stand_in::{COMMIT, Hub, Mood};

const ID: &str = "Qwen/Qwen3-Embedding-Test";

/// A model of one weight file and without any optional file.
fn single_file() -> BTreeMap<String, Vec<u8>> {
    let config = json!({"model_type": "qwen3", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64,
        "max_position_embeddings": 128});
    files(&[
        ("config.json", config.to_string().as_bytes()),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", &[7; 40_000]),
        ("README.md", b"not needed"),
        ("pytorch_model.bin", b"not needed"),
    ])
}

fn files(files: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    files
        .iter()
        .map(|(name, bytes)| (name.to_string(), bytes.to_vec()))
        .collect()
}

/// A hub with a model on it, and an empty cache.
struct Scene {
    hub: Hub,
    cache: TempDir,
    token: &'static str,
}

impl Scene {
    fn new(files: BTreeMap<String, Vec<u8>>) -> Scene {
        Scene {
            hub: Hub::start(ID, files),
            cache: tempfile::tempdir().unwrap(),
            token: "",
        }
    }

    fn get(&self, options: &HubOptions) -> Result<PathBuf> {
        self.get_told(options, None)
    }

    fn get_told(
        &self,
        options: &HubOptions,
        progress: Option<Arc<dyn DownloadProgress>>,
    ) -> Result<PathBuf> {
        let config = HubConfig {
            endpoint: self.hub.endpoint(),
            cache: self.cache.path().to_path_buf(),
            token: Some(self.token.to_string()),
            retries: Some(0),
        };
        download_with(&config, ID, options, progress)
    }

    fn online(&self) -> Result<PathBuf> {
        self.get(&HubOptions::default())
    }

    fn offline(&self) -> Result<PathBuf> {
        self.get(&HubOptions {
            offline: true,
            revision: None,
        })
    }

    /// The folder of files' contents in the cache.
    fn blobs(&self) -> PathBuf {
        self.cache
            .path()
            .join("models--Qwen--Qwen3-Embedding-Test/blobs")
    }
}

#[track_caller]
fn says(result: Result<PathBuf>, words: &[&str]) {
    let message = result.unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}
