//! The arrangement of 8-bit activations between two kernels.
//!
//! 12 rows form a tile, which holds four values of each row side by side: `[ceil(rows / 12), width / 4, 12, 4]`. A linear layer then
//! reads its activations from one place after another. The same columns of rows that lie one after another would be a multiple of a large power
//! of two apart, and compete for the same lines of the cache.

/// Rows of a tile.
pub const ROWS: usize = 12;
/// Values that lie side by side; the width of rows is a multiple of this.
pub const DEPTH: usize = 4;

/// The scale of fine codes is that of the coarse ones divided by this. Fine codes stand for the rounding error of coarse ones, which is
/// at most half a step, so they reach from -127 to 127.
pub const FINER: f32 = 254.0;

/// The number of codes of some rows. The last tile is padded.
#[must_use]
pub fn len(rows: usize, width: usize) -> usize {
    rows.div_ceil(ROWS) * ROWS * width
}

/// Arranges up to 12 rows, one after another in `rows`, as a tile. There is at least one.
pub(crate) fn arrange(rows: &[u8], width: usize, tile: &mut [u8]) {
    let (rows, _) = rows.as_chunks::<DEPTH>();
    let (tile, _) = tile.as_chunks_mut::<DEPTH>();
    let width = width / DEPTH;
    let last = rows.len() / width - 1;
    // Nobody reads the rows that pad the last tile.
    let rows: [&[[u8; DEPTH]]; ROWS] =
        std::array::from_fn(|r| &rows[r.min(last) * width..][..width]);
    for (k, to) in tile.as_chunks_mut::<ROWS>().0[..width]
        .iter_mut()
        .enumerate()
    {
        for (to, row) in to.iter_mut().zip(rows) {
            *to = row[k];
        }
    }
}

/// The code of one value.
#[cfg(test)]
pub(crate) fn at(codes: &[u8], width: usize, row: usize, column: usize) -> u8 {
    let tile = &codes[row / ROWS * ROWS * width..];
    tile[(column / DEPTH * ROWS + row % ROWS) * DEPTH + column % DEPTH]
}
