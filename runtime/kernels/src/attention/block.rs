//! Panels of queries against blocks of keys.
//!
//! A panel stores its queries by column: a vector holds one number of several queries, where a query is a token and one of the heads
//! that share the key head. Scores are vectors over queries, one for each key, so softmax needs no operation across lanes. The
//! numbers of keys are broadcast. Values are used by row, and the probabilities are broadcast.
//!
//! Keys and values of a block are copied into scratch memory first. The rows of one head are a multiple of a large
//! power of two apart, so they would compete for the same few lines of the cache.

use std::cell::RefCell;
use std::ops::Range;

use super::panel::Panel;
#[cfg(target_arch = "x86_64")]
use super::products::COLUMNS;
use super::products::{add_values, score, softmax};
use super::segments::{Segment, Task};
use super::{Attention, Heads, heads};
use crate::buffer::Buffer;
use crate::parallel::Shared;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon::Neon;
use crate::simd::{InstructionSet, Lanes, portable::Portable, prefetch};
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// Keys per block: a multiple of the keys that each instruction set scores at once. The last bits of vectors depend on it. Two blocks
/// of 48 rows of 128 floats are 48 KiB.
const KEYS: usize = 48;
/// Queries per task, counting each head, that share one copy of a block: 256 of them need 256 KiB of scratch memory.
pub(super) const QUERIES: usize = 256;
/// Panels of a task, at most: 28 if nine heads share a key head and a panel has 16 lanes.
const PANELS: usize = 32;
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
    debug_assert!(size.is_multiple_of(Heads::SIZE_STEP), "heads were checked");
    match set.vectors() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 if size.is_multiple_of(COLUMNS * Avx512::WIDTH) => avx512,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx2 => avx2,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => neon,
        _ => portable,
    }
}

// A panel's vectors times the keys that are scored together are the accumulators, and must leave registers for the operands.

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(work: &Work<'_>) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
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
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Avx2, 2, 6, 3>(work) }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon(work: &Work<'_>) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Neon, 4, 6, 2>(work) }
}

unsafe fn portable(work: &Work<'_>) {
    // SAFETY: plain code needs no instruction set, and this function has the contract of `run`.
    unsafe { run::<Portable, 2, 2, 1>(work) }
}

impl Work<'_> {
    /// The number of queries, counting each head.
    #[cfg(target_arch = "x86_64")]
    fn queries(&self) -> usize {
        self.task.queries.len() * self.attention.heads.group()
    }

    /// The position of a query's token in its sequence.
    pub(super) fn position(&self, token: usize) -> usize {
        self.segment.position + self.task.queries.start + token
    }

    /// The row of a query's token in the matrices of queries and outputs.
    pub(super) fn row(&self, token: usize) -> usize {
        self.segment.first_query + self.task.queries.start + token
    }

    /// Normalises, rotates and scales the query of a token, for one of the heads that share the key head.
    #[inline(always)]
    pub(super) fn query(&self, token: usize, head: usize, to: &mut [f32]) {
        let a = self.attention;
        let Heads { size, .. } = a.heads;
        let at = (self.task.head * a.heads.group() + head) * size;
        let row = self.row(token) * a.heads.query_width() + at;
        let norm = a.norms.map(|norms| (norms.query, norms.epsilon));
        let angles = heads::angles(a.rotary, a.heads, self.position(token) as i64);
        heads::head(&a.q[row..][..size], norm, angles, to);
        // Softmax is a bare power of two, because log2(e) is a part of the scale.
        let scale = std::f32::consts::LOG2_E / (size as f32).sqrt();
        to.iter_mut().for_each(|x| *x *= scale);
    }

    /// The head's keys and values at a position of the sequence.
    #[inline(always)]
    pub(super) fn row_at(&self, position: usize) -> [&[f32]; 2] {
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

    /// Begins to load a part of `count` of the rows of these positions, which are too far apart for the processor to foresee. The next
    /// block arrives while panels compute, a part with each of them.
    #[inline(always)]
    pub(super) fn prefetch(&self, positions: &Range<usize>, number: usize, count: usize) {
        let first = |number: usize| positions.start + positions.len() * number / count;
        for position in first(number)..first(number + 1) {
            for row in self.row_at(position) {
                row.chunks(LINE).for_each(|line| prefetch(line.as_ptr()));
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::default();
}

/// Computes a task, with panels of `VECTORS` vectors, and `AT_ONCE` keys (`AT_END` at the end of a block) at a time.
///
/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn run<V: Lanes, const VECTORS: usize, const AT_ONCE: usize, const AT_END: usize>(
    work: &Work<'_>,
) {
    const { assert!(KEYS.is_multiple_of(AT_ONCE) && AT_ONCE.is_multiple_of(AT_END)) };
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
            work.prefetch(&next, number, count);
            let visible = work.position(panel.first_token + panel.tokens);
            if visible <= start {
                continue;
            }
            let keys_here = KEYS.min(visible - start);
            let masked = start + keys_here > work.position(panel.first_token) + 1;
            // SAFETY: the caller runs this in code for the instruction set. `scratch` was divided into buffers
            // of the sizes that these functions ask for.
            unsafe {
                score::<V, VECTORS, AT_ONCE, AT_END>(panel.queries, keys, scores, size, keys_here);
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
