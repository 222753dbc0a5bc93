//! Networks: loaded models that turn token sequences into pooled hidden states.
//!
//! * [`Network`] is the interface that the engine uses; [`InspectNetwork`] adds what comparisons need.
//! * [`packed`] runs the graphs that lexivec writes: [`plan`] merges the common prefixes of a batch, [`plan_inputs`] turns the
//!   plan into tensors, [`kv_cache`] remembers prefixes between batches and [`kv_tensors`] connects it to the graph.
//! * [`padded`] runs graphs with padding, ours or another exporter's; [`tensors`] reads their outputs.
//! * [`cuda_graph`] captures small batches on CUDA.
//! * [`tensorrt`] opens models on TensorRT. [`bucketed`] runs a session per range of text lengths; [`shapes`] has the ranges
//!   and [`graph_inputs`] reads the inputs that they bound.
//! * [`layer`] runs a single decoder layer, for calibration.

pub(crate) mod bucketed;
pub(crate) mod cuda_graph;
pub(crate) mod graph_inputs;
pub(crate) mod kv_cache;
pub(crate) mod kv_tensors;
pub(crate) mod layer;
pub(crate) mod packed;
pub(crate) mod padded;
pub mod plan;
pub(crate) mod plan_inputs;
pub(crate) mod shapes;
pub(crate) mod tensorrt;
pub(crate) mod tensors;

use crate::error::Result;
use crate::onnxruntime::stopper::Stopper;
use plan::Plan;

/// A loaded model. Methods take `&mut self` because a session runs one batch at a time. Each worker thread owns one
/// network. [`Engine::with_networks`](crate::Engine::with_networks) shows an implementation.
pub trait Network: Send {
    /// Width of the vectors.
    fn hidden_size(&self) -> usize;

    /// The final-norm state of each sequence's last token. Sequences are not empty.
    ///
    /// # Errors
    /// ONNX Runtime fails; [`Error::OutOfMemory`](crate::Error::OutOfMemory) if fewer sequences may succeed.
    fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates>;

    /// As [`embed`](Self::embed), with a plan of these sequences that was made before.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn embed_planned(&mut self, sequences: &[&[u32]], _plan: &Plan) -> Result<PooledStates> {
        self.embed(sequences)
    }

    /// Whether a device computes the batches while the host is idle.
    fn on_device(&self) -> bool {
        false
    }

    /// A handle that stops a running batch; `None` if runs are short or cannot be stopped.
    fn stopper(&self) -> Option<Stopper> {
        None
    }

    /// Prepares for the first batch, on the thread that will run all of them.
    ///
    /// # Errors
    /// CUDA graphs cannot be captured.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// The number of captured CUDA graphs.
    fn captured(&self) -> usize {
        0
    }
}

/// A network that shows what its layers compute, for comparisons. The engine does not use it.
pub trait InspectNetwork: Network {
    /// The keys and values of every layer for these sequences as one batch; empty if the graph has no such outputs.
    ///
    /// # Errors
    /// As [`embed`](Network::embed).
    fn layers(&mut self, _sequences: &[&[u32]]) -> Result<Vec<Layer>> {
        Ok(Vec::new())
    }
}

/// A layer's keys and values: `[packed tokens, width]` row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The keys, after their norm and rotation.
    pub key: Vec<f32>,
    /// The values, as attention sums them.
    pub value: Vec<f32>,
    /// The number of key and value heads times their size.
    pub width: usize,
}

/// The pooled hidden states of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct PooledStates {
    /// `[sequences, hidden_size]` row-major, neither truncated nor normalised.
    pub values: Vec<f32>,
    /// Packed tokens that the graph computed.
    pub packed_tokens: usize,
    /// Packed tokens that the graph read from the KV cache instead.
    pub cached_tokens: usize,
    /// Whether the batch was launched as a captured CUDA graph.
    pub replayed: bool,
}
