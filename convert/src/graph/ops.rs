//! The operations of a decoder, one method each, in the operators of the chosen target and precision.
//!
//! What an operation is in ONNX's operators is the [`Dialect`]'s to say; where its weights come from and in which type they
//! are stored is said here.

use super::builder::{DType, Data, Graph, Initializer, Value};
use super::dialect::{Dialect, RotaryTables};
use crate::blocks::{BlockQuantized, Format};
use crate::error::Result;
use crate::quantize::Products;
use crate::weights::{Tensor, Weights};

/// Where weights lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WeightSource {
    /// In a data file of the graph's own, converted to the compute type.
    Own,
    /// In the checkpoint's files, cast where their type is not the compute type.
    Checkpoint,
}

/// How the operations are written.
#[derive(Clone, Copy)]
pub(super) struct Style<'a> {
    pub(super) dialect: &'static dyn Dialect,
    /// The type of activations.
    pub(super) compute: DType,
    pub(super) source: WeightSource,
    pub(super) linears: Linears<'a>,
    /// The embedding table in blocks; none for floats.
    pub(super) table: Option<Format>,
    /// What the weights multiply the residual stream by.
    pub(super) residual: f32,
}

/// How linear layers compute.
#[derive(Clone, Copy)]
pub(super) enum Linears<'a> {
    /// In the compute type.
    Float,
    /// As int8 products, weights rounded to nearest.
    Int8,
    /// As 8-bit floats, weights rounded to nearest.
    Float8,
    /// In blocks, weights rounded to nearest.
    Blocks(Format),
    /// Those that are named as they say, the others in the compute type.
    Planned(&'a Products),
}

impl Style<'_> {
    pub(super) fn plain(dialect: &'static dyn Dialect, compute: DType) -> Self {
        Self {
            dialect,
            compute,
            source: WeightSource::Own,
            linears: Linears::Float,
            table: None,
            residual: 1.0,
        }
    }
}

/// The operations over a graph under construction.
pub(super) struct Ops<'w> {
    pub(super) graph: Graph,
    pub(super) style: Style<'w>,
    /// The input of every product of linear layers so far: name, value, width.
    pub(super) taps: Vec<(String, Value, usize)>,
    pub(super) weights: &'w Weights,
}

impl<'w> Ops<'w> {
    pub(super) fn new(weights: &'w Weights, style: Style<'w>) -> Self {
        Self {
            taps: Vec::new(),
            graph: Graph::default(),
            style,
            weights,
        }
    }

    /// Rows of the embedding table. Where computation is in float32 the table keeps the checkpoint's type, which is
    /// exact and half the size, and the few rows looked up are widened.
    pub(super) fn embed(&mut self, ids: &Value, vocab: usize, hidden: usize) -> Result<Value> {
        let table = self.weights.get("embed_tokens.weight", &[vocab, hidden])?;
        if let Some(format) = self.style.table {
            let table = BlockQuantized::round_to_nearest(vec![table], format)?;
            return Ok(self.gather_blocks("embed_tokens.weight", table.into(), ids));
        }
        let compute = self.style.compute;
        let stored = match compute {
            DType::F32 => table.stored.into(),
            other => other,
        };
        let stored = match self.style.source {
            WeightSource::Own => stored,
            WeightSource::Checkpoint => table.stored.into(),
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

    /// The last normalisation, in float32 whatever the compute type: its output is what users see.
    pub(super) fn final_norm(
        &mut self,
        x: &Value,
        residual: &Value,
        width: usize,
        epsilon: f64,
    ) -> Result<Value> {
        let compute = self.style.compute;
        let x = self.cast(x.clone(), compute, DType::F32);
        let residual = self.cast(residual.clone(), compute, DType::F32);
        self.style.compute = DType::F32;
        let normed = self.add_rms_norm(&x, &residual, "norm.weight", width, epsilon);
        self.style.compute = compute;
        Ok(normed?.0)
    }

    /// Rotates pairs (i, i + D/2) of each head by the row's position (RoPE, arXiv 2104.09864, half-rotation form).
    /// `x` is `[rows, heads * D]`, `positions` `[rows, 1]`.
    ///
    /// The operator sees each row as a sequence of one: it refuses sequences longer than its tables, and a batch has more
    /// rows than any of its sequences has positions.
    pub(super) fn rotary(
        &mut self,
        x: &Value,
        positions: &Value,
        tables: &RotaryTables,
        heads: usize,
    ) -> Value {
        let g = &mut self.graph;
        let axis = g.ints(&[1]);
        let x = g.op("Unsqueeze", &[x, &axis], &[]);
        let y = self.style.dialect.rotary(g, &x, positions, tables, heads);
        g.op("Squeeze", &[&y, &axis], &[])
    }

    /// cos and sin of position times frequency, `[positions, D/2]`; computed in float64, stored in the compute type.
    pub(super) fn rotary_tables(
        &mut self,
        positions: usize,
        head_dim: usize,
        theta: f64,
    ) -> RotaryTables {
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
            crate::cast::write(values, self.style.compute, name, &mut bytes)
                .unwrap_or_else(|_| unreachable!("|cos| and |sin| are at most 1"));
            self.graph
                .constant(name, self.style.compute, vec![positions, half], bytes)
        };
        RotaryTables {
            cos: store("rotary.cos", &cos),
            sin: store("rotary.sin", &sin),
        }
    }

    /// `gate * sigmoid(gate) * up`; written so that ONNX Runtime fuses the first product to QuickGelu.
    pub(super) fn silu_mul(&mut self, gate: &Value, up: &Value) -> Value {
        let sigmoid = self.graph.op("Sigmoid", &[gate], &[]);
        let silu = self.graph.op("Mul", &[gate, &sigmoid], &[]);
        self.graph.op("Mul", &[&silu, up], &[])
    }

    /// A cast, where there is something to do.
    pub(super) fn cast(&mut self, x: Value, from: DType, to: DType) -> Value {
        if from == to {
            return x;
        }
        self.graph.cast(&x, to)
    }

    /// Weights as a constant of the compute type: tensors stacked by rows.
    pub(super) fn constant(&mut self, tensors: Vec<Tensor>) -> Value {
        let compute = self.style.compute;
        let stored = match (self.style.source, tensors.as_slice()) {
            (WeightSource::Checkpoint, [tensor]) if tensor.fold.is_none() => tensor.stored.into(),
            _ => compute,
        };
        let name = stacked_name(&tensors);
        let value = self.store(tensors, &name, stored);
        self.cast(value, stored, compute)
    }

    pub(super) fn store(&mut self, mut tensors: Vec<Tensor>, name: &str, dtype: DType) -> Value {
        let mut shape = tensors.first().map(|t| t.shape.clone()).unwrap_or_default();
        if let Some(rows) = shape.first_mut() {
            *rows = tensors.iter().map(Tensor::rows).sum();
        }
        let data = match self.style.source {
            WeightSource::Checkpoint if tensors.len() == 1 && tensors[0].fold.is_none() => {
                Data::Reference(tensors.swap_remove(0))
            }
            WeightSource::Checkpoint | WeightSource::Own => Data::Stack(tensors),
        };
        self.graph.initializer(Initializer {
            name: name.to_owned(),
            dtype,
            shape,
            data,
        })
    }
}

/// The names of tensors that are stacked: `layers.0.self_attn.q_proj+k_proj+v_proj.weight`.
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
