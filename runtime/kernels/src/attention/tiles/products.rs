//! Scores, softmax, and sums of values, of one panel and one block of keys.

use super::block::Block;
use super::panel::Panel;
use super::{BF16S, DEPTH, FLOATS, KEYS, LANES, SIDE, as_bf16};
use crate::simd::bf16::Bf16Lanes;
use crate::simd::exp2;
use crate::simd::tiles::Registers;

/// The score of a key that a query does not see; its exponential is 0.
const HIDDEN: f32 = -1e30;
/// Sums are scaled only where a maximum grows by more than this, so exponentials are below 2^8: they are as exact as others, and
/// sums stay far from the largest float (lazy rescaling; FlashAttention 4 has the idea).
const RESCALE_ABOVE: f32 = 8.0;

/// Scores of a block, and their exponentials, which are probabilities but for the division by their sum.
pub(super) struct Scores<'a> {
    /// Tiles `[KEYS / 16, 2]`.
    scores: &'a mut [f32],
    /// Tiles `[KEYS / 32, 2]` of two keys of each of 16 queries.
    probabilities: &'a mut [u16],
}

impl<'a> Scores<'a> {
    pub(super) const FLOATS: usize = KEYS * LANES + KEYS * LANES / 2;

    pub(super) fn new(memory: &'a mut [f32]) -> Self {
        let (scores, probabilities) = memory.split_at_mut(KEYS * LANES);
        Self {
            scores,
            probabilities: as_bf16(probabilities),
        }
    }
}

/// The scores of `steps` times 32 keys.
///
/// # Safety
/// As the methods of [`Registers`].
#[inline(always)]
pub(super) unsafe fn score<R: Registers>(
    registers: &mut R,
    panel: &Panel<'_>,
    block: &Block<'_>,
    scores: &mut Scores<'_>,
    steps: usize,
) {
    // SAFETY: the contract is the same.
    unsafe {
        match panel.columns {
            1 => score_columns::<R, false>(registers, panel, block, scores, steps),
            _ => score_columns::<R, true>(registers, panel, block, scores, steps),
        }
    }
}

#[inline(always)]
unsafe fn score_columns<R: Registers, const TWO: bool>(
    registers: &mut R,
    panel: &Panel<'_>,
    block: &Block<'_>,
    scores: &mut Scores<'_>,
    steps: usize,
) {
    let chunks = panel.size / DEPTH;
    let tiles = chunks * BF16S;
    // SAFETY: the caller has the instructions. Loads and stores lie within the tiles of queries, keys and scores.
    unsafe {
        for step in 0..steps {
            let keys = block.keys.as_ptr().add(2 * step * tiles);
            registers.zero::<0>();
            registers.zero::<1>();
            registers.zero::<2>();
            registers.zero::<3>();
            for chunk in 0..chunks {
                let keys = keys.add(chunk * BF16S);
                let queries = panel.queries.as_ptr().add(chunk * BF16S);
                registers.load::<4>(keys.cast());
                registers.load::<6>(queries.cast());
                registers.multiply_bf16::<0, 4, 6>();
                registers.load::<5>(keys.add(tiles).cast());
                registers.multiply_bf16::<1, 5, 6>();
                if TWO {
                    registers.load::<7>(queries.add(tiles).cast());
                    registers.multiply_bf16::<2, 4, 7>();
                    registers.multiply_bf16::<3, 5, 7>();
                }
            }
            let to = scores
                .scores
                .as_mut_ptr()
                .add(4 * step * FLOATS)
                .cast::<i32>();
            registers.store::<0>(to, SIDE);
            registers.store::<1>(to.add(2 * FLOATS), SIDE);
            if TWO {
                registers.store::<2>(to.add(FLOATS), SIDE);
                registers.store::<3>(to.add(3 * FLOATS), SIDE);
            }
        }
    }
}

