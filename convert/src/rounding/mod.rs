//! Rounding a weight matrix so that its *product* keeps its value, not each weight.
//!
//! * [`clip`] finds each output channel's scale: a few saturated weights may cost less than coarser steps for all.
//! * [`gptq()`] rounds one input channel after another and lets the later ones make up for the error (arXiv 2210.17323).
//!
//! Both know only what a representable value is, so any number of bits and any grouping of scales can use them.

mod clip;
mod gptq;

pub(crate) use clip::clipped_scales;
pub(crate) use gptq::{DAMPING, Factor, gptq};
