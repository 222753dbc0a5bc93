//! Rounds a weight matrix so that the *output* of its linear layer changes least, not each weight.
//!
//! * [`clip`] searches each output channel's scale. Saturating a few weights may cost less than coarser steps for all.
//! * [`gptq()`] rounds one input channel after another, and later channels compensate the error.
//!
//! Both only need to know which values are representable, so they work for any number of bits and any grouping of scales.

mod clip;
mod gptq;
mod nearest;

pub(crate) use clip::{clipped_scales, widest_scale};
pub(crate) use gptq::{DAMPING, Factor, gptq};
pub(crate) use nearest::integer;
