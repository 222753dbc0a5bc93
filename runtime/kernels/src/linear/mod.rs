//! Linear layers with 8-bit weights and activations. Sums are exact in 32 bits for up to 65,000 inputs.
//!
//! `y[m, n] = row_scale[m] * weight_scale[n] * sum over k of (code[m, k] - zero) * weight[n, k]`, plus a bias. Codes are unsigned
//! where instructions multiply unsigned by signed bytes; their zero, 128, is subtracted at the end by means of each output's sum of
//! weights. Codes for AVX2 are signed, with a zero of 0.
//!
//! Activations of 15 bits have a second, finer code each, which is multiplied by the same weights while these are in the cache.

mod dot;
mod epilogue;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
#[cfg(test)]
mod tests;
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
mod tiles;
mod vectors;

use crate::codes::{DEPTH, Layout};
use crate::lengths;
use crate::parallel::{Parallel, Shared};
use crate::simd::InstructionSet;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::simd::tiles::amx::Amx;
#[cfg(test)]
use crate::simd::tiles::emulated::Emulated;
use crate::tasks::{Task, Tasks};
use dot::Portable;
#[cfg(target_arch = "x86_64")]
use dot::{Avx2, AvxVnni, Vnni};
#[cfg(target_arch = "aarch64")]
use neon::NeonDot;
pub use pack::{COLUMNS, pack, packed_len};
use vectors::{ROWS, run};

/// A limit on the inputs, so that a sum of products fits into 32 bits: 255 * 127 * 65,000 < 2^31.
const MAX_INPUTS: usize = 65_000;

/// Weights as [`pack()`] arranges them, one scale per output.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// `[ceil(outputs / 16), inputs / 4, 16, 4]`.
    pub codes: &'a [i8],
    /// `[outputs]`.
    pub scales: &'a [f32],
    /// `[outputs]`: the sum of each output's codes.
    pub sums: &'a [i32],
    /// The number of inputs.
    pub inputs: usize,
}

/// A linear layer and its input.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// As [`Layout`] arranges them, from 127 below its zero to 127 above.
    pub codes: &'a [u8],
    /// The rounding errors of `codes`, in steps [`FINER`](crate::codes::FINER) times as small, arranged alike.
    pub fine: Option<&'a [u8]>,
    /// `[rows]`: a value is (code - zero) times the scale of its row.
    pub scales: &'a [f32],
    /// The weights.
    pub weights: Weights<'a>,
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
}

impl Linear<'_> {
    fn outputs(&self) -> usize {
        self.weights.scales.len()
    }

    fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Checks that all sizes agree.
    ///
    /// # Errors
    /// Names the input that does not fit.
    pub fn check(&self, set: InstructionSet) -> Result<(), String> {
        let (inputs, outputs, rows) = (self.weights.inputs, self.outputs(), self.rows());
        let layout = Layout::of(set, inputs);
        if !(1..=MAX_INPUTS).contains(&inputs) || !inputs.is_multiple_of(DEPTH) {
            return Err(format!(
                "a layer has a multiple of {DEPTH} inputs, at most {MAX_INPUTS}, and this one has {inputs}"
            ));
        }
        lengths::check([
            ("codes", self.codes.len(), layout.len(rows, inputs)),
            (
                "fine codes",
                self.fine.map_or(self.codes.len(), <[u8]>::len),
                self.codes.len(),
            ),
            (
                "weights",
                self.weights.codes.len(),
                packed_len(inputs, outputs),
            ),
            ("sums", self.weights.sums.len(), outputs),
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
        self.check(set)?;
        set.assert_available();
        assert_eq!(
            out.len(),
            self.rows() * self.outputs(),
            "the output has a value for each row and output"
        );
        let out = Shared::new(out);
        let layout = Layout::of(set, self.weights.inputs);
        let (kernel, step) = kernel(set, layout);
        let (inputs, outputs) = (self.weights.inputs, self.outputs());
        let tasks = match layout {
            #[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
            Layout::TILES => Tasks::of_tiles(self.rows(), outputs, step),
            _ => Tasks::of(self.rows(), inputs, outputs, step),
        };
        threads.each(tasks.count(), &|number| {
            // SAFETY: each task writes its own rows and columns. Sizes were checked, and the processor has the set.
            unsafe { kernel(self, tasks.get(number), &out) };
        });
        Ok(())
    }
}

/// Computes a task.
///
/// # Safety
/// The processor has the instruction set, the inputs were checked, and no other task writes the same outputs.
type Kernel = unsafe fn(&Linear<'_>, Task, &Shared<f32>);

/// The kernel for codes in a layout, and the number of rows that it computes at once.
fn kernel(set: InstructionSet, layout: Layout) -> (Kernel, usize) {
    match (set, layout) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        (InstructionSet::Amx, Layout::TILES) => (amx, tiles::STEP),
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        (InstructionSet::Amx, _) => (vnni, ROWS),
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx512Vnni, _) => (vnni, ROWS),
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::AvxVnni, _) => (avx_vnni, ROWS),
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx512 | InstructionSet::Avx2, _) => (avx2, ROWS),
        #[cfg(target_arch = "aarch64")]
        (InstructionSet::NeonDot, _) => (neon_dot, ROWS),
        // Without dot products, which processors have had since 2018, plain code is enough.
        #[cfg(target_arch = "aarch64")]
        (InstructionSet::Neon, _) => (portable, ROWS),
        (InstructionSet::Portable, _) => (portable, ROWS),
        #[cfg(test)]
        (InstructionSet::EmulatedTiles, Layout::TILES) => {
            (tiles::run::<Emulated, Portable>, tiles::STEP)
        }
        #[cfg(test)]
        (InstructionSet::EmulatedTiles, _) => (portable, ROWS),
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn amx(linear: &Linear<'_>, task: Task, out: &Shared<f32>) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `tiles::run`.
    unsafe { tiles::run::<Amx, Vnni>(linear, task, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn vnni(linear: &Linear<'_>, task: Task, out: &Shared<f32>) {
    // 12 rows by 2 panels: 24 of the 32 registers are accumulators.
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Vnni, ROWS, 2>(linear, task, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn avx_vnni(linear: &Linear<'_>, task: Task, out: &Shared<f32>) {
    // 6 rows by a panel: 12 of the 16 registers are accumulators.
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<AvxVnni, 6, 1>(linear, task, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(linear: &Linear<'_>, task: Task, out: &Shared<f32>) {
    // 4 rows by a panel: 8 of the 16 registers are accumulators, and 5 hold weights, their absolute values and a row's codes.
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Avx2, 4, 1>(linear, task, out) }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
unsafe fn neon_dot(linear: &Linear<'_>, task: Task, out: &Shared<f32>) {
    // 6 rows by a panel: 24 of the 32 registers are accumulators.
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<NeonDot, 6, 1>(linear, task, out) }
}

unsafe fn portable(linear: &Linear<'_>, task: Task, out: &Shared<f32>) {
    // SAFETY: plain code needs no instruction set, and this function has the contract of `run`.
    unsafe { run::<Portable, 1, 2>(linear, task, out) }
}
