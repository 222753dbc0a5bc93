//! The four products of a layer, whose inputs calibration watches: query, key and value read the same rows, gate and up
//! others; each group is one product in an int8 graph.

use std::sync::Arc;

use lexivec_models::Decoder;
use rayon::prelude::*;

use crate::cast::{self, largest};
use crate::error::Result;
use crate::fold::{self, Folds};
use crate::matrix::Matrix;
use crate::weights::Weights;

/// Which product of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    QueryKeyValue,
    Output,
    GateUp,
    Down,
}

/// A product of linear layers that share their input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) layer: usize,
    kind: Kind,
}

/// What makes the input channels of a product: a norm, or the product before.
#[derive(Debug)]
pub(super) struct Sources {
    /// What no text can make of a channel: RMSNorm's output has the length of its gains times the root of the width at
    /// most, attention mixes values, and |silu(x)| is at most |x|.
    pub(super) bounds: Vec<f32>,
    /// The largest weight that makes a channel: of the norm's gain, or of the product's row.
    pub(super) weights: Vec<f32>,
}

impl Group {
    /// The products of a layer, in the order of the network.
    pub(super) fn of_layer(layer: usize) -> [Group; 4] {
        [Kind::QueryKeyValue, Kind::Output, Kind::GateUp, Kind::Down]
            .map(|kind| Group { layer, kind })
    }

    /// Where it stands among the products of all layers.
    pub(super) fn index(self) -> usize {
        self.layer * 4 + self.kind as usize
    }

