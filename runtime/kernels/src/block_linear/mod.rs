//! Linear layers whose weights, of 4 or 8 bits, share a scale, and may share a zero point, in blocks of inputs. Activations are 8-bit
//! codes that share scales in the same blocks ([`Scaling::Block`](crate::rows::Scaling::Block)).
//!
//! `y[m, n] = sum over blocks of scale[m, block] * weight_scale[n, block] * sum over k in block of code[m, k] * (weight[n, k] -
//! zero[n, block])`, plus a bias. The inner sums are exact.

#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod products;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::codes::{DEPTH, Layout};
use crate::lengths;
use crate::linear::COLUMNS;
use crate::parallel::{Parallel, Shared};
use crate::simd::InstructionSet;
use crate::tasks::{Task, Tasks};
#[cfg(target_arch = "aarch64")]
use neon::NeonDot;
pub use pack::{Bits, pack, packed_len, panels_of_blocks};
use products::{PART, Portable, Products};
#[cfg(target_arch = "x86_64")]
use x86::{Avx2, AvxVnni, Halves, Vnni};

/// Weights as [`pack()`] arranges them. Their scales and zero points are arranged by [`panels_of_blocks`].
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// Unsigned codes.
    pub codes: &'a [u8],
    /// The size of a code.
    pub bits: Bits,
    /// `[ceil(outputs / 16), blocks, 16]`.
    pub scales: &'a [f32],
    /// `[ceil(outputs / 16), blocks, 16]`; the middle of the codes if `None`.
    pub zeros: Option<&'a [u8]>,
    /// The number of inputs of a block, a multiple of 32.
    pub block: usize,
    /// The number of inputs, a multiple of `block`.
    pub inputs: usize,
    /// The number of outputs.
    pub outputs: usize,
}

/// A linear layer and its input.
#[derive(Debug, Clone, Copy)]
pub struct BlockLinear<'a> {
    /// Arranged as [`Layout::SIGNED_VECTORS`].
    pub codes: &'a [u8],
    /// `[rows, blocks]`: a value is its code times its block's scale.
    pub scales: &'a [f32],
    /// `[rows, blocks]`: the sum of each block's codes.
    pub sums: &'a [i32],
    /// The weights.
    pub weights: Weights<'a>,
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
}

impl BlockLinear<'_> {
    /// Blocks of a row; `check` has accepted the sizes.
    fn blocks(&self) -> usize {
        self.weights.inputs / self.weights.block
    }

    /// The number of rows; `check` has accepted the sizes.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.scales.len() / self.blocks().max(1)
    }

    /// Checks that all sizes agree.
    ///
    /// # Errors
    /// Names the input that does not fit.
    pub fn check(&self) -> Result<(), String> {
        let Weights {
            bits,
            block,
            inputs,
            outputs,
            ..
        } = self.weights;
        if block == 0 || !block.is_multiple_of(PART) || inputs == 0 || !inputs.is_multiple_of(block)
        {
            return Err(format!(
                "a block has a multiple of {PART} inputs, and a layer whole blocks, but this one has {inputs} inputs in blocks of {block}"
            ));
        }
        if !self.scales.len().is_multiple_of(self.blocks()) {
            return Err(format!(
                "scales has {} values, which are no whole rows of {}",
                self.scales.len(),
                self.blocks()
            ));
        }
        let per_block = outputs.div_ceil(COLUMNS) * COLUMNS * self.blocks();
        let zeros = self.weights.zeros.map_or(per_block, <[u8]>::len);
        lengths::check([
            (
                "codes",
                self.codes.len(),
                Layout::SIGNED_VECTORS.len(self.rows(), inputs),
            ),
            ("sums", self.sums.len(), self.scales.len()),
            (
                "weights",
                self.weights.codes.len(),
                packed_len(bits, inputs, outputs),
            ),
            ("weight scales", self.weights.scales.len(), per_block),
            ("zero points", zeros, per_block),
            ("bias", self.bias.map_or(outputs, <[f32]>::len), outputs),
        ])
    }

    /// Computes `out`, `[rows, outputs]`.
    ///
    /// # Errors
    /// As [`check`](Self::check); nothing is written.
    ///
    /// # Panics
    /// If the output has another size, or the processor lacks the instruction set.
    pub fn compute(
        &self,
        set: InstructionSet,
        threads: &dyn Parallel,
        out: &mut [f32],
    ) -> Result<(), String> {
        self.check()?;
        set.assert_available();
        let Weights {
            inputs, outputs, ..
        } = self.weights;
        assert_eq!(
            out.len(),
            self.rows() * outputs,
            "the output has a value for each row and output"
        );
        let out = Shared::new(out);
        let kernel = match self.weights.bits {
            Bits::Four => kernel::<4>(set),
            Bits::Eight => kernel::<8>(set),
        };
        let tasks = Tasks::of(self.rows(), inputs, outputs, ROWS);
        threads.each(tasks.count(), &|number| {
            // SAFETY: each task writes its own rows and columns. Sizes were checked, and the processor has the set.
            unsafe { kernel(self, tasks.get(number), &out) };
        });
        Ok(())
    }
}

/// Rows of a strip of codes.
const ROWS: usize = Layout::SIGNED_VECTORS.height;

