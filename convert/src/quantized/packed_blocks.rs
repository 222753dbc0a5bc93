//! Weights in blocks, in the arrangement of lexivec's own kernels (`lexivec_kernels::block_linear`).

use std::ops::Range;
use std::sync::Arc;

use lexivec_kernels::block_linear::{Bits, pack, panels_of_blocks};
use lexivec_kernels::linear::COLUMNS;

use super::blocks::BlockWeights;
use crate::error::Result;
use crate::tensor::{DType, TensorSource, cast};

/// Panels per piece: a piece of stored codes reads whole cache lines.
const PANELS_PER_PIECE: usize = 4;

/// One of the tensors of weights in blocks. A unit is a panel of 16 outputs.
#[derive(Debug)]
pub(crate) struct PackedBlocks {
    pub(crate) weights: Arc<BlockWeights>,
    pub(crate) part: BlockPart,
}

/// The tensors of weights in blocks.
#[derive(Debug)]
pub(crate) enum BlockPart {
    /// As `lexivec_kernels::block_linear::pack` arranges them.
    Codes,
    /// `[ceil(outputs / 16), blocks, 16]`.
    Scales {
        /// The name of the tensor, for errors.
        name: String,
        /// The float type in which they are stored.
        dtype: DType,
    },
    /// One in each byte, arranged as the scales.
    ZeroPoints,
}

/// The outputs of some panels.
fn outputs(weights: &BlockWeights, panels: Range<usize>) -> Range<usize> {
    panels.start * COLUMNS..weights.outputs.min(panels.end * COLUMNS)
}

/// The codes of rows, one in each byte.
fn unpacked(weights: &BlockWeights, rows: &[u8], row_bytes: usize, columns: usize) -> Vec<u8> {
    let rows = rows.chunks_exact(row_bytes);
    rows.flat_map(|row| (0..columns).map(|column| weights.format.unpack(row, column)))
        .collect()
}

impl TensorSource for PackedBlocks {
    fn units(&self) -> usize {
        self.weights.outputs.div_ceil(COLUMNS)
    }

    fn units_per_piece(&self) -> usize {
        PANELS_PER_PIECE
    }

    fn append(&self, units: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let weights = &*self.weights;
        let blocks = weights.format.blocks(weights.inputs);
        let outputs = outputs(weights, units);
        match &self.part {
            BlockPart::Codes => {
                let mut rows = Vec::new();
                weights.append(outputs, &mut rows)?;
                let row_bytes = weights.format.row_bytes(weights.inputs);
                let codes = unpacked(weights, &rows, row_bytes, weights.inputs);
                let bits = match weights.format.bits {
                    4 => Bits::Four,
                    8 => Bits::Eight,
                    bits => unreachable!("a format of {bits} bits"),
                };
                out.extend(pack(bits, &codes, weights.inputs));
                Ok(())
            }
            BlockPart::Scales { name, dtype } => {
                let scales = &weights.scales[outputs.start * blocks..outputs.end * blocks];
                cast::write(&panels_of_blocks(scales, blocks), *dtype, name, out)
            }
            BlockPart::ZeroPoints => {
                let bytes = weights.zero_bytes();
                let zeros = weights.zeros.as_deref().unwrap_or_default();
                let rows = &zeros[outputs.start * bytes..outputs.end * bytes];
                let zeros = unpacked(weights, rows, bytes, blocks);
                out.extend(panels_of_blocks(&zeros, blocks));
                Ok(())
            }
        }
    }
}