    fn linears(self) -> &'static [&'static str] {
        match self.kind {
            Kind::QueryKeyValue => &["q_proj", "k_proj", "v_proj"],
            Kind::Output => &["o_proj"],
            Kind::GateUp => &["gate_proj", "up_proj"],
            Kind::Down => &["down_proj"],
        }
    }

    fn tensor(self, linear: &str, what: &str) -> String {
        let module = match self.kind {
            Kind::QueryKeyValue | Kind::Output => "self_attn",
            Kind::GateUp | Kind::Down => "mlp",
        };
        format!("layers.{}.{module}.{linear}.{what}", self.layer)
    }

    /// The name of its stacked weights in the graph: `layers.0.self_attn.q_proj+k_proj+v_proj.weight`.
    pub(super) fn name(self) -> String {
        self.tensor(&self.linears().join("+"), "weight")
    }

    /// Input channels.
    pub(super) fn inputs(self, d: &Decoder) -> usize {
        match self.kind {
            Kind::QueryKeyValue | Kind::GateUp => d.hidden_size,
            Kind::Output => d.heads * d.head_dim,
            Kind::Down => d.intermediate_size,
        }
    }

    /// Output channels of each of its linear layers.
    pub(super) fn outputs(self, d: &Decoder) -> Vec<usize> {
        match self.kind {
            Kind::QueryKeyValue => {
                let kv = d.kv_heads * d.head_dim;
                vec![d.heads * d.head_dim, kv, kv]
            }
            Kind::GateUp => vec![d.intermediate_size; 2],
            Kind::Output | Kind::Down => vec![d.hidden_size],
        }
    }

    /// Its weights stacked by rows, as the checkpoint has them.
    pub(super) fn weights(self, d: &Decoder, weights: &Weights) -> Result<Matrix> {
        let inputs = self.inputs(d);
        let mut values = Vec::new();
        for (linear, outputs) in self.linears().iter().zip(self.outputs(d)) {
            let tensor = weights.get(&self.tensor(linear, "weight"), &[outputs, inputs])?;
            let start = values.len();
            values.resize(start + outputs * inputs, 0f32);
            cast::read_f32(&tensor, 0, &mut values[start..])?;
        }
        Ok(Matrix::new(inputs, values))
    }

    /// What makes its input channels.
    pub(super) fn sources(self, d: &Decoder, weights: &Weights) -> Result<Sources> {
        let gains = self.gains(d, weights)?;
        let root = (d.hidden_size as f32).sqrt();
        let Some(source) = self.source() else {
            let made: Vec<f32> = gains.iter().map(|g| g.abs()).collect();
            return Ok(Sources {
                bounds: made.iter().map(|g| root * g).collect(),
                weights: made,
            });
        };
        let made = source.weights(d, weights)?;
        let bias = source.biases(d, weights)?;
        let output = |row: usize| {
            let squares = made
                .row(row)
                .iter()
                .zip(&gains)
                .map(|(w, g)| (w * g).powi(2));
            let bias = bias.as_ref().map_or(0.0, |b| b[row].abs());
            let bound = root * squares.sum::<f32>().sqrt() + bias;
            (bound, largest(made.row(row)))
        };
        let outputs = (0..made.rows).into_par_iter().map(output);
        let (bounds, maxima): (Vec<f32>, Vec<f32>) = outputs.unzip();
        Ok(Sources {
            bounds: self.by_input(d, &bounds, |gate, up| gate * up),
            weights: self.by_input(d, &maxima, |_, up| up),
        })
    }

    /// From figures of the outputs of the product before to figures of the input channels that are made of them.
    fn by_input(self, d: &Decoder, outputs: &[f32], join: impl Fn(f32, f32) -> f32) -> Vec<f32> {
        if self.kind == Kind::Down {
            let (gate, up) = outputs.split_at(d.intermediate_size);
            return gate.iter().zip(up).map(|(g, u)| join(*g, *u)).collect();
        }
        let values = &outputs[outputs.len() - d.kv_heads * d.head_dim..];
        let head = |h: usize| &values[h * d.kv_heads / d.heads * d.head_dim..][..d.head_dim];
        (0..d.heads).flat_map(head).copied().collect()
    }

    /// The gains of the norm that this product, or the one before it, reads.
    fn gains(self, d: &Decoder, weights: &Weights) -> Result<Vec<f32>> {
        let norm = match self.kind {
            Kind::QueryKeyValue | Kind::Output => "input_layernorm",
            Kind::GateUp | Kind::Down => "post_attention_layernorm",
        };
        let name = format!("layers.{}.{norm}.weight", self.layer);
        let mut gains = vec![0f32; d.hidden_size];
        cast::read_f32(&weights.get(&name, &[d.hidden_size])?, 0, &mut gains)?;
        Ok(gains)
    }

    /// The biases of its outputs, where it has any.
    fn biases(self, d: &Decoder, weights: &Weights) -> Result<Option<Vec<f32>>> {
        if self.kind != Kind::QueryKeyValue || !d.qkv_bias {
            return Ok(None);
        }
        let mut biases = Vec::new();
        for (linear, outputs) in self.linears().iter().zip(self.outputs(d)) {
            let tensor = weights.get(&self.tensor(linear, "bias"), &[outputs])?;
            let start = biases.len();
            biases.resize(start + outputs, 0f32);
            cast::read_f32(&tensor, 0, &mut biases[start..])?;
        }
        Ok(Some(biases))
    }

    /// The same value for input channels that are fed by the same channel before: the query heads that share a value
    /// head read the same channels of it.
    pub(super) fn tie(self, d: &Decoder, values: &mut [f32], join: impl Fn(f32, f32) -> f32) {
        if self.kind != Kind::Output {
            return;
        }
        let shared = d.heads / d.kv_heads * d.head_dim;
        for head in values.chunks_mut(shared) {
            for i in 0..d.head_dim {
                let joined = head[i..].iter().step_by(d.head_dim).copied().reduce(&join);
                head[i..]
                    .iter_mut()
                    .step_by(d.head_dim)
                    .for_each(|v| *v = joined.unwrap_or(*v));
            }
        }
    }

    /// Folds its smoothing: inputs arrive divided by `smoothing`, weights multiply by it.
    pub(super) fn fold(self, d: &Decoder, smoothing: &[f32], folds: &mut Folds) {
        let by: Arc<[f32]> = smoothing.into();
        for linear in self.linears() {
            fold::columns(folds, self.tensor(linear, "weight"), Arc::clone(&by));
        }
        let inverse = self.source_factors(d, smoothing);
        let sources = match self.kind {
            Kind::QueryKeyValue => vec![format!("layers.{}.input_layernorm.weight", self.layer)],
            Kind::GateUp => vec![format!(
                "layers.{}.post_attention_layernorm.weight",
                self.layer
            )],
            Kind::Output => ["weight", "bias"]
                .map(|what| self.tensor("v_proj", what))
                .to_vec(),
            Kind::Down => ["weight", "bias"]
                .map(|what| self.tensor("up_proj", what))
                .to_vec(),
        };
        for name in sources {
            fold::rows(folds, name, Arc::clone(&inverse));
        }
    }

    /// What the channels that feed it are multiplied by.
    fn source_factors(self, d: &Decoder, smoothing: &[f32]) -> Arc<[f32]> {
        let inverse = |s: &f32| 1.0 / s;
        if self.kind == Kind::Output {
            let shared = d.heads / d.kv_heads * d.head_dim;
            let heads = smoothing.chunks(shared);
            heads
                .flat_map(|h| h[..d.head_dim].iter().map(inverse))
                .collect()
        } else {
            smoothing.iter().map(inverse).collect()
        }
    }

    /// Applies a fold of this product to the scales of the one before, of which each output has `per`; that is what
    /// multiplying the rows of its weights comes to: value before output projection, up before down.
    pub(super) fn rescale_source(
        self,
        d: &Decoder,
        smoothing: &[f32],
        scales: &mut [f32],
        per: usize,
    ) {
        let factors = self.source_factors(d, smoothing);
        let last = scales.len() - factors.len() * per;
        let outputs = scales[last..].chunks_mut(per).zip(factors.iter());
        outputs.for_each(|(scales, f)| scales.iter_mut().for_each(|s| *s *= f));
    }

    /// The product whose outputs a fold of this one changes.
    pub(super) fn source(self) -> Option<Group> {
        let kind = match self.kind {
            Kind::Output => Kind::QueryKeyValue,
            Kind::Down => Kind::GateUp,
            Kind::QueryKeyValue | Kind::GateUp => return None,
        };
        Some(Group { kind, ..self })
    }
}
