//! Products by vector instructions: some rows times one or two panels of columns. They form a *register block*, whose sums stay in
//! registers.

use super::dot::Dot;
use super::epilogue::{Columns, Term};
use super::{COLUMNS, Linear, Task};
use crate::codes::{DEPTH, Layout};
use crate::parallel::Shared;

/// Rows of a strip of codes.
pub(super) const ROWS: usize = Layout::VECTORS.height;

/// Computes a task in register blocks of `TALL` rows and `WIDE` panels, and of fewer at its ends.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
pub(super) unsafe fn run<D: Dot, const TALL: usize, const WIDE: usize>(
    linear: &Linear<'_>,
    task: Task,
    out: &Shared<f32>,
) {
    let [first_panel, last_panel] = task.panels;
    for panel in (first_panel..last_panel).step_by(WIDE) {
        let all = panel + WIDE <= last_panel;
        let mut row = task.rows[0];
        while row < task.rows[1] {
            let left = task.rows[1] - row;
            // SAFETY: the contract is the same, and the rows and panels lie within the task.
            row += unsafe {
                match all {
                    true => tallest::<D, TALL, WIDE>(linear, row, left, panel, out),
                    false => tallest::<D, TALL, 1>(linear, row, left, panel, out),
                }
            };
        }
    }
}

/// Computes the tallest register block that fits, and returns its rows.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
unsafe fn tallest<D: Dot, const TALL: usize, const PANELS: usize>(
    linear: &Linear<'_>,
    row: usize,
    left: usize,
    panel: usize,
    out: &Shared<f32>,
) -> usize {
    // SAFETY: the contract is the same, and at least as many rows are left.
    unsafe {
        if left >= TALL && row.is_multiple_of(TALL) {
            register_block::<D, TALL, PANELS>(linear, row, panel, out);
            return TALL;
        }
        if TALL > 6 && left >= 6 {
            register_block::<D, 6, PANELS>(linear, row, panel, out);
            return 6;
        }
        if left >= 2 {
            register_block::<D, 2, PANELS>(linear, row, panel, out);
            return 2;
        }
        register_block::<D, 1, PANELS>(linear, row, panel, out);
        1
    }
}

/// Computes some rows, all of one strip of [`codes`](crate::codes), and panels.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
unsafe fn register_block<D: Dot, const HEIGHT: usize, const PANELS: usize>(
    linear: &Linear<'_>,
    row: usize,
    panel: usize,
    out: &Shared<f32>,
) {
    // SAFETY: the contract is the same for both kinds of codes.
    unsafe {
        term::<D, HEIGHT, PANELS>(linear, linear.codes, Term::Coarse, row, panel, out);
        if let Some(fine) = linear.fine {
            term::<D, HEIGHT, PANELS>(linear, fine, Term::Fine, row, panel, out);
        }
    }
}

/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
unsafe fn term<D: Dot, const HEIGHT: usize, const PANELS: usize>(
    linear: &Linear<'_>,
    codes: &[u8],
    term: Term,
    row: usize,
    panel: usize,
    out: &Shared<f32>,
) {
    let inputs = linear.weights.inputs;
    // SAFETY: sizes were checked: a panel has `inputs * COLUMNS` weights and a strip `inputs * ROWS` codes, so the pointers lie within
    // both. No other task writes these outputs.
    unsafe {
        let first = row / ROWS * ROWS * inputs + row % ROWS * DEPTH;
        let weights = linear.weights.codes.as_ptr().add(panel * inputs * COLUMNS);
        let sums = sums::<D, HEIGHT, PANELS>(codes.as_ptr().add(first), weights, inputs);
        for p in 0..PANELS {
            let columns = Columns::of::<D>(linear, panel + p);
            for (r, sums) in sums.iter().enumerate() {
                columns.write(linear, term, row + r, sums[p], out);
            }
        }
    }
}

/// The sums of some rows and panels.
///
/// # Safety
/// As the methods of [`Dot`]. `codes` points to the first row within its strip, `weights` to the first panel.
#[inline(always)]
unsafe fn sums<D: Dot, const HEIGHT: usize, const PANELS: usize>(
    codes: *const u8,
    weights: *const i8,
    inputs: usize,
) -> [[D; PANELS]; HEIGHT] {
    // SAFETY: the caller's code has the instruction set. Its pointers are valid for `inputs` values of each row and panel.
    unsafe {
        let mut sums = [[D::zero(); PANELS]; HEIGHT];
        for k in (0..inputs).step_by(DEPTH) {
            let mut operands = [D::load(weights.add(k * COLUMNS)); PANELS];
            for (p, operand) in operands.iter_mut().enumerate().skip(1) {
                *operand = D::load(weights.add((p * inputs + k) * COLUMNS));
            }
            let codes = codes.add(k * ROWS).cast::<u32>();
            for (r, sums) in sums.iter_mut().enumerate() {
                let four = codes.add(r).read_unaligned();
                for (sum, operand) in sums.iter_mut().zip(operands) {
                    *sum = sum.add(four, operand);
                }
            }
        }
        sums
    }
}
