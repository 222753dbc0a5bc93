//! The dialect of lexivec's own CPU kernels.

use lexivec_runtime::operators::{
    EPSILON, KV_NUM_HEADS, NUM_HEADS, PACKED_ATTENTION, PackedAttentionInput as Input,
};

use super::{Dialect, HeadCounts, Lengths, PackedAttention, PackedInputs, ort::Ort};
use crate::onnx::{Attribute, Graph, OWN, Value};
use crate::tensor::DType;

/// The dialect of ONNX Runtime's CPU provider with the operators of `lexivec-runtime`. What has no operator of our own is as in
/// [`Ort`].
pub(super) struct Cpu;

impl Dialect for Cpu {
    fn keeps_prefixes(&self) -> bool {
        true
    }

    fn stacks(&self, compute: DType) -> bool {
        Ort.stacks(compute)
    }

    fn attention(
        &self,
        g: &mut Graph,
        compute: DType,
        qkv: [&Value; 3],
        heads: HeadCounts,
        lengths: Option<&Lengths>,
    ) -> Value {
        Ort.attention(g, compute, qkv, heads, lengths)
    }

    fn packed_attention(&self) -> Option<&dyn PackedAttention> {
        Some(self)
    }

    fn has_own_linears(&self) -> bool {
        true
    }

    fn activation_zero(&self) -> (DType, u8) {
        Ort.activation_zero()
    }
}

impl PackedAttention for Cpu {
    fn attention(&self, g: &mut Graph, inputs: &PackedInputs<'_>) -> [Value; 2] {
        let [q, k, v] = inputs.qkv;
        let [prefix_key, prefix_value] = inputs.prefix;
        let none = Value::none();
        let [q_norm, k_norm] = inputs
            .norms
            .as_ref()
            .map_or([&none, &none], |[q, k]| [q, k]);
        let values = Input::ALL.map(|input| match input {
            Input::Query => q,
            Input::Key => k,
            Input::Value => v,
            Input::PrefixKey => prefix_key,
            Input::PrefixValue => prefix_value,
            Input::PositionIds => inputs.positions,
            Input::KvIndex => inputs.kv_index,
            Input::TokenIndex => inputs.token_index,
            Input::Cos => &inputs.tables.cos,
            Input::Sin => &inputs.tables.sin,
            Input::QueryNorm => q_norm,
            Input::KeyNorm => k_norm,
            Input::QueryTokens => inputs.query_tokens,
        });
        let attributes = [
            (NUM_HEADS, Attribute::Int(inputs.heads.query as i64)),
            (KV_NUM_HEADS, Attribute::Int(inputs.heads.key_value as i64)),
            (EPSILON, Attribute::Float(inputs.epsilon)),
        ];
        g.op_n(PACKED_ATTENTION, OWN, &values, [true, true], &attributes)
    }
}
