//! A checkpoint's tensors, memory-mapped.
//!
//! Names are given without the `model.` prefix that rerankers and many fine-tunes carry; both spellings are found.
//! A [`Tensor`] that this module hands out has been checked: its file is whole, its shape is what config.json
//! implies, its type is F32, F16 or BF16. Values are checked where they are read ([`crate::cast`]).
#![allow(unsafe_code)] // memory maps

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lexivec_models::{Checkpoint, Error as ModelError};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::fold::{self, Fold, Folds};

mod expected;
mod lora;
mod merge;

pub(crate) use merge::merged;

/// How a checkpoint stores a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
}

impl Stored {
    /// Bytes per value.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
}

/// One tensor of a checkpoint: a view into its mapped file.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) stored: Stored,
    shard: Arc<Shard>,
    /// Byte range in the file, not in the data section: what ONNX external data wants.
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Factors that reading its values applies.
    pub(crate) fold: Option<Fold>,
}

impl Tensor {
    /// The raw little-endian bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.shard.map[self.start..self.start + self.len]
    }

    /// The file that holds it.
    pub(crate) fn path(&self) -> &Path {
        &self.shard.path
    }

    /// The first dimension: a linear layer's output channels, an embedding table's tokens.
    pub(crate) fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Values per row.
    pub(crate) fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }
}

/// A tensor in a file.
#[derive(Debug, Clone)]
struct Entry {
    shard: Arc<Shard>,
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    len: usize,
}

impl Entry {
    /// The tensor, if its values are of a type that is read.
    fn tensor(&self, name: &str) -> Result<Tensor> {
        let stored = match self.dtype {
            Dtype::F32 => Stored::F32,
            Dtype::F16 => Stored::F16,
            Dtype::BF16 => Stored::Bf16,
            other => {
                return Err(Error::DType {
                    name: name.to_owned(),
                    path: self.shard.path.clone(),
                    found: format!("{other:?}"),
                });
            }
        };
        Ok(Tensor {
            name: name.to_owned(),
            shape: self.shape.clone(),
            stored,
            shard: Arc::clone(&self.shard),
            start: self.start,
            len: self.len,
            fold: None,
        })
    }
}

/// All tensors of a checkpoint, by name.
#[derive(Debug)]
pub(crate) struct Weights {
    dir: PathBuf,
    tensors: Arc<HashMap<String, Entry>>,
    folds: Folds,
    /// Tensors that the architecture has no use for, which the caller allowed.
    unused: Arc<[String]>,
    /// Whether the files go when the conversion ends.
    temporary: bool,
}

impl Weights {
    /// Maps every weight file and reads the headers.
    ///
    /// # Errors
    /// A file that cannot be opened, or is not whole; a tensor that is there twice; tensors that config.json has no use for,
    /// unless the checkpoint allows them.
    pub(crate) fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let mut tensors: HashMap<String, Entry> = HashMap::new();
        for path in &checkpoint.weights {
            for (stored_name, entry) in entries(path)? {
                let name = stored_name.strip_prefix("model.").unwrap_or(&stored_name);
                let second = entry.shard.path.clone();
                if let Some(first) = tensors.insert(name.to_owned(), entry) {
                    return Err(Error::TensorTwice {
                        name: name.to_owned(),
                        first: first.shard.path.clone(),
                        second,
                    });
                }
            }
        }
        let unused = expected::unused(&checkpoint.decoder, tensors.keys());
        if !unused.is_empty() && !checkpoint.allow_unused_tensors {
            return Err(Error::UnusedTensors {
                names: expected::listed(&unused),
                count: unused.len(),
                dir: checkpoint.dir.clone(),
            });
        }
        Ok(Self {
            dir: checkpoint.dir.clone(),
            tensors: Arc::new(tensors),
            folds: Folds::default(),
            unused: unused.into(),
            temporary: false,
        })
    }

    /// The same tensors, whose files go when the conversion ends, or stay.
    pub(crate) fn temporary(self, temporary: bool) -> Self {
        Self { temporary, ..self }
    }

    /// Whether a written graph may refer to the files.
    pub(crate) fn can_be_referred_to(&self) -> bool {
        !self.temporary
    }

    /// What a user should know about tensors that are not used; a full sentence.
    pub(crate) fn note(&self) -> Option<String> {
        let (count, names) = (self.unused.len(), expected::listed(&self.unused));
        (count > 0).then(|| format!("{count} tensors of the weight files are not used: {names}."))
    }

    /// The same tensors, whose values are read with these factors too.
    pub(crate) fn folded(&self, folds: Folds) -> Self {
        Self {
            dir: self.dir.clone(),
            tensors: Arc::clone(&self.tensors),
            folds: fold::joined(&self.folds, folds),
            unused: Arc::clone(&self.unused),
            temporary: self.temporary,
        }
    }

    /// The tensor of this name (without `model.`), which must have this shape.
    ///
    /// # Errors
    /// Missing tensor, wrong shape, unknown stored type.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            name: name.to_owned(),
            dir: self.dir.clone(),
        })?;
        if entry.shape != shape {
            return Err(Error::Shape {
                name: name.to_owned(),
                path: entry.shard.path.clone(),
                found: entry.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(Tensor {
            fold: self.folds.get(name).cloned(),
            ..entry.tensor(name)?
        })
    }
}

/// The tensors of a safetensors file, by their names in it.
///
/// # Errors
/// The file cannot be opened, or is not whole.
fn entries(path: &Path) -> Result<Vec<(String, Entry)>> {
    let file = fs_err::File::open(path).map_err(|e| ModelError::io(path, e))?;
    // SAFETY: the map is read-only; a checkpoint that somebody rewrites meanwhile gives wrong weights, which
    // the conversion notices (`inputs.rs`), and a truncated one zeros, which it counts.
    let map = unsafe { Mmap::map(file.file()) }.map_err(|e| ModelError::io(path, e))?;
    let damaged = |source| Error::Safetensors {
        path: path.to_path_buf(),
        source,
    };
    let (header, metadata) = SafeTensors::read_metadata(&map).map_err(damaged)?;
    // The length prefix of eight bytes, then the header; `data_offsets` count from there.
    let data = header + 8;
    let shard = Arc::new(Shard {
        path: path.to_path_buf(),
        map,
    });
    let mut found = Vec::new();
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        if data + end > shard.map.len() {
            return Err(damaged(
                safetensors::SafeTensorError::MetadataIncompleteBuffer,
            ));
        }
        let entry = Entry {
            shard: Arc::clone(&shard),
            dtype: info.dtype,
            shape: info.shape.clone(),
            start: data + start,
            len: end - start,
        };
        found.push((name, entry));
    }
    Ok(found)
}

/// Of stacked tensors those that make up `rows` rows from row `first` on. Each is in there whole.
pub(crate) fn rows_of(tensors: &[Tensor], first: usize, rows: usize) -> Vec<Tensor> {
    let mut before = 0;
    let inside = tensors.iter().filter(|tensor| {
        let start = before;
        before += tensor.rows();
        start >= first && before <= first + rows
    });
    let inside: Vec<Tensor> = inside.cloned().collect();
    let found: usize = inside.iter().map(Tensor::rows).sum();
    assert_eq!(found, rows, "a part of stacked tensors ends inside of one");
    inside
}
