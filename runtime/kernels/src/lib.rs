//! CPU kernels: pure functions on slices, which know nothing of ONNX.
//!
//! * [`attention`]: causal attention over packed tokens, with memory linear in the number of tokens.
//! * [`rows`]: norm, activation function and quantisation of rows in one pass.
//! * [`hadamard`]: rotation of rows in blocks.
//! * [`codes`]: how 8-bit activations lie in memory.
//! * [`linear`]: linear layers in 8-bit integers.
//! * [`block_linear`]: linear layers whose weights, of 4 or 8 bits, share scales in blocks.
//! * [`simd`]: the instruction sets, detected at run time.
//! * [`parallel`]: how a kernel divides its work among the caller's threads.
//!
//! Every kernel gives a token the same bits whatever its batch, its thread and the number of threads.

// Kernels use SIMD intrinsics and write disjoint parts of one output from several threads. Neither can be expressed safely. Each
// `unsafe` block says which invariant it relies on.
#![allow(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod attention;
pub mod block_linear;
mod buffer;
pub mod codes;
pub mod hadamard;
mod lengths;
pub mod linear;
pub mod parallel;
#[cfg(test)]
mod random;
pub mod rows;
pub mod simd;
mod tasks;
