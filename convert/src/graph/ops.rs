//! The operations of a decoder, one method each.
//!
//! The [`Dialect`] decides which ONNX operators compute an operation. This file decides where its weights come from and in
//! which type they are stored.

use super::dialect::{Dialect, RotaryValues};
use super::group_input::{GroupInput, ResidualStream};
use crate::error::Result;
use crate::onnx::{FileRange, Graph, Initializer, InitializerData, Value};
use crate::quantized::{BlockFormat, BlockWeights, QuantizedLinears};
use crate::tensor::{DType, cast};
use crate::weights::{StackedTensors, Tensor, Weights};

/// Where a graph finds its float weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WeightSource {
    /// In the graph's own data file, converted to the compute type.
    Own,
    /// In the checkpoint's files, with a cast in the graph if their type is not the compute type.
    Checkpoint,
}

/// How the operations of a graph are written; [`super::precision`] chooses it.
#[derive(Clone, Copy)]
pub(super) struct Style<'a> {
    pub(super) dialect: &'static dyn Dialect,
    /// The type of activations.
    pub(super) compute: DType,
    pub(super) source: WeightSource,
    pub(super) linears: LinearArithmetic<'a>,
    /// The format of a quantised embedding table; `None` for a table of floats.
    pub(super) table: Option<BlockFormat>,
    /// The factor of the residual stream that is folded into the weights.
    pub(super) residual: f32,
}

/// The arithmetic of linear layers.
#[derive(Clone, Copy)]
pub(super) enum LinearArithmetic<'a> {
    /// In the compute type.
    Float,
    /// 8-bit integers, weights rounded to nearest.
    Int8,
    /// 8-bit floats, weights rounded to nearest.
    Float8,
    /// Integer weights in blocks, rounded to nearest.
    Blocks(BlockFormat),
    /// The arithmetic that calibration chose for each linear group; groups without an entry use the compute type.
    Calibrated(&'a QuantizedLinears),
}

impl Style<'_> {
    /// Float weights of the graph's own in the compute type.
    pub(super) fn plain(dialect: &'static dyn Dialect, compute: DType) -> Self {
        Self {
            dialect,
            compute,
            source: WeightSource::Own,
            linears: LinearArithmetic::Float,
            table: None,
            residual: 1.0,
        }
    }
}

/// An activation hook: the input of a linear group, which calibration reads.
pub(super) struct ActivationHook {
    /// The name of the group's stacked weights.
    pub(super) linear: String,
    pub(super) input: Value,
    pub(super) width: usize,
}

/// A graph under construction, with a method for each operation of a decoder.
pub(super) struct Ops<'w> {
    pub(super) graph: Graph,
    pub(super) style: Style<'w>,
    /// The hooks of all linear groups so far.
    pub(super) hooks: Vec<ActivationHook>,
    pub(super) weights: &'w Weights,
}

impl<'w> Ops<'w> {
    pub(super) fn new(weights: &'w Weights, style: Style<'w>) -> Self {
        Self {
            hooks: Vec::new(),
            graph: Graph::default(),
            style,
            weights,
        }
    }

    /// Looks up rows of the embedding table. If the graph computes in float32, the table keeps the checkpoint's type, which
    /// is exact and half the size, and the graph widens the few rows that it looks up.
    pub(super) fn embed(&mut self, ids: &Value, vocab: usize, hidden: usize) -> Result<Value> {
        let table = self.weights.get("embed_tokens.weight", &[vocab, hidden])?;
        if let Some(format) = self.style.table {
            let table = BlockWeights::round_to_nearest(vec![table], format)?;
            return Ok(self.gather_blocks("embed_tokens.weight", table.into(), ids));
        }
        let compute = self.style.compute;
        let stored = match compute {
            DType::F32 => table.float_type.into(),
            other => other,
        };
        let stored = match self.style.source {
            WeightSource::Own => stored,
            WeightSource::Checkpoint => table.float_type.into(),
        };
        let table = self.store(vec![table], "embed_tokens.weight", stored);
        let rows = self.graph.op("Gather", &[&table, ids], &[]);
        Ok(self.cast(rows, stored, compute))
    }

    /// Root mean square normalisation over the last axis.
    pub(super) fn rms_norm(
        &mut self,
        x: &Value,
        name: &str,
        width: usize,
        epsilon: f64,
    ) -> Result<Value> {
        let weight = self.vector(name, width)?;
        let dialect = self.style.dialect;
        Ok(dialect.rms_norm(&mut self.graph, x, &weight, epsilon as f32))
    }

    /// A vector of weights in the compute type.
    pub(super) fn vector(&mut self, name: &str, width: usize) -> Result<Value> {
        let weight = self.weights.get(name, &[width])?;
        Ok(self.constant(vec![weight]))
    }

    /// `sum = x + residual; (rms_norm(sum), sum)`.
    pub(super) fn add_rms_norm(
        &mut self,
        x: &Value,
        residual: &Value,
        name: &str,
        width: usize,
        epsilon: f64,
    ) -> Result<(Value, Value)> {
        let weight = self.vector(name, width)?;
        let dialect = self.style.dialect;
        Ok(dialect.add_rms_norm(&mut self.graph, x, residual, &weight, epsilon as f32))
    }

