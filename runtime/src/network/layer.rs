//! Runs one decoder layer at a time, for calibration: packed tokens in and out, with the inputs of its linear layers.

use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;

use crate::error::{Error, Result};
use crate::network::kv_cache::FoundPrefixes;
use crate::network::kv_tensors::{self, KvTensors};
use crate::network::plan::Plan;
use crate::network::plan_inputs::plan_inputs;
use crate::network::tensors::{fetch, unexpected};
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session::{self, GraphSource};
use crate::onnxruntime::session_settings::SessionSettings;

/// A graph of one layer of a packed decoder. It takes the inputs of the whole graph, with `residual` in place of
/// `input_ids`.
#[derive(Debug)]
pub struct LayerNetwork {
    session: Session,
    /// A KV cache that stays empty.
    kv_cache: Box<dyn KvTensors>,
}

impl LayerNetwork {
    /// Opens a graph from memory. Its external weights are files in a folder.
    ///
    /// # Errors
    /// The graph does not load, or is not a layer of a packed one.
    pub fn from_memory(
        library: &Library,
        onnx: &[u8],
        data: &Path,
        settings: &SessionSettings,
    ) -> Result<Self> {
        let session = session::open(library, &GraphSource::Memory { onnx, data }, settings)?;
        let kv_cache = kv_tensors::of_session(&session, 0).ok_or_else(|| unexpected(data))?;
        Ok(Self { session, kv_cache })
    }

    /// Computes the outputs of these names from the packed tokens of a batch, `[packed tokens, hidden]` each way.
    ///
    /// # Errors
    /// The graph does not run, or has no such output.
    pub fn run(
        &mut self,
        plan: &Plan,
        residual: &[f32],
        outputs: &[&str],
    ) -> Result<Vec<Vec<f32>>> {
        self.try_run(plan, residual, outputs)
            .map_err(|e| Error::of_run(e.message()))
    }

    fn try_run(
        &mut self,
        plan: &Plan,
        residual: &[f32],
        names: &[&str],
    ) -> ort::Result<Vec<Vec<f32>>> {
        let tokens = plan.packed_tokens();
        let states =
            Tensor::<f32>::from_array(([tokens, residual.len() / tokens], residual.to_vec()))?;
        let mut inputs = vec![("residual", states.into())];
        inputs.extend(plan_inputs(&self.session, plan)?);
        inputs.extend(self.kv_cache.inputs(&FoundPrefixes::default())?);
        fetch(&mut self.session, inputs, names)
    }
}
