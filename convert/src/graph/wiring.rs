//! How tokens become sequences for attention, and sequences become tokens again.

use lexivec_models::Decoder;

use super::ops::Ops;
use crate::onnx::{Attribute, Value};
use crate::tensor::DType;

/// Maps tokens to sequences and back, in terms of a graph's inputs.
pub(super) struct Wiring {
    /// Token ids, int64 `[tokens]`.
    pub(super) ids: Value,
    /// Position of each token in its sequence, int64 `[tokens]`; [`Value::none`] if attention applies rotary embeddings itself.
    pub(super) positions: Value,
    /// A value of shape `[B, S]`: the number of sequences and the length of the longest one.
    pub(super) rectangle: Value,
    pub(super) sequences: SequenceLayout,
}

/// The index values of each layout.
pub(super) enum SequenceLayout {
    Packed {
        kv_index: Value,
        query_index: Value,
        token_index: Value,
        last_row: Value,
        last_slot: Value,
    },
    /// Rows are the flat slots of `[batch, sequence]`. `shape` holds `[batch, sequence, -1]`.
    Padded { shape: Value },
}

impl Wiring {
    /// Declares the inputs of the packed layout.
    pub(super) fn packed(ops: &mut Ops<'_>, ids: Value) -> Wiring {
        let g = &mut ops.graph;
        // Attention that applies rotary embeddings itself also counts positions itself.
        let positions = match ops.style.dialect.fused_attention() {
            Some(_) => Value::none(),
            None => g.input("position_ids", DType::I64, &["T"]),
        };
        let kv_index = g.input("kv_index", DType::I64, &["B", "S"]);
        // Without a KV cache, query tokens and key tokens are the same.
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
            sequences: SequenceLayout::Packed {
                kv_index,
                query_index,
                token_index,
                last_row,
                last_slot,
            },
        }
    }

    /// Turns the queries, keys and values of tokens into `[B, S, width]`.
    pub(super) fn to_sequences(
        &self,
        ops: &mut Ops<'_>,
        layer: usize,
        qkv: [&Value; 3],
        d: &Decoder,
    ) -> [Value; 3] {
        match &self.sequences {
            SequenceLayout::Packed {
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
            SequenceLayout::Padded { shape } => {
                qkv.map(|x| ops.graph.op("Reshape", &[x, shape], &[]))
            }
        }
    }

    /// Turns the stacked queries, keys and values of tokens into `[B, S, width]`.
    pub(super) fn stack_to_sequences(&self, ops: &mut Ops<'_>, rows: &Value) -> Value {
        match &self.sequences {
            SequenceLayout::Packed { kv_index, .. } => {
                ops.graph.op("Gather", &[rows, kv_index], &[])
            }
            SequenceLayout::Padded { shape } => ops.graph.op("Reshape", &[rows, shape], &[]),
        }
    }

    /// Turns the flat slots of attention's output into tokens.
    pub(super) fn to_rows(&self, ops: &mut Ops<'_>, slots: Value) -> Value {
        match &self.sequences {
            SequenceLayout::Packed { token_index, .. } => {
                ops.graph.op("Gather", &[&slots, token_index], &[])
            }
            SequenceLayout::Padded { .. } => slots,
        }
    }

    /// The last layer's attention slots and residual stream. In the packed layout, which returns nothing else, only those of
    /// each sequence's last token.
    pub(super) fn select_last(
        &self,
        ops: &mut Ops<'_>,
        slots: Value,
        rows: Value,
    ) -> (Value, Value) {
        match &self.sequences {
            SequenceLayout::Packed {
                last_row,
                last_slot,
                ..
            } => (
                ops.graph.op("Gather", &[&slots, last_slot], &[]),
                ops.graph.op("Gather", &[&rows, last_row], &[]),
            ),
            SequenceLayout::Padded { .. } => (slots, rows),
        }
    }
}

/// Puts the KV cache of a shared prompt prefix before the keys or values of the computed tokens. The result is also a graph output, from which the
/// runtime fills its prefix cache.
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
