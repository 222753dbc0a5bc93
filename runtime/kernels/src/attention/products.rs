//! Scores, softmax, and sums of values, of one panel and one block of keys.

use super::panel::Panel;
use crate::simd::{Lanes, exp2};

/// Queries whose outputs are computed together.
const ROWS: usize = 8;

/// `scores[key, lane] = sum over d of queries[d, lane] * keys[key, d]`.
///
/// # Safety
/// As the methods of [`Lanes`]. `queries` has `size * lanes` numbers, `keys` `KEYS * size`, and `scores` `KEYS * lanes`.
#[inline(always)]
pub(super) unsafe fn score<
    V: Lanes,
    const VECTORS: usize,
    const AT_ONCE: usize,
    const AT_END: usize,
>(
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
        while first + AT_ONCE <= count.next_multiple_of(AT_END) {
            let (keys, scores) = (
                keys.as_ptr().add(first * size),
                scores.as_mut_ptr().add(first * lanes),
            );
            score_group::<V, VECTORS, AT_ONCE>(queries.as_ptr(), keys, scores, size);
            first += AT_ONCE;
        }
        while first < count {
            let (keys, scores) = (
                keys.as_ptr().add(first * size),
                scores.as_mut_ptr().add(first * lanes),
            );
            score_group::<V, VECTORS, AT_END>(queries.as_ptr(), keys, scores, size);
            first += AT_END;
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
    // SAFETY: the caller runs this in code for the instruction set. It passes `size` rows of queries, and `COUNT` rows of keys and of scores.
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
pub(super) unsafe fn softmax<V: Lanes, const VECTORS: usize>(
    panel: &mut Panel<'_>,
    scores: &mut [f32],
    factors: &mut [f32],
    masked: Option<usize>,
    count: usize,
) {
    let lanes = VECTORS * V::WIDTH;
    for v in 0..VECTORS {
        // SAFETY: the caller runs this in code for the instruction set. `v` counts the panel's vectors, so every access lies within its lanes.
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
pub(super) const COLUMNS: usize = 2;

/// `outputs[lane] = outputs[lane] * factors[lane] + sum over keys of scores[key, lane] * values[key]`, for the first `used` lanes,
/// rounded up.
///
/// # Safety
/// As the methods of [`Lanes`]. `outputs` has `lanes * size` numbers, `scores` and `values` have `count` rows of `lanes` and `size`;
/// `lanes` is a multiple of [`ROWS`], `size` of [`COLUMNS`] vectors.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn add_values<V: Lanes>(
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
            // SAFETY: the caller runs this in code for the instruction set. `lanes` is a multiple of [`ROWS`] and `size` of [`COLUMNS`] vectors,
            // so every access lies within the buffers.
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
