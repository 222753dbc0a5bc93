//! Products by vector instructions: some rows times one or two panels of columns, whose sums stay in registers.

use super::dot::Dot;
use super::epilogue::{Columns, Term};
use super::{Block, COLUMNS, Linear};
use crate::codes::{DEPTH, Layout};
use crate::parallel::Shared;

/// Rows of codes that lie together.
pub(super) const ROWS: usize = Layout::VECTORS.height;

/// Computes a block in tiles of `TALL` rows and `WIDE` panels, and of fewer at its ends.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
pub(super) unsafe fn run<D: Dot, const TALL: usize, const WIDE: usize>(
    linear: &Linear<'_>,
    block: Block,
    out: &Shared<f32>,
) {
    let [first_panel, last_panel] = block.panels;
    for panel in (first_panel..last_panel).step_by(WIDE) {
        let all = panel + WIDE <= last_panel;
        let mut row = block.rows[0];
        while row < block.rows[1] {
            let left = block.rows[1] - row;
            // SAFETY: the caller's promise; the tile lies within the block.
            row += unsafe {
                match all {
                    true => tiles::<D, TALL, WIDE>(linear, row, left, panel, out),
                    false => tiles::<D, TALL, 1>(linear, row, left, panel, out),
                }
            };
        }
    }
}

/// Computes the tallest tile that fits, and returns its rows.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
unsafe fn tiles<D: Dot, const TALL: usize, const PANELS: usize>(
    linear: &Linear<'_>,
    row: usize,
    left: usize,
    panel: usize,
    out: &Shared<f32>,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        if left >= TALL && row.is_multiple_of(TALL) {
            tile::<D, TALL, PANELS>(linear, row, panel, out);
            return TALL;
        }
        if TALL > 6 && left >= 6 {
            tile::<D, 6, PANELS>(linear, row, panel, out);
            return 6;
        }
        if left >= 2 {
            tile::<D, 2, PANELS>(linear, row, panel, out);
            return 2;
        }
        tile::<D, 1, PANELS>(linear, row, panel, out);
        1
    }
}

/// Computes some rows, all of one tile of [`codes`](crate::codes), and panels.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
unsafe fn tile<D: Dot, const HEIGHT: usize, const PANELS: usize>(
    linear: &Linear<'_>,
    row: usize,
    panel: usize,
    out: &Shared<f32>,
) {
    // SAFETY: the caller's promise.
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
    // SAFETY: the caller's promise; a panel has `inputs * COLUMNS` codes, and a tile `inputs * ROWS`.
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
/// As the methods of [`Dot`]. `codes` points to the first row within its tile, `weights` to the first panel.
#[inline(always)]
unsafe fn sums<D: Dot, const HEIGHT: usize, const PANELS: usize>(
    codes: *const u8,
    weights: *const i8,
    inputs: usize,
) -> [[D; PANELS]; HEIGHT] {
    // SAFETY: the caller's promise.
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
