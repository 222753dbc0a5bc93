//! The linear groups of a layer: linear layers that read the same input. Query, key and value read the same hidden states, and so do
//! gate and up. A quantised graph quantises each group's input once.

use std::sync::Arc;

use lexivec_models::Decoder;
use rayon::prelude::*;

use crate::error::Result;
use crate::matrix::Matrix;
use crate::tensor::cast::largest;
use crate::weights::{ScaleFolding, Weights};

/// The role of a linear group in its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinearRole {
    QueryKeyValue,
    Output,
    GateUp,
    Down,
}

/// A linear group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinearGroup {
    pub(super) layer: usize,
    role: LinearRole,
}

/// Properties of the sources of a linear group's input channels: a norm, or the linear group before it.
#[derive(Debug)]
pub(super) struct ChannelSources {
    /// The largest value that any text can give a channel. It follows from three facts: RMSNorm's output is at most its
    /// gains times the root of the width, attention averages values, and |silu(x)| is at most |x|.
    pub(super) bounds: Vec<f32>,
    /// The largest weight of each channel's source: the norm's gain, or the largest weight of the linear layer's row.
    pub(super) weights: Vec<f32>,
}

impl LinearGroup {
    /// The linear groups of a layer, in the order of the network.
    pub(super) fn of_layer(layer: usize) -> [LinearGroup; 4] {
        [
            LinearRole::QueryKeyValue,
            LinearRole::Output,
            LinearRole::GateUp,
            LinearRole::Down,
        ]
        .map(|role| LinearGroup { layer, role })
    }

    /// Its position among the linear groups of all layers.
    pub(super) fn index(self) -> usize {
        self.layer * 4 + self.role as usize
    }

