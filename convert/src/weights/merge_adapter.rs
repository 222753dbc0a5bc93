//! A LoRA adapter merged into its base: a safetensors file that takes the place of the base's.
//!
//! The file is written tensor by tensor, and a large tensor in blocks of rows, so that memory does not grow with the model. The
//! merged tensors are float32, because rounding them to the base's bfloat16 would lose most of a small change; the others keep
//! their bytes. What is merged is `W + scale · B · A` in float32, as `merge_and_unload` of peft computes it on a float32 base.

use std::io::{BufWriter, Write};
use std::path::Path;

use lexivec_models::{Checkpoint, Error as ModelError};
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::{Map, json};

use super::lora::{self, Change};
use super::{Entry, Weights};
use crate::cast::read_f32;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, add_product};
use crate::progress::Progress;

/// The merged file, named like the weights that it takes the place of.
const FILE: &str = "model.safetensors";
/// Values that are merged before they are written: 64 MB.
const BLOCK: usize = 1 << 24;
/// Rows that a core merges together.
const PART: usize = 64;

/// The checkpoint with its adapter merged, as a file in `dir`, which must exist as long as the weights are read; `None` where
/// there is no adapter.
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
    let changes = lora::read(adapter, &base.tensors)?;
    // Tensors of four bytes first: they stay aligned.
    let mut order: Vec<(&String, &Entry, Option<&Change>)> = base
        .tensors
        .iter()
        .map(|(name, entry)| (name, entry, changes.get(name)))
        .collect();
    order.sort_by_key(|(name, _, change)| (change.is_none(), (*name).clone()));

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
    for (name, entry, change) in order {
        let Some(change) = change else {
            let bytes = &entry.shard.map[entry.start..entry.start + entry.len];
            for piece in bytes.chunks(BLOCK) {
                refuse_interrupted(progress)?;
                writer.write_all(piece).map_err(io)?;
                progress.advance(piece.len() as u64);
            }
            continue;
        };
        let tensor = entry.tensor(name)?;
        let (left, right) = change.matrices()?;
        let columns = tensor.columns();
        let rows = (BLOCK / columns).max(1);
        for first in (0..tensor.rows()).step_by(rows) {
            refuse_interrupted(progress)?;
            let count = rows.min(tensor.rows() - first);
            buffer.resize(count * columns, 0f32);
            buffer
                .par_chunks_mut(PART * columns)
                .enumerate()
                .try_for_each(|(part, out)| {
                    let first = first + part * PART;
                    read_f32(&tensor, first * columns, out)?;
                    add(out, change.scale, &left, first, &right);
                    Ok::<_, Error>(())
                })?;
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

fn refuse_interrupted(progress: &dyn Progress) -> Result<()> {
    match progress.cancelled() {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

/// Adds `scale · left · right` to rows of a tensor, of which `first` is the first.
fn add(out: &mut [f32], scale: f32, left: &Matrix, first: usize, right: &Matrix) {
    let (rank, columns) = (left.columns, right.columns);
    let rows = out.len() / columns;
    let left = (&left.values[first * rank..(first + rows) * rank], rank);
    let right = (right.values.as_slice(), columns);
    add_product(out, columns, scale, left, right, [rows, rank, columns]);
}

/// The header of the merged file, padded to eight bytes, and the bytes that follow it.
fn header(tensors: &[(&String, &Entry, Option<&Change>)]) -> Result<(Vec<u8>, usize)> {
    let mut fields = Map::new();
    let mut offset = 0;
    for (name, entry, change) in tensors {
        let (dtype, len) = match change {
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
