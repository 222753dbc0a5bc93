//! Norm and rotation of query and key heads.

use super::{Attention, Heads, RotaryTables};
use crate::parallel::{Parallel, Shared};

/// Tokens per task.
const TOKENS: usize = 16;

/// Normalises and rotates all keys.
pub(super) fn rotate_keys(attention: &Attention<'_>, threads: &dyn Parallel, keys: &mut [f32]) {
    let (size, width) = (attention.heads.size, attention.heads.key_width());
    let packed = attention.packed();
    let weight = attention.norms.map(|norms| (norms.key, norms.epsilon));
    let out = Shared::new(keys);
    threads.each(packed.div_ceil(TOKENS), &|task| {
        for token in task * TOKENS..packed.min((task + 1) * TOKENS) {
            // SAFETY: each task writes the rows of its own tokens.
            let row = unsafe { out.part(token * width, width) };
            let angles = angles(
                attention.rotary,
                attention.heads,
                attention.tokens.positions[token],
            );
            let from = &attention.k[token * width..][..width];
            for (from, to) in from.chunks_exact(size).zip(row.chunks_exact_mut(size)) {
                head(from, weight, angles, to);
            }
        }
    });
}

/// The cosines and sines of a position.
#[inline(always)]
pub(super) fn angles<'a>(tables: RotaryTables<'a>, heads: Heads, position: i64) -> [&'a [f32]; 2] {
    let half = heads.size / 2;
    [tables.cos, tables.sin].map(|table| &table[position as usize * half..][..half])
}

/// Normalises (if there is a weight and epsilon) and rotates one head.
///
/// The sum of squares has 16 partial sums, whatever the instruction set, so that compilers vectorise it.
#[inline(always)]
pub(super) fn head(
    from: &[f32],
    norm: Option<(&[f32], f32)>,
    [cos, sin]: [&[f32]; 2],
    to: &mut [f32],
) {
    let half = from.len() / 2;
    let mut normed = [0.0; Heads::MAX_SIZE];
    let normed = &mut normed[..from.len()];
    match norm {
        Some((weight, epsilon)) => {
            let mut sums = [0.0f32; 16];
            for chunk in from.chunks_exact(16) {
                for (sum, x) in sums.iter_mut().zip(chunk) {
                    *sum += x * x;
                }
            }
            let mean = sums.iter().sum::<f32>() / from.len() as f32;
            let factor = 1.0 / (mean + epsilon).sqrt();
            for ((n, x), w) in normed.iter_mut().zip(from).zip(weight) {
                *n = x * factor * w;
            }
        }
        None => normed.copy_from_slice(from),
    }
    let (first, second) = normed.split_at(half);
    let (to_first, to_second) = to.split_at_mut(half);
    // Slices of one length, so that the loop has no checks and becomes vectors.
    let (to_second, cos, sin) = (&mut to_second[..half], &cos[..half], &sin[..half]);
    let (first, second, to_first) = (&first[..half], &second[..half], &mut to_first[..half]);
    for i in 0..half {
        to_first[i] = first[i] * cos[i] - second[i] * sin[i];
        to_second[i] = second[i] * cos[i] + first[i] * sin[i];
    }
}
