//! The dialect of TensorRT, OpenVINO and other tools: only operators of opset 23.

use super::{Dialect, HeadCounts, Lengths, RotaryValues};
use crate::onnx::{Attribute, Graph, Value};
use crate::tensor::DType;

/// The standard dialect. TensorRT has no kernel for float32 attention, and rejects graphs that contain it.
pub(super) struct Standard {
    /// Whether attention computes in float16 although the graph computes in float32.
    pub(super) half_attention: bool,
}

impl Dialect for Standard {
    fn keeps_prefixes(&self) -> bool {
        false
    }

    fn stacks(&self, _compute: DType) -> bool {
        true
    }

    fn rms_norm(&self, g: &mut Graph, x: &Value, weight: &Value, epsilon: f32) -> Value {
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(epsilon)),
        ];
        g.op("RMSNormalization", &[x, weight], &attributes)
    }

    fn add_rms_norm(
        &self,
        g: &mut Graph,
        x: &Value,
        residual: &Value,
        weight: &Value,
        epsilon: f32,
    ) -> (Value, Value) {
        let sum = g.op("Add", &[residual, x], &[]);
        (self.rms_norm(g, &sum, weight, epsilon), sum)
    }

    fn rotary(
        &self,
        g: &mut Graph,
        x: &Value,
        positions: &Value,
        tables: &RotaryValues,
        heads: usize,
    ) -> Value {
        let inputs = [x, &tables.cos, &tables.sin, positions];
        let heads = [("num_heads", Attribute::Int(heads as i64))];
        g.op("RotaryEmbedding", &inputs, &heads)
    }

    fn attention(
        &self,
        g: &mut Graph,
        compute: DType,
        qkv: [&Value; 3],
        heads: HeadCounts,
        _lengths: Option<&Lengths>,
    ) -> Value {
        if !(self.half_attention && compute == DType::F32) {
            return causal_attention(g, qkv, heads);
        }
        let [q, k, v] = qkv.map(|x| g.cast(x, DType::F16));
        let y = causal_attention(g, [&q, &k, &v], heads);
        g.cast(&y, DType::F32)
    }

    /// TensorRT only accepts symmetric int8.
    fn activation_zero(&self) -> (DType, u8) {
        (DType::I8, 0)
    }
}

/// Attention-23 over three inputs of shape `[B, S, heads * D]`.
pub(super) fn causal_attention(g: &mut Graph, qkv: [&Value; 3], heads: HeadCounts) -> Value {
    let attributes = [
        ("is_causal", Attribute::Int(1)),
        ("q_num_heads", Attribute::Int(heads.query as i64)),
        ("kv_num_heads", Attribute::Int(heads.key_value as i64)),
    ];
    g.op("Attention", &qkv, &attributes)
}
