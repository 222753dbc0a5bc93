//! The ONNX graph of a decoder, built in layers that each hide the one below:
//!
//! * [`builder`] – nodes, names, initializers, protobuf;
//! * [`dialect`] – the operators of each target;
//! * [`ops`] – one method per operation of the network, in the dialect of the chosen target and in the chosen precision;
//! * [`linear`] – linear layers;
//! * [`integers`] – products with weights that are integers;
//! * [`float8`] – products of 8-bit floats;
//! * [`decoder`] – the network itself, as the paper draws it;
//! * [`layout`] – the graph's inputs and outputs: packed rows, or padded sequences.

mod builder;
mod decoder;
mod dialect;
mod float8;
mod integers;
mod layout;
mod linear;
mod ops;

pub(crate) use builder::{DType, Data, Initializer, Model};
pub(crate) use layout::tap;
use lexivec_models::{Attention, Blocks, Compute, Decoder, GraphForm, Layout, Precision, Target};

use crate::blocks::Format;
use crate::error::Result;
use crate::quantize::Products;
use crate::weights::Weights;
use ops::{Linears, Ops, Style, WeightSource};

/// Which graph to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Variant {
    pub(crate) precision: Precision,
    pub(crate) target: Target,
    /// For target `cuda`.
    pub(crate) attention: Attention,
    pub(crate) layout: Layout,
    /// For precisions of weights alone.
    pub(crate) blocks: Blocks,
    /// What the weights that are folded in multiply the residual stream by.
    pub(crate) residual: f32,
}

impl Variant {
    /// Whether weights are integers.
    pub(crate) fn is_quantised(&self) -> bool {
        matches!(self.precision, Precision::Int8 | Precision::Fp8) || self.format().is_some()
    }

    /// Whether activations are float16.
    pub(crate) fn computes_in_float16(&self) -> bool {
        self.precision == Precision::Fp16
            || self.precision == Precision::Fp8 && self.target == Target::Cuda
            || self.format().is_some() && self.blocks.compute == Compute::Fp16
    }

    /// What decides who can run it.
    pub(crate) fn form(&self) -> GraphForm {
        GraphForm {
            precision: self.precision,
            compute: self.format().map(|_| self.blocks.compute),
            target: self.target,
            attention: self.attention,
        }
    }

    /// The codes of weights, where they alone are integers.
    pub(crate) fn format(&self) -> Option<Format> {
        self.precision.weight_bits().map(|bits| Format {
            bits,
            size: self.blocks.size,
            zero_points: self.blocks.zero_points,
        })
    }

    /// The codes of the embedding table: 8 bits, for what a text's rows lose of 4 every layer loses. It is a tenth of a
    /// 4B model.
    fn table(&self) -> Option<Format> {
        self.format().map(|format| Format { bits: 8, ..format })
    }
}

/// Builds the graph of `decoder` with the initializers' sources, none of which is read yet but by quantisation. A quantised
/// graph computes the `products` as they say, or every linear layer with weights rounded to nearest.
///
/// # Errors
/// A tensor that is missing, misshapen or of an unknown type.
pub(crate) fn build(
    decoder: &Decoder,
    weights: &Weights,
    variant: Variant,
    products: Option<&Products>,
) -> Result<Model> {
    let plain = |compute| Style::plain(dialect::of(variant.target, variant.attention), compute);
    let style = match variant.precision {
        Precision::Fp32 => plain(DType::F32),
        Precision::Fp16 => plain(DType::F16),
        Precision::Bf16 => Style {
            // Other tools get one self-contained data file; our own runtime shares the checkpoint's.
            source: match variant.target {
                _ if !weights.can_be_referred_to() => WeightSource::Own,
                Target::Ort | Target::Cuda => WeightSource::Checkpoint,
                Target::Standard | Target::TensorRt => WeightSource::Own,
            },
            ..plain(DType::Bf16)
        },
        Precision::Int8 => Style {
            linears: products.map_or(Linears::Int8, Linears::Planned),
            ..plain(DType::F32)
        },
        Precision::Fp8 => {
            // Elsewhere it is simulated, in the type of the reference.
            let compute = match variant.target {
                Target::Cuda => DType::F16,
                Target::Ort | Target::Standard | Target::TensorRt => DType::F32,
            };
            Style {
                linears: products.map_or(Linears::Float8, Linears::Planned),
                ..plain(compute)
            }
        }
        Precision::Int8Weight | Precision::Int4Weight => {
            let compute = match variant.blocks.compute {
                Compute::Fp32 => DType::F32,
                Compute::Fp16 => DType::F16,
            };
            let nearest = variant.format().map_or(Linears::Float, Linears::Blocks);
            Style {
                linears: products.map_or(nearest, Linears::Planned),
                table: variant.table(),
                ..plain(compute)
            }
        }
    };
    let style = Style {
        residual: variant.residual,
        ..style
    };
    finish(decoder, Ops::new(weights, style), variant.layout)
}

/// Builds the float32 reference of a checkpoint: a graph that reads the checkpoint's own files and widens each weight
/// when it is used. Nothing has to be written for it, and no more than one widened weight is in memory at a time.
pub(crate) fn reference(decoder: &Decoder, weights: &Weights) -> Result<Model> {
    let style = Style {
        source: WeightSource::Checkpoint,
        ..Style::plain(dialect::of(Target::Ort, Attention::Standard), DType::F32)
    };
    finish(decoder, Ops::new(weights, style), Layout::Packed)
}

/// Builds one layer of the packed graph by itself: the reference's arithmetic but for the `products`, which compute as
/// they say. The weights multiply the residual stream by `residual`.
pub(crate) fn layer(
    decoder: &Decoder,
    weights: &Weights,
    layer: usize,
    products: &Products,
    residual: f32,
) -> Result<Model> {
    let style = Style {
        residual,
        source: WeightSource::Checkpoint,
        linears: Linears::Planned(products),
        ..Style::plain(dialect::of(Target::Ort, Attention::Standard), DType::F32)
    };
    let mut ops = Ops::new(weights, style);
    layout::layer(&mut ops, decoder, layer)?;
    Ok(ops.graph.into_model())
}

fn finish(decoder: &Decoder, mut ops: Ops<'_>, layout: Layout) -> Result<Model> {
    match layout {
        Layout::Packed => layout::packed(&mut ops, decoder)?,
        Layout::Padded => layout::padded(&mut ops, decoder)?,
    }
    Ok(ops.graph.into_model())
}
