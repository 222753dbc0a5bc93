//! Linear layers, alone or stacked, in every arithmetic.
//!
//! Layers that read the same input (query, key and value; gate and up) form a *linear group*, which is quantised as a whole.
//! The operators of quantised arithmetic are in [`super::integer_linear`], [`super::own_int8`], [`super::own_blocks`] and
//! [`super::float8_linear`].

use std::sync::Arc;

use super::group_input::GroupInput;
use super::ops::{ActivationHook, LinearArithmetic, Ops, WeightSource, stacked_name};
use super::own_int8;
use crate::error::Result;
use crate::onnx::{Attribute, Value};
use crate::quantized::{BlockWeights, Float8Weights, Int8Weights, QuantizedLinear};
use crate::tensor::DType;
use crate::weights::Tensor;

/// A linear layer: `y = x Wᵀ (+ b)`, with W stored `[outputs, inputs]` as in checkpoints.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    /// The tensor's name without `.weight`.
    pub(super) name: String,
    pub(super) outputs: usize,
    pub(super) bias: bool,
}

/// The results of a linear group.
pub(super) struct GroupOutput {
    /// A value for each layer, or for each stack of layers.
    pub(super) layers: Vec<Value>,
    /// The sum of the residual stream's addends, if the group's input is its norm.
    pub(super) residual: Option<Value>,
}

