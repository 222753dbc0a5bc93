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
    /// Attention reads packed tokens where they are.
    InPlace(TokensInPlace),
    /// Rows are the flat slots of `[batch, sequence]`. `shape` holds `[batch, sequence, -1]`.
    Padded { shape: Value },
}

/// The index values with which attention finds tokens, see `lexivec_kernels::attention::Tokens`.
pub(super) struct TokensInPlace {
    /// int64 `[B, S]`.
    pub(super) kv_index: Value,
    /// int64 `[T]`.
    pub(super) token_index: Value,
    /// int64 `[B]`.
    pub(super) last_row: Value,
}

impl Wiring {
    /// The tokens, if attention reads them where they are.
    pub(super) fn in_place(&self) -> Option<&TokensInPlace> {
        match &self.sequences {
            SequenceLayout::InPlace(tokens) => Some(tokens),
            SequenceLayout::Packed { .. } | SequenceLayout::Padded { .. } => None,
        }
    }

    /// Declares the inputs of the packed layout.
    pub(super) fn packed(ops: &mut Ops<'_>, ids: Value) -> Wiring {
        let g = &mut ops.graph;
        // Attention that applies rotary embeddings itself also counts positions itself.
        let positions = match ops.style.dialect.fused_attention() {
            Some(_) => Value::none(),
            None => g.input("position_ids", DType::I64, &["T"]),
        };
        let kv_index = g.input("kv_index", DType::I64, &["B", "S"]);
        if ops.style.dialect.packed_attention().is_some() {
            return Wiring {
                ids,
                positions,
                rectangle: kv_index.clone(),
                sequences: SequenceLayout::InPlace(TokensInPlace {
                    kv_index,
                    token_index: g.input("token_index", DType::I64, &["T"]),
                    last_row: g.input("last_row", DType::I64, &["B"]),
                }),
            };
        }
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
                    true => [(Cached::Key, k), (Cached::Value, v)]
                        .map(|(what, rows)| with_prefix(ops, layer, what, rows, d)),
                    false => [k.clone(), v.clone()],
                };
                let [k, v] = [k, v].map(|rows| ops.graph.op("Gather", &[&rows, kv_index], &[]));
                [q, k, v]
            }
            SequenceLayout::InPlace(_) => qkv.map(Value::clone),
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
            SequenceLayout::InPlace(_) => rows.clone(),
            SequenceLayout::Padded { shape } => ops.graph.op("Reshape", &[rows, shape], &[]),
        }
    }

    /// Turns the flat slots of attention's output into tokens.
    pub(super) fn to_rows(&self, ops: &mut Ops<'_>, slots: Value) -> Value {
        match &self.sequences {
            SequenceLayout::Packed { token_index, .. } => {
                ops.graph.op("Gather", &[&slots, token_index], &[])
            }
            SequenceLayout::InPlace(_) | SequenceLayout::Padded { .. } => slots,
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
            // Attention already had only these queries.
            SequenceLayout::InPlace(tokens) => (
                slots,
                ops.graph.op("Gather", &[&rows, &tokens.last_row], &[]),
            ),
            SequenceLayout::Padded { .. } => (slots, rows),
        }
    }
}

/// The contents of the KV cache.
#[derive(Clone, Copy)]
pub(super) enum Cached {
    Key,
    Value,
}

impl Cached {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }

    /// Declares the input of cached rows, `[P, kv_heads * D]`.
    pub(super) fn input(self, ops: &mut Ops<'_>, layer: usize, dtype: DType, d: &Decoder) -> Value {
        let name = format!("prefix_{}.{layer}", self.name());
        ops.graph.input(&name, dtype, &["P", &kv_width(d)])
    }

    /// Declares the output from which the runtime fills its KV cache: cached and computed rows, or only computed ones.
    pub(super) fn output(
        self,
        ops: &mut Ops<'_>,
        layer: usize,
        dtype: DType,
        rows: &Value,
        count: &str,
        d: &Decoder,
    ) {
        let name = format!("{}.{layer}", self.name());
        ops.graph.output(&name, rows, dtype, &[count, &kv_width(d)]);
    }
}

fn kv_width(d: &Decoder) -> String {
    (d.kv_heads * d.head_dim).to_string()
}

/// Puts the cached keys or values of prefixes before those of the computed tokens.
fn with_prefix(ops: &mut Ops<'_>, layer: usize, what: Cached, rows: &Value, d: &Decoder) -> Value {
    let dtype = ops.style.compute;
    let prefix = what.input(ops, layer, dtype, d);
    let axis = [("axis", Attribute::Int(0))];
    let all = ops.graph.op("Concat", &[&prefix, rows], &axis);
    what.output(ops, layer, dtype, &all, "P + T", d);
    all
}
