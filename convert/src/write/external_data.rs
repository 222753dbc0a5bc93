//! Writes a graph and its weights: `model.onnx` and `model.onnx.data`.
//!
//! Places are assigned first; then all cores convert pieces of a few megabytes and write each where it belongs, so
//! that memory stays small whatever the model's size.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use lexivec_models::Error as ModelError;
use prost::Message as _;
use rayon::prelude::*;

use crate::blocks::BlockQuantized;
use crate::cast;
use crate::error::{Error, Result};
use crate::float8::Float8;
use crate::graph::{Data, Initializer, Model};
use crate::progress::Progress;
use crate::quantize::Quantized;
use crate::weights::Tensor;

/// The graph.
pub(crate) const MODEL_FILE: &str = "model.onnx";
/// Its weights.
pub(crate) const DATA_FILE: &str = "model.onnx.data";

/// Tensors from this size on start on a multiple of [`LARGE_ALIGNMENT`], the allocation granularity that memory maps
/// of every platform accept (as the onnx_ir library writes them).
const LARGE: usize = 1 << 20;
const LARGE_ALIGNMENT: usize = 64 << 10;
/// A cache line.
const SMALL_ALIGNMENT: usize = 64;
/// Computed constants up to this size (shapes, axes, scalars) stay in the graph.
const INLINE: usize = 1 << 10;
/// Values per piece: 2 to 4 MiB of output.
const PIECE: usize = 1 << 20;
/// Input channels per piece of an int8 weight: one cache line of each output row.
const CHANNELS: usize = 64;

/// A piece of one initializer.
enum Piece<'a> {
    Bytes(&'a [u8]),
    Values {
        initializer: &'a Initializer,
        tensor: &'a Tensor,
        first: usize,
        count: usize,
    },
    Codes {
        weights: &'a Quantized,
        first: usize,
        count: usize,
    },
    Rows {
        weights: &'a BlockQuantized,
        first: usize,
        count: usize,
    },
    Floats {
        weights: &'a Float8,
        first: usize,
        count: usize,
    },
    Scales {
        initializer: &'a Initializer,
        scales: &'a [f32],
    },
}

impl Piece<'_> {
    /// Appends what the file holds in its place.
    fn append_to(&self, out: &mut Vec<u8>) -> Result<()> {
        match *self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Values {
                initializer,
                tensor,
                first,
                count,
            } => convert(initializer, tensor, first, count, out)?,
            Self::Codes {
                weights,
                first,
                count,
            } => weights.codes(first, count, out)?,
            Self::Floats {
                weights,
                first,
                count,
            } => weights.rows(first, count, out)?,
            Self::Rows {
                weights,
                first,
                count,
            } => weights.rows(first, count, out)?,
            Self::Scales {
                initializer,
                scales,
            } => cast::write(scales, initializer.dtype, &initializer.name, out)?,
        }
        Ok(())
    }
}

/// Writes `model` into `dir`. Weights that stay in the checkpoint are referred to by file name.
///
/// # Errors
/// Input or output fails, a weight is not finite or beyond the element type, or the user interrupts.
pub(crate) fn write(model: Model, dir: &Path, progress: &dyn Progress) -> Result<()> {
    let (places, size) = places(model.initializers());
    if size > 0 {
        write_data(&model, &places, size, &dir.join(DATA_FILE), progress)?;
    }
    let message = model.into_message(|i| match &i.data {
        Data::Reference(tensor) => Some((file_name(tensor.path()), tensor.start)),
        _ => places
            .get(&i.name)
            .map(|offset| (DATA_FILE.to_owned(), *offset)),
    });
    let path = dir.join(MODEL_FILE);
    fs_err::write(&path, message.encode_to_vec()).map_err(|e| ModelError::io(&path, e))?;
    Ok(())
}

/// A graph to be loaded from memory: weights that are not the checkpoint's own bytes lie in the message itself, which
/// may have 2 GB.
pub(crate) fn in_memory(mut model: Model) -> Result<Vec<u8>> {
    for i in model.initializers_mut() {
        if matches!(i.data, Data::Bytes(_) | Data::Reference(_)) {
            continue;
        }
        let mut bytes = Vec::with_capacity(i.len());
        for (_, piece) in pieces(i, 0) {
            piece.append_to(&mut bytes)?;
        }
        i.data = Data::Bytes(bytes);
    }
    Ok(reference_bytes(model))
}

