//! Weights as 8-bit floats ([`crate::tensor::e4m3`]).
//!
//! `w[o, i] ≈ scale * code[o, i]`. One scale serves a whole linear group: a float keeps its relative precision over 15
//! powers of two, so output channels need no scales of their own.

use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;

use super::code_source::CodeSource;
use crate::error::Result;
use crate::tensor::cast::largest;
use crate::tensor::e4m3::{encode, scale_of};
use crate::tensor::{PIECE_VALUES, TensorSource};
use crate::weights::Tensor;

/// Weights of linear layers that are stacked by rows.
#[derive(Debug, Clone)]
pub(crate) struct Float8Weights {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) scale: f32,
    codes: CodeSource,
}

impl Float8Weights {
    /// Rounds every weight to the nearest 8-bit float when the graph is written.
    ///
    /// # Errors
    /// A weight is not finite.
    pub(crate) fn round_to_nearest(tensors: Vec<Tensor>) -> Result<Self> {
        let mut maximum = 0f32;
        let mut row = Vec::new();
        for tensor in &tensors {
            row.resize(tensor.columns(), 0f32);
            for r in 0..tensor.rows() {
                tensor.read_f32(r * tensor.columns(), &mut row)?;
                maximum = maximum.max(largest(&row));
            }
        }
        Ok(Self {
            inputs: tensors.first().map_or(0, Tensor::columns),
            outputs: tensors.iter().map(Tensor::rows).sum(),
            scale: scale_of(maximum),
            codes: CodeSource::RoundToNearest(tensors),
        })
    }

    /// Uses codes that lie in a file, `[out, in]`, from byte `start` on.
    pub(crate) fn stored(
        inputs: usize,
        outputs: usize,
        scale: f32,
        (file, start): (Arc<Mmap>, usize),
    ) -> Self {
        Self {
            inputs,
            outputs,
            scale,
            codes: CodeSource::Stored { file, start },
        }
    }

    /// Splits stacked layers into layers with these numbers of output channels.
    pub(crate) fn split(&self, outputs: &[usize]) -> Vec<Self> {
        let mut first = 0;
        let part = |outputs: &usize| {
            let codes = self.codes.part(first, *outputs, first * self.inputs);
            first += outputs;
            Self {
                outputs: *outputs,
                codes,
                ..self.clone()
            }
        };
        outputs.iter().map(part).collect()
    }
}

/// A unit is an output channel.
impl TensorSource for Float8Weights {
    fn units(&self) -> usize {
        self.outputs
    }

    fn units_per_piece(&self) -> usize {
        (PIECE_VALUES / self.inputs).max(1)
    }

    fn append(&self, outputs: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let tensors = match &self.codes {
            CodeSource::RoundToNearest(tensors) => tensors,
            CodeSource::Stored { file, start } => {
                let bytes = outputs.start * self.inputs..outputs.end * self.inputs;
                out.extend_from_slice(&file[start + bytes.start..start + bytes.end]);
                return Ok(());
            }
        };
        let inverse = 1.0 / self.scale;
        let mut row = vec![0f32; self.inputs];
        let mut before = 0;
        for tensor in tensors {
            let inside = outputs.start.max(before)..outputs.end.min(before + tensor.rows());
            for r in inside {
                tensor.read_f32((r - before) * self.inputs, &mut row)?;
                out.extend(row.iter().map(|w| encode(w * inverse)));
            }
            before += tensor.rows();
        }
        Ok(())
    }
}
