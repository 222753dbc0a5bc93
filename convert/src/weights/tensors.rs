//! Tensors of mapped safetensors files.
#![allow(unsafe_code)] // memory maps

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lexivec_models::Error as ModelError;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::scale_folding::TensorFolding;
use crate::error::{Error, Result};
use crate::tensor::{DType, FloatType, PIECE_VALUES, TensorSource, cast};

/// Values that are widened at a time: they fit into the first-level cache.
pub(super) const BUFFER_VALUES: usize = 4096;

/// A mapped weight file.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) map: Mmap,
}

/// One tensor of a checkpoint: a view into its mapped file.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) float_type: FloatType,
    pub(super) shard: Arc<Shard>,
    /// The first byte, counted from the start of the file and not of its data section, as in ONNX external data.
    pub(crate) start: usize,
    pub(super) folding: Option<TensorFolding>,
}

impl Tensor {
    /// Reads values as float32 into `out`, starting at value `first`, and applies scale folding.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if a value is NaN or infinite.
    pub(crate) fn read_f32(&self, first: usize, out: &mut [f32]) -> Result<()> {
        let size = self.float_type.size();
        let start = self.start + first * size;
        let bytes = &self.shard.map[start..start + out.len() * size];
        cast::widen(bytes, self.float_type, out);
        if let Some(folding) = &self.folding {
            folding.apply(self.columns(), first, out);
        }
        if cast::all_finite(out) {
            return Ok(());
        }
        Err(Error::NonFinite {
            name: self.name.clone(),
            path: self.path().to_path_buf(),
        })
    }

    /// Whether reading multiplies values by factors, so that the bytes in the file are not the tensor's values.
    pub(crate) fn is_folded(&self) -> bool {
        self.folding.is_some()
    }

    /// The weight file.
    pub(crate) fn path(&self) -> &Path {
        &self.shard.path
    }

    /// The first dimension: the output channels of a linear layer, the tokens of an embedding table.
    pub(crate) fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Values per row.
    pub(crate) fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    pub(super) fn values(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Tensors stacked by rows, converted to the element type `dtype`; a unit is a value.
#[derive(Debug)]
pub(crate) struct StackedTensors {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) dtype: DType,
}

impl TensorSource for StackedTensors {
    fn units(&self) -> usize {
        self.tensors.iter().map(Tensor::values).sum()
    }

    fn units_per_piece(&self) -> usize {
        PIECE_VALUES
    }

    fn append(&self, values: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let mut buffer = [0f32; BUFFER_VALUES];
        let mut before = 0;
        for tensor in &self.tensors {
            let end = before + tensor.values();
            let inside = values.start.max(before)..values.end.min(end);
            for first in inside.clone().step_by(BUFFER_VALUES) {
                let buffer = &mut buffer[..BUFFER_VALUES.min(inside.end - first)];
                tensor.read_f32(first - before, buffer)?;
                cast::write(buffer, self.dtype, &tensor.name, out)?;
            }
            before = end;
        }
        Ok(())
    }
}

/// A tensor of a weight file, as its header describes it.
#[derive(Debug, Clone)]
pub(super) struct TensorEntry {
    pub(super) shard: Arc<Shard>,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) start: usize,
    pub(super) len: usize,
}

impl TensorEntry {
    /// The tensor, if lexivec reads its type.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor> {
        let float_type = match self.dtype {
            Dtype::F32 => FloatType::F32,
            Dtype::F16 => FloatType::F16,
            Dtype::BF16 => FloatType::Bf16,
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
            float_type,
            shard: Arc::clone(&self.shard),
            start: self.start,
            folding: None,
        })
    }
}

/// The tensors of a safetensors file, by the names that it gives them.
///
/// # Errors
/// The file cannot be opened, or is incomplete.
pub(super) fn entries(path: &Path) -> Result<Vec<(String, TensorEntry)>> {
    let file = fs_err::File::open(path).map_err(|e| ModelError::io(path, e))?;
    // SAFETY: the map is read-only. If somebody rewrites the file meanwhile, the weights are wrong, which the conversion
    // notices (`input_files.rs`). If somebody truncates it, the missing pages read as zeros, which the conversion counts.
    let map = unsafe { Mmap::map(file.file()) }.map_err(|e| ModelError::io(path, e))?;
    let damaged = |source| Error::Safetensors {
        path: path.to_path_buf(),
        source,
    };
    let (header, metadata) = SafeTensors::read_metadata(&map).map_err(damaged)?;
    // `data_offsets` count from the end of the header, which follows a length prefix of eight bytes.
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
        let entry = TensorEntry {
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

/// The stacked tensors that make up the `rows` rows from row `first` on. The range must not end inside a tensor.
pub(crate) fn rows_of(tensors: &[Tensor], first: usize, rows: usize) -> Vec<Tensor> {
    let mut before = 0;
    let inside = tensors.iter().filter(|tensor| {
        let start = before;
        before += tensor.rows();
        start >= first && before <= first + rows
    });
    let inside: Vec<Tensor> = inside.cloned().collect();
    let found: usize = inside.iter().map(Tensor::rows).sum();
    assert_eq!(
        found, rows,
        "the range of rows ends inside a stacked tensor"
    );
    inside
}