    /// The final norm. It always computes in float32, because its output is the embedding.
    pub(super) fn final_norm(
        &mut self,
        stream: &ResidualStream,
        width: usize,
        epsilon: f64,
    ) -> Result<Value> {
        let compute = self.style.compute;
        let mut float = |x: &Value| self.cast(x.clone(), compute, DType::F32);
        let input = GroupInput::Norm {
            stream: ResidualStream {
                x: float(&stream.x),
                added: stream.added.as_ref().map(float),
            },
            weights: "norm.weight".to_owned(),
            epsilon,
        };
        self.style.compute = DType::F32;
        let normed = self.float_input(&input, width);
        self.style.compute = compute;
        Ok(normed?.0)
    }

    /// The sum of the residual stream's addends.
    pub(super) fn sum(&mut self, stream: &ResidualStream) -> Value {
        match &stream.added {
            Some(added) => self.graph.op("Add", &[added, &stream.x], &[]),
            None => stream.x.clone(),
        }
    }

    /// Rotates pairs (i, i + D/2) of each head by the token's position (RoPE, arXiv 2104.09864, half-rotation form).
    /// `x` is `[tokens, heads * D]`, `positions` `[tokens, 1]`.
    ///
    /// The operator treats each token as a sequence of length 1. It rejects sequences longer than its tables, and a batch may
    /// have more tokens than the tables have positions.
    pub(super) fn rotary(
        &mut self,
        x: &Value,
        positions: &Value,
        tables: &RotaryValues,
        heads: usize,
    ) -> Value {
        let g = &mut self.graph;
        let axis = g.ints(&[1]);
        let x = g.op("Unsqueeze", &[x, &axis], &[]);
        let y = self.style.dialect.rotary(g, &x, positions, tables, heads);
        g.op("Squeeze", &[&y, &axis], &[])
    }

    /// cos and sin of position times frequency, `[positions, D/2]`; computed in float64, stored in this type.
    pub(super) fn rotary_tables(
        &mut self,
        positions: usize,
        head_dim: usize,
        theta: f64,
        dtype: DType,
    ) -> RotaryValues {
        let half = head_dim / 2;
        let table = |f: fn(f64) -> f64| -> Vec<f32> {
            (0..positions)
                .flat_map(|p| {
                    (0..half).map(move |i| {
                        let frequency = theta.powf(-2.0 * i as f64 / head_dim as f64);
                        f(p as f64 * frequency) as f32
                    })
                })
                .collect()
        };
        let (cos, sin) = (table(f64::cos), table(f64::sin));
        let mut store = |name: &str, values: &[f32]| {
            let mut bytes = Vec::with_capacity(values.len() * 4);
            cast::write(values, dtype, name, &mut bytes)
                .unwrap_or_else(|_| unreachable!("|cos| and |sin| are at most 1"));
            self.graph
                .constant(name, dtype, vec![positions, half], bytes)
        };
        RotaryValues {
            cos: store("rotary.cos", &cos),
            sin: store("rotary.sin", &sin),
        }
    }

    /// Casts `x` unless it already has the type.
    pub(super) fn cast(&mut self, x: Value, from: DType, to: DType) -> Value {
        if from == to {
            return x;
        }
        self.graph.cast(&x, to)
    }

    /// Tensors, stacked by rows, as a constant of the compute type.
    pub(super) fn constant(&mut self, tensors: Vec<Tensor>) -> Value {
        let compute = self.style.compute;
        let stored = match (self.style.source, tensors.as_slice()) {
            (WeightSource::Checkpoint, [tensor]) if !tensor.is_folded() => tensor.float_type.into(),
            _ => compute,
        };
        let name = stacked_name(&tensors);
        let value = self.store(tensors, &name, stored);
        self.cast(value, stored, compute)
    }

    /// Adds tensors, stacked by rows, as an initializer of this element type.
    pub(super) fn store(&mut self, mut tensors: Vec<Tensor>, name: &str, dtype: DType) -> Value {
        let mut shape = tensors.first().map(|t| t.shape.clone()).unwrap_or_default();
        if let Some(rows) = shape.first_mut() {
            *rows = tensors.iter().map(Tensor::rows).sum();
        }
        let data = match self.style.source {
            WeightSource::Checkpoint if tensors.len() == 1 && !tensors[0].is_folded() => {
                let tensor = tensors.swap_remove(0);
                InitializerData::File(FileRange {
                    path: tensor.path().to_path_buf(),
                    start: tensor.start,
                })
            }
            WeightSource::Checkpoint | WeightSource::Own => {
                InitializerData::Computed(Box::new(StackedTensors { tensors, dtype }))
            }
        };
        self.graph.initializer(Initializer {
            name: name.to_owned(),
            dtype,
            shape,
            data,
        })
    }
}

/// The name of stacked tensors: `layers.0.self_attn.q_proj+k_proj+v_proj.weight`.
pub(super) fn stacked_name(tensors: &[Tensor]) -> String {
    let Some((first, rest)) = tensors.split_first() else {
        return String::new();
    };
    let Some((stem, kind)) = first.name.rsplit_once('.') else {
        return first.name.clone();
    };
    let layers = rest
        .iter()
        .filter_map(|t| t.name.rsplit('.').nth(1))
        .fold(stem.to_owned(), |name, layer| name + "+" + layer);
    format!("{layers}.{kind}")
}
