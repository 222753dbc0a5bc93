//! Weights as 4- or 8-bit integers in blocks: consecutive input channels of an output channel share a scale and,
//! optionally, a zero point.
//!
//! `w[o, i] ≈ (code[o, i] - zero[o, block]) * scale[o, block]`. Codes are stored row by row. A byte holds two 4-bit codes,
//! the first one in its low half. ONNX Runtime's MatMulNBits and GatherBlockQuantized read this layout.

use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;

use super::block_format::{BlockFormat, Step, scales_and_zeros};
use super::code_source::CodeSource;
use crate::error::Result;
use crate::tensor::{DType, PIECE_VALUES, TensorSource, cast};
use crate::weights::Tensor;

/// Rows whose steps are chosen together.
const ROWS_PER_PART: usize = 4096;

/// Weights `[outputs, inputs]` of linear layers that are stacked by rows, or an embedding table.
#[derive(Debug)]
pub(crate) struct BlockWeights {
    pub(crate) format: BlockFormat,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// By rows and blocks.
    pub(crate) scales: Vec<f32>,
    /// By rows, packed like codes.
    pub(crate) zeros: Option<Vec<u8>>,
    codes: CodeSource,
}

impl BlockWeights {
    /// Gives each block the step of least error, and rounds weights to nearest when the graph is written.
    ///
    /// # Errors
    /// A weight is not finite.
    pub(crate) fn round_to_nearest(tensors: Vec<Tensor>, format: BlockFormat) -> Result<Self> {
        let inputs = tensors.first().map_or(0, Tensor::columns);
        let importance = vec![1f32; inputs];
        let (mut scales, mut zeros) = (Vec::new(), format.zero_points.then(Vec::new));
        for tensor in &tensors {
            for first in (0..tensor.rows()).step_by(ROWS_PER_PART) {
                let rows = first..(first + ROWS_PER_PART).min(tensor.rows());
                let steps: Result<Vec<Vec<Step>>> = rows
                    .into_par_iter()
                    .map_init(
                        || vec![0f32; inputs],
                        |row, r| {
                            tensor.read_f32(r * inputs, row)?;
                            Ok(format.fit_row(row, &importance))
                        },
                    )
                    .collect();
                let (more, packed) = scales_and_zeros(format, inputs, &steps?.concat());
                scales.extend(more);
                if let (Some(zeros), Some(packed)) = (&mut zeros, packed) {
                    zeros.extend(packed);
                }
            }
        }
        Ok(Self {
            format,
            inputs,
            outputs: tensors.iter().map(Tensor::rows).sum(),
            scales,
            zeros,
            codes: CodeSource::RoundToNearest(tensors),
        })
    }

    /// Uses codes that lie in a file, by rows, from byte `start` on.
    pub(crate) fn stored(
        format: BlockFormat,
        inputs: usize,
        scales: Vec<f32>,
        zeros: Option<Vec<u8>>,
        (file, start): (Arc<Mmap>, usize),
    ) -> Self {
        Self {
            format,
            inputs,
            outputs: scales.len() / format.blocks(inputs),
            scales,
            zeros,
            codes: CodeSource::Stored { file, start },
        }
    }

    /// Splits stacked layers into layers with these numbers of rows.
    pub(crate) fn split(&self, rows: &[usize]) -> Vec<Self> {
        let mut first = 0;
        let part = |rows: &usize| {
            let within = |per: usize| first * per..(first + rows) * per;
            let scales = self.scales[within(self.format.blocks(self.inputs))].to_vec();
            let zeros = self.zeros.as_ref();
            let zeros = zeros.map(|zeros| zeros[within(self.zero_bytes())].to_vec());
            let codes = self
                .codes
                .part(first, *rows, first * self.format.row_bytes(self.inputs));
            first += rows;
            Self {
                format: self.format,
                inputs: self.inputs,
                outputs: *rows,
                scales,
                zeros,
                codes,
            }
        };
        rows.iter().map(part).collect()
    }

    /// Bytes of the zero points of a row.
    pub(crate) fn zero_bytes(&self) -> usize {
        self.format.zero_bytes(self.inputs)
    }

    /// The type in which scales are stored: 16 bits if float16 holds all of them with full precision, else `compute`. Even so they are
    /// a ninth of a 4-bit model.
    pub(crate) fn stored_scales(&self, compute: DType) -> DType {
        // Smaller values are subnormal in float16 and have fewer bits. Graphs that compute in float16 accept that.
        let normal = |scale: &f32| (6.2e-5..65_000.0).contains(&scale.abs());
        match self.scales.iter().all(normal) {
            true => DType::F16,
            false => compute,
        }
    }

    fn step(&self, row: usize, block: usize) -> Step {
        let scale = self.scales[row * self.format.blocks(self.inputs) + block];
        let zero = self.zeros.as_ref().map_or(self.format.middle(), |zeros| {
            let row = &zeros[row * self.zero_bytes()..];
            f32::from(self.format.unpack(row, block))
        });
        Step { scale, zero }
    }
}

/// The codes; a unit is a row.
impl TensorSource for BlockWeights {
    fn units(&self) -> usize {
        self.outputs
    }

    fn units_per_piece(&self) -> usize {
        (PIECE_VALUES / self.inputs).max(1)
    }

    fn append(&self, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let bytes = self.format.row_bytes(self.inputs);
        let tensors = match &self.codes {
            CodeSource::RoundToNearest(tensors) => tensors,
            CodeSource::Stored { file, start } => {
                out.extend_from_slice(&file[start + rows.start * bytes..start + rows.end * bytes]);
                return Ok(());
            }
        };
        let blocks = self.format.blocks(self.inputs);
        let mut row = vec![0f32; self.inputs];
        let mut before = 0;
        for tensor in tensors {
            let inside = rows.start.max(before)..rows.end.min(before + tensor.rows());
            for r in inside {
                tensor.read_f32((r - before) * self.inputs, &mut row)?;
                let steps: Vec<Step> = (0..blocks).map(|b| self.step(r, b)).collect();
                self.format.pack_row(&row, &steps, out);
            }
            before += tensor.rows();
        }
        Ok(())
    }
}

/// The scales of block weights as a tensor of their own.
#[derive(Debug)]
pub(crate) struct BlockScales {
    pub(crate) weights: Arc<BlockWeights>,
    /// The name of the tensor, for errors.
    pub(crate) name: String,
    /// The float type in which they are stored.
    pub(crate) dtype: DType,
}

/// A unit is a scale.
impl TensorSource for BlockScales {
    fn units(&self) -> usize {
        self.weights.scales.len()
    }

    fn units_per_piece(&self) -> usize {
        PIECE_VALUES
    }

    fn append(&self, scales: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        cast::write(&self.weights.scales[scales], self.dtype, &self.name, out)
    }
}
