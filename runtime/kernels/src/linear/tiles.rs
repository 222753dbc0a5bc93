//! Products by tile registers: up to 32 rows times up to two panels of columns, in four registers of 16 by 16 sums.
//!
//! A register of codes holds 64 inputs of the 16 rows of a strip. A register of weights holds 64 inputs of a panel, whose arrangement
//! is the one that the product asks for: 16 rows of 64 bytes, which hold four inputs of each of 16 outputs.

use super::dot::OfSums;
use super::epilogue::{Columns, Term};
use super::{COLUMNS, Linear, Task, Tasks};
use crate::codes::Layout;
use crate::parallel::Shared;
use crate::simd::tiles::Registers;

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
    let mut sums = Sums([[[0; COLUMNS]; 2]; STEP]);
    // SAFETY: the caller has the instructions and checked the sizes. Rows and panels are those of the task, which no other task
    // writes.
    unsafe {
        let mut registers = R::configured();
        for panel in (first_panel..last_panel).step_by(Tasks::PANELS_AT_ONCE) {
            let two_panels = panel + 1 < last_panel;
            for row in (task.rows[0]..task.rows[1]).step_by(STEP) {
                let rows = (task.rows[1] - row).min(STEP);
                let terms = [
                    (Some(linear.codes), Term::Coarse),
                    (linear.fine, Term::Fine),
                ];
                for (codes, term) in terms {
                    let Some(codes) = codes else { continue };
                    let operands = Operands::of(linear, codes, row, panel);
                    match (rows > ROWS, two_panels) {
                        (true, true) => {
                            multiply::<R, true, true>(&mut registers, operands, &mut sums)
                        }
                        (true, false) => {
                            multiply::<R, true, false>(&mut registers, operands, &mut sums)
                        }
                        (false, true) => {
                            multiply::<R, false, true>(&mut registers, operands, &mut sums)
                        }
                        (false, false) => {
                            multiply::<R, false, false>(&mut registers, operands, &mut sums)
                        }
                    }
                    for p in 0..1 + usize::from(two_panels) {
                        let columns = Columns::of::<D>(linear, panel + p);
                        for (r, sums) in sums.0[..rows].iter().enumerate() {
                            columns.write(linear, term, row + r, D::of_sums(&sums[p]), out);
                        }
                    }
                }
            }
        }
    }
}

/// The factors of the products whose sums four registers hold.
#[derive(Clone, Copy)]
struct Operands {
    codes: *const u8,
    weights: *const u8,
    inputs: usize,
}

impl Operands {
    /// # Safety
    /// `row` is the first one of a strip of `codes`, and `panel` one of the layer's.
    #[inline(always)]
    unsafe fn of(linear: &Linear<'_>, codes: &[u8], row: usize, panel: usize) -> Self {
        let inputs = linear.weights.inputs;
        // SAFETY: the row and the panel are the layer's, and a panel has `inputs * COLUMNS` weights, so both pointers lie within their slices.
        unsafe {
            Self {
                codes: codes.as_ptr().add(row * inputs),
                weights: linear
                    .weights
                    .codes
                    .as_ptr()
                    .add(panel * inputs * COLUMNS)
                    .cast(),
                inputs,
            }
        }
    }
}

/// Computes the sums of one or two strips of rows and one or two panels. Registers 0 to 3 hold sums, 4 and 5 codes, 6 and 7 weights.
///
/// # Safety
/// As the methods of [`Registers`].
#[inline(always)]
unsafe fn multiply<R: Registers, const TWO_STRIPS: bool, const TWO_PANELS: bool>(
    registers: &mut R,
    operands: Operands,
    sums: &mut Sums,
) {
    let Operands {
        codes,
        weights,
        inputs,
    } = operands;
    // SAFETY: the caller has the instructions. Loads read 1,024 bytes of a strip or a panel, and stores write within `sums`.
    unsafe {
        registers.zero::<0>();
        registers.zero::<1>();
        registers.zero::<2>();
        registers.zero::<3>();
        for k in (0..inputs).step_by(DEPTH) {
            let (codes, weights) = (codes.add(k * ROWS), weights.add(k * COLUMNS));
            registers.load::<4>(codes);
            registers.load::<6>(weights);
            registers.multiply::<0, 4, 6>();
            if TWO_PANELS {
                registers.load::<7>(weights.add(inputs * COLUMNS));
                registers.multiply::<1, 4, 7>();
            }
            if TWO_STRIPS {
                registers.load::<5>(codes.add(inputs * ROWS));
                registers.multiply::<2, 5, 6>();
                if TWO_PANELS {
                    registers.multiply::<3, 5, 7>();
                }
            }
        }
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
