//! ONNX Runtime's own operators, which the dialects of its CPU and CUDA providers share.
//!
//! They are written explicitly, because the runtime fuses neither an addition with the following norm nor the nodes of a
//! rotation.

use super::RotaryValues;
use crate::onnx::{Attribute, CONTRIB, Graph, Value};

/// Normalises with one operator.
pub(super) fn rms_norm(g: &mut Graph, x: &Value, weight: &Value, epsilon: f32) -> Value {
    let attributes = [
        ("axis", Attribute::Int(-1)),
        ("epsilon", Attribute::Float(epsilon)),
    ];
    g.op("SimplifiedLayerNormalization", &[x, weight], &attributes)
}

/// Adds and normalises with one operator.
pub(super) fn add_rms_norm(
    g: &mut Graph,
    x: &Value,
    residual: &Value,
    weight: &Value,
    epsilon: f32,
) -> (Value, Value) {
    let [normed, _, _, sum] = g.op_n(
        "SkipSimplifiedLayerNormalization",
        CONTRIB,
        &[x, residual, weight],
        [true, false, false, true],
        &[("epsilon", Attribute::Float(epsilon))],
    );
    (normed, sum)
}

/// Applies rotary embeddings at the given positions.
pub(super) fn rotary(
    g: &mut Graph,
    x: &Value,
    positions: &Value,
    tables: &RotaryValues,
    heads: usize,
) -> Value {
    let inputs = [x, positions, &tables.cos, &tables.sin];
    let heads = [("num_heads", Attribute::Int(heads as i64))];
    let [y] = g.op_n("RotaryEmbedding", CONTRIB, &inputs, [true], &heads);
    y
}
