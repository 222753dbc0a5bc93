//! The truth that models are held against: a checkpoint's float32 graph, in memory, over the checkpoint's own files.

use std::path::{Path, PathBuf};

use lexivec_models::{Checkpoint, Error as ModelError};
use lexivec_runtime::{Library, PackedNetwork, SessionSettings};

use crate::error::Result;
use crate::external;
use crate::graph;
use crate::weights::Weights;

/// Checkpoints and models with more weights than this run in lean sessions, which keep weights in their files and widen
/// each when it is used: slower, but a model larger than memory still gives its reference.
pub(crate) const LEAN_FROM_BYTES: u64 = 1 << 30;

/// A float32 graph that refers to a checkpoint's files.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    onnx: Vec<u8>,
    folder: PathBuf,
    lean: bool,
}

impl Reference {
    /// Of a checkpoint; nothing is written.
    ///
    /// # Errors
    /// A tensor is missing or misshapen, or a file cannot be read.
    pub(crate) fn new(checkpoint: &Checkpoint, weights: &Weights) -> Result<Self> {
        let mut bytes = 0;
        for path in &checkpoint.weights {
            bytes += fs_err::metadata(path)
                .map_err(|e| ModelError::io(path, e))?
                .len();
        }
        Ok(Self {
            onnx: external::reference_bytes(graph::reference(&checkpoint.decoder, weights)?),
            folder: data_folder(&checkpoint.weights)?,
            lean: bytes > LEAN_FROM_BYTES,
        })
    }

    /// Opens it on the CPU.
    ///
    /// # Errors
    /// The graph does not load.
    pub(crate) fn open(
        &self,
        library: &Library,
        threads: Option<usize>,
    ) -> lexivec_runtime::Result<PackedNetwork> {
        let settings = SessionSettings {
            low_memory: self.lean,
            threads,
            ..SessionSettings::default()
        };
        PackedNetwork::from_memory(library, &self.onnx, &self.folder, &settings)
    }
}

/// The folder that really holds the weight files: in a hub cache they are links into another.
///
/// # Errors
/// A file is not there.
pub(crate) fn data_folder(weights: &[PathBuf]) -> Result<PathBuf> {
    let first = weights.first().map_or(Path::new("."), PathBuf::as_path);
    let real = fs_err::canonicalize(first).map_err(|e| ModelError::io(first, e))?;
    Ok(real.parent().unwrap_or(Path::new("/")).to_path_buf())
}