/// Computes a task.
///
/// # Safety
/// The processor has the instruction set, the inputs were checked, and no other task writes the same outputs.
type Kernel = unsafe fn(&BlockLinear<'_>, Task, &Shared<f32>);

/// The kernel for weights of this many bits.
fn kernel<const BITS: u32>(set: InstructionSet) -> Kernel {
    match set {
        // A tile register sums the products of 64 inputs, and blocks are as small as 32.
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        InstructionSet::Amx => vnni::<BITS>,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => vnni::<BITS>,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::AvxVnni => avx_vnni::<BITS>,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx2 => avx2::<BITS>,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonDot => neon_dot::<BITS>,
        _ => portable::<BITS>,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn vnni<const BITS: u32>(layer: &BlockLinear<'_>, task: Task, out: &Shared<f32>) {
    // 12 rows: 24 of the 32 registers are sums and totals.
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Vnni<BITS>, 12>(layer, task, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn avx_vnni<const BITS: u32>(layer: &BlockLinear<'_>, task: Task, out: &Shared<f32>) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Halves<AvxVnni<BITS>>, 4>(layer, task, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const BITS: u32>(layer: &BlockLinear<'_>, task: Task, out: &Shared<f32>) {
    // 4 rows: with 4 bits, 4 of the 16 registers are sums, because halves of a panel follow each other; with 8 bits, 8 are.
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Halves<Avx2<BITS>>, 4>(layer, task, out) }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
unsafe fn neon_dot<const BITS: u32>(layer: &BlockLinear<'_>, task: Task, out: &Shared<f32>) {
    // 4 rows: 16 of the 32 registers are sums, and 11 hold weights and codes.
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<NeonDot<BITS>, 4>(layer, task, out) }
}

unsafe fn portable<const BITS: u32>(layer: &BlockLinear<'_>, task: Task, out: &Shared<f32>) {
    // SAFETY: plain code needs no instruction set, and this function has the contract of `run`.
    unsafe { run::<Portable<BITS>, 1>(layer, task, out) }
}

/// Computes a task in register blocks of `TALL` rows by a panel, and of fewer rows at its end.
///
/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn run<P: Products, const TALL: usize>(
    layer: &BlockLinear<'_>,
    task: Task,
    out: &Shared<f32>,
) {
    for panel in task.panels[0]..task.panels[1] {
        let mut row = task.rows[0];
        while row < task.rows[1] {
            let left = task.rows[1] - row;
            // SAFETY: the contract is the same. At least as many rows are left. They lie in one strip: a strip's height is a multiple of
            // `TALL`, and lower register blocks only divide the rest of the task's last strip.
            row += unsafe {
                if left >= TALL {
                    register_block::<P, TALL>(layer, row, panel, out);
                    TALL
                } else if TALL > 4 && left >= 4 {
                    register_block::<P, 4>(layer, row, panel, out);
                    4
                } else if TALL > 2 && left >= 2 {
                    register_block::<P, 2>(layer, row, panel, out);
                    2
                } else {
                    register_block::<P, 1>(layer, row, panel, out);
                    1
                }
            };
        }
    }
}

/// Computes some rows, all of one strip of codes, and a panel.
///
/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn register_block<P: Products, const HEIGHT: usize>(
    layer: &BlockLinear<'_>,
    row: usize,
    panel: usize,
    out: &Shared<f32>,
) {
    let weights = &layer.weights;
    let blocks = layer.blocks();
    let parts = weights.block / PART;
    let middle = [weights.bits.middle(); COLUMNS];
    // SAFETY: sizes were checked: a panel has `P::BYTES` weights for each part of `PART` inputs and 16 scales and zero points for each
    // block, and a strip has `ROWS` codes for each input, so all pointers lie within their slices.
    unsafe {
        let first = row / ROWS * ROWS * weights.inputs + row % ROWS * DEPTH;
        let mut codes = layer.codes.as_ptr().add(first);
        let mut operands = weights
            .codes
            .as_ptr()
            .add(panel * blocks * parts * P::BYTES);
        let mut totals = [P::no_total(); HEIGHT];
        for block in 0..blocks {
            let mut sums = P::of_part::<HEIGHT>(codes, operands);
            for _ in 1..parts {
                (codes, operands) = (codes.add(PART * ROWS), operands.add(P::BYTES));
                let more = P::of_part::<HEIGHT>(codes, operands);
                for (sum, more) in sums.iter_mut().zip(more) {
                    *sum = sum.add(more);
                }
            }
            (codes, operands) = (codes.add(PART * ROWS), operands.add(P::BYTES));
            let at = (panel * blocks + block) * COLUMNS;
            let zeros = weights
                .zeros
                .map_or(middle.as_ptr(), |zeros| zeros.as_ptr().add(at));
            let columns = P::columns(weights.scales.as_ptr().add(at), zeros);
            for (r, (total, sum)) in totals.iter_mut().zip(sums).enumerate() {
                let at = (row + r) * blocks + block;
                let (scale, code_sum) = (
                    *layer.scales.get_unchecked(at),
                    *layer.sums.get_unchecked(at),
                );
                *total = sum.add_scaled(*total, scale, code_sum, &columns);
            }
        }
        for (r, total) in totals.into_iter().enumerate() {
            let mut y = [0.0; COLUMNS];
            P::store(total, &mut y);
            write(layer, row + r, panel, &y, out);
        }
    }
}

/// Writes the outputs of a row in a panel.
///
/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn write(
    layer: &BlockLinear<'_>,
    row: usize,
    panel: usize,
    y: &[f32; COLUMNS],
    out: &Shared<f32>,
) {
    let outputs = layer.weights.outputs;
    let first = panel * COLUMNS;
    let count = COLUMNS.min(outputs - first);
    // SAFETY: no other task writes these outputs.
    let part = unsafe { out.part(row * outputs + first, count) };
    match layer.bias {
        Some(bias) => {
            for ((to, y), bias) in part.iter_mut().zip(y).zip(&bias[first..]) {
                *to = y + bias;
            }
        }
        None => part.copy_from_slice(&y[..count]),
    }
}
