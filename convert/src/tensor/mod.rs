//! Element types, conversions between them, and the source of a tensor's bytes.
//!
//! This is the ground floor: it knows neither ONNX nor checkpoints nor quantisation. Checkpoint tensors
//! ([`crate::weights`]) and quantised weights ([`crate::quantized`]) implement [`TensorSource`], and the writer
//! ([`crate::write::external_data`]) reads every tensor through it.
//!
//! * [`cast`] converts float values between the types of checkpoints and graphs.
//! * [`e4m3`] encodes and decodes 8-bit floats.

pub(crate) mod cast;
pub(crate) mod e4m3;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;

/// Values in a piece of a few megabytes, the amount that a core converts and writes at a time.
pub(crate) const PIECE_VALUES: usize = 1 << 20;

/// An element type, with its code in ONNX's `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DType {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    I32 = 6,
    I64 = 7,
    F16 = 10,
    Bf16 = 16,
    /// e4m3, `FLOAT8E4M3FN`.
    F8 = 17,
}

impl DType {
    /// Bytes per element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::F8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// The float type in which a checkpoint stores a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloatType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
}

impl FloatType {
    /// Bytes per value.
    pub(crate) fn size(self) -> usize {
        DType::from(self).size()
    }
}

impl From<FloatType> for DType {
    fn from(float: FloatType) -> Self {
        match float {
            FloatType::F32 => Self::F32,
            FloatType::F16 => Self::F16,
            FloatType::Bf16 => Self::Bf16,
        }
    }
}

/// A tensor whose bytes are computed while they are written, in units that do not depend on each other.
///
/// A unit is whatever the tensor's layout allows to be computed alone: a value, a row, an input channel. All units have
/// the same number of bytes.
pub(crate) trait TensorSource: Debug + Send + Sync {
    /// Number of units.
    fn units(&self) -> usize;

    /// Units that are converted together.
    fn units_per_piece(&self) -> usize;

    /// Appends the bytes of some units.
    ///
    /// # Errors
    /// A weight is not finite, or too large for the element type.
    fn append(&self, units: Range<usize>, out: &mut Vec<u8>) -> Result<()>;
}

impl<T: TensorSource> TensorSource for Arc<T> {
    fn units(&self) -> usize {
        self.as_ref().units()
    }

    fn units_per_piece(&self) -> usize {
        self.as_ref().units_per_piece()
    }

    fn append(&self, units: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        self.as_ref().append(units, out)
    }
}
