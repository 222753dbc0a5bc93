//! Pairs of rows, in tiles of a matrix product.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, CowArray, Ix2, s};
use rayon::prelude::*;

use crate::space::Space;

/// Rows on each side of a tile. A tile has 1 MiB, which stays in the processor's cache while it is read.
pub(crate) const TILE: usize = 512;

/// How many bounds [`any_below`] takes at best.
pub(crate) const STEP: usize = 16;

/// Lower bounds of the squared distances between the rows of two blocks.
#[derive(Debug)]
pub(crate) struct Tile<'a> {
    /// Numbers of the rows on the left, at most [`TILE`].
    pub(crate) left: &'a [u32],
    /// Numbers of the rows on the right. They are the same ones if a block is compared with itself.
    pub(crate) right: &'a [u32],
    bounds: ArrayView2<'a, f32>,
    is_diagonal: bool,
}

impl Tile<'_> {
    /// Lower bounds of the squared distances between a row on the left and those rows on the right that it was not compared with:
    /// the place of the first one, and the bounds.
    pub(crate) fn row(&self, left: usize) -> (usize, &[f32]) {
        let first = if self.is_diagonal { left + 1 } else { 0 };
        let row = self.bounds.row(left);
        // A row of a tile is contiguous.
        (first, &row.to_slice().unwrap_or_default()[first..])
    }
}

/// Passes every unordered pair of different rows of the blocks to `visit`, in a tile with many others. Pairs of the blocks (numbers `a`
/// and `b`) that `is_needed` rejects are left out. Blocks have at most [`TILE`] rows. Tiles are visited in parallel, in no order.
pub(crate) fn for_each_tile(
    space: &Space<'_>,
    blocks: &[&[u32]],
    is_needed: impl Fn(usize, usize) -> bool + Sync,
    visit: impl Fn(usize, usize, &Tile<'_>) + Sync,
) {
    let all = (0..blocks.len()).flat_map(|a| (a..blocks.len()).map(move |b| (a, b)));
    let needed = all.filter(|(a, b)| is_needed(*a, *b));
    // Diagonals first: they give every row a limit, which saves the other tiles most of their work.
    let (diagonal, others): (Vec<_>, Vec<_>) = needed.partition(|(a, b)| a == b);
    for pairs in [diagonal, others] {
        pairs
            .into_par_iter()
            .for_each_init(TileRoom::new, |room, (a, b)| {
                room.fill(space, [blocks[a], blocks[b]], a == b, |tile| {
                    visit(a, b, tile);
                });
            });
    }
}

/// Room for the bounds of a tile.
#[derive(Debug)]
pub(crate) struct TileRoom(Array2<f32>);

impl TileRoom {
    pub(crate) fn new() -> Self {
        Self(Array2::zeros((TILE, TILE)))
    }

    /// Passes every pair of a row on the left and one on the right to `visit`, at most [`TILE`] each.
    pub(crate) fn compare(
        &mut self,
        space: &Space<'_>,
        sides: [&[u32]; 2],
        visit: impl FnOnce(&Tile<'_>),
    ) {
        self.fill(space, sides, false, visit);
    }

    fn fill(
        &mut self,
        space: &Space<'_>,
        [left, right]: [&[u32]; 2],
        is_diagonal: bool,
        visit: impl FnOnce(&Tile<'_>),
    ) {
        let mut bounds = self.0.slice_mut(s![..left.len(), ..right.len()]);
        fill(space, left, right, &mut bounds);
        visit(&Tile {
            left,
            right,
            bounds: bounds.view(),
            is_diagonal,
        });
    }
}

/// Whether any bound is at most its own limit or the common one. Without an early end, so that the compiler uses vector instructions.
pub(crate) fn any_below(bounds: &[f32], limits: &[f32], common: f32) -> bool {
    let pairs = bounds.iter().zip(limits);
    pairs.fold(false, |found, (bound, limit)| {
        found | (*bound <= limit.max(common))
    })
}

/// Computes the lower bounds of a tile.
fn fill(space: &Space<'_>, left: &[u32], right: &[u32], bounds: &mut ArrayViewMut2<'_, f32>) {
    let (left_rows, right_rows) = (gather(space, left), gather(space, right));
    general_mat_mul(-2.0, &left_rows, &right_rows.t(), 0.0, bounds);
    let right_bounds: Vec<(f32, f32)> = right.iter().map(|row| space.bound(*row)).collect();
    for (mut row, left) in bounds.rows_mut().into_iter().zip(left) {
        let (scale, lowered) = space.bound(*left);
        for (bound, right) in row.iter_mut().zip(&right_bounds) {
            *bound = *bound * (scale * right.0) + (lowered + right.1);
        }
    }
}

/// Rows as a matrix: a view if they are neighbours, else a copy.
fn gather<'a>(space: &'a Space<'_>, rows: &[u32]) -> CowArray<'a, f32, Ix2> {
    let all = space.rows();
    let first = rows[0] as usize;
    let is_range = rows
        .iter()
        .zip(first..)
        .all(|(row, expected)| *row as usize == expected);
    if is_range {
        return all.slice_move(s![first..first + rows.len(), ..]).into();
    }
    let mut copy = Array2::zeros((rows.len(), all.ncols()));
    for (mut to, from) in copy.rows_mut().into_iter().zip(rows) {
        to.assign(&all.row(*from as usize));
    }
    copy.into()
}
