//! Merges a LoRA adapter into its base: writes a safetensors file that replaces the base's.
//!
//! Tensors are written one by one, and large tensors in pieces of rows, so memory does not grow with the model. Merged tensors
//! are `W + scale · B · A` in float32, as peft's `merge_and_unload` computes them on a float32 base. They stay float32, because
//! rounding to the base's bfloat16 would lose most of a small update. The other tensors keep their bytes.

use std::io::{BufWriter, Write};
use std::path::Path;

use lexivec_models::{Checkpoint, Error as ModelError};
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::{Map, json};

use super::checkpoint_weights::Weights;
use super::lora::{self, LoraUpdate};
use super::tensors::TensorEntry;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, add_product};
use crate::progress::Progress;
use crate::tensor::cast::all_finite;

/// The name of the merged file, which is that of the weights it replaces.
const FILE: &str = "model.safetensors";
/// Values that are merged at a time: 64 MB.
const PIECE: usize = 1 << 24;
/// Rows that a core merges at a time.
const PART: usize = 64;

/// The checkpoint with its adapter merged into a file in `dir`, which must exist as long as the weights are read. `None` if the
/// checkpoint has no adapter.
///
/// # Errors
/// The adapter does not fit the base, a value is not finite, a file cannot be read or written, or the user interrupts.
pub(crate) fn merged(
    checkpoint: &Checkpoint,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<Option<Checkpoint>> {
    let Some(adapter) = &checkpoint.adapter else {
        return Ok(None);
    };
    let base = Weights::open(checkpoint)?;
    let updates = lora::read(adapter, &base.tensors)?;
    // Tensors of four-byte values come first, so that they stay aligned.
    let mut order: Vec<(&String, &TensorEntry, Option<&LoraUpdate>)> = base
        .tensors
        .iter()
        .map(|(name, entry)| (name, entry, updates.get(name)))
        .collect();
    order.sort_by_key(|(name, _, update)| (update.is_none(), (*name).clone()));

    fs_err::create_dir_all(dir).map_err(|e| ModelError::io(dir, e))?;
    let path = dir.join(FILE);
    let io = |e| Error::from(ModelError::io(&path, e));
    let file = fs_err::File::create(&path).map_err(io)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let (header, size) = header(&order)?;
    writer
        .write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| writer.write_all(&header))
        .map_err(io)?;
    progress.stage("merging the adapter", size as u64);
    let mut buffer = Vec::new();
    for (name, entry, update) in order {
        let Some(update) = update else {
            let bytes = &entry.shard.map[entry.start..entry.start + entry.len];
            for piece in bytes.chunks(PIECE) {
                reject_interrupted(progress)?;
                writer.write_all(piece).map_err(io)?;
                progress.advance(piece.len() as u64);
            }
            continue;
        };
        let tensor = entry.tensor(name)?;
        let (left, right) = update.matrices()?;
        let columns = tensor.columns();
        let rows = (PIECE / columns).max(1);
        for first in (0..tensor.rows()).step_by(rows) {
            reject_interrupted(progress)?;
            let count = rows.min(tensor.rows() - first);
            buffer.resize(count * columns, 0f32);
            buffer
                .par_chunks_mut(PART * columns)
                .enumerate()
                .try_for_each(|(part, out)| {
                    let first = first + part * PART;
                    tensor.read_f32(first * columns, out)?;
                    add(out, update.scale, &left, first, &right);
                    Ok::<_, Error>(())
                })?;
            if !all_finite(&buffer) {
                return Err(Error::Adapter {
                    path: adapter.weights(),
                    reason: format!(
                        "it changes the tensor `{name}` so much that values exceed the largest float32: the adapter is damaged, or \
                         `lora_alpha` of adapter_config.json is wrong"
                    ),
                });
            }
            writer
                .write_all(bytemuck::cast_slice(&buffer))
                .map_err(io)?;
            progress.advance((buffer.len() * size_of::<f32>()) as u64);
        }
    }
    writer.flush().map_err(io)?;
    let mut merged = checkpoint.clone();
    merged.weights = vec![path];
    merged.adapter = None;
    Ok(Some(merged))
}

fn reject_interrupted(progress: &dyn Progress) -> Result<()> {
    match progress.cancelled() {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

/// Adds `scale · left · right` to rows of a tensor, starting with row `first`.
fn add(out: &mut [f32], scale: f32, left: &Matrix, first: usize, right: &Matrix) {
    let (rank, columns) = (left.columns, right.columns);
    let rows = out.len() / columns;
    let left = (&left.values[first * rank..(first + rows) * rank], rank);
    let right = (right.values.as_slice(), columns);
    add_product(out, columns, scale, left, right, [rows, rank, columns]);
}

/// The header of the merged file, padded to a multiple of eight bytes, and the number of bytes that follow it.
fn header(tensors: &[(&String, &TensorEntry, Option<&LoraUpdate>)]) -> Result<(Vec<u8>, usize)> {
    let mut fields = Map::new();
    let mut offset = 0;
    for (name, entry, update) in tensors {
        let (dtype, len) = match update {
            Some(_) => {
                let values: usize = entry.shape.iter().product();
                (Dtype::F32, values * size_of::<f32>())
            }
            None => (entry.dtype, entry.len),
        };
        let field =
            json!({"dtype": dtype, "shape": entry.shape, "data_offsets": [offset, offset + len]});
        fields.insert((*name).clone(), field);
        offset += len;
    }
    let mut header = serde_json::to_vec(&fields)
        .map_err(|e| Error::from(ModelError::io(FILE, std::io::Error::other(e))))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok((header, offset))
}
