//! Quantised weights of linear layers, as graphs store them.
//!
//! | format | codes | scales |
//! |---|---|---|
//! | [`Int8Weights`] | 8-bit integers, `[in, out]`, or as [`PackedInt8`] | one per output channel |
//! | [`BlockWeights`] | 4- or 8-bit integers, `[out, in]`, or as [`PackedBlocks`] | one per block of input channels, with optional zero points |
//! | [`Float8Weights`] | 8-bit floats, `[out, in]` | one for all |
//!
//! Each format either rounds a checkpoint's tensors to nearest while they are written, or copies codes that calibration
//! has left in a file (`code_source`).
//!
//! To add a precision: add its format here, a variant of [`QuantizedLinear`], the operators that compute it
//! (`graph/linear.rs`), and the choice of both (`graph/precision.rs`).

mod block_format;
mod blocks;
mod code_source;
mod float8;
mod int8;
mod packed_blocks;
mod packed_int8;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use block_format::{BlockFormat, Step, scales_and_zeros};
pub(crate) use blocks::{BlockScales, BlockWeights};
pub(crate) use float8::Float8Weights;
pub(crate) use int8::{Int8Weights, LARGEST_CODE, code};
pub(crate) use packed_blocks::{BlockPart, PackedBlocks};
pub(crate) use packed_int8::{Int8Sums, PackedInt8};

/// The quantised linear groups of a graph, by the name of their stacked weights. Groups that are not listed compute in
/// the graph's float type.
pub(crate) type QuantizedLinears = HashMap<String, QuantizedLinear>;

/// How a linear group (layers that read the same input) computes.
#[derive(Debug, Clone)]
pub(crate) enum QuantizedLinear {
    /// 8-bit integer weights and activations.
    Int8(Arc<Int8Weights>),
    /// 8-bit integer weights, and activations of 15 bits as two 8-bit terms.
    Int8x2(Arc<Int8Weights>),
    /// Integer weights in blocks, float activations.
    Blocks(Arc<BlockWeights>),
    /// 8-bit float weights and activations.
    Float8(Arc<Float8Weights>),
    /// Integer weights in blocks, rounded to nearest when the graph is written.
    BlocksRoundedToNearest(BlockFormat),
}
