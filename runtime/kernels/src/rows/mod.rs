//! Operations on rows of activations that end in 8-bit codes. Each row is read from memory once.
//!
//! A row, or a block of a row, is quantised with a scale of its own, `max|x| / 127`, so a token's codes do not depend on the other
//! tokens of its batch. A code is `round(x / scale)` plus the code of zero. Where 8 bits are too few, a second code holds the rounding
//! error of the first one. Values among which are NaN or infinity have the scale NaN, which the product then returns.

mod row;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use crate::codes::Layout;
use crate::hadamard;
use crate::lengths;
use crate::parallel::{Parallel, Shared};
use crate::simd::InstructionSet;
use row::{Row, kernel};

/// The width of rows is a multiple of this.
pub const WIDTH_STEP: usize = 16;
/// The least `max|x|` of a row, so that its reciprocal is finite.
const LEAST: f32 = 1e-30;

/// The values to quantise.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// The values themselves, `[rows, width]`.
    Plain(&'a [f32]),
    /// `rms_norm(x + residual)` (arXiv 1910.07467).
    Norm {
        /// `[rows, width]`.
        x: &'a [f32],
        /// `[rows, width]`; nothing is added if `None`.
        residual: Option<&'a [f32]>,
        /// `[width]`.
        weight: &'a [f32],
        /// Added to the mean square.
        epsilon: f32,
    },
    /// `silu(gate) * up` (arXiv 2002.05202), `[rows, width]` each.
    SwiGlu {
        /// The gate.
        gate: &'a [f32],
        /// The other factor.
        up: &'a [f32],
    },
}

impl Rows<'_> {
    /// The number of values.
    fn len(&self) -> usize {
        match self {
            Self::Plain(x) | Self::Norm { x, .. } => x.len(),
            Self::SwiGlu { gate, .. } => gate.len(),
        }
    }

    /// Checks that all sizes agree.
    ///
    /// # Errors
    /// Names the input that does not fit.
    pub fn check(&self, width: usize) -> Result<(), String> {
        if width == 0 || !width.is_multiple_of(WIDTH_STEP) || !self.len().is_multiple_of(width) {
            let len = self.len();
            return Err(format!(
                "the input has {len} values, which must be whole rows of {width}, and {width} a multiple of {WIDTH_STEP}"
            ));
        }
        match self {
            Self::Plain(_) => Ok(()),
            Self::Norm {
                residual, weight, ..
            } => {
                let added = residual.map_or(self.len(), <[f32]>::len);
                lengths::check([
                    ("weight", weight.len(), width),
                    ("residual", added, self.len()),
                ])
            }
            Self::SwiGlu { up, .. } => lengths::check([("up", up.len(), self.len())]),
        }
    }
}

/// The values of a row that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// All of them, as [`linear`](crate::linear) asks.
    Row,
    /// Blocks of this many values, a multiple of [`WIDTH_STEP`], as [`block_linear`](crate::block_linear) asks.
    Block(usize),
}

impl Scaling {
    /// The layout of the codes, for a linear layer that uses this instruction set.
    #[must_use]
    pub fn layout(self, set: InstructionSet, width: usize) -> Layout {
        match self {
            Self::Row => Layout::of(set, width),
            Self::Block(_) => Layout::SIGNED_VECTORS,
        }
    }

    /// Values that share a scale.
    ///
    /// # Errors
    /// Blocks are not whole.
    fn size(self, width: usize) -> Result<usize, String> {
        match self {
            Self::Row => Ok(width),
            Self::Block(size)
                if size > 0 && size.is_multiple_of(WIDTH_STEP) && width.is_multiple_of(size) =>
            {
                Ok(size)
            }
            Self::Block(size) => Err(format!(
                "a row of {width} values has no whole blocks of {size}, or {size} is no multiple of {WIDTH_STEP}"
            )),
        }
    }
}

/// How rows become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The values that share a scale.
    pub scaling: Scaling,
    /// The width of the blocks that are [rotated](crate::hadamard) before they are quantised, if any.
    pub rotation: Option<usize>,
}

