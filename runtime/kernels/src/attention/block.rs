//! Panels of queries against blocks of keys.
//!
//! A panel stores its queries by column: a vector holds one number of several queries, where a query is a token and one of the heads
//! that share the key head. Scores are vectors over queries, one for each key, so softmax needs no operation across lanes. The
//! numbers of keys are broadcast. Values are used by row, and the probabilities are broadcast.
//!
//! Keys and values of a block are copied into scratch memory first. Rows of one head are a power of two apart in most models, so
//! they would compete for the same few lines of the cache.

use std::cell::RefCell;
use std::ops::Range;

use super::segments::{Segment, Task};
use super::{Attention, Heads, heads};
use crate::buffer::Buffer;
use crate::parallel::Shared;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon::Neon;
use crate::simd::{InstructionSet, Lanes, exp2, portable::Portable, prefetch};
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// Keys per block. Two blocks of 48 rows of 128 floats are 48 KiB.
const KEYS: usize = 48;
/// Queries per task, counting each head, that share one copy of a block: 256 of them need 256 KiB of scratch memory.
const QUERIES: usize = 256;
/// Panels of a task, at most: 28 if nine heads share a key head and a panel has 16 lanes.
const PANELS: usize = 32;
/// Queries whose outputs are computed together.
const ROWS: usize = 8;
/// Floats of a cache line.
const LINE: usize = 16;

/// The inputs of a task.
pub(super) struct Work<'a> {
    pub(super) attention: &'a Attention<'a>,
    /// The keys after norm and rotation.
    pub(super) keys: &'a [f32],
    pub(super) segment: &'a Segment,
    pub(super) task: &'a Task,
    /// The output of all tasks.
    pub(super) out: &'a Shared<f32>,
}