/// The graph alone, whose weights all lie in the checkpoint's files, to be loaded from memory.
pub(crate) fn reference_bytes(model: Model) -> Vec<u8> {
    let message = model.into_message(|i| match &i.data {
        // In a hub cache the file's name is a link's; the folder that is given holds what it points to.
        Data::Reference(tensor) => {
            let real =
                fs_err::canonicalize(tensor.path()).unwrap_or_else(|_| tensor.path().to_path_buf());
            Some((file_name(&real), tensor.start))
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

/// Each external initializer's offset in the data file, and the file's size.
fn places(initializers: &[Initializer]) -> (HashMap<String, usize>, usize) {
    let mut offset = 0usize;
    let mut places = HashMap::new();
    for i in initializers {
        let external = match &i.data {
            Data::Bytes(bytes) => bytes.len() > INLINE,
            Data::Stack(_)
            | Data::Quantized(_)
            | Data::Blocks(_)
            | Data::Scales(_)
            | Data::Float8(_) => true,
            Data::Reference(_) => false,
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
    model: &Model,
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
                piece => {
                    piece.append_to(buffer)?;
                    buffer.as_slice()
                }
            };
            file.file().write_all_at(bytes, offset as u64).map_err(io)?;
            progress.advance(bytes.len() as u64);
            written.fetch_add(bytes.len(), Ordering::Relaxed);
            Ok(())
        },
    )?;
    // Bytes that no piece wrote would be weights of zero.
    let external = model.initializers().iter();
    let expected: usize = external
        .filter(|i| places.contains_key(&i.name))
        .map(Initializer::len)
        .sum();
    assert_eq!(written.into_inner(), expected, "bytes of {DATA_FILE}");
    Ok(())
}

fn convert(
    to: &Initializer,
    tensor: &Tensor,
    first: usize,
    count: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    // Small enough for the first-level cache on the way through float32.
    let mut values = [0f32; 4096];
    for start in (first..first + count).step_by(values.len()) {
        let values = &mut values[..(first + count - start).min(4096)];
        cast::read_f32(tensor, start, values)?;
        cast::write(values, to.dtype, &tensor.name, out)?;
    }
    Ok(())
}

/// Cuts an initializer into pieces, each with its place in the file.
fn pieces(i: &Initializer, offset: usize) -> Vec<(usize, Piece<'_>)> {
    match &i.data {
        Data::Bytes(bytes) => vec![(offset, Piece::Bytes(bytes))],
        Data::Stack(tensors) => {
            let mut pieces = Vec::new();
            let mut offset = offset;
            for tensor in tensors {
                let values = tensor.rows() * tensor.columns();
                for first in (0..values).step_by(PIECE) {
                    let count = PIECE.min(values - first);
                    let piece = Piece::Values {
                        initializer: i,
                        tensor,
                        first,
                        count,
                    };
                    pieces.push((offset + first * i.dtype.size(), piece));
                }
                offset += values * i.dtype.size();
            }
            pieces
        }
        Data::Quantized(weights) => {
            let channels = (0..weights.inputs()).step_by(CHANNELS);
            channels
                .map(|first| {
                    let count = CHANNELS.min(weights.inputs() - first);
                    let piece = Piece::Codes {
                        weights,
                        first,
                        count,
                    };
                    (offset + first * weights.outputs(), piece)
                })
                .collect()
        }
        Data::Float8(weights) => {
            let rows = (PIECE / weights.inputs).max(1);
            let firsts = (0..weights.outputs).step_by(rows);
            firsts
                .map(|first| {
                    let count = rows.min(weights.outputs - first);
                    let piece = Piece::Floats {
                        weights,
                        first,
                        count,
                    };
                    (offset + first * weights.inputs, piece)
                })
                .collect()
        }
        Data::Blocks(weights) => {
            let rows = (PIECE / weights.inputs).max(1);
            let bytes = weights.format.row_bytes(weights.inputs);
            let firsts = (0..weights.outputs).step_by(rows);
            firsts
                .map(|first| {
                    let count = rows.min(weights.outputs - first);
                    let piece = Piece::Rows {
                        weights,
                        first,
                        count,
                    };
                    (offset + first * bytes, piece)
                })
                .collect()
        }
        Data::Scales(weights) => {
            let parts = weights.scales.chunks(PIECE).enumerate();
            parts
                .map(|(part, scales)| {
                    let piece = Piece::Scales {
                        initializer: i,
                        scales,
                    };
                    (offset + part * PIECE * i.dtype.size(), piece)
                })
                .collect()
        }
        Data::Reference(_) => Vec::new(),
    }
}

/// Reads every value of the tensors that stay in the checkpoint once, to refuse those that are not finite.
///
/// # Errors
/// A value is NaN or infinite.
pub(crate) fn check_references(model: &Model) -> Result<()> {
    let tensors = model.initializers().iter().filter_map(|i| match &i.data {
        Data::Reference(tensor) => Some(tensor),
        _ => None,
    });
    let pieces: Vec<(&Tensor, usize, usize)> = tensors
        .flat_map(|t| {
            let values = t.rows() * t.columns();
            (0..values)
                .step_by(PIECE)
                .map(move |first| (t, first, PIECE.min(values - first)))
        })
        .collect();
    pieces
        .into_par_iter()
        .try_for_each(|(tensor, first, count)| {
            let mut values = [0f32; 4096];
            for start in (first..first + count).step_by(values.len()) {
                let values = &mut values[..(first + count - start).min(4096)];
                cast::read_f32(tensor, start, values)?;
            }
            Ok(())
        })
}
