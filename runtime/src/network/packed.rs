//! Runs packed graphs: plans a batch, feeds the inputs, fetches the outputs.

use std::path::Path;

use ort::session::Session;

use crate::error::{Error, Result};
use crate::network::cuda_graph::{self, CudaGraphs};
use crate::network::kv_cache::FoundPrefixes;
use crate::network::kv_tensors::{self, KvTensors};
use crate::network::plan::Plan;
use crate::network::plan_inputs::{plan_inputs, takes};
use crate::network::tensors::{EMBEDDING, fetch, only, tensor, unexpected, widened};
use crate::network::{InspectNetwork, Layer, Network, PooledStates};
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session::{self, GraphSource};
use crate::onnxruntime::session_settings::SessionSettings;
use crate::onnxruntime::stopper::{HostRun, Stopper};

/// A session with a packed graph (see ARCHITECTURE.md).
#[derive(Debug)]
pub struct PackedNetwork {
    session: Session,
    hidden_size: usize,
    /// The KV cache; `None` if the graph has no inputs for cached prefixes.
    kv_cache: Option<Box<dyn KvTensors>>,
    /// The device whose small batches are captured, if they are.
    captures: Option<i32>,
    /// The captured graphs; `None` until they are captured, or if none are.
    graphs: Option<CudaGraphs>,
    on_gpu: bool,
    /// Stops runs on the host. Those on a GPU are short.
    stopper: Stopper,
}

impl PackedNetwork {
    /// Opens a graph file with its weights beside it.
    ///
    /// # Errors
    /// The graph does not load, or is not a packed one.
    pub fn open(library: &Library, path: &Path, settings: &SessionSettings) -> Result<Self> {
        let session = session::open(library, &GraphSource::File(path), settings)?;
        Self::new(session, path, settings)
    }

    /// Opens a graph from memory. Its external weights are files in a folder.
    ///
    /// # Errors
    /// The graph does not load, or is not a packed one.
    pub fn from_memory(
        library: &Library,
        onnx: &[u8],
        data: &Path,
        settings: &SessionSettings,
    ) -> Result<Self> {
        let session = session::open(library, &GraphSource::Memory { onnx, data }, settings)?;
        Self::new(session, data, settings)
    }

    fn new(session: Session, path: &Path, settings: &SessionSettings) -> Result<Self> {
        let output = session.outputs().iter().find(|o| o.name() == EMBEDDING);
        let (_, hidden_size) = output
            .and_then(|o| tensor(o.dtype()))
            .ok_or_else(|| unexpected(path))?;
        if !takes(&session, "kv_index") {
            return Err(unexpected(path));
        }
        Ok(Self {
            kv_cache: kv_tensors::of_session(&session, settings.kv_cache_bytes),
            graphs: None,
            on_gpu: settings.providers.first().on_gpu(),
            captures: settings.captures().then_some(settings.providers.device),
            session,
            hidden_size,
            stopper: Stopper::default(),
        })
    }

    /// Runs a batch, with its plan if it has one. Only texts that overflow by themselves get states that are not finite.
    fn run(&mut self, sequences: &[&[u32]], plan: Option<&Plan>) -> ort::Result<PooledStates> {
        let mut states = match plan {
            // A batch with cached prefixes has another plan.
            Some(plan) if self.kv_cache.is_none() => self.run_plan(plan)?,
            _ => self.run_cached(sequences)?,
        };
        self.recompute_overflowed(sequences, &mut states)?;
        Ok(states)
    }

    /// Recomputes the texts whose states are not finite, without shared tokens.
    ///
    /// Attention kernels multiply the values of masked tokens by zero. If such a value is infinite, the product is NaN. A
    /// shared token is computed beside the later tokens of one of its texts. If those overflow, the other texts would fail too.
    fn recompute_overflowed(
        &mut self,
        sequences: &[&[u32]],
        states: &mut PooledStates,
    ) -> ort::Result<()> {
        let tokens: usize = sequences.iter().map(|sequence| sequence.len()).sum();
        let shared = states.packed_tokens + states.cached_tokens < tokens;
        let width = self.hidden_size;
        if !shared || states.values.len() != sequences.len() * width {
            return Ok(());
        }
        let is_finite = |state: &[f32]| state.iter().all(|value| value.is_finite());
        let rows = states.values.chunks_exact(width).enumerate();
        let overflowed: Vec<usize> = rows
            .filter_map(|(row, state)| (!is_finite(state)).then_some(row))
            .collect();
        if overflowed.is_empty() {
            return Ok(());
        }
        let again: Vec<&[u32]> = overflowed.iter().map(|row| sequences[*row]).collect();
        let recomputed = self.run_plan(&Plan::unshared(&again))?;
        states.packed_tokens += recomputed.packed_tokens;
        for (row, state) in overflowed.iter().zip(recomputed.values.chunks_exact(width)) {
            states.values[row * width..][..width].copy_from_slice(state);
        }
        Ok(())
    }

