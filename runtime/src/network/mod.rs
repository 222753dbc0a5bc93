//! The interface to a loaded model: token sequences in, pooled hidden states out.

pub(crate) mod bucketed;
pub(crate) mod graph_inputs;
pub(crate) mod kv_cache;
pub(crate) mod kv_tensors;
pub(crate) mod layer;
pub(crate) mod packed;
pub(crate) mod padded;
pub mod plan;
pub(crate) mod plan_inputs;
pub(crate) mod shapes;

use std::path::Path;

use lexivec_models::{Layout, Manifest, Precision, Target};

use crate::error::Result;
use crate::model::ModelInfo;
use crate::network::packed::PackedNetwork;
use crate::network::padded::{PaddedNetwork, find_graph};
use crate::network::plan::Plan;
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session::SessionSettings;
use crate::onnxruntime::stopper::Stopper;
use crate::onnxruntime::tensorrt;

/// A loaded model. Methods take `&mut self` because a session runs one batch at a time. Each worker thread owns one
/// network.
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

    /// The keys and values of every layer for these sequences as one batch; none where the graph does not give them.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn layers(&mut self, _sequences: &[&[u32]]) -> Result<Vec<Layer>> {
        Ok(Vec::new())
    }
}

/// A layer's keys and values: `[rows, width]` row-major, a row for each distinct prefix of the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// After their norm and rotation.
    pub key: Vec<f32>,
    /// As attention sums them.
    pub value: Vec<f32>,
    /// Key and value heads times their size.
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

/// Opens the graph of a model directory: one of ours (packed or padded), or another exporter's.
///
/// # Errors
/// The provider cannot serve this precision, or the graph does not load.
pub fn open_network(
    library: &'static Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn Network>> {
    if Manifest::is_model_dir(dir) {
        let form = Manifest::read(dir)?.form();
        settings.providers.check(form)?;
    }
    if !tensorrt::bounds_shapes(settings) {
        return open_session(library, dir, settings);
    }
    let info = ModelInfo::read(dir)?;
    let model = tensorrt::TensorRtModel {
        dir,
        graph: find_graph(dir)?,
        digest: &info.digest,
        max_length: info.max_length,
    };
    tensorrt::open(library, &model, settings, open_session)
}

/// A network of one session.
fn open_session(
    library: &'static Library,
    dir: &Path,
    settings: &SessionSettings,
) -> Result<Box<dyn Network>> {
    if !Manifest::is_model_dir(dir) {
        return Ok(Box::new(PaddedNetwork::open(library, dir, settings)?));
    }
    let manifest = Manifest::read(dir)?;
    let mut settings = settings.clone();
    // GemmFloat8 allocates while it runs, which no capture allows.
    settings.model.capturable =
        manifest.target == Target::Cuda && manifest.precision != Precision::Fp8;
    Ok(match manifest.layout {
        Layout::Packed => Box::new(PackedNetwork::open(
            library,
            &dir.join("model.onnx"),
            &settings,
        )?),
        Layout::Padded => Box::new(PaddedNetwork::open(library, dir, &settings)?),
    })
}
