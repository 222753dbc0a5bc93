//! Writes a graph and its weights: `model.onnx` and `model.onnx.data`.
//!
//! The writer first assigns a place in the file to every initializer. Then all cores convert pieces of a few megabytes and
//! write each piece to its place, so memory use does not grow with the model.

use std::collections::HashMap;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use lexivec_models::Error as ModelError;
use prost::Message as _;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::onnx::{Initializer, InitializerData, OnnxModel};
use crate::progress::Progress;
use crate::tensor::TensorSource;

/// The file of the graph.
pub(crate) const MODEL_FILE: &str = "model.onnx";
/// The file of its weights.
pub(crate) const DATA_FILE: &str = "model.onnx.data";

/// Tensors of at least this size start on a multiple of [`LARGE_ALIGNMENT`], the allocation granularity that memory maps
/// of every platform accept. The onnx_ir library does the same.
const LARGE: usize = 1 << 20;
const LARGE_ALIGNMENT: usize = 64 << 10;
/// A cache line.
const SMALL_ALIGNMENT: usize = 64;
/// Constants in memory (shapes, axes, scalars) up to this size stay in the graph.
const INLINE: usize = 1 << 10;

/// A part of an initializer that is written at once.
enum Piece<'a> {
    Bytes(&'a [u8]),
    Units(&'a dyn TensorSource, Range<usize>),
}

/// Writes `model` into `dir`. The graph refers by file name to weights that stay in the checkpoint.
///
/// # Errors
/// A file cannot be written, a weight is not finite or too large for the element type, or the user interrupts.
pub(crate) fn write(model: OnnxModel, dir: &Path, progress: &dyn Progress) -> Result<()> {
    let (places, size) = places(model.initializers());
    if size > 0 {
        write_data(&model, &places, size, &dir.join(DATA_FILE), progress)?;
    }
    let message = model.into_message(|i| match &i.data {
        InitializerData::File(range) => Some((file_name(&range.path), range.start)),
        _ => places
            .get(&i.name)
            .map(|offset| (DATA_FILE.to_owned(), *offset)),
    });
    let path = dir.join(MODEL_FILE);
    fs_err::write(&path, message.encode_to_vec()).map_err(|e| ModelError::io(&path, e))?;
    Ok(())
}

/// Encodes a graph that is loaded from memory. Weights that are not the checkpoint's own bytes lie in the message itself,
/// which is limited to 2 GB.
///
/// # Errors
/// A weight is not finite or too large for the element type.
pub(crate) fn in_memory(mut model: OnnxModel) -> Result<Vec<u8>> {
    for i in model.initializers_mut() {
        if let InitializerData::Computed(source) = &i.data {
            let mut bytes = Vec::with_capacity(i.len());
            source.append(0..source.units(), &mut bytes)?;
            i.data = InitializerData::Bytes(bytes);
        }
    }
    Ok(reference_bytes(model))
}

/// Encodes a graph that is loaded from memory and whose weights all lie in the checkpoint's files.
pub(crate) fn reference_bytes(model: OnnxModel) -> Vec<u8> {
    let message = model.into_message(|i| match &i.data {
        // In a hub cache the file's name is that of a link. The session is given the folder of the link's target.
        InitializerData::File(range) => {
            let real = fs_err::canonicalize(&range.path).unwrap_or_else(|_| range.path.clone());
            Some((file_name(&real), range.start))
        }
        _ => None,
    });
    message.encode_to_vec()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The offset of each external initializer in the data file, and the file's size.
fn places(initializers: &[Initializer]) -> (HashMap<String, usize>, usize) {
    let mut offset = 0usize;
    let mut places = HashMap::new();
    for i in initializers {
        let external = match &i.data {
            InitializerData::Bytes(bytes) => bytes.len() > INLINE,
            InitializerData::Computed(_) => true,
            InitializerData::File(_) => false,
        };
        if external {
            let alignment = if i.len() >= LARGE {
                LARGE_ALIGNMENT
            } else {
                SMALL_ALIGNMENT
            };
            offset = offset.next_multiple_of(alignment);
            places.insert(i.name.clone(), offset);
            offset += i.len();
        }
    }
    (places, offset)
}

fn write_data(
    model: &OnnxModel,
    places: &HashMap<String, usize>,
    size: usize,
    path: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let io = |e| Error::from(ModelError::io(path, e));
    let file = fs_err::File::create(path).map_err(io)?;
    file.set_len(size as u64).map_err(io)?;
    progress.stage("writing weights", size as u64);
    let pieces: Vec<(usize, Piece<'_>)> = model
        .initializers()
        .iter()
        .filter_map(|i| places.get(&i.name).map(|offset| (i, *offset)))
        .flat_map(|(i, offset)| pieces(i, offset))
        .collect();
    let written = AtomicUsize::new(0);
    pieces.into_par_iter().try_for_each_init(
        Vec::new,
        |buffer: &mut Vec<u8>, (offset, piece)| {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            buffer.clear();
            let bytes = match piece {
                Piece::Bytes(bytes) => bytes,
                Piece::Units(source, units) => {
                    source.append(units, buffer)?;
                    buffer.as_slice()
                }
            };
            file.file().write_all_at(bytes, offset as u64).map_err(io)?;
            progress.advance(bytes.len() as u64);
            written.fetch_add(bytes.len(), Ordering::Relaxed);
            Ok(())
        },
    )?;
    // Bytes that no piece has written would read as zero weights.
    let external = model.initializers().iter();
    let expected: usize = external
        .filter(|i| places.contains_key(&i.name))
        .map(Initializer::len)
        .sum();
    assert_eq!(written.into_inner(), expected, "bytes of {DATA_FILE}");
    Ok(())
}

/// Splits an initializer into pieces, each with its offset in the file.
fn pieces(i: &Initializer, offset: usize) -> Vec<(usize, Piece<'_>)> {
    match &i.data {
        InitializerData::Bytes(bytes) => vec![(offset, Piece::Bytes(bytes))],
        InitializerData::Computed(source) => {
            let units = source.units();
            let bytes_per_unit = i.len() / units.max(1);
            let firsts = (0..units).step_by(source.units_per_piece());
            firsts
                .map(|first| {
                    let end = (first + source.units_per_piece()).min(units);
                    let piece = Piece::Units(source.as_ref(), first..end);
                    (offset + first * bytes_per_unit, piece)
                })
                .collect()
        }
        InitializerData::File(_) => Vec::new(),
    }
}
