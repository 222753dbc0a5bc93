//! A checkpoint's tensors, memory-mapped.
//!
//! Callers name tensors without the `model.` prefix that rerankers and many fine-tunes carry. Both spellings are found.
//! Every [`Tensor`] has been checked: its file is complete, its shape is the one that config.json implies, and its type is
//! F32, F16 or BF16. [`Tensor::read_f32`] checks that values are finite.
//!
//! * `checkpoint_weights` opens a checkpoint's files, whose tensors `tensors` describes.
//! * `expected_tensors` lists the tensors of an architecture.
//! * `lora` reads an adapter, `merge_adapter` merges it into the base's weights.
//! * `scale_folding` multiplies rows and columns by factors while they are read.

mod checkpoint_weights;
mod expected_tensors;
mod lora;
mod merge_adapter;
mod scale_folding;
mod tensors;

pub(crate) use checkpoint_weights::Weights;
pub(crate) use merge_adapter::merged;
pub(crate) use scale_folding::ScaleFolding;
pub(crate) use tensors::{StackedTensors, Tensor, rows_of};
