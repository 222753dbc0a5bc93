//! Layer-wise passes through the float32 reference. Only one layer's weights and inputs are in memory, whatever the model's
//! size.

use std::path::PathBuf;

use lexivec_models::{Decoder, Target};
use lexivec_runtime::batch::{self, Limits};
use lexivec_runtime::plan::Plan;
use lexivec_runtime::{LayerNetwork, Library, SessionSettings};

use super::linear_group::LinearGroup;
use crate::error::{Error, Result};
use crate::graph;
use crate::matrix::Matrix;
use crate::progress::Progress;
use crate::quantized::QuantizedLinears;
use crate::weights::{ScaleFolding, Weights};
use crate::write::external_data;

/// Tokens per calibration batch.
pub(super) const BATCH_TOKENS: usize = 1024;

/// A layer-wise pass: opens layers as sessions of their own and moves hidden states through them.
pub(super) struct LayerPass<'a> {
    library: &'a Library,
    decoder: Decoder,
    weights: &'a Weights,
    /// The folder that holds the checkpoint's files after links are resolved.
    folder: PathBuf,
    /// The factor of the residual stream.
    residual: f32,
    /// `Cpu` or `Ort`: the target whose integer products are computed.
    products: Target,
}

/// Token sequences, planned as batches.
pub(super) struct Batches {
    pub(super) plans: Vec<Plan>,
    /// The texts of each plan, by index.
    texts: Vec<Vec<usize>>,
}

/// The residual stream of every batch.
pub(super) type HiddenStates = Vec<Vec<f32>>;

impl Batches {
    pub(super) fn new(sequences: &[Vec<u32>]) -> Self {
        let limits = Limits {
            max_tokens: BATCH_TOKENS,
            ..Limits::default()
        };
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|i| (sequences[*i].len(), *i));
        let lengths: Vec<usize> = order.iter().map(|i| sequences[*i].len()).collect();
        let mut batches = Self {
            plans: Vec::new(),
            texts: Vec::new(),
        };
        for positions in batch::batches(&lengths, &limits) {
            let texts: Vec<usize> = positions.iter().map(|p| order[*p]).collect();
            let inputs: Vec<&[u32]> = texts.iter().map(|i| sequences[*i].as_slice()).collect();
            batches.plans.push(Plan::new(&inputs));
            batches.texts.push(texts);
        }
        batches
    }

    /// Number of packed tokens of all batches.
    pub(super) fn packed_tokens(&self) -> usize {
        self.plans.iter().map(Plan::packed_tokens).sum()
    }

    /// Number of texts.
    pub(super) fn count(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }

    fn longest(&self) -> usize {
        self.plans.iter().map(|p| p.length).max().unwrap_or(1)
    }
}

impl<'a> LayerPass<'a> {
    /// Prepares passes over sequences that are no longer than those of `batches`.
    pub(super) fn new(
        library: &'a Library,
        decoder: &Decoder,
        weights: &'a Weights,
        folder: PathBuf,
        batches: &Batches,
    ) -> Self {
        Self {
            library,
            // Rotary tables only cover the positions that occur, not all that the model supports.
            decoder: Decoder {
                max_positions: batches.longest(),
                ..decoder.clone()
            },
            weights,
            folder,
            residual: 1.0,
            products: Target::Cpu,
        }
    }

    /// The same network with its residual stream multiplied. Its layers must be opened with the folding that does so.
    pub(super) fn rescaled(&self, residual: f32) -> Self {
        Self {
            decoder: self.decoder.clone(),
            folder: self.folder.clone(),
            residual,
            ..*self
        }
    }

    /// The same network with the integer products that a target has: those of ONNX Runtime where it may compute them on a CPU, and exact
    /// ones elsewhere.
    pub(super) fn with_products_of(&self, target: Target) -> Self {
        Self {
            decoder: self.decoder.clone(),
            folder: self.folder.clone(),
            products: match target {
                Target::Ort | Target::Standard => Target::Ort,
                Target::Cpu | Target::Cuda | Target::TensorRt => Target::Cpu,
            },
            ..*self
        }
    }

    /// Passes through all layers. `layers` returns the quantised linear groups and the scale folding of a layer.
    pub(super) fn run(
        &self,
        batches: &Batches,
        progress: &dyn Progress,
        layers: impl Fn(usize) -> (QuantizedLinears, ScaleFolding),
    ) -> Result<Vec<Vec<f32>>> {
        let mut states = self.embed(batches)?;
        for layer in 0..self.decoder.layers {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let (quantized, folding) = layers(layer);
            let mut network = self.open(layer, &folding, &quantized)?;
            self.run_layer(&mut network, &batches.plans, &mut states, &[])?;
        }
        self.finish(batches, &states)
    }

    /// Moves hidden states through a layer of the reference, and returns the inputs of each linear group.
    pub(super) fn observe(
        &self,
        layer: usize,
        batches: &Batches,
        states: &mut HiddenStates,
    ) -> Result<Vec<(LinearGroup, Matrix)>> {
        let groups = LinearGroup::of_layer(layer);
        let hooks = groups.map(|group| graph::hook_name(&group.name()));
        let mut network = self.open(
            layer,
            &ScaleFolding::default(),
            &QuantizedLinears::default(),
        )?;
        let seen = self.run_layer(&mut network, &batches.plans, states, &hooks)?;
        let input = |(group, rows): (LinearGroup, Vec<f32>)| {
            let rows = Matrix::new(group.inputs(&self.decoder), rows);
            (group, rows)
        };
        Ok(groups.into_iter().zip(seen).map(input).collect())
    }

