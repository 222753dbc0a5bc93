//! ONNX: the messages of the format, and a builder for graphs.
//!
//! This room knows ONNX and nothing of language models, checkpoints or quantisation.
//!
//! * [`proto`] holds the generated messages.
//! * [`graph_builder`] builds a graph of nodes and initializers. A large initializer is a
//!   [`TensorSource`](crate::tensor::TensorSource) that the writer turns into external data.

mod graph_builder;
pub(crate) mod proto;

pub(crate) use graph_builder::{
    Attribute, CONTRIB, FileRange, Graph, Initializer, InitializerData, OWN, OnnxModel, Value,
};
