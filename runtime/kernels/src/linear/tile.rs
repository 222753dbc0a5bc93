//! Tiles of the output: some rows times one or two panels of columns, whose sums stay in registers.

use super::dot::Dot;
use super::{Block, Blocks, COLUMNS, Linear};
use crate::codes::{DEPTH, FINER, ROWS};
use crate::parallel::Shared;

/// Computes a block in tiles of `TALL` rows, and of fewer at its end.
///
/// # Safety
/// As [`Kernel`](super::Kernel).
#[inline(always)]
pub(super) unsafe fn run<D: Dot, const TALL: usize>(
    linear: &Linear<'_>,
    block: Block,
    out: &Shared<f32>,
) {
    let [first_panel, last_panel] = block.panels;
    for panel in (first_panel..last_panel).step_by(Blocks::TILE) {
        let two = panel + 1 < last_panel;
        let mut row = block.rows[0];
        while row < block.rows[1] {
            let left = block.rows[1] - row;
            // SAFETY: the caller's promise; the tile lies within the block.
            row += unsafe {
                match two {
                    true => tiles::<D, TALL, 2>(linear, row, left, panel, out),
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
        if left >= 6 {
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

/// Which codes are multiplied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Term {
    /// The first ones, whose products are written.
    Coarse,
    /// The finer ones, whose products are added.
    Fine,
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
    let (inputs, outputs) = (linear.weights.inputs, linear.outputs());
    // SAFETY: the caller's promise; a panel has `inputs * COLUMNS` codes, and a tile `inputs * ROWS`.
    unsafe {
        let first = row / ROWS * ROWS * inputs + row % ROWS * DEPTH;
        let weights = linear.weights.codes.as_ptr().add(panel * inputs * COLUMNS);
        let sums = sums::<D, HEIGHT, PANELS>(codes.as_ptr().add(first), weights, inputs);
        for p in 0..PANELS {
            let columns = Columns::of(linear, panel + p);
            for (r, sums) in sums.iter().enumerate() {
                let start = (row + r) * outputs + (panel + p) * COLUMNS;
                let to = out.part(start, columns.count);
                let (scale, before): (f32, &[f32]) = match term {
                    Term::Coarse => (linear.scales[row + r], &columns.bias[..columns.count]),
                    Term::Fine => (linear.scales[row + r] / FINER, to),
                };
                if columns.count == COLUMNS {
                    let before = before.as_ptr();
                    sums[p].finish(&columns, scale, before, to.as_mut_ptr());
                } else {
                    let (mut all, mut added) = ([0.0; COLUMNS], [0.0; COLUMNS]);
                    added[..columns.count].copy_from_slice(before);
                    sums[p].finish(&columns, scale, added.as_ptr(), all.as_mut_ptr());
                    to.copy_from_slice(&all[..columns.count]);
                }
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

/// What turns the sums of a panel's columns into outputs; zero for padding.
#[repr(C, align(64))]
pub(super) struct Columns {
    pub(super) scales: [f32; COLUMNS],
    /// 128 times the sum of weights.
    pub(super) offsets: [i32; COLUMNS],
    pub(super) bias: [f32; COLUMNS],
    count: usize,
}

impl Columns {
    #[inline(always)]
    fn of(linear: &Linear<'_>, panel: usize) -> Self {
        let first = panel * COLUMNS;
        let count = COLUMNS.min(linear.outputs() - first);
        let mut columns = Self {
            scales: [0.0; COLUMNS],
            offsets: [0; COLUMNS],
            bias: [0.0; COLUMNS],
            count,
        };
        columns.scales[..count].copy_from_slice(&linear.weights.scales[first..][..count]);
        for (offset, sum) in columns
            .offsets
            .iter_mut()
            .zip(&linear.weights.sums[first..][..count])
        {
            *offset = 128 * sum;
        }
        if let Some(bias) = linear.bias {
            columns.bias[..count].copy_from_slice(&bias[first..][..count]);
        }
        columns
    }
}
