//! A panel: some queries of a task, by column.

use super::super::Heads;
use super::super::block::Work;
use super::{BF16S, DEPTH, FLOATS, LANES, SIDE, as_bf16};
use crate::simd::bf16::Bf16Lanes;

/// Some of a task's tokens, with all heads that share the key head.
pub(super) struct Panel<'a> {
    pub(super) first_token: usize,
    pub(super) tokens: usize,
    /// Tiles of 16 queries that have queries: one or two.
    pub(super) columns: usize,
    pub(super) size: usize,
    /// Tiles `[2, size / 32]` of 32 numbers of 16 queries.
    pub(super) queries: &'a mut [u16],
    /// Tiles `[size / 16, 2]`, not written before the panel has begun.
    pub(super) outputs: &'a mut [f32],
    /// Whether a block of keys has been seen.
    pub(super) begun: bool,
    /// `[lanes]` what is subtracted from scores: the maximum so far, or a little less.
    pub(super) shift: &'a mut [f32],
    /// `[lanes]` the sum of the exponentials so far, before their rounding to bf16.
    pub(super) sum: &'a mut [f32],
    /// `[lanes]` the position of each query.
    pub(super) position: &'a mut [f32],
}

impl<'a> Panel<'a> {
    pub(super) fn floats(size: usize) -> usize {
        size * LANES / 2 + size * LANES + 3 * LANES
    }

    /// # Safety
    /// As the methods of [`Lanes`](crate::simd::Lanes).
    #[inline(always)]
    pub(super) unsafe fn new<V: Bf16Lanes>(
        work: &Work<'_>,
        first_token: usize,
        tokens: usize,
        memory: &'a mut [f32],
    ) -> Self {
        let heads = work.attention.heads;
        let (size, group) = (heads.size, heads.group());
        let (queries, rest) = memory.split_at_mut(size * LANES / 2);
        let (outputs, rest) = rest.split_at_mut(size * LANES);
        let (shift, rest) = rest.split_at_mut(LANES);
        let (sum, position) = rest.split_at_mut(LANES);
        shift.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        position.fill(work.position(first_token) as f32);
        let panel = Self {
            first_token,
            tokens,
            columns: (tokens * group).div_ceil(SIDE),
            size,
            queries: as_bf16(queries),
            outputs,
            begun: false,
            shift,
            sum,
            position,
        };
        // Lanes without a query are zero, and their results are not used.
        let mut rows = [[0u16; Heads::MAX_SIZE]; LANES];
        let mut query = [0.0; Heads::MAX_SIZE];
        let query = &mut query[..size];
        for token in 0..tokens {
            for head in 0..group {
                let lane = token * group + head;
                work.query(first_token + token, head, query);
                for i in (0..size).step_by(2 * V::WIDTH) {
                    // SAFETY: the caller runs this in code for the instruction set, and `size` is a multiple of 32.
                    unsafe {
                        let (from, to) = (query.as_ptr().add(i), rows[lane].as_mut_ptr().add(i));
                        V::load(from).store_bf16(V::load(from.add(V::WIDTH)), to);
                    }
                }
                panel.position[lane] = work.position(first_token + token) as f32;
            }
        }
        let chunks = size / DEPTH;
        let mut pairs = [0u32; FLOATS];
        for column in 0..panel.columns {
            for chunk in 0..chunks {
                // SAFETY: the caller runs this in code for the instruction set. Rows have at least `size` numbers, and the queries
                // are two columns of tiles.
                unsafe {
                    for (row, to) in rows[column * SIDE..][..SIDE]
                        .iter()
                        .zip(pairs.as_chunks_mut::<SIDE>().0)
                    {
                        let from = row.as_ptr().add(chunk * DEPTH).cast::<[u32; SIDE]>();
                        *to = from.read_unaligned();
                    }
                    let to = panel
                        .queries
                        .as_mut_ptr()
                        .add((column * chunks + chunk) * BF16S);
                    V::transpose(pairs.as_ptr(), to.cast());
                }
            }
        }
        panel
    }

    /// Divides by the sums and writes the outputs.
    ///
    /// # Safety
    /// As the methods of [`Lanes`](crate::simd::Lanes), and a block of keys has been seen.
    #[inline(always)]
    pub(super) unsafe fn write<V: Bf16Lanes>(&self, work: &Work<'_>) {
        let heads = work.attention.heads;
        let group = heads.group();
        let mut scaled = [0.0f32; FLOATS];
        let mut rows = [0.0f32; FLOATS];
        for column in 0..self.columns {
            for tile in 0..self.size / SIDE {
                // SAFETY: the caller runs this in code for the instruction set. Outputs have two columns of tiles.
                unsafe {
                    let from = self.outputs.as_ptr().add((2 * tile + column) * FLOATS);
                    for i in (0..SIDE).step_by(V::WIDTH) {
                        let sum = V::load(self.sum.as_ptr().add(column * SIDE + i));
                        let factor = V::splat(1.0).div(sum);
                        for at in (i..FLOATS).step_by(SIDE) {
                            V::load(from.add(at))
                                .mul(factor)
                                .store(scaled.as_mut_ptr().add(at));
                        }
                    }
                    V::transpose(scaled.as_ptr().cast(), rows.as_mut_ptr().cast());
                }
                let lanes = column * SIDE..(self.tokens * group).min((column + 1) * SIDE);
                for (lane, row) in lanes.zip(rows.as_chunks::<SIDE>().0) {
                    let (token, head) = (lane / group, work.task.head * group + lane % group);
                    let start = work.row(self.first_token + token) * heads.query_width()
                        + head * self.size
                        + tile * SIDE;
                    // SAFETY: each task writes its own queries of its own head.
                    unsafe { work.out.part(start, SIDE) }.copy_from_slice(row);
                }
            }
        }
    }
}
