//! 8-bit weights in the arrangement of lexivec's own kernels (`lexivec_kernels::linear`), and the sums that these need.

use std::ops::Range;
use std::sync::Arc;

use lexivec_kernels::linear::{COLUMNS, pack};

use super::int8::Int8Weights;
use crate::error::Result;
use crate::tensor::TensorSource;

/// Panels per piece: a piece of stored codes reads whole cache lines.
const PANELS_PER_PIECE: usize = 4;

/// `[ceil(outputs / 16), inputs / 4, 16, 4]`. A unit is a panel of 16 outputs.
#[derive(Debug)]
pub(crate) struct PackedInt8(pub(crate) Arc<Int8Weights>);

/// The sum of each output's codes, int32 `[outputs]`. A unit is an output.
#[derive(Debug)]
pub(crate) struct Int8Sums(pub(crate) Arc<Int8Weights>);

/// The packed codes and the sums of some outputs.
fn packed(weights: &Int8Weights, outputs: Range<usize>) -> Result<(Vec<i8>, Vec<i32>)> {
    Ok(pack(&weights.rows(outputs)?, weights.inputs()))
}

impl TensorSource for PackedInt8 {
    fn units(&self) -> usize {
        self.0.outputs().div_ceil(COLUMNS)
    }

    fn units_per_piece(&self) -> usize {
        PANELS_PER_PIECE
    }

    fn append(&self, units: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let end = self.0.outputs().min(units.end * COLUMNS);
        let (codes, _) = packed(&self.0, units.start * COLUMNS..end)?;
        out.extend_from_slice(bytemuck::cast_slice(&codes));
        Ok(())
    }
}

impl TensorSource for Int8Sums {
    fn units(&self) -> usize {
        self.0.outputs()
    }

    fn units_per_piece(&self) -> usize {
        PANELS_PER_PIECE * COLUMNS
    }

    fn append(&self, units: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let (_, sums) = packed(&self.0, units)?;
        out.extend_from_slice(bytemuck::cast_slice(&sums));
        Ok(())
    }
}
