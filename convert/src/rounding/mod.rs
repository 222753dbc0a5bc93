//! Rounding a weight matrix so that its *product* keeps its value, not each weight.
//!
//! * [`clip`] finds each output channel's scale: a few saturated weights may cost less than coarser steps for all.
//! * [`gptq()`] rounds one input channel after another and lets the later ones make up for the error (arXiv 2210.17323).
//!
//! Both know only what a representable value is, so any number of bits and any grouping of scales can use them.

mod clip;
mod gptq;

pub(crate) use clip::{clipped_scales, widest_scale};
pub(crate) use gptq::{DAMPING, Factor, gptq};

/// The nearest integer, ties to even, of a value below 2^22. Adding 1.5 * 2^23 leaves it in the low mantissa bits, which
/// unlike a call to `rint` is two vector instructions on every x86-64.
pub(crate) fn integer(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT) - SHIFT
}
