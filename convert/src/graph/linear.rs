//! Linear layers, by themselves or stacked, in floats or in integers.

use super::builder::{Attribute, DType, Value};
use super::ops::{Linears, Ops, WeightSource, stacked_name};
use crate::blocks::BlockQuantized;
use crate::error::Result;
use crate::float8::Float8;
use crate::quantize::{Product, Quantized};
use crate::weights::Tensor;

/// One linear layer: `y = x Wᵀ (+ b)` with W stored `[outputs, inputs]`, as checkpoints store it.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    /// The tensor's name without `.weight`.
    pub(super) name: String,
    pub(super) outputs: usize,
    pub(super) bias: bool,
}

/// What computes the input of a linear layer.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The norm with these weights.
    Norm(String),
    /// Anything else.
    Product,
}

impl Ops<'_> {
    /// Applies several linear layers to the same input, which is quantised once: as one product whose parts are split
    /// afterwards where the dialect [stacks](super::dialect::Dialect::stacks) layers, or each by itself.
    pub(super) fn project(
        &mut self,
        x: &Value,
        inputs: usize,
        origin: &Origin,
        layers: &[Projection],
    ) -> Result<Vec<Value>> {
        let stacked = self.style.dialect.stacks(self.style.compute);
        let together = if stacked { layers.len() } else { 1 };
        let products = self.products(x, inputs, origin, layers, together)?;
        let widths: Vec<usize> = layers.iter().map(|l| l.outputs).collect();
        Ok(match products.as_slice() {
            [stacked] => self.graph.split(stacked, &widths),
            _ => products,
        })
    }

    /// Applies several linear layers to the same input as one product, their outputs side by side.
    pub(super) fn project_stacked(
        &mut self,
        x: &Value,
        inputs: usize,
        origin: &Origin,
        layers: &[Projection],
    ) -> Result<Value> {
        let mut products = self.products(x, inputs, origin, layers, layers.len())?;
        Ok(products.swap_remove(0))
    }

    /// The products of layers of which so many are stacked.
    fn products(
        &mut self,
        x: &Value,
        inputs: usize,
        origin: &Origin,
        layers: &[Projection],
        together: usize,
    ) -> Result<Vec<Value>> {
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
        self.taps.push((name.clone(), x.clone(), inputs));
        let quantized = match self.style.linears {
            Linears::Float => None,
            Linears::Int8 => {
                let quantized = Quantized::round_to_nearest(weights.clone())?;
                Some(Product::Int8(quantized.into()))
            }
            Linears::Float8 => {
                let weights = Float8::round_to_nearest(weights.clone())?;
                Some(Product::Float8(weights.into()))
            }
            Linears::Blocks(format) => Some(Product::NearestBlocks(format)),
            Linears::Planned(products) => products.get(&name).cloned(),
        };
        let widths: Vec<usize> = layers.iter().map(|l| l.outputs).collect();
        let rows: Vec<usize> = widths.chunks(together).map(|w| w.iter().sum()).collect();
        let biases: Vec<Value> = biases
            .chunks(together)
            .map(|b| self.constant(b.to_vec()))
            .collect();
        let stacks: Vec<&[Tensor]> = weights.chunks(together).collect();
        let names = stacks.iter().map(|w| stacked_name(w));
        let products = match quantized {
            Some(Product::Int8(codes)) => {
                let parts = names.zip(codes.split(&rows)).collect();
                self.int8_products(x, parts, 1)
            }
            Some(Product::Int8x2(codes)) => {
                let parts = names.zip(codes.split(&rows)).collect();
                self.int8_products(x, parts, 2)
            }
            Some(Product::Blocks(codes)) => {
                let parts = names.zip(codes.split(&rows)).collect();
                self.block_products(x, parts)
            }
            Some(Product::Float8(codes)) => {
                let parts = names.zip(codes.split(&rows)).collect();
                self.float8_products(x, inputs, origin, parts)?
            }
            Some(Product::NearestBlocks(format)) => {
                let codes = BlockQuantized::round_to_nearest(weights.clone(), format)?;
                let parts = names.zip(codes.split(&rows)).collect();
                self.block_products(x, parts)
            }
            None => {
                let mut biases = biases.into_iter();
                let product = |w: &&[Tensor]| {
                    let weight = self.float_weight(x, w.to_vec());
                    self.gemm(x, &weight, biases.next())
                };
                return Ok(stacks.iter().map(product).collect());
            }
        };
        Ok(match biases.is_empty() {
            true => products,
            false => products
                .iter()
                .zip(&biases)
                .map(|(product, bias)| self.graph.op("Add", &[product, bias], &[]))
                .collect(),
        })
    }

    /// The weights of a product that computes in floats.
    fn float_weight(&mut self, x: &Value, mut weights: Vec<Tensor>) -> Value {
        match (self.style.source, self.style.linears, weights.len()) {
            (WeightSource::Checkpoint, _, 1) => self.constant_after(x, weights.swap_remove(0)),
            (WeightSource::Own, Linears::Planned(_), _) => self.narrow_constant(weights),
            _ => self.constant(weights),
        }
    }

    /// One linear layer.
    pub(super) fn linear(&mut self, x: &Value, inputs: usize, layer: Projection) -> Result<Value> {
        let mut products = self.project(x, inputs, &Origin::Product, &[layer])?;
        Ok(products.swap_remove(0))
    }

    /// `Gemm` with the weight transposed: rows of the checkpoint are used as they are, without a transposed copy.
    fn gemm(&mut self, x: &Value, weight: &Value, bias: Option<Value>) -> Value {
        let trans = [("transB", Attribute::Int(1))];
        match bias {
            Some(bias) => self.graph.op("Gemm", &[x, weight, &bias], &trans),
            None => self.graph.op("Gemm", &[x, weight], &trans),
        }
    }

    /// Weights that a quantised graph keeps as floats: in the checkpoint's type, which halves their file, and widened
    /// when the model is loaded. Folded ones have values that only float32 holds.
    fn narrow_constant(&mut self, tensors: Vec<Tensor>) -> Value {
        let compute = self.style.compute;
        let stored = match tensors.split_first() {
            Some((first, rest))
                if tensors.iter().all(|t| t.fold.is_none())
                    && rest.iter().all(|t| t.stored == first.stored) =>
            {
                first.stored.into()
            }
            _ => compute,
        };
        let name = stacked_name(&tensors);
        let value = self.store(tensors, &name, stored);
        self.cast(value, stored, compute)
    }

    /// A weight in the checkpoint's file, widened only once `x` is there. A cast that depends on constants alone may run
    /// before everything else, and then all widened weights would be in memory at once; here the weight's shape takes a
    /// detour over the shape of `x`.
    fn constant_after(&mut self, x: &Value, weight: Tensor) -> Value {
        let (stored, compute) = (DType::from(weight.stored), self.style.compute);
        if stored == compute || weight.fold.is_some() {
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
