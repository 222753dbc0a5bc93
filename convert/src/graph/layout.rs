//! The inputs and outputs of a whole graph.
//!
//! *Packed*, for lexivec's runtime: each distinct prefix of a batch is one packed token, and index tensors say which tokens a sequence
//! reads. *Padded*, for other tools: `input_ids` and `attention_mask`, `[batch, sequence]`, padded on either side.

use lexivec_models::Decoder;

use super::decoder;
use super::ops::Ops;
use super::wiring::{SequenceLayout, Wiring};
use crate::error::Result;
use crate::onnx::{Attribute, Graph, Value};
use crate::tensor::DType;

/// `input_ids` … -> `embedding` (see ARCHITECTURE.md, "The packed graph").
pub(super) fn packed(ops: &mut Ops<'_>, decoder: &Decoder) -> Result<()> {
    let ids = ops.graph.input("input_ids", DType::I64, &["T"]);
    let wiring = Wiring::packed(ops, ids);
    let embedding = decoder::build(ops, decoder, &wiring)?;
    ops.graph.scope("");
    let hidden = decoder.hidden_size.to_string();
    ops.graph
        .output("embedding", &embedding, DType::F32, &["B", &hidden]);
    Ok(())
}

/// A single layer of the packed graph: `residual` -> `residual_out`, both float32 `[T, hidden]`. Every activation hook is
/// an output too ([`hook_name`]).
pub(super) fn layer(ops: &mut Ops<'_>, decoder: &Decoder, layer: usize) -> Result<()> {
    let hidden = decoder.hidden_size.to_string();
    let residual = ops.graph.input("residual", DType::F32, &["T", &hidden]);
    let wiring = Wiring::packed(ops, Value::none());
    let sum = decoder::layer(ops, decoder, &wiring, layer, &residual)?;
    ops.graph.scope("");
    ops.graph
        .output("residual_out", &sum, DType::F32, &["T", &hidden]);
    for hook in std::mem::take(&mut ops.hooks) {
        ops.graph.output(
            &hook_name(&hook.linear),
            &hook.input,
            DType::F32,
            &["T", &hook.width.to_string()],
        );
    }
    Ok(())
}

/// The name of the output that shows the input of a linear group.
pub(crate) fn hook_name(linear: &str) -> String {
    format!("{linear}.input")
}

/// `input_ids`, `attention_mask` -> `sentence_embedding` (last token, L2-normalised), `last_hidden_state`.
///
/// Sequences that are padded on the left are moved to the left edge first, and their hidden states are moved back at the
/// end. In between every sequence starts at position 0, so causality alone hides the padding. The ones of a mask must be
/// contiguous, which is what every tokenizer produces.
pub(super) fn padded(ops: &mut Ops<'_>, decoder: &Decoder) -> Result<()> {
    let g = &mut ops.graph;
    let ids = g.input("input_ids", DType::I64, &["batch", "sequence"]);
    let mask = g.input("attention_mask", DType::I64, &["batch", "sequence"]);
    let [batch, sequence] = g.shape_of(&ids);
    let rectangle = ids.clone();
    let hidden = decoder.hidden_size as i64;

    // 0 1 … S-1 for every sequence.
    let length = g.op("Squeeze", &[&sequence], &[]);
    let (zero, one) = (
        g.scalar(DType::I64, &0i64.to_le_bytes()),
        g.scalar(DType::I64, &1i64.to_le_bytes()),
    );
    let slots = g.op("Range", &[&zero, &length, &one], &[]);
    let shape = join(g, &[&batch, &sequence]);
    let grid = g.op("Expand", &[&slots, &shape], &[]);

    // The amount of left padding is the index of the first one in the mask.
    let keep = [("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(1))];
    let offset = g.op("ArgMax", &[&mask], &keep);
    let moved = g.op("Add", &[&grid, &offset], &[]);
    let moved = g.op("Mod", &[&moved, &sequence], &[]);
    let back = g.op("Sub", &[&grid, &offset], &[]);
    let back = g.op("Mod", &[&back, &sequence], &[]);

    let axis = [("axis", Attribute::Int(1))];
    let ids = g.op("GatherElements", &[&ids, &moved], &axis);
    let flat = g.ints(&[-1]);
    let ids = g.op("Reshape", &[&ids, &flat], &[]);
    let positions = g.op("Reshape", &[&grid, &flat], &[]);
    let minus_one = g.ints(&[-1]);
    let shape = join(g, &[&batch, &sequence, &minus_one]);
    let wiring = Wiring {
        ids,
        positions,
        rectangle,
        sequences: SequenceLayout::Padded {
            shape: shape.clone(),
        },
    };
    let states = decoder::build(ops, decoder, &wiring)?;

    ops.graph.scope("");
    let g = &mut ops.graph;
    let states = g.op("Reshape", &[&states, &shape], &[]);
    let width = g.ints(&[hidden]);
    let full = join(g, &[&batch, &sequence, &width]);
    let last = g.ints(&[2]);
    let unsqueezed = g.op("Unsqueeze", &[&back, &last], &[]);
    let index = g.op("Expand", &[&unsqueezed, &full], &[]);
    let hidden_state = g.op("GatherElements", &[&states, &index], &axis);
    let dims = ["batch", "sequence", &hidden.to_string()];
    g.output("last_hidden_state", &hidden_state, DType::F32, &dims);

    // The last token of a moved sequence is at its length - 1.
    let one_axis = g.ints(&[1]);
    let count = g.op(
        "ReduceSum",
        &[&mask, &one_axis],
        &[("keepdims", Attribute::Int(1))],
    );
    let count = g.op("Sub", &[&count, &one], &[]);
    let count = g.op("Unsqueeze", &[&count, &last], &[]);
    let one_row = g.ints(&[1]);
    let pooled_shape = join(g, &[&batch, &one_row, &width]);
    let index = g.op("Expand", &[&count, &pooled_shape], &[]);
    let pooled = g.op("GatherElements", &[&states, &index], &axis);
    let pooled = g.op("Squeeze", &[&pooled, &one_axis], &[]);
    let norm = g.op(
        "ReduceL2",
        &[&pooled, &one_axis],
        &[("keepdims", Attribute::Int(1))],
    );
    let unit = g.op("Div", &[&pooled, &norm], &[]);
    g.output(
        "sentence_embedding",
        &unit,
        DType::F32,
        &["batch", &hidden.to_string()],
    );
    Ok(())
}

/// Joins int64 vectors into a shape.
fn join(g: &mut Graph, parts: &[&Value]) -> Value {
    g.op("Concat", parts, &[("axis", Attribute::Int(0))])
}
