//! Memory: how much a model needs, and how much there is. The limits that follow are derived in `engine`.
//!
//! * [`memory_model`] predicts what a model takes on a GPU; [`gpu_memory`] reads the memory of GPUs.
//! * [`text_memory`] predicts what a text takes on a CPU; [`host_memory`] reads the memory that the process may use.

pub(crate) mod gpu_memory;
pub(crate) mod host_memory;
pub(crate) mod memory_model;
pub(crate) mod text_memory;
