//! A panel: some queries of a task, stored by column.

use super::Heads;
use super::block::Work;

/// Some of a task's tokens.
pub(super) struct Panel<'a> {
    pub(super) first_token: usize,
    pub(super) tokens: usize,
    /// `[size, lanes]`
    pub(super) queries: &'a mut [f32],
    /// `[lanes, size]`
    pub(super) outputs: &'a mut [f32],
    /// `[lanes]` the largest score so far.
    pub(super) max: &'a mut [f32],
    /// `[lanes]` the sum of the exponentials so far.
    pub(super) sum: &'a mut [f32],
    /// `[lanes]` the position of each query.
    pub(super) position: &'a mut [f32],
}

impl<'a> Panel<'a> {
    #[inline(always)]
    pub(super) fn new(
        work: &Work<'_>,
        first_token: usize,
        tokens: usize,
        lanes: usize,
        memory: &'a mut [f32],
    ) -> Self {
        let heads = work.attention.heads;
        let (size, group) = (heads.size, heads.group());
        let (queries, rest) = memory.split_at_mut(size * lanes);
        let (outputs, rest) = rest.split_at_mut(size * lanes);
        let (max, rest) = rest.split_at_mut(lanes);
        let (sum, rest) = rest.split_at_mut(lanes);
        let position = &mut rest[..lanes];
        outputs.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        // Lanes without a query compute finite values, which are not used.
        queries.fill(0.0);
        position.fill(work.position(first_token) as f32);
        let mut query = [0.0; Heads::MAX_SIZE];
        let query = &mut query[..size];
        for token in 0..tokens {
            for head in 0..group {
                let lane = token * group + head;
                work.query(first_token + token, head, query);
                for (column, x) in queries.chunks_exact_mut(lanes).zip(&*query) {
                    column[lane] = *x;
                }
                position[lane] = work.position(first_token + token) as f32;
            }
        }
        Self {
            first_token,
            tokens,
            queries,
            outputs,
            max,
            sum,
            position,
        }
    }

    /// Divides by the sums and writes the outputs.
    #[inline(always)]
    pub(super) fn write(&self, work: &Work<'_>) {
        let heads = work.attention.heads;
        let (size, group) = (heads.size, heads.group());
        for token in 0..self.tokens {
            let start = work.row(self.first_token + token) * heads.query_width()
                + work.task.head * group * size;
            // SAFETY: each task writes its own queries of its own head.
            let to = unsafe { work.out.part(start, group * size) };
            for (head, to) in to.chunks_exact_mut(size).enumerate() {
                let lane = token * group + head;
                let factor = 1.0 / self.sum[lane];
                for (to, from) in to.iter_mut().zip(&self.outputs[lane * size..][..size]) {
                    *to = from * factor;
                }
            }
        }
    }
}