/// Turns scores into exponentials, and scales the panel's sums where a maximum has grown. `masked` is the position of the block's
/// first key if some queries do not see all keys.
///
/// # Safety
/// As the methods of [`Lanes`](crate::simd::Lanes).
#[inline(always)]
pub(super) unsafe fn softmax<V: Bf16Lanes>(
    panel: &mut Panel<'_>,
    scores: &mut Scores<'_>,
    masked: Option<usize>,
    steps: usize,
) {
    for lane in (0..panel.columns * SIDE).step_by(V::WIDTH) {
        let column = lane / SIDE;
        // SAFETY: the caller runs this in code for the instruction set. Lanes are those of the panel's columns of tiles.
        unsafe {
            let tile = |number: usize| (2 * number + column) * FLOATS + lane % SIDE;
            let from = scores.scores.as_mut_ptr();
            let old = V::load(panel.shift.as_ptr().add(lane));
            let mut max = [old; 4];
            let position = V::load(panel.position.as_ptr().add(lane));
            for number in 0..2 * steps {
                let row = from.add(tile(number));
                for key in 0..SIDE {
                    let mut score = V::load(row.add(key * SIDE));
                    if let Some(start) = masked {
                        let at = V::splat((start + number * SIDE + key) as f32);
                        score = V::splat(HIDDEN).select_less(position, at, score);
                        score.store(row.add(key * SIDE));
                    }
                    max[key % 4] = max[key % 4].max(score);
                }
            }
            let [a, b, c, d] = max;
            let max = a.max(b).max(c.max(d));
            let kept = old.add(V::splat(RESCALE_ABOVE));
            let mut sum = V::load(panel.sum.as_ptr().add(lane));
            let new = max.select_less(kept, max, old);
            if panel.begun && kept.any_less(max) {
                let factor = exp2(old.sub(new));
                sum = sum.mul(factor);
                for number in 0..panel.size / SIDE {
                    let row = panel.outputs.as_mut_ptr().add(tile(number));
                    for at in (0..FLOATS).step_by(SIDE) {
                        V::load(row.add(at)).mul(factor).store(row.add(at));
                    }
                }
            }
            let mut sums = [V::splat(0.0); 2];
            for number in 0..2 * steps {
                let row = from.add(tile(number));
                let to = scores.probabilities.as_mut_ptr();
                let to = to.add(
                    (number / 2 * 2 + column) * BF16S + number % 2 * FLOATS + 2 * (lane % SIDE),
                );
                for pair in 0..SIDE / 2 {
                    let row = row.add(2 * pair * SIDE);
                    let first = V::load(row).sub(new).exp2_coarse();
                    let second = V::load(row.add(SIDE)).sub(new).exp2_coarse();
                    sums = [sums[0].add(first), sums[1].add(second)];
                    first.store_bf16_pairs(second, to.add(2 * pair * SIDE));
                }
            }
            new.store(panel.shift.as_mut_ptr().add(lane));
            sum.add(sums[0].add(sums[1]))
                .store(panel.sum.as_mut_ptr().add(lane));
        }
    }
}

/// Adds `steps` times 32 values, each times its probability, to the outputs.
///
/// # Safety
/// As the methods of [`Registers`].
#[inline(always)]
pub(super) unsafe fn add_values<R: Registers>(
    registers: &mut R,
    panel: &mut Panel<'_>,
    block: &Block<'_>,
    scores: &Scores<'_>,
    steps: usize,
) {
    // SAFETY: the contract is the same.
    unsafe {
        match panel.columns {
            1 => add_columns::<R, false>(registers, panel, block, scores, steps),
            _ => add_columns::<R, true>(registers, panel, block, scores, steps),
        }
    }
}

#[inline(always)]
unsafe fn add_columns<R: Registers, const TWO: bool>(
    registers: &mut R,
    panel: &mut Panel<'_>,
    block: &Block<'_>,
    scores: &Scores<'_>,
    steps: usize,
) {
    const STEPS: usize = KEYS / DEPTH;
    // SAFETY: the caller has the instructions. Loads and stores lie within the tiles of values, probabilities and outputs.
    unsafe {
        for tile in (0..panel.size / SIDE).step_by(2) {
            let outputs = panel.outputs.as_mut_ptr().add(2 * tile * FLOATS);
            if panel.begun {
                registers.load::<0>(outputs.cast());
                registers.load::<1>(outputs.add(2 * FLOATS).cast());
                if TWO {
                    registers.load::<2>(outputs.add(FLOATS).cast());
                    registers.load::<3>(outputs.add(3 * FLOATS).cast());
                }
            } else {
                registers.zero::<0>();
                registers.zero::<1>();
                registers.zero::<2>();
                registers.zero::<3>();
            }
            for step in 0..steps {
                let values = block.values.as_ptr().add((tile * STEPS + step) * BF16S);
                let probabilities = scores.probabilities.as_ptr().add(2 * step * BF16S);
                registers.load::<4>(values.cast());
                registers.load::<6>(probabilities.cast());
                registers.multiply_bf16::<0, 4, 6>();
                registers.load::<5>(values.add(STEPS * BF16S).cast());
                registers.multiply_bf16::<1, 5, 6>();
                if TWO {
                    registers.load::<7>(probabilities.add(BF16S).cast());
                    registers.multiply_bf16::<2, 4, 7>();
                    registers.multiply_bf16::<3, 5, 7>();
                }
            }
            let outputs = outputs.cast::<i32>();
            registers.store::<0>(outputs, SIDE);
            registers.store::<1>(outputs.add(2 * FLOATS), SIDE);
            if TWO {
                registers.store::<2>(outputs.add(FLOATS), SIDE);
                registers.store::<3>(outputs.add(3 * FLOATS), SIDE);
            }
        }
    }
}
