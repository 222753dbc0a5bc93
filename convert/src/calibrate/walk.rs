//! Runs the float32 reference one layer at a time: no more than one layer's weights and inputs are in memory,
//! whatever the model's size.

use std::path::PathBuf;

use lexivec_models::Decoder;
use lexivec_runtime::batch::{self, Limits};
use lexivec_runtime::plan::Plan;
use lexivec_runtime::{LayerNetwork, Library, SessionSettings};

use super::group::Group;
use crate::cast;
use crate::error::{Error, Result};
use crate::external;
use crate::fold::Folds;
use crate::graph;
use crate::matrix::Matrix;
use crate::progress::Progress;
use crate::quantize::Products;
use crate::weights::Weights;

/// Tokens of a calibration batch.
pub(super) const BATCH_TOKENS: usize = 1024;

/// What every layer needs.
pub(super) struct Walk<'a> {
    library: &'a Library,
    decoder: Decoder,
    weights: &'a Weights,
    /// Where the checkpoint's files really lie.
    folder: PathBuf,
    /// What the residual stream is multiplied by.
    residual: f32,
}

/// Token sequences, planned as batches.
pub(super) struct Batches {
    pub(super) plans: Vec<Plan>,
    /// Of each plan, which texts it holds.
    texts: Vec<Vec<usize>>,
}

/// The residual rows of every batch.
pub(super) type States = Vec<Vec<f32>>;

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

    /// Rows of all batches.
    pub(super) fn rows(&self) -> usize {
        self.plans.iter().map(Plan::packed_tokens).sum()
    }

    /// Texts.
    pub(super) fn count(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }

    fn longest(&self) -> usize {
        self.plans.iter().map(|p| p.length).max().unwrap_or(1)
    }
}

impl<'a> Walk<'a> {
    /// Prepares for sequences no longer than those of `batches`.
    pub(super) fn new(
        library: &'a Library,
        decoder: &Decoder,
        weights: &'a Weights,
        folder: PathBuf,
        batches: &Batches,
    ) -> Self {
        Self {
            library,
            // Tables of rotations for the positions that occur, not for all that the model knows.
            decoder: Decoder {
                max_positions: batches.longest(),
                ..decoder.clone()
            },
            weights,
            folder,
            residual: 1.0,
        }
    }

    /// The same network with its residual stream multiplied; layers are opened with the folds that go with it.
    pub(super) fn rescaled(&self, residual: f32) -> Self {
        Self {
            decoder: self.decoder.clone(),
            folder: self.folder.clone(),
            residual,
            ..*self
        }
    }

    /// The embedding of every text, with the products and folds that each layer is given.
    pub(super) fn run(
        &self,
        batches: &Batches,
        progress: &dyn Progress,
        layers: impl Fn(usize) -> (Products, Folds),
    ) -> Result<Vec<Vec<f32>>> {
        let mut states = self.embed(batches)?;
        for layer in 0..self.decoder.layers {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let (products, folds) = layers(layer);
            let mut network = self.open(layer, folds, &products)?;
            self.step(&mut network, &batches.plans, &mut states, &[])?;
        }
        self.finish(batches, &states)
    }

    /// Moves the rows through a layer as the checkpoint has it; returns what each of its products reads.
    pub(super) fn observe(
        &self,
        layer: usize,
        batches: &Batches,
        states: &mut States,
    ) -> Result<Vec<(Group, Matrix)>> {
        let groups = Group::of_layer(layer);
        let taps = groups.map(|group| graph::tap(&group.name()));
        let mut network = self.open(layer, Folds::default(), &Products::default())?;
        let seen = self.step(&mut network, &batches.plans, states, &taps)?;
        let input = |(group, rows): (Group, Vec<f32>)| {
            let rows = Matrix::new(group.inputs(&self.decoder), rows);
            (group, rows)
        };
        Ok(groups.into_iter().zip(seen).map(input).collect())
    }

    /// The rows that enter the first layer.
    pub(super) fn embed(&self, batches: &Batches) -> Result<States> {
        let d = &self.decoder;
        let table = self
            .weights
            .get("embed_tokens.weight", &[d.vocab_size, d.hidden_size])?;
        let mut states = Vec::new();
        for plan in &batches.plans {
            let mut rows = vec![0f32; plan.packed_tokens() * d.hidden_size];
            for (row, id) in rows.chunks_exact_mut(d.hidden_size).zip(&plan.input_ids) {
                cast::read_f32(
                    &table,
                    usize::try_from(*id).unwrap_or(0) * d.hidden_size,
                    row,
                )?;
                row.iter_mut().for_each(|v| *v *= self.residual);
            }
            states.push(rows);
        }
        Ok(states)
    }

    /// Opens a layer, in float32 but for these products, with weights folded like this.
    pub(super) fn open(
        &self,
        layer: usize,
        folds: Folds,
        products: &Products,
    ) -> Result<LayerNetwork> {
        let weights = self.weights.folded(folds);
        let model = graph::layer(&self.decoder, &weights, layer, products, self.residual)?;
        let onnx = external::in_memory(model)?;
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

    /// Moves the rows through a layer; returns the outputs of these names, batch after batch.
    pub(super) fn step(
        &self,
        network: &mut LayerNetwork,
        plans: &[Plan],
        states: &mut States,
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

    /// The embedding of every text, after the last layer.
    pub(super) fn finish(&self, batches: &Batches, states: &States) -> Result<Vec<Vec<f32>>> {
        let d = &self.decoder;
        let mut gains = vec![0f32; d.hidden_size];
        cast::read_f32(
            &self.weights.get("norm.weight", &[d.hidden_size])?,
            0,
            &mut gains,
        )?;
        let mut embeddings = vec![Vec::new(); batches.count()];
        for ((plan, texts), rows) in batches.plans.iter().zip(&batches.texts).zip(states) {
            for (text, last) in texts.iter().zip(&plan.last_row) {
                let start = usize::try_from(*last).unwrap_or(0) * d.hidden_size;
                let row = &rows[start..start + d.hidden_size];
                // The root mean square does not change a direction, and only directions are compared.
                embeddings[*text] = row.iter().zip(&gains).map(|(x, g)| x * g).collect();
            }
        }
        Ok(embeddings)
    }
}