/// A function that computes a task.
///
/// # Safety
/// The processor has the instruction set, the inputs were checked, and no other task writes the same queries of the same head.
pub(super) type Kernel = unsafe fn(&Work<'_>);

/// The kernel of an instruction set, or of a narrower one that the head's size fits.
pub(super) fn kernel(set: InstructionSet, size: usize) -> Kernel {
    match set {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni | InstructionSet::Avx512
            if size.is_multiple_of(COLUMNS * Avx512::WIDTH) =>
        {
            avx512
        }
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni | InstructionSet::Avx512 | InstructionSet::Avx2 => avx2,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => neon,
        InstructionSet::Portable => portable,
    }
}

/// The tokens of a task, at most.
pub(super) fn tokens_per_task(heads: Heads) -> usize {
    QUERIES / heads.group()
}

// A panel's vectors times the keys that are scored together are the accumulators, and must leave registers for the operands.

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(work: &Work<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match work.queries() <= Avx512::WIDTH {
            true => run::<Avx512, 1, 24, 8>(work),
            false => run::<Avx512, 2, 12, 4>(work),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(work: &Work<'_>) {
    // SAFETY: the caller's promise.
    unsafe { run::<Avx2, 2, 6, 3>(work) }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon(work: &Work<'_>) {
    // SAFETY: the caller's promise.
    unsafe { run::<Neon, 4, 6, 2>(work) }
}

unsafe fn portable(work: &Work<'_>) {
    // SAFETY: the caller's promise.
    unsafe { run::<Portable, 2, 2, 1>(work) }
}

impl Work<'_> {
    /// The number of queries, counting each head.
    fn queries(&self) -> usize {
        self.task.queries.len() * self.attention.heads.group()
    }

    /// The position of a query's token in its sequence.
    fn position(&self, token: usize) -> usize {
        self.segment.position + self.task.queries.start + token
    }

    /// The row of a query's token in the matrices of queries and outputs.
    fn row(&self, token: usize) -> usize {
        self.segment.first_query + self.task.queries.start + token
    }

    /// The head's keys and values at a position of the sequence.
    #[inline(always)]
    fn row_at(&self, position: usize) -> [&[f32]; 2] {
        let a = self.attention;
        let (size, width) = (a.heads.size, a.heads.key_width());
        let index = a.tokens.kv_index[self.segment.sequence + position] as usize;
        let (keys, values, row) = match index.checked_sub(a.cached()) {
            Some(row) => (self.keys, a.v, row),
            None => (a.cached_keys, a.cached_values, index),
        };
        let from = row * width + self.task.head * size;
        [&keys[from..][..size], &values[from..][..size]]
    }

    /// Copies the head's keys and values at these positions.
    #[inline(always)]
    fn copy_block(&self, positions: Range<usize>, keys: &mut [f32], values: &mut [f32]) {
        let size = self.attention.heads.size;
        let rows = keys
            .chunks_exact_mut(size)
            .zip(values.chunks_exact_mut(size));
        for (position, (key, value)) in positions.zip(rows) {
            let [k, v] = self.row_at(position);
            key.copy_from_slice(k);
            value.copy_from_slice(v);
        }
    }

    /// Begins to load the rows of these positions, which are too far apart for the processor to foresee.
    #[inline(always)]
    fn prefetch(&self, positions: Range<usize>) {
        for position in positions {
            for row in self.row_at(position) {
                row.chunks(LINE).for_each(|line| prefetch(line.as_ptr()));
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::default();
}

/// Some of a task's tokens.
struct Panel<'a> {
    first_token: usize,
    tokens: usize,
    /// `[size, lanes]`
    queries: &'a mut [f32],
    /// `[lanes, size]`
    outputs: &'a mut [f32],
    /// `[lanes]` the largest score so far.
    max: &'a mut [f32],
    /// `[lanes]` the sum of the exponentials so far.
    sum: &'a mut [f32],
    /// `[lanes]` the position of each query.
    position: &'a mut [f32],
}

/// Computes a task, with panels of `VECTORS` vectors, and `GROUP` keys (or, at the end of a block, `REST`) at a time.
///
/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn run<V: Lanes, const VECTORS: usize, const GROUP: usize, const REST: usize>(
    work: &Work<'_>,
) {
    const { assert!(KEYS.is_multiple_of(GROUP) && GROUP.is_multiple_of(REST)) };
    let lanes = VECTORS * V::WIDTH;
    let heads = work.attention.heads;
    let (size, group) = (heads.size, heads.group());
    let per_panel = lanes / group;
    let tokens = work.task.queries.len();
    let count = tokens.div_ceil(per_panel);
    // Taken and put back, because the code of a closure would not be compiled for the instruction set.
    let mut scratch = SCRATCH.take();
    let panel_floats = 2 * size * lanes + 4 * lanes;
    scratch.reserve(2 * KEYS * size + KEYS * lanes + lanes + count * panel_floats);
    let (keys, rest) = scratch.as_mut_slice().split_at_mut(KEYS * size);
    let (values, rest) = rest.split_at_mut(KEYS * size);
    let (scores, rest) = rest.split_at_mut(KEYS * lanes);
    let (factors, rest) = rest.split_at_mut(lanes);
    let mut panels = [const { None::<Panel<'_>> }; PANELS];
    for (number, memory) in rest.chunks_exact_mut(panel_floats).take(count).enumerate() {
        let first = number * per_panel;
        panels[number] = Some(Panel::new(
            work,
            first,
            per_panel.min(tokens - first),
            lanes,
            memory,
        ));
    }
    let end = work.position(tokens);
    for start in (0..end).step_by(KEYS) {
        let (block, next) = (
            start..end.min(start + KEYS),
            end.min(start + KEYS)..end.min(start + 2 * KEYS),
        );
        work.copy_block(block, keys, values);
        for (number, panel) in panels[..count].iter_mut().flatten().enumerate() {
            // The next block arrives while panels compute, a part with each of them.
            let part = |number: usize| next.start + next.len() * number / count;
            work.prefetch(part(number)..part(number + 1));
            let visible = work.position(panel.first_token + panel.tokens);
            if visible <= start {
                continue;
            }
            let keys_here = KEYS.min(visible - start);
            let masked = start + keys_here > work.position(panel.first_token) + 1;
            // SAFETY: the caller's promise; the buffers have the sizes that the functions state.
            unsafe {
                score::<V, VECTORS, GROUP, REST>(panel.queries, keys, scores, size, keys_here);
                softmax::<V, VECTORS>(panel, scores, factors, masked.then_some(start), keys_here);
                add_values::<V>(
                    panel.outputs,
                    scores,
                    factors,
                    values,
                    size,
                    lanes,
                    keys_here,
                    panel.tokens * group,
                );
            }
        }
    }
    for panel in panels[..count].iter().flatten() {
        panel.write(work);
    }
    SCRATCH.set(scratch);
}

impl<'a> Panel<'a> {
    #[inline(always)]
    fn new(
        work: &Work<'_>,
        first_token: usize,
        tokens: usize,
        lanes: usize,
        memory: &'a mut [f32],
    ) -> Self {
        let a = work.attention;
        let (size, group, width) = (a.heads.size, a.heads.group(), a.heads.query_width());
        let (queries, rest) = memory.split_at_mut(size * lanes);
        let (outputs, rest) = rest.split_at_mut(size * lanes);
        let (max, rest) = rest.split_at_mut(lanes);
        let (sum, rest) = rest.split_at_mut(lanes);
        let position = &mut rest[..lanes];
        outputs.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        // Lanes without a query compute something finite that nobody reads.
        queries.fill(0.0);
        position.fill(work.position(first_token) as f32);
        // Softmax is a bare power of two, because log2(e) is a part of the scale.
        let scale = std::f32::consts::LOG2_E / (size as f32).sqrt();
        let norm = a.norms.map(|norms| (norms.query, norms.epsilon));
        let mut rotated = [0.0; Heads::MAX_SIZE];
        let rotated = &mut rotated[..size];
        for token in 0..tokens {
            let at = work.position(first_token + token);
            let angles = heads::angles(a.rotary, a.heads, at as i64);
            let row = work.row(first_token + token) * width + work.task.head * group * size;
            for head in 0..group {
                let lane = token * group + head;
                heads::head(&a.q[row + head * size..][..size], norm, angles, rotated);
                for (column, x) in queries.chunks_exact_mut(lanes).zip(&*rotated) {
                    column[lane] = x * scale;
                }
                position[lane] = at as f32;
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
    fn write(&self, work: &Work<'_>) {
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

/// `scores[key, lane] = sum over d of queries[d, lane] * keys[key, d]`.
///
/// # Safety
/// As the methods of [`Lanes`]. `queries` has `size * lanes` numbers, `keys` `KEYS * size`, and `scores` `KEYS * lanes`.
#[inline(always)]
unsafe fn score<V: Lanes, const VECTORS: usize, const GROUP: usize, const REST: usize>(
    queries: &[f32],
    keys: &[f32],
    scores: &mut [f32],
    size: usize,
    count: usize,
) {
    let lanes = VECTORS * V::WIDTH;
    let mut first = 0;
    // SAFETY: the groups end at `KEYS` at the latest, because it is a multiple of both sizes.
    unsafe {
        while first + GROUP <= count.next_multiple_of(REST) {
            let (keys, scores) = (
                keys.as_ptr().add(first * size),
                scores.as_mut_ptr().add(first * lanes),
            );
            score_group::<V, VECTORS, GROUP>(queries.as_ptr(), keys, scores, size);
            first += GROUP;
        }
        while first < count {
            let (keys, scores) = (
                keys.as_ptr().add(first * size),
                scores.as_mut_ptr().add(first * lanes),
            );
            score_group::<V, VECTORS, REST>(queries.as_ptr(), keys, scores, size);
            first += REST;
        }
    }
}

/// # Safety
/// As [`score`], of which it computes some keys.
#[inline(always)]
unsafe fn score_group<V: Lanes, const VECTORS: usize, const COUNT: usize>(
    queries: *const f32,
    keys: *const f32,
    scores: *mut f32,
    size: usize,
) {
    let lanes = VECTORS * V::WIDTH;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; COUNT];
        for d in 0..size {
            let mut query = [V::splat(0.0); VECTORS];
            for (v, query) in query.iter_mut().enumerate() {
                *query = V::load(queries.add(d * lanes + v * V::WIDTH));
            }
            for (key, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*keys.add(key * size + d));
                for (sum, query) in sums.iter_mut().zip(query) {
                    *sum = x.mul_add(query, *sum);
                }
            }
        }
        for (key, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                sum.store(scores.add(key * lanes + v * V::WIDTH));
            }
        }
    }
}

/// Turns scores into exponentials relative to the new maximum, and says in `factors` by how much former sums shrink. `masked` is the
/// position of the block's first key if some queries do not see all keys.
///
/// # Safety
/// As the methods of [`Lanes`]. The buffers have the panel's lanes; `scores` has `count` rows of them.
#[inline(always)]
unsafe fn softmax<V: Lanes, const VECTORS: usize>(
    panel: &mut Panel<'_>,
    scores: &mut [f32],
    factors: &mut [f32],
    masked: Option<usize>,
    count: usize,
) {
    let lanes = VECTORS * V::WIDTH;
    for v in 0..VECTORS {
        // SAFETY: the caller's promise.
        unsafe {
            let at = v * V::WIDTH;
            let scores = scores.as_mut_ptr().add(at);
            let old = V::load(panel.max.as_ptr().add(at));
            let mut max = old;
            match masked {
                None => {
                    for key in 0..count {
                        max = max.max(V::load(scores.add(key * lanes)));
                    }
                }
                Some(start) => {
                    let position = V::load(panel.position.as_ptr().add(at));
                    let hidden = V::splat(f32::NEG_INFINITY);
                    for key in 0..count {
                        let to = scores.add(key * lanes);
                        let after = V::splat((start + key) as f32);
                        let score = hidden.select_less(position, after, V::load(to));
                        score.store(to);
                        max = max.max(score);
                    }
                }
            }
            let factor = exp2(old.sub(max));
            let mut sum = V::load(panel.sum.as_ptr().add(at)).mul(factor);
            for key in 0..count {
                let to = scores.add(key * lanes);
                let x = exp2(V::load(to).sub(max));
                x.store(to);
                sum = sum.add(x);
            }
            factor.store(factors.as_mut_ptr().add(at));
            max.store(panel.max.as_mut_ptr().add(at));
            sum.store(panel.sum.as_mut_ptr().add(at));
        }
    }
}

/// Vectors of an output row that are computed together.
const COLUMNS: usize = 2;

/// `outputs[lane] = outputs[lane] * factors[lane] + sum over keys of scores[key, lane] * values[key]`, for the first `used` lanes,
/// rounded up.
///
/// # Safety
/// As the methods of [`Lanes`]. `outputs` has `lanes * size` numbers, `scores` and `values` have `count` rows of `lanes` and `size`;
/// `lanes` is a multiple of [`ROWS`], `size` of [`COLUMNS`] vectors.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn add_values<V: Lanes>(
    outputs: &mut [f32],
    scores: &[f32],
    factors: &[f32],
    values: &[f32],
    size: usize,
    lanes: usize,
    count: usize,
    used: usize,
) {
    for column in (0..size).step_by(COLUMNS * V::WIDTH) {
        for first in (0..used).step_by(ROWS) {
            // SAFETY: the caller's promise.
            unsafe {
                let mut sums = [[V::splat(0.0); COLUMNS]; ROWS];
                let outputs = outputs.as_mut_ptr().add(first * size + column);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factor = V::splat(*factors.as_ptr().add(first + row));
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load(outputs.add(row * size + c * V::WIDTH)).mul(factor);
                    }
                }
                for key in 0..count {
                    let value = values.as_ptr().add(key * size + column);
                    let scores = scores.as_ptr().add(key * lanes + first);
                    let mut row_values = [V::splat(0.0); COLUMNS];
                    for (c, x) in row_values.iter_mut().enumerate() {
                        *x = V::load(value.add(c * V::WIDTH));
                    }
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let p = V::splat(*scores.add(row));
                        for (sum, x) in sums.iter_mut().zip(row_values) {
                            *sum = p.mul_add(x, *sum);
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    for (c, sum) in sums.iter().enumerate() {
                        sum.store(outputs.add(row * size + c * V::WIDTH));
                    }
                }
            }
        }
    }
}