    /// The hidden states that enter the first layer.
    pub(super) fn embed(&self, batches: &Batches) -> Result<HiddenStates> {
        let d = &self.decoder;
        let table = self
            .weights
            .get("embed_tokens.weight", &[d.vocab_size, d.hidden_size])?;
        let mut states = Vec::new();
        for plan in &batches.plans {
            let mut rows = vec![0f32; plan.packed_tokens() * d.hidden_size];
            for (row, id) in rows.chunks_exact_mut(d.hidden_size).zip(&plan.input_ids) {
                let token = usize::try_from(*id).unwrap_or(0);
                table.read_f32(token * d.hidden_size, row)?;
                row.iter_mut().for_each(|v| *v *= self.residual);
            }
            states.push(rows);
        }
        Ok(states)
    }

    /// Opens a layer in float32, except for the quantised linear groups, with this scale folding.
    pub(super) fn open(
        &self,
        layer: usize,
        folding: &ScaleFolding,
        quantized: &QuantizedLinears,
    ) -> Result<LayerNetwork> {
        let weights = self.weights.with_folding(folding);
        let model = graph::layer(
            &self.decoder,
            &weights,
            layer,
            quantized,
            self.residual,
            self.products,
        )?;
        let onnx = external_data::in_memory(model)?;
        let settings = SessionSettings {
            low_memory: true,
            ..SessionSettings::default()
        };
        Ok(LayerNetwork::from_memory(
            self.library,
            &onnx,
            &self.folder,
            &settings,
        )?)
    }

    /// Moves hidden states through a layer, and returns the outputs of these names for all batches.
    pub(super) fn run_layer(
        &self,
        network: &mut LayerNetwork,
        plans: &[Plan],
        states: &mut HiddenStates,
        names: &[String],
    ) -> Result<Vec<Vec<f32>>> {
        let mut seen = vec![Vec::new(); names.len()];
        let wanted: Vec<&str> = std::iter::once("residual_out")
            .chain(names.iter().map(String::as_str))
            .collect();
        for (plan, rows) in plans.iter().zip(states) {
            let mut outputs = network.run(plan, rows, &wanted)?.into_iter();
            *rows = outputs.next().unwrap_or_default();
            for (all, part) in seen.iter_mut().zip(outputs) {
                all.extend(part);
            }
        }
        Ok(seen)
    }

    /// The embedding of every text, from the hidden states after the last layer.
    pub(super) fn finish(&self, batches: &Batches, states: &HiddenStates) -> Result<Vec<Vec<f32>>> {
        let d = &self.decoder;
        let mut gains = vec![0f32; d.hidden_size];
        self.weights
            .get("norm.weight", &[d.hidden_size])?
            .read_f32(0, &mut gains)?;
        let mut embeddings = vec![Vec::new(); batches.count()];
        for ((plan, texts), rows) in batches.plans.iter().zip(&batches.texts).zip(states) {
            for (text, last) in texts.iter().zip(&plan.last_row) {
                let start = usize::try_from(*last).unwrap_or(0) * d.hidden_size;
                let row = &rows[start..start + d.hidden_size];
                // Dividing by the root mean square would not change the direction, and only directions are compared.
                embeddings[*text] = row.iter().zip(&gains).map(|(x, g)| x * g).collect();
            }
        }
        Ok(embeddings)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lexivec_models::Checkpoint;

    use super::*;
    use crate::progress::Silent;
    use crate::reference::data_folder;

    /// Numbers from 1/8 to 8.
    fn factors(seed: usize, count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| 2f32.powf(((i * 7919 + seed * 104_729) % 1000) as f32 / 1000.0 * 6.0 - 3.0))
            .collect()
    }

    #[test]
    fn scale_folding_leaves_the_function_of_every_family_unchanged() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in [
            "models/nano",
            "tests/fixtures/tiny/qwen2",
            "tests/fixtures/tiny/llama",
        ] {
            let checkpoint = Checkpoint::open(&root.join(folder)).unwrap();
            let d = &checkpoint.decoder;
            let weights = Weights::open(&checkpoint).unwrap();
            let batches = Batches::new(&[vec![5, 6, 7, 8, 9, 10, 11], vec![5, 6, 40, 2], vec![3]]);
            let data = data_folder(&checkpoint.weights).unwrap();
            let library = Library::load(None, false).unwrap();
            let pass = LayerPass::new(library, d, &weights, data, &batches);
            let run = |folded: bool| {
                let layers = |layer| {
                    let mut folding = ScaleFolding::default();
                    for group in LinearGroup::of_layer(layer).into_iter().filter(|_| folded) {
                        let mut smoothing = factors(group.index(), group.inputs(d));
                        group.tie(d, &mut smoothing, f32::max);
                        group.fold_smoothing(d, &smoothing, &mut folding);
                    }
                    (QuantizedLinears::default(), folding)
                };
                pass.run(&batches, &Silent, layers).unwrap()
            };
            for (expected, found) in run(false).iter().zip(run(true)) {
                let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
                for (e, f) in expected.iter().zip(found) {
                    assert!((e - f).abs() <= 1e-5 * largest, "{folder}: {e} {f}");
                }
            }
        }
    }
}