/// The results of [`quantize`].
#[derive(Debug)]
pub struct Outputs<'a> {
    /// As [`Scaling::layout`] arranges them.
    pub codes: &'a mut [u8],
    /// The rounding errors of `codes`, in steps [`FINER`](crate::codes::FINER) times as small, if they are wanted; arranged alike.
    pub fine: Option<&'a mut [u8]>,
    /// A scale for each row, `[rows]`, or for each of its blocks, `[rows, blocks]`.
    pub scales: &'a mut [f32],
    /// `[rows, blocks]`: the sum of each block's codes less the code of zero, if it is wanted.
    pub code_sums: Option<&'a mut [i32]>,
    /// `[rows, width]`: `x + residual` of [`Rows::Norm`], if it is wanted.
    pub sum: Option<&'a mut [f32]>,
}

thread_local! {
    /// The codes of a strip's rows, one after another, and then the fine ones.
    static STRIP: RefCell<Vec<u8>> = RefCell::default();
}

/// Computes and quantises rows.
///
/// # Errors
/// As [`Rows::check`] and [`hadamard::check`], or blocks are not whole; nothing is written.
///
/// # Panics
/// If an output has another size, or the processor lacks the instruction set.
pub fn quantize(
    set: InstructionSet,
    threads: &dyn Parallel,
    rows: Rows<'_>,
    width: usize,
    form: Form,
    outputs: Outputs<'_>,
) -> Result<(), String> {
    rows.check(width)?;
    let Form { scaling, rotation } = form;
    let size = scaling.size(width)?;
    if let Some(block) = rotation {
        hadamard::check(width, block)?;
    }
    set.assert_available();
    let count = rows.len() / width;
    let layout = scaling.layout(set, width);
    let (height, len) = (layout.height, layout.len(count, width));
    assert_eq!(outputs.codes.len(), len, "codes for whole strips");
    let blocks = width / size;
    assert_eq!(
        outputs.scales.len(),
        count * blocks,
        "a scale for each block"
    );
    let code_sums = outputs.code_sums.map(|sums| {
        assert_eq!(sums.len(), count * blocks, "a sum of codes for each block");
        Shared::new(sums)
    });
    let (strips, scales) = (Shared::new(outputs.codes), Shared::new(outputs.scales));
    let fine_strips = outputs.fine.map(|fine| {
        assert_eq!(fine.len(), len, "fine codes for whole strips");
        Shared::new(fine)
    });
    let sum = outputs.sum.map(|sum| {
        assert_eq!(sum.len(), rows.len(), "a sum for each value");
        Shared::new(sum)
    });
    let kernel = kernel(set);
    threads.each(count.div_ceil(height), &|strip| {
        let (first, end) = (strip * height, count.min((strip + 1) * height));
        let size = height * width;
        STRIP.with_borrow_mut(|scratch| {
            if scratch.len() < 2 * size {
                scratch.resize(2 * size, 0);
            }
            let (coarse, fine) = scratch.split_at_mut(size);
            for row in first..end {
                let part = (row - first) * width..(row - first + 1) * width;
                let fine = fine_strips.is_some().then(|| &mut fine[part.clone()]);
                // SAFETY: each task writes its own rows. Sizes were checked, and the processor has the set.
                unsafe {
                    let sum = sum.as_ref().map(|sum| sum.part(row * width, width));
                    let code_sums = code_sums.as_ref();
                    kernel(Row {
                        rows: &rows,
                        at: row * width..(row + 1) * width,
                        rotation,
                        codes: &mut coarse[part],
                        fine,
                        scales: scales.part(row * blocks, blocks),
                        code_sums: code_sums.map(|sums| sums.part(row * blocks, blocks)),
                        sum,
                    });
                }
            }
            let used = (end - first) * width;
            // SAFETY: each task writes its own strip. Sizes were checked.
            unsafe {
                layout.arrange(&coarse[..used], width, strips.part(first * width, size));
                if let Some(strips) = &fine_strips {
                    layout.arrange(&fine[..used], width, strips.part(first * width, size));
                }
            }
        });
    });
    Ok(())
}
