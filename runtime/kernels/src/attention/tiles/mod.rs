//! Attention in tile registers, whose factors are bf16 and whose sums are floats.
//!
//! All matrices are transposed, so that softmax needs no operation across lanes: scores are `S^T = K Q^T`, `[keys, queries]`, and outputs
//! are `O^T = V^T P^T`, `[size, queries]`, with the online softmax of the other kernels. A
//! *tile* holds 16 rows of 64 bytes: 32 factors of the left matrix, or 16 floats; or of the right matrix two consecutive factors of
//! each of 16 columns.
//!
//! A panel of 32 queries meets blocks of 128 keys.

mod block;
mod panel;
mod products;

use std::cell::RefCell;

use super::Heads;
use super::block::{Kernel, Work};
use crate::buffer::Buffer;
use crate::simd::InstructionSet;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::simd::avx512::Avx512;
use crate::simd::bf16::Bf16Lanes;
#[cfg(test)]
use crate::simd::portable::Portable;
use crate::simd::tiles::Registers;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::simd::tiles::amx::Amx;
#[cfg(test)]
use crate::simd::tiles::emulated::Emulated;
use block::Block;
use panel::Panel;
use products::{add_values, score, softmax};

/// The size of a head is a multiple of this: the depth of two products, whose sums two registers hold.
const SIZE_STEP: usize = 32;
/// Keys per block. The last bits of vectors depend on it.
const KEYS: usize = 128;
/// Factors of one product: numbers of a query and a key, or keys with their values.
const DEPTH: usize = 32;
/// Rows of a tile, and floats of its rows.
const SIDE: usize = 16;
/// Floats of a tile.
const FLOATS: usize = SIDE * SIDE;
/// bf16 numbers of a tile.
const BF16S: usize = 2 * FLOATS;
/// Queries per panel, counting each head.
const LANES: usize = 2 * SIDE;
/// Panels of a task, at most: if eleven heads share a key head, 23 tokens in panels of two.
const PANELS: usize = 12;
/// Queries per task, counting each head. They share the conversion of keys and values.
pub(super) const QUERIES: usize = 256;

/// Whether tile registers fit the heads.
pub(super) fn supports(heads: Heads) -> bool {
    heads.size.is_multiple_of(SIZE_STEP)
}

/// The kernel of an instruction set that has tile registers.
pub(super) fn kernel(set: InstructionSet) -> Option<Kernel> {
    match set {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        InstructionSet::Amx => Some(amx),
        #[cfg(test)]
        InstructionSet::EmulatedTiles => Some(run::<Emulated, Portable>),
        _ => None,
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn amx(work: &Work<'_>) {
    // SAFETY: this function is compiled for the instruction set, and has the contract of `run`.
    unsafe { run::<Amx, Avx512>(work) }
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::default();
}

/// Computes a task.
///
/// # Safety
/// As [`Kernel`]. The size of heads is a multiple of [`SIZE_STEP`].
#[inline(always)]
pub(super) unsafe fn run<R: Registers, V: Bf16Lanes>(work: &Work<'_>) {
    let heads = work.attention.heads;
    let (size, group) = (heads.size, heads.group());
    let per_panel = LANES / group;
    let tokens = work.task.queries.len();
    let count = tokens.div_ceil(per_panel);
    // Taken and put back, because the code of a closure would not be compiled for the instruction set.
    let mut scratch = SCRATCH.take();
    scratch.reserve(Block::floats(size) + products::Scores::FLOATS + count * Panel::floats(size));
    let (block, rest) = scratch.as_mut_slice().split_at_mut(Block::floats(size));
    let mut block = Block::new(block, size);
    let (scores, rest) = rest.split_at_mut(products::Scores::FLOATS);
    let mut scores = products::Scores::new(scores);
    let mut panels = [const { None::<Panel<'_>> }; PANELS];
    // SAFETY: the caller runs this in code for the instruction set, and has the registers. The buffers have the sizes of which they
    // were made.
    unsafe {
        let memories = rest.chunks_exact_mut(Panel::floats(size)).take(count);
        for (number, memory) in memories.enumerate() {
            let first = number * per_panel;
            let tokens = per_panel.min(tokens - first);
            panels[number] = Some(Panel::new::<V>(work, first, tokens, memory));
        }
        let mut registers = R::configured();
        let end = work.position(tokens);
        for start in (0..end).step_by(KEYS) {
            let here = start..end.min(start + KEYS);
            let next = here.end..end.min(start + 2 * KEYS);
            block.fill::<V>(work, here);
            for (number, panel) in panels[..count].iter_mut().flatten().enumerate() {
                work.prefetch(&next, number, count);
                let visible = work.position(panel.first_token + panel.tokens);
                if visible <= start {
                    continue;
                }
                let steps = KEYS.min(visible - start).div_ceil(DEPTH);
                let masked = start + steps * DEPTH > work.position(panel.first_token) + 1;
                score(&mut registers, panel, &block, &mut scores, steps);
                softmax::<V>(panel, &mut scores, masked.then_some(start), steps);
                add_values(&mut registers, panel, &block, &scores, steps);
                panel.begun = true;
            }
        }
        for panel in panels[..count].iter().flatten() {
            panel.write::<V>(work);
        }
    }
    SCRATCH.set(scratch);
}

/// The bf16 numbers in a buffer of floats.
fn as_bf16(floats: &mut [f32]) -> &mut [u16] {
    // SAFETY: any bits are numbers of both types, and floats have the greater alignment.
    let (before, numbers, after) = unsafe { floats.align_to_mut() };
    debug_assert!(
        before.is_empty() && after.is_empty(),
        "two numbers fill a float"
    );
    numbers
}