impl Ops<'_> {
    /// Applies the layers of a linear group. If the dialect [stacks](super::dialect::Dialect::stacks) layers, one matrix
    /// product computes all of them and its result is split. A quantised group quantises its input once either way.
    pub(super) fn project(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        layers: &[Projection],
    ) -> Result<GroupOutput> {
        let stacked = self.style.dialect.stacks(self.style.compute);
        let together = if stacked { layers.len() } else { 1 };
        let mut outputs = self.linear_group(input, inputs, layers, together)?;
        let widths: Vec<usize> = layers.iter().map(|l| l.outputs).collect();
        if let [stacked] = outputs.layers.as_slice() {
            outputs.layers = self.graph.split(stacked, &widths);
        }
        Ok(outputs)
    }

    /// Applies the layers of a linear group as one matrix product, with their outputs side by side.
    pub(super) fn project_stacked(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        layers: &[Projection],
    ) -> Result<GroupOutput> {
        self.linear_group(input, inputs, layers, layers.len())
    }

    /// Applies the layers of a linear group, with `together` of them stacked in each matrix product.
    fn linear_group(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        layers: &[Projection],
        together: usize,
    ) -> Result<GroupOutput> {
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for layer in layers {
            weights.push(
                self.weights
                    .get(&format!("{}.weight", layer.name), &[layer.outputs, inputs])?,
            );
            if layer.bias {
                biases.push(
                    self.weights
                        .get(&format!("{}.bias", layer.name), &[layer.outputs])?,
                );
            }
        }
        let name = stacked_name(&weights);
        let quantized = match self.style.linears {
            LinearArithmetic::Float => None,
            LinearArithmetic::Int8 => {
                let quantized = Int8Weights::round_to_nearest(weights.clone())?;
                Some(QuantizedLinear::Int8(quantized.into()))
            }
            LinearArithmetic::Float8 => {
                let weights = Float8Weights::round_to_nearest(weights.clone())?;
                Some(QuantizedLinear::Float8(weights.into()))
            }
            LinearArithmetic::Blocks(format) => {
                Some(QuantizedLinear::BlocksRoundedToNearest(format))
            }
            LinearArithmetic::Calibrated(quantized) => quantized.get(&name).cloned(),
        };
        let widths: Vec<usize> = layers.iter().map(|l| l.outputs).collect();
        let rows: Vec<usize> = widths.chunks(together).map(|w| w.iter().sum()).collect();
        let biases: Vec<Value> = biases
            .chunks(together)
            .map(|b| self.constant(b.to_vec()))
            .collect();
        let stacks: Vec<&[Tensor]> = weights.chunks(together).collect();
        let names = stacks.iter().map(|w| stacked_name(w));
        let int8 = match &quantized {
            Some(QuantizedLinear::Int8(codes)) => Some((codes, 1)),
            Some(QuantizedLinear::Int8x2(codes)) => Some((codes, 2)),
            _ => None,
        };
        if let Some((codes, terms)) = int8
            && self.style.dialect.has_own_linears()
            && own_int8::takes(inputs)
        {
            let parts = names.zip(codes.split(&rows)).collect();
            let (layers, residual) = self.own_int8_linears(input, inputs, parts, &biases, terms)?;
            return Ok(GroupOutput { layers, residual });
        }
        let blocks = match &quantized {
            Some(QuantizedLinear::Blocks(codes)) => Some(Arc::clone(codes)),
            Some(QuantizedLinear::BlocksRoundedToNearest(format)) => {
                let codes = BlockWeights::round_to_nearest(weights.clone(), *format)?;
                Some(Arc::new(codes))
            }
            _ => None,
        };
        if let Some(codes) = &blocks
            && self.style.dialect.has_own_linears()
            && self.style.compute == DType::F32
        {
            let parts = names.zip(codes.split(&rows)).collect();
            let (layers, residual) = self.own_block_linears(input, inputs, parts, &biases)?;
            return Ok(GroupOutput { layers, residual });
        }
        let (x, residual) = self.float_input(input, inputs)?;
        self.hooks.push(ActivationHook {
            linear: name.clone(),
            input: x.clone(),
            width: inputs,
        });
        let x = &x;
        let outputs = match quantized {
            Some(QuantizedLinear::Int8(codes)) => {
                let parts = names.zip(codes.split(&rows)).collect();
                self.int8_linears(x, parts, 1)
            }
            Some(QuantizedLinear::Int8x2(codes)) => {
                let parts = names.zip(codes.split(&rows)).collect();
                self.int8_linears(x, parts, 2)
            }
            Some(QuantizedLinear::Float8(codes)) => {
                let parts = names.zip(codes.split(&rows)).collect();
                self.float8_linears(x, inputs, input, parts)?
            }
            Some(QuantizedLinear::Blocks(_) | QuantizedLinear::BlocksRoundedToNearest(_)) => {
                let codes = blocks.iter().flat_map(|codes| codes.split(&rows));
                let parts = names.zip(codes).collect();
                self.block_linears(x, parts)
            }
            None => {
                let mut biases = biases.into_iter();
                let linear = |w: &&[Tensor]| {
                    let weight = self.float_weight(x, w.to_vec());
                    self.gemm(x, &weight, biases.next())
                };
                let layers = stacks.iter().map(linear).collect();
                return Ok(GroupOutput { layers, residual });
            }
        };
        let layers = match biases.is_empty() {
            true => outputs,
            false => outputs
                .iter()
                .zip(&biases)
                .map(|(output, bias)| self.graph.op("Add", &[output, bias], &[]))
                .collect(),
        };
        Ok(GroupOutput { layers, residual })
    }

    /// The weights of a linear layer that computes in floats.
    fn float_weight(&mut self, x: &Value, mut weights: Vec<Tensor>) -> Value {
        match (self.style.source, self.style.linears, weights.len()) {
            (WeightSource::Checkpoint, _, 1) => self.constant_after(x, weights.swap_remove(0)),
            (WeightSource::Own, LinearArithmetic::Calibrated(_), _) => {
                self.narrow_constant(weights)
            }
            _ => self.constant(weights),
        }
    }

    /// Applies a linear layer that shares its input with no other.
    pub(super) fn linear(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        layer: Projection,
    ) -> Result<Value> {
        let mut outputs = self.project(input, inputs, &[layer])?;
        Ok(outputs.layers.swap_remove(0))
    }

    /// `Gemm` with a transposed weight, so that the checkpoint's rows need no transposed copy.
    fn gemm(&mut self, x: &Value, weight: &Value, bias: Option<Value>) -> Value {
        let trans = [("transB", Attribute::Int(1))];
        match bias {
            Some(bias) => self.graph.op("Gemm", &[x, weight, &bias], &trans),
            None => self.graph.op("Gemm", &[x, weight], &trans),
        }
    }

    /// The float weights of a quantised graph. They keep the checkpoint's type, which halves their file, and are widened when
    /// the model is loaded. Folded weights are stored in the compute type, because their values need its precision.
    fn narrow_constant(&mut self, tensors: Vec<Tensor>) -> Value {
        let compute = self.style.compute;
        let stored = match tensors.split_first() {
            Some((first, rest))
                if tensors.iter().all(|t| !t.is_folded())
                    && rest.iter().all(|t| t.float_type == first.float_type) =>
            {
                first.float_type.into()
            }
            _ => compute,
        };
        let name = stacked_name(&tensors);
        let value = self.store(tensors, &name, stored);
        self.cast(value, stored, compute)
    }

    /// A weight in the checkpoint's file, which the graph widens only after it has computed `x`. ONNX Runtime may run a cast
    /// that depends on constants alone before everything else, and then all widened weights would be in memory at once. Here
    /// the weight's shape depends on the shape of `x`, which delays the cast.
    fn constant_after(&mut self, x: &Value, weight: Tensor) -> Value {
        let (stored, compute) = (DType::from(weight.float_type), self.style.compute);
        if stored == compute || weight.is_folded() {
            return self.constant(vec![weight]);
        }
        let (name, dims) = (
            weight.name.clone(),
            [weight.rows() as i64, weight.columns() as i64],
        );
        let value = self.store(vec![weight], &name, stored);
        let g = &mut self.graph;
        let shape = g.op("Shape", &[x], &[]);
        let zero = g.ints(&[0]);
        let zeros = g.op("Mul", &[&shape, &zero], &[]);
        let dims = g.ints(&dims);
        let dims = g.op("Add", &[&dims, &zeros], &[]);
        let value = g.op("Reshape", &[&value, &dims], &[]);
        self.cast(value, stored, compute)
    }
}
