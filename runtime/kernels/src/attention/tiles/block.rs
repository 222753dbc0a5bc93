//! A block of keys and values of one head, rounded to bf16.

use std::ops::Range;

use super::super::Heads;
use super::super::block::Work;
use super::{BF16S, DEPTH, FLOATS, KEYS, SIDE, as_bf16};
use crate::simd::bf16::Bf16Lanes;

/// Tiles of keys `[KEYS / 16, size / 32]`, of 16 keys and 32 of their numbers, and of values `[size / 16, KEYS / 32]`, of 16 of their
/// numbers and 32 keys.
pub(super) struct Block<'a> {
    pub(super) keys: &'a mut [u16],
    pub(super) values: &'a mut [u16],
    pub(super) size: usize,
}

impl<'a> Block<'a> {
    pub(super) fn floats(size: usize) -> usize {
        KEYS * size
    }

    pub(super) fn new(memory: &'a mut [f32], size: usize) -> Self {
        let (keys, values) = as_bf16(memory).split_at_mut(KEYS * size);
        Self { keys, values, size }
    }

    /// Converts the keys and values at these positions, which are at most [`KEYS`].
    ///
    /// # Safety
    /// As the methods of [`Lanes`](crate::simd::Lanes).
    #[inline(always)]
    pub(super) unsafe fn fill<V: Bf16Lanes>(&mut self, work: &Work<'_>, positions: Range<usize>) {
        // A key without probability still meets its value, which must be a number.
        const NONE: &[f32] = &[0.0; Heads::MAX_SIZE];
        let size = self.size;
        for first in (positions.start..positions.end).step_by(DEPTH) {
            let step = (first - positions.start) / DEPTH;
            let mut rows = [&NONE[..size]; DEPTH];
            for (i, position) in (first..positions.end.min(first + DEPTH)).enumerate() {
                let [key, value] = work.row_at(position);
                rows[i] = value;
                // SAFETY: the caller runs this in code for the instruction set. A key has `size` numbers, and the block 128 of them.
                unsafe { self.key::<V>(step * DEPTH + i, key) };
            }
            // SAFETY: as above; every row has `size` numbers.
            unsafe { self.values::<V>(step, &rows) };
        }
    }

    #[inline(always)]
    unsafe fn key<V: Bf16Lanes>(&mut self, place: usize, key: &[f32]) {
        let chunks = self.size / DEPTH;
        let (tile, row) = (place / SIDE, place % SIDE);
        for chunk in 0..chunks {
            // SAFETY: the caller's contract.
            unsafe {
                let to = self
                    .keys
                    .as_mut_ptr()
                    .add((tile * chunks + chunk) * BF16S + row * DEPTH);
                for i in (0..DEPTH).step_by(2 * V::WIDTH) {
                    let from = key.as_ptr().add(chunk * DEPTH + i);
                    V::load(from).store_bf16(V::load(from.add(V::WIDTH)), to.add(i));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn values<V: Bf16Lanes>(&mut self, step: usize, rows: &[&[f32]; DEPTH]) {
        let mut pairs = [0u32; FLOATS];
        for tile in 0..self.size / SIDE {
            // SAFETY: the caller's contract. `pairs` has 16 rows of 16 pairs.
            unsafe {
                for (pair, two) in rows.as_chunks::<2>().0.iter().enumerate() {
                    for i in (0..SIDE).step_by(V::WIDTH) {
                        let [first, second] =
                            two.map(|row| V::load(row.as_ptr().add(tile * SIDE + i)));
                        let to = pairs.as_mut_ptr().add(pair * SIDE + i);
                        first.store_bf16_pairs(second, to.cast());
                    }
                }
                let to = self
                    .values
                    .as_mut_ptr()
                    .add((tile * (KEYS / DEPTH) + step) * BF16S);
                V::transpose(pairs.as_ptr(), to.cast());
            }
        }
    }
}
