//! Memory: how much a model needs, how much there is, and the limits that follow.
//!
//! * [`memory_model`] predicts what a model takes on a GPU; [`gpu_memory`] reads the memory of GPUs, and [`fit`] derives the limits
//!   of an engine from both.
//! * [`host_memory`] reads the memory that the process may use; [`length_limit`] derives the longest text on a CPU.

pub(crate) mod fit;
pub(crate) mod gpu_memory;
pub(crate) mod host_memory;
pub(crate) mod length_limit;
pub(crate) mod memory_model;
