//! The reference of conversions: a checkpoint's float32 graph, in memory, over the checkpoint's own files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lexivec_models::{Checkpoint, Error as ModelError, cache_dir};
use lexivec_runtime::{Library, PackedNetwork, SessionSettings};
use tempfile::TempDir;

use crate::error::Result;
use crate::graph;
use crate::progress::Silent;
use crate::weights::{self, Weights};
use crate::write::external_data;

/// Checkpoints and models with more bytes of weights than this run in low-memory sessions, which keep weights in their files
/// and widen each one when it is used. They are slower, but a model larger than memory still runs.
pub(crate) const LOW_MEMORY_FROM_BYTES: u64 = 1 << 30;

/// A checkpoint as a float32 graph that refers to the checkpoint's own files. Conversions are compared with it.
///
/// ```
/// use lexivec_convert::Reference;
/// use lexivec_models::Checkpoint;
/// use lexivec_runtime::{Library, Network as _};
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// let checkpoint = Checkpoint::open("models/nano".as_ref())?;
/// let reference = Reference::new(&checkpoint)?;
/// # // What follows needs ONNX Runtime's library.
/// # if Library::load(None, false).is_err() {
/// #     return Ok(());
/// # }
/// let mut network = reference.open(Library::load(None, false)?, Some(1))?;
/// let states = network.embed(&[&[1, 2, 16_381]])?;
/// assert_eq!(states.values.len(), checkpoint.decoder.hidden_size);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reference {
    onnx: Vec<u8>,
    folder: PathBuf,
    low_memory: bool,
    /// The folder of merged weights, which sessions map.
    _merged: Option<Arc<TempDir>>,
}

impl Reference {
    /// Builds the reference of a checkpoint. Writes nothing, except that an adapter is merged into a temporary file, which
    /// exists as long as the reference.
    ///
    /// # Errors
    /// A tensor is missing or has the wrong shape, a file cannot be read, or the adapter does not fit.
    pub fn new(checkpoint: &Checkpoint) -> Result<Self> {
        if checkpoint.adapter.is_none() {
            return Self::over(checkpoint, &Weights::open(checkpoint)?);
        }
        let scratch = scratch()?;
        let merged = weights::merged(checkpoint, scratch.path(), &Silent)?;
        let checkpoint = merged.as_ref().unwrap_or(checkpoint);
        Ok(Self {
            _merged: Some(Arc::new(scratch)),
            ..Self::over(checkpoint, &Weights::open(checkpoint)?)?
        })
    }

    /// Builds the reference over weights that are open already.
    ///
    /// # Errors
    /// A tensor is missing or has the wrong shape, or a file cannot be read.
    pub(crate) fn over(checkpoint: &Checkpoint, weights: &Weights) -> Result<Self> {
        let mut bytes = 0;
        for path in &checkpoint.weights {
            bytes += fs_err::metadata(path)
                .map_err(|e| ModelError::io(path, e))?
                .len();
        }
        let graph = graph::reference(&checkpoint.decoder, weights)?;
        Ok(Self {
            onnx: external_data::reference_bytes(graph),
            folder: data_folder(&checkpoint.weights)?,
            low_memory: bytes > LOW_MEMORY_FROM_BYTES,
            _merged: None,
        })
    }

    /// Opens a session on the CPU with this number of threads; `None` for one per core.
    ///
    /// # Errors
    /// The graph does not load.
    pub fn open(
        &self,
        library: &Library,
        threads: Option<usize>,
    ) -> lexivec_runtime::Result<PackedNetwork> {
        let settings = SessionSettings {
            low_memory: self.low_memory,
            threads,
            ..SessionSettings::default()
        };
        PackedNetwork::from_memory(library, &self.onnx, &self.folder, &settings)
    }
}

/// A folder for merged weights on the disk that holds converted models, because the system's temporary folder may be too
/// small.
fn scratch() -> Result<TempDir> {
    let root = cache_dir().unwrap_or_else(|_| std::env::temp_dir());
    let io = |e| ModelError::io(&root, e);
    fs_err::create_dir_all(&root).map_err(io)?;
    let folder = tempfile::Builder::new().prefix("merged-").tempdir_in(&root);
    Ok(folder.map_err(io)?)
}

/// The folder that holds the weight files after links are resolved: in a hub cache they are links into another folder.
///
/// # Errors
/// A file does not exist.
pub(crate) fn data_folder(weights: &[PathBuf]) -> Result<PathBuf> {
    let first = weights.first().map_or(Path::new("."), PathBuf::as_path);
    let real = fs_err::canonicalize(first).map_err(|e| ModelError::io(first, e))?;
    Ok(real.parent().unwrap_or(Path::new("/")).to_path_buf())
}