    fn linears(self) -> &'static [&'static str] {
        match self.role {
            LinearRole::QueryKeyValue => &["q_proj", "k_proj", "v_proj"],
            LinearRole::Output => &["o_proj"],
            LinearRole::GateUp => &["gate_proj", "up_proj"],
            LinearRole::Down => &["down_proj"],
        }
    }

    fn tensor(self, linear: &str, what: &str) -> String {
        let module = match self.role {
            LinearRole::QueryKeyValue | LinearRole::Output => "self_attn",
            LinearRole::GateUp | LinearRole::Down => "mlp",
        };
        format!("layers.{}.{module}.{linear}.{what}", self.layer)
    }

    /// The name of its stacked weights in the graph: `layers.0.self_attn.q_proj+k_proj+v_proj.weight`.
    pub(super) fn name(self) -> String {
        self.tensor(&self.linears().join("+"), "weight")
    }

    /// Number of input channels.
    pub(super) fn inputs(self, d: &Decoder) -> usize {
        match self.role {
            LinearRole::QueryKeyValue | LinearRole::GateUp => d.hidden_size,
            LinearRole::Output => d.heads * d.head_dim,
            LinearRole::Down => d.intermediate_size,
        }
    }

    /// Number of output channels of each of its linear layers.
    pub(super) fn outputs(self, d: &Decoder) -> Vec<usize> {
        match self.role {
            LinearRole::QueryKeyValue => {
                let kv = d.kv_heads * d.head_dim;
                vec![d.heads * d.head_dim, kv, kv]
            }
            LinearRole::GateUp => vec![d.intermediate_size; 2],
            LinearRole::Output | LinearRole::Down => vec![d.hidden_size],
        }
    }

    /// Number of weights of all its linear layers.
    pub(super) fn weight_count(self, d: &Decoder) -> usize {
        self.inputs(d) * self.outputs(d).iter().sum::<usize>()
    }

    /// Its weights, stacked by rows.
    pub(super) fn weights(self, d: &Decoder, weights: &Weights) -> Result<Matrix> {
        let inputs = self.inputs(d);
        let mut values = Vec::new();
        for (linear, outputs) in self.linears().iter().zip(self.outputs(d)) {
            let tensor = weights.get(&self.tensor(linear, "weight"), &[outputs, inputs])?;
            let start = values.len();
            values.resize(start + outputs * inputs, 0f32);
            tensor.read_f32(0, &mut values[start..])?;
        }
        Ok(Matrix::new(inputs, values))
    }

    /// Properties of the sources of its input channels.
    pub(super) fn sources(self, d: &Decoder, weights: &Weights) -> Result<ChannelSources> {
        let gains = self.gains(d, weights)?;
        let root = (d.hidden_size as f32).sqrt();
        let Some(source) = self.source() else {
            let made: Vec<f32> = gains.iter().map(|g| g.abs()).collect();
            return Ok(ChannelSources {
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
        Ok(ChannelSources {
            bounds: self.by_input(d, &bounds, |gate, up| gate * up),
            weights: self.by_input(d, &maxima, |_, up| up),
        })
    }

    /// Maps values per output channel of the group before to values per input channel of this group.
    fn by_input(self, d: &Decoder, outputs: &[f32], join: impl Fn(f32, f32) -> f32) -> Vec<f32> {
        if self.role == LinearRole::Down {
            let (gate, up) = outputs.split_at(d.intermediate_size);
            return gate.iter().zip(up).map(|(g, u)| join(*g, *u)).collect();
        }
        let values = &outputs[outputs.len() - d.kv_heads * d.head_dim..];
        let head = |h: usize| &values[h * d.kv_heads / d.heads * d.head_dim..][..d.head_dim];
        (0..d.heads).flat_map(head).copied().collect()
    }

    /// The gains of the norm that this group, or the group before it, reads.
    fn gains(self, d: &Decoder, weights: &Weights) -> Result<Vec<f32>> {
        let norm = match self.role {
            LinearRole::QueryKeyValue | LinearRole::Output => "input_layernorm",
            LinearRole::GateUp | LinearRole::Down => "post_attention_layernorm",
        };
        let name = format!("layers.{}.{norm}.weight", self.layer);
        let mut gains = vec![0f32; d.hidden_size];
        weights
            .get(&name, &[d.hidden_size])?
            .read_f32(0, &mut gains)?;
        Ok(gains)
    }

    /// The biases of its outputs, if it has any.
    fn biases(self, d: &Decoder, weights: &Weights) -> Result<Option<Vec<f32>>> {
        if self.role != LinearRole::QueryKeyValue || !d.qkv_bias {
            return Ok(None);
        }
        let mut biases = Vec::new();
        for (linear, outputs) in self.linears().iter().zip(self.outputs(d)) {
            let tensor = weights.get(&self.tensor(linear, "bias"), &[outputs])?;
            let start = biases.len();
            biases.resize(start + outputs, 0f32);
            tensor.read_f32(0, &mut biases[start..])?;
        }
        Ok(Some(biases))
    }

    /// Gives the same value to input channels that have the same source: query heads that share a value head read the same
    /// channels of it.
    pub(super) fn tie(self, d: &Decoder, values: &mut [f32], join: impl Fn(f32, f32) -> f32) {
        if self.role != LinearRole::Output {
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

    /// Folds smoothing into the weights: the sources divide input channels by `smoothing`, and this group's weights multiply
    /// by it.
    pub(super) fn fold_smoothing(self, d: &Decoder, smoothing: &[f32], folding: &mut ScaleFolding) {
        let by: Arc<[f32]> = smoothing.into();
        for linear in self.linears() {
            folding.scale_columns(self.tensor(linear, "weight"), Arc::clone(&by));
        }
        let inverse = self.source_factors(d, smoothing);
        let sources = match self.role {
            LinearRole::QueryKeyValue => {
                vec![format!("layers.{}.input_layernorm.weight", self.layer)]
            }
            LinearRole::GateUp => vec![format!(
                "layers.{}.post_attention_layernorm.weight",
                self.layer
            )],
            LinearRole::Output => ["weight", "bias"]
                .map(|what| self.tensor("v_proj", what))
                .to_vec(),
            LinearRole::Down => ["weight", "bias"]
                .map(|what| self.tensor("up_proj", what))
                .to_vec(),
        };
        for name in sources {
            folding.scale_rows(name, Arc::clone(&inverse));
        }
    }

    /// The factors of the channels that are the sources of its inputs.
    fn source_factors(self, d: &Decoder, smoothing: &[f32]) -> Arc<[f32]> {
        let inverse = |s: &f32| 1.0 / s;
        if self.role == LinearRole::Output {
            let shared = d.heads / d.kv_heads * d.head_dim;
            let heads = smoothing.chunks(shared);
            heads
                .flat_map(|h| h[..d.head_dim].iter().map(inverse))
                .collect()
        } else {
            smoothing.iter().map(inverse).collect()
        }
    }

    /// Applies the smoothing of this group to the quantisation scales of the group before it, `per` scales for each output.
    /// That is equivalent to multiplying rows of its weights: value before the output projection, up before down.
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

    /// The linear group that computes its inputs; `None` if a norm does.
    pub(super) fn source(self) -> Option<LinearGroup> {
        let role = match self.role {
            LinearRole::Output => LinearRole::QueryKeyValue,
            LinearRole::Down => LinearRole::GateUp,
            LinearRole::QueryKeyValue | LinearRole::GateUp => return None,
        };
        Some(LinearGroup { role, ..self })
    }
}
