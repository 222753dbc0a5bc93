//! Products by tile registers: *blocks* of up to 32 rows times up to two panels of columns, in four registers of 16 by 16 sums.
//!
//! A register of codes holds 64 inputs of the 16 rows of a strip. A register of weights holds 64 inputs of a panel, whose arrangement
//! is the one that the product asks for: 16 rows of 64 bytes, which hold four inputs of each of 16 outputs.
//!
//! Registers of tiles and of vectors work at the same time: while a block's products are computed, the sums of the block before it
//! become outputs, and the next weights are prefetched into the second-level cache. A task computes all its panels for the same 32
//! rows before it goes on to the next rows, because rows of outputs lie on pages of their own, and the processor keeps few addresses of pages.

mod finished;
mod prefetch;

use super::dot::OfSums;
use super::epilogue::Term;
use super::{COLUMNS, Linear, Task, Tasks};
use crate::codes::Layout;
use crate::parallel::Shared;
use crate::simd::tiles::Registers;
use finished::Finished;
use prefetch::WeightPrefetch;

/// Rows of a strip of codes.
const ROWS: usize = Layout::TILES.height;
/// Inputs of a register.
const DEPTH: usize = Layout::TILES.depth;
/// Rows that are computed at once: those of two strips.
pub(super) const STEP: usize = 2 * ROWS;

/// The sums of four registers, row by row.
#[repr(C, align(64))]
struct Sums([[[i32; COLUMNS]; 2]; STEP]);

/// Computes a task.
///
/// # Safety
/// As [`Kernel`](super::Kernel). The codes are arranged as [`Layout::TILES`].
#[inline(always)]
pub(super) unsafe fn run<R: Registers, D: OfSums>(
    linear: &Linear<'_>,
    task: Task,
    out: &Shared<f32>,
) {
    let [first_panel, last_panel] = task.panels;
    let inputs = linear.weights.inputs;
    let mut sums = Sums([[[0; COLUMNS]; 2]; STEP]);
    let terms = [
        (Some(linear.codes), Term::Coarse),
        (linear.fine, Term::Fine),
    ];
    // SAFETY: the caller has the instructions and checked the sizes. Rows and panels are those of the task, which no other task
    // writes.
    unsafe {
        let mut registers = R::configured();
        let mut beside = Beside {
            linear,
            out,
            finished: Finished::none(),
            prefetch: WeightPrefetch::of(linear, task),
        };
        for row in (task.rows[0]..task.rows[1]).step_by(STEP) {
            let rows = (task.rows[1] - row).min(STEP);
            for panel in (first_panel..last_panel).step_by(Tasks::PANELS_AT_ONCE) {
                let panels = (last_panel - panel).min(Tasks::PANELS_AT_ONCE);
                for (codes, term) in terms {
                    let Some(codes) = codes else { continue };
                    let block = Block {
                        codes: codes.as_ptr().add(row * inputs),
                        weights: linear
                            .weights
                            .codes
                            .as_ptr()
                            .add(panel * inputs * COLUMNS)
                            .cast(),
                        inputs,
                    };
                    match (rows > ROWS, panels > 1) {
                        (true, true) => block.multiply::<R, D, true, true>(
                            &mut registers,
                            &mut sums,
                            &mut beside,
                        ),
                        (true, false) => block.multiply::<R, D, true, false>(
                            &mut registers,
                            &mut sums,
                            &mut beside,
                        ),
                        (false, true) => block.multiply::<R, D, false, true>(
                            &mut registers,
                            &mut sums,
                            &mut beside,
                        ),
                        (false, false) => block.multiply::<R, D, false, false>(
                            &mut registers,
                            &mut sums,
                            &mut beside,
                        ),
                    }
                    beside
                        .finished
                        .set::<D>(linear, term, [row, rows], [panel, panels]);
                }
            }
        }
        beside.finished.write_rest::<D>(linear, &sums, out);
    }
}

/// What vector instructions do while tile registers multiply.
struct Beside<'a> {
    linear: &'a Linear<'a>,
    out: &'a Shared<f32>,
    finished: Finished,
    prefetch: WeightPrefetch,
}

/// The factors of a block's products.
#[derive(Clone, Copy)]
struct Block {
    codes: *const u8,
    weights: *const u8,
    inputs: usize,
}

impl Block {
    /// Computes the sums of one or two strips of rows and one or two panels, after the sums of the block before have been used.
    /// Registers 0 to 3 hold sums, 4 and 5 codes, 6 and 7 weights.
    ///
    /// # Safety
    /// As the methods of [`Registers`] and [`Finished::write_some`].
    #[inline(always)]
    unsafe fn multiply<R: Registers, D: OfSums, const TWO_STRIPS: bool, const TWO_PANELS: bool>(
        self,
        registers: &mut R,
        sums: &mut Sums,
        beside: &mut Beside<'_>,
    ) {
        let Self {
            codes,
            weights,
            inputs,
        } = self;
        let per_step = beside.finished.rows.div_ceil(inputs / DEPTH);
        // SAFETY: the caller has the instructions. Loads read 1,024 bytes of a strip or a panel, and stores write within `sums`.
        unsafe {
            registers.zero::<0>();
            registers.zero::<1>();
            registers.zero::<2>();
            registers.zero::<3>();
            for k in (0..inputs).step_by(DEPTH) {
                let (codes, weights) = (codes.add(k * ROWS), weights.add(k * COLUMNS));
                registers.load::<4>(codes);
                registers.load_once::<6>(weights);
                registers.multiply::<0, 4, 6>();
                if TWO_PANELS {
                    registers.load_once::<7>(weights.add(inputs * COLUMNS));
                    registers.multiply::<1, 4, 7>();
                }
                if TWO_STRIPS {
                    registers.load::<5>(codes.add(inputs * ROWS));
                    registers.multiply::<2, 5, 6>();
                    if TWO_PANELS {
                        registers.multiply::<3, 5, 7>();
                    }
                }
                beside.prefetch.step();
                beside
                    .finished
                    .write_some::<D>(beside.linear, sums, per_step, beside.out);
            }
            beside
                .finished
                .write_rest::<D>(beside.linear, sums, beside.out);
            let (upper, stride) = (sums.0.as_mut_ptr().cast::<i32>(), 2 * COLUMNS);
            let lower = upper.add(ROWS * stride);
            registers.store::<0>(upper, stride);
            registers.store::<1>(upper.add(COLUMNS), stride);
            if TWO_STRIPS {
                registers.store::<2>(lower, stride);
                registers.store::<3>(lower.add(COLUMNS), stride);
            }
        }
    }
}
