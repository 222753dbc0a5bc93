//! The ONNX graph of a decoder, from the network down to operators. Each file uses those below it:
//!
//! * [`layout`] – the inputs and outputs of a whole graph: packed tokens, or padded sequences;
//! * [`decoder`] – the network, as its paper draws it;
//! * [`wiring`] – tokens to sequences and back, for attention;
//! * [`linear`] – linear layers in every arithmetic, with [`integer_linear`], [`own_int8`], [`own_blocks`] and [`float8_linear`];
//! * [`group_input`] – what a linear group reads, written when its arithmetic is known;
//! * [`activation`] – activation functions: **add one here**;
//! * [`ops`] – the other operations: embedding lookup, norms, rotary embeddings, constants;
//! * [`precision`] – what each precision means: **add one here**;
//! * [`dialect`] – the operators of each target.
//!
//! Graphs are made of the nodes and initializers of [`crate::onnx`], which knows nothing of decoders.

mod activation;
mod activation_codes;
mod decoder;
mod dialect;
mod float8_linear;
mod group_input;
mod integer_linear;
mod layout;
mod linear;
mod ops;
mod own_blocks;
mod own_int8;
mod precision;
mod variant;
mod wiring;

use lexivec_models::{AttentionForm, Decoder, Layout, Target};

pub(crate) use layout::hook_name;
pub(crate) use variant::Variant;

use crate::error::Result;
use crate::onnx::OnnxModel;
use crate::quantized::QuantizedLinears;
use crate::tensor::DType;
use crate::weights::Weights;
use ops::{LinearArithmetic, Ops, Style, WeightSource};

/// Builds the graph of a decoder. Weights are only read later, when the graph is written, unless they are rounded to
/// nearest here. `calibrated` holds the quantised linear groups that calibration chose.
///
/// # Errors
/// A tensor is missing, or has another shape or a type that is not read.
pub(crate) fn build(
    decoder: &Decoder,
    weights: &Weights,
    variant: Variant,
    calibrated: Option<&QuantizedLinears>,
) -> Result<OnnxModel> {
    let style = precision::style(variant, calibrated, weights.can_be_referred_to());
    finish(decoder, Ops::new(weights, style), variant.layout)
}

/// Builds the float32 reference of a checkpoint: a graph that reads the checkpoint's own files and widens each weight
/// when it is used. Nothing has to be written for it, and at most one widened weight is in memory at a time.
///
/// # Errors
/// A tensor is missing, or has another shape or a type that is not read.
pub(crate) fn reference(decoder: &Decoder, weights: &Weights) -> Result<OnnxModel> {
    let style = Style {
        source: WeightSource::Checkpoint,
        ..Style::plain(
            dialect::of(Target::Ort, AttentionForm::Standard),
            DType::F32,
        )
    };
    finish(decoder, Ops::new(weights, style), Layout::Packed)
}

/// Builds a single layer of the packed graph. It computes like the reference except for the `quantized` linear groups.
/// Its integer products are those of target `cpu`, which are exact on every processor, or of `ort`, which saturate where a CPU lacks
/// VNNI. `residual` is the factor of the residual stream that is folded into the weights.
///
/// # Errors
/// A tensor is missing, or has another shape or a type that is not read.
pub(crate) fn layer(
    decoder: &Decoder,
    weights: &Weights,
    layer: usize,
    quantized: &QuantizedLinears,
    residual: f32,
    target: Target,
) -> Result<OnnxModel> {
    let style = Style {
        residual,
        source: WeightSource::Checkpoint,
        linears: LinearArithmetic::Calibrated(quantized),
        ..Style::plain(dialect::of(target, AttentionForm::Standard), DType::F32)
    };
    let mut ops = Ops::new(weights, style);
    layout::layer(&mut ops, decoder, layer)?;
    Ok(ops.graph.into_model())
}

fn finish(decoder: &Decoder, mut ops: Ops<'_>, layout: Layout) -> Result<OnnxModel> {
    match layout {
        Layout::Packed => layout::packed(&mut ops, decoder)?,
        Layout::Padded => layout::padded(&mut ops, decoder)?,
    }
    Ok(ops.graph.into_model())
}
