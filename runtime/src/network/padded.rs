//! Runs padded graphs, ours or another exporter's: `input_ids`, `attention_mask` [, `position_ids`] ->
//! `last_hidden_state`, `token_embeddings` or `sentence_embedding`.
//!
//! Hidden states are pooled here, from batches that are padded on the right: with causal attention no real token sees
//! that padding. A `sentence_embedding` is pooled inside the graph, which may expect padding on the left (it takes the
//! last slot) or on the right. Texts of equal length need no padding, so only those run together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::Tensor;

use crate::error::{Error, Result};
use crate::network::tensors::tensor;
use crate::network::{InspectNetwork, Network, PooledStates};
use crate::onnxruntime::library::Library;
use crate::onnxruntime::session::{self, GraphSource};
use crate::onnxruntime::session_settings::SessionSettings;

/// Supported outputs in order of preference: hidden states first, because they can be batched freely.
const OUTPUTS: [&str; 3] = [
    "last_hidden_state",
    "token_embeddings",
    "sentence_embedding",
];
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "position_ids"];

/// A session with a padded graph.
#[derive(Debug)]
pub struct PaddedNetwork {
    session: Session,
    output: &'static str,
    hidden_size: usize,
    positions: bool,
    on_gpu: bool,
}

impl PaddedNetwork {
    /// Where a folder may hold the graph.
    pub const GRAPHS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

    /// Opens the graph in a folder, which is at one of [`GRAPHS`](Self::GRAPHS).
    ///
    /// # Errors
    /// The folder has no graph, it does not load, or its inputs or outputs are unknown.
    pub fn open(library: &Library, dir: &Path, settings: &SessionSettings) -> Result<Self> {
        let path = find_graph(dir)?;
        let session = session::open(library, &GraphSource::File(&path), settings)?;
        Self::new(session, &path, settings)
    }

    /// Opens a graph from memory. Its external weights are files in a folder.
    ///
    /// # Errors
    /// It does not load, or its inputs or outputs are unknown.
    pub fn from_memory(
        library: &Library,
        onnx: &[u8],
        data: &Path,
        settings: &SessionSettings,
    ) -> Result<Self> {
        let source = GraphSource::Memory { onnx, data };
        Self::new(session::open(library, &source, settings)?, data, settings)
    }

    fn new(session: Session, path: &Path, settings: &SessionSettings) -> Result<Self> {
        let bad = |reason: String| Error::Signature {
            path: path.to_path_buf(),
            reason,
        };
        for input in session.inputs() {
            if input.name().starts_with("past_key_values") {
                return Err(bad(
                    "the graph was exported for text generation, with a key/value cache (past_key_values inputs). Convert the \
                     original checkpoint with lexivec"
                        .to_owned(),
                ));
            }
            if !INPUTS.contains(&input.name()) {
                return Err(bad(format!(
                    "the graph has an input `{}`; lexivec feeds {}",
                    input.name(),
                    INPUTS.join(", ")
                )));
            }
        }
        let output = OUTPUTS
            .into_iter()
            .find(|name| session.outputs().iter().any(|o| o.name() == *name));
        let Some(output) = output else {
            let found: Vec<&str> = session
                .outputs()
                .iter()
                .map(ort::value::Outlet::name)
                .collect();
            return Err(bad(format!(
                "the graph's outputs are {}; lexivec reads one of {}",
                found.join(", "),
                OUTPUTS.join(", ")
            )));
        };
        let kind = session
            .outputs()
            .iter()
            .find(|o| o.name() == output)
            .map(|o| o.dtype().clone());
        let Some((_, hidden_size)) = kind.as_ref().and_then(tensor) else {
            return Err(bad(format!(
                "the output `{output}` does not state its width"
            )));
        };
        let positions = session.inputs().iter().any(|i| i.name() == "position_ids");
        Ok(Self {
            session,
            output,
            hidden_size,
            positions,
            on_gpu: settings.providers.first().on_gpu(),
        })
    }

    /// Runs sequences padded on the right to the longest.
    fn run(&mut self, sequences: &[&[u32]]) -> ort::Result<Vec<f32>> {
        let (batch, hidden) = (sequences.len(), self.hidden_size);
        let length = sequences.iter().map(|s| s.len()).max().unwrap_or(0);
        let mut ids = vec![0i64; batch * length];
        let mut mask = ids.clone();
        let mut positions = ids.clone();
        for (b, sequence) in sequences.iter().enumerate() {
            for (s, id) in sequence.iter().enumerate() {
                let slot = b * length + s;
                ids[slot] = i64::from(*id);
                mask[slot] = 1;
                positions[slot] = s as i64;
            }
        }
        let ints = |data| -> ort::Result<SessionInputValue<'_>> {
            Ok(Tensor::<i64>::from_array(([batch, length], data))?.into())
        };
        let mut inputs = vec![("input_ids", ints(ids)?), ("attention_mask", ints(mask)?)];
        if self.positions {
            inputs.push(("position_ids", ints(positions)?));
        }
        let only = OutputSelector::no_default().with(self.output);
        let mut options = RunOptions::new()?.with_outputs(only);
        session::free_after(&mut options, length, self.on_gpu)?;
        let outputs = self.session.run_with_options(inputs, &options)?;
        let (_, data) = outputs[self.output].try_extract_tensor::<f32>()?;
        if self.output == "sentence_embedding" {
            return Ok(data.to_vec());
        }
        let last = sequences
            .iter()
            .enumerate()
            .map(|(b, s)| (b * length + s.len() - 1) * hidden);
        Ok(last
            .flat_map(|start| data[start..start + hidden].iter().copied())
            .collect())
    }
}

impl Network for PaddedNetwork {
    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, sequence) in sequences.iter().enumerate() {
            let key = if self.output == "sentence_embedding" {
                sequence.len()
            } else {
                0
            };
            groups.entry(key).or_default().push(i);
        }
        let hidden = self.hidden_size;
        let mut values = vec![0f32; sequences.len() * hidden];
        let mut packed_tokens = 0;
        for members in groups.into_values() {
            let group: Vec<&[u32]> = members.iter().map(|i| sequences[*i]).collect();
            let states = self.run(&group).map_err(|e| Error::of_run(e.message()))?;
            packed_tokens += group.len() * group.iter().map(|s| s.len()).max().unwrap_or(0);
            for (i, state) in members.iter().zip(states.chunks_exact(hidden)) {
                values[i * hidden..(i + 1) * hidden].copy_from_slice(state);
            }
        }
        Ok(PooledStates {
            values,
            packed_tokens,
            cached_tokens: 0,
            replayed: false,
        })
    }
}

impl InspectNetwork for PaddedNetwork {}

/// The graph file of a model directory.
pub(crate) fn find_graph(dir: &Path) -> Result<PathBuf> {
    let candidates = PaddedNetwork::GRAPHS.map(|name| dir.join(name));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| Error::Signature {
        path: dir.to_path_buf(),
        reason: "the folder holds neither a model that lexivec converted (lexivec.json) nor another exporter's model.onnx"
            .to_owned(),
    })
}
