//! The graph's inputs and outputs, and how rows become sequences for attention and rows again.
//!
//! *Packed* (our runtime's): every distinct prefix of a batch is one row; index tensors say which rows a sequence
//! reads. *Padded* (other tools'): `input_ids` and `attention_mask`, `[batch, sequence]`, padded on either side.

use lexivec_models::Decoder;

use super::builder::{Attribute, DType, Graph, Value};
use super::decoder;
use super::ops::Ops;
use crate::error::Result;

/// The seam between rows and sequences.
pub(super) struct Wiring {
    /// Token ids, int64 `[rows]`.
    pub(super) ids: Value,
    /// Position of each row in its sequence, int64 `[rows]`; none where attention rotates inside.
    pub(super) positions: Value,
    /// A value of shape `[B, S]`: sequences, and the length of the longest.
    pub(super) rectangle: Value,
    kind: Kind,
}

enum Kind {
    Packed {
        kv_index: Value,
        query_index: Value,
        token_index: Value,
        last_row: Value,
        last_slot: Value,
    },
    /// Rows are the flat slots of `[batch, sequence]`, `shape` is `[batch, sequence, -1]`.
    Padded { shape: Value },
}

impl Wiring {
    /// Query, key and value rows as `[B, S, width]`.
    pub(super) fn to_sequences(
        &self,
        ops: &mut Ops<'_>,
        layer: usize,
        qkv: [&Value; 3],
        d: &Decoder,
    ) -> [Value; 3] {
        match &self.kind {
            Kind::Packed {
                kv_index,
                query_index,
                ..
            } => {
                let [q, k, v] = qkv;
                let q = ops.graph.op("Gather", &[q, query_index], &[]);
                let [k, v] = match ops.style.dialect.keeps_prefixes() {
                    true => [("key", k), ("value", v)]
                        .map(|(what, rows)| with_prefix(ops, layer, what, rows, d)),
                    false => [k.clone(), v.clone()],
                };
                let [k, v] = [k, v].map(|rows| ops.graph.op("Gather", &[&rows, kv_index], &[]));
                [q, k, v]
            }
            Kind::Padded { shape } => qkv.map(|x| ops.graph.op("Reshape", &[x, shape], &[])),
        }
    }

    /// The stacked product of query, key and value as `[B, S, width]`.
    pub(super) fn stack_to_sequences(&self, ops: &mut Ops<'_>, rows: &Value) -> Value {
        match &self.kind {
            Kind::Packed { kv_index, .. } => ops.graph.op("Gather", &[rows, kv_index], &[]),
            Kind::Padded { shape } => ops.graph.op("Reshape", &[rows, shape], &[]),
        }
    }

    /// Attention's flat slots as rows.
    pub(super) fn to_rows(&self, ops: &mut Ops<'_>, slots: Value) -> Value {
        match &self.kind {
            Kind::Packed { token_index, .. } => ops.graph.op("Gather", &[&slots, token_index], &[]),
            Kind::Padded { .. } => slots,
        }
    }

    /// The last layer's attention slots and residual rows, of each sequence's last token where that is all that the
    /// graph returns.
    pub(super) fn select_last(
        &self,
        ops: &mut Ops<'_>,
        slots: Value,
        rows: Value,
    ) -> (Value, Value) {
        match &self.kind {
            Kind::Packed {
                last_row,
                last_slot,
                ..
            } => (
                ops.graph.op("Gather", &[&slots, last_slot], &[]),
                ops.graph.op("Gather", &[&rows, last_row], &[]),
            ),
            Kind::Padded { .. } => (slots, rows),
        }
    }
}

/// Puts the cached rows of an instruction prefix before the computed ones; the result is an output as well, which is
/// where such a cache comes from.
fn with_prefix(ops: &mut Ops<'_>, layer: usize, what: &str, rows: &Value, d: &Decoder) -> Value {
    let dtype = ops.style.compute;
    let width = (d.kv_heads * d.head_dim).to_string();
    let prefix = ops
        .graph
        .input(&format!("prefix_{what}.{layer}"), dtype, &["P", &width]);
    let all = ops
        .graph
        .op("Concat", &[&prefix, rows], &[("axis", Attribute::Int(0))]);
    ops.graph
        .output(&format!("{what}.{layer}"), &all, dtype, &["P + T", &width]);
    all
}

/// `input_ids` … -> `embedding` (see ARCHITECTURE.md, "The packed graph").
pub(super) fn packed(ops: &mut Ops<'_>, decoder: &Decoder) -> Result<()> {
    let ids = ops.graph.input("input_ids", DType::I64, &["T"]);
    let wiring = packed_wiring(ops, ids);
    let embedding = decoder::build(ops, decoder, &wiring)?;
    ops.graph.scope("");
    let hidden = decoder.hidden_size.to_string();
    ops.graph
        .output("embedding", &embedding, DType::F32, &["B", &hidden]);
    Ok(())
}

/// One layer of the packed graph by itself: `residual` -> `residual_out`, both float32 `[T, hidden]`, and the input of
/// every product of linear layers as an output of the product's name.
pub(super) fn layer(ops: &mut Ops<'_>, decoder: &Decoder, layer: usize) -> Result<()> {
    let hidden = decoder.hidden_size.to_string();
    let residual = ops.graph.input("residual", DType::F32, &["T", &hidden]);
    let wiring = packed_wiring(ops, Value::none());
    let sum = decoder::layer(ops, decoder, &wiring, layer, &residual)?;
    ops.graph.scope("");
    ops.graph
        .output("residual_out", &sum, DType::F32, &["T", &hidden]);
    for (name, value, width) in std::mem::take(&mut ops.taps) {
        ops.graph
            .output(&tap(&name), &value, DType::F32, &["T", &width.to_string()]);
    }
    Ok(())
}

/// The name of the output that shows a product's input.
pub(crate) fn tap(product: &str) -> String {
    format!("{product}.input")
}

/// The inputs that say which rows form a sequence.
fn packed_wiring(ops: &mut Ops<'_>, ids: Value) -> Wiring {
    let g = &mut ops.graph;
    // Attention that rotates inside counts positions by itself.
    let positions = match ops.style.dialect.fused_attention() {
        Some(_) => Value::none(),
        None => g.input("position_ids", DType::I64, &["T"]),
    };
    let kv_index = g.input("kv_index", DType::I64, &["B", "S"]);
    // Where no rows are kept of earlier batches, a position asks with the row that it reads.
    let query_index = match ops.style.dialect.keeps_prefixes() {
        true => g.input("query_index", DType::I64, &["B", "S"]),
        false => kv_index.clone(),
    };
    let token_index = g.input("token_index", DType::I64, &["T"]);
    let last_row = g.input("last_row", DType::I64, &["B"]);
    let last_slot = g.input("last_slot", DType::I64, &["B"]);
    Wiring {
        ids,
        positions,
        rectangle: kv_index.clone(),
        kind: Kind::Packed {
            kv_index,
            query_index,
            token_index,
            last_row,
            last_slot,
        },
    }
}

/// `input_ids`, `attention_mask` -> `sentence_embedding` (last token, L2-normalised), `last_hidden_state`.
///
/// Sequences padded on the left are moved to the left edge first, and their states back afterwards, so that inside
/// every sequence starts at position 0 and causality alone hides the padding. The ones of a mask must be contiguous,
/// as every tokenizer's are.
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

    // Left padding is the place of the first one in the mask.
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
        kind: Kind::Padded {
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

    // The last token of the moved sequence sits at its length - 1.
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