    /// Runs a batch with the KV cache, and stores more prefixes in it.
    fn run_cached(&mut self, sequences: &[&[u32]]) -> ort::Result<PooledStates> {
        let Some(kv_cache) = &mut self.kv_cache else {
            return self.run_plan(&Plan::new(sequences));
        };
        let found = kv_cache.find(sequences);
        let plan = Plan::with_cached(&found.cached, sequences);
        let new = kv_cache.select_new(sequences, &found, &plan);
        let (packed_tokens, cached_tokens) = (plan.packed_tokens(), found.cached.count);
        let mut names = vec![EMBEDDING];
        if !new.is_empty() {
            names.extend(kv_cache.outputs());
        }
        let mut inputs = plan_inputs(&self.session, &plan)?;
        inputs.extend(kv_cache.inputs(&found)?);
        let run = HostRun::new(&self.session, &inputs, &names, plan.length, self.on_gpu)?;
        let outputs = self.stopper.run(&mut self.session, &run)?;
        let values = widened(&outputs[EMBEDDING])?;
        // The keys of a text that overflowed would spoil every later text with the same prefix.
        let finite = values.iter().all(|value| value.is_finite());
        if !new.is_empty() && finite {
            kv_cache.store(&found, &new, packed_tokens, &outputs)?;
        }
        Ok(PooledStates {
            values,
            packed_tokens,
            cached_tokens,
            replayed: false,
        })
    }

    /// Runs a batch without the KV cache.
    fn run_plan(&mut self, plan: &Plan) -> ort::Result<PooledStates> {
        let packed_tokens = plan.packed_tokens();
        let graphs = self.graphs.as_mut();
        let replayed = graphs.and_then(|graphs| graphs.embed(&mut self.session, plan));
        let (values, replayed) = match replayed {
            Some(values) => (values?, true),
            None => (self.launch(plan)?, false),
        };
        Ok(PooledStates {
            values,
            packed_tokens,
            cached_tokens: 0,
            replayed,
        })
    }

    /// Runs a batch without a captured CUDA graph.
    fn launch(&mut self, plan: &Plan) -> ort::Result<Vec<f32>> {
        let mut inputs = plan_inputs(&self.session, plan)?;
        if let Some(kv_cache) = &self.kv_cache {
            inputs.extend(kv_cache.inputs(&FoundPrefixes::default())?);
        }
        if !self.on_gpu {
            let names = [EMBEDDING];
            let run = HostRun::new(&self.session, &inputs, &names, plan.length, self.on_gpu)?;
            let outputs = self.stopper.run(&mut self.session, &run)?;
            return widened(&outputs[EMBEDDING]);
        }
        let mut options = only(&[EMBEDDING])?;
        if self.captures.is_some() {
            options.set(cuda_graph::RUN_OPTION, cuda_graph::NOT_CAPTURED)?;
        }
        let outputs = self.session.run_with_options(inputs, &options)?;
        widened(&outputs[EMBEDDING])
    }

    /// Computes the keys and values of all layers, in turn, and their width; none and 0 if the graph has no such outputs.
    fn keys_and_values(&mut self, sequences: &[&[u32]]) -> ort::Result<(Vec<Vec<f32>>, usize)> {
        let Some(kv_cache) = &self.kv_cache else {
            return Ok((Vec::new(), 0));
        };
        let mut inputs = plan_inputs(&self.session, &Plan::new(sequences))?;
        inputs.extend(kv_cache.inputs(&FoundPrefixes::default())?);
        let values = fetch(&mut self.session, inputs, &kv_cache.outputs())?;
        Ok((values, kv_cache.width()))
    }
}

fn not_captured(reason: &str) -> Error {
    match Error::of_run(reason) {
        full @ Error::OutOfMemory { .. } => full,
        _ => Error::CudaGraphs(reason.to_owned()),
    }
}

impl Network for PackedNetwork {
    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
        let states = self.run(sequences, None);
        states.map_err(|e| Error::of_run(e.message()))
    }

    fn embed_planned(&mut self, sequences: &[&[u32]], plan: &Plan) -> Result<PooledStates> {
        let states = self.run(sequences, Some(plan));
        states.map_err(|e| Error::of_run(e.message()))
    }

    fn on_device(&self) -> bool {
        self.on_gpu
    }

    fn stopper(&self) -> Option<Stopper> {
        (!self.on_gpu).then(|| self.stopper.clone())
    }

    fn prepare(&mut self) -> Result<()> {
        if let (Some(device), None) = (self.captures, &self.graphs) {
            let captured = CudaGraphs::capture(&mut self.session, self.hidden_size, device);
            self.graphs = Some(captured.map_err(|e| not_captured(e.message()))?);
        }
        Ok(())
    }

    fn captured(&self) -> usize {
        self.graphs.as_ref().map_or(0, CudaGraphs::len)
    }
}

impl InspectNetwork for PackedNetwork {
    fn layers(&mut self, sequences: &[&[u32]]) -> Result<Vec<Layer>> {
        let (outputs, width) = self
            .keys_and_values(sequences)
            .map_err(|e| Error::of_run(e.message()))?;
        let layer = |[key, value]: &[Vec<f32>; 2]| Layer {
            key: key.clone(),
            value: value.clone(),
            width,
        };
        Ok(outputs.as_chunks().0.iter().map(layer).collect())
    }
}
