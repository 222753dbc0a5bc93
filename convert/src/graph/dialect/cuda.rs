//! The dialect of ONNX Runtime's CUDA provider, with two forms of attention.
//!
//! Neither form has nodes that run on the CPU, which would keep a batch from being one CUDA graph. Neither has inputs for cached
//! prefixes, because the KV cache would be copied to the device with every batch. Linear layers are not stacked, because
//! splitting a stacked result copies it, which costs more memory and time than saving a launch gains.

use lexivec_models::AttentionForm;

use super::{Dialect, FusedAttention, HeadCounts, Lengths, RotaryValues};
use crate::onnx::{Attribute, CONTRIB, Graph, Value};
use crate::tensor::DType;

/// The CUDA dialect with a form of attention.
pub(super) struct Cuda {
    pub(super) attention: AttentionForm,
}

impl Dialect for Cuda {
    fn keeps_prefixes(&self) -> bool {
        false
    }

    fn stacks(&self, _compute: DType) -> bool {
        false
    }

    /// Lengths are graph inputs, because nodes that compute them would run on the CPU.
    fn lengths(&self, g: &mut Graph, _rectangle: &Value) -> Option<Lengths> {
        (self.attention == AttentionForm::Grouped).then(|| Lengths {
            last: g.input("seqlens_k", DType::I32, &["B"]),
            total: g.input("total_sequence_length", DType::I32, &[]),
        })
    }

    fn attention(
        &self,
        g: &mut Graph,
        _compute: DType,
        qkv: [&Value; 3],
        heads: HeadCounts,
        _lengths: Option<&Lengths>,
    ) -> Value {
        super::standard::causal_attention(g, qkv, heads)
    }

    fn fused_attention(&self) -> Option<&dyn FusedAttention> {
        (self.attention == AttentionForm::Grouped).then_some(self)
    }

    /// GemmFloat8 calls cuBLASLt. It allocates its workspace with every call, so CUDA graphs cannot capture it.
    fn float8_matmul(
        &self,
        g: &mut Graph,
        compute: DType,
        x: &Value,
        weight: &Value,
        scales: [f32; 2],
    ) -> Value {
        let mut scale = |value: f32| {
            let name = g.unique("const");
            g.constant(name, DType::F32, vec![1], value.to_le_bytes().to_vec())
        };
        let [x_scale, weight_scale] = scales.map(&mut scale);
        // There is no scale of the output, because cuBLASLt accepts one only for 8-bit outputs.
        let inputs = [x, weight, &Value::none(), &x_scale, &weight_scale];
        let attributes = [
            ("transB", Attribute::Int(1)),
            ("dtype", Attribute::Int(compute as i64)),
        ];
        let [y] = g.op_n("GemmFloat8", CONTRIB, &inputs, [true], &attributes);
        y
    }

    fn activation_zero(&self) -> (DType, u8) {
        (DType::I8, 0)
    }
}

impl FusedAttention for Cuda {
    fn attention(
        &self,
        g: &mut Graph,
        qkv: &Value,
        norms: Option<[Value; 2]>,
        epsilon: f32,
        tables: &RotaryValues,
        heads: HeadCounts,
        lengths: &Lengths,
    ) -> Value {
        let none = Value::none();
        let mut inputs = vec![
            qkv,
            &none,
            &none,
            &none,
            &none,
            &lengths.last,
            &lengths.total,
        ];
        inputs.extend([&tables.cos, &tables.sin]);
        if let Some([query, key]) = &norms {
            // Leaves out position_ids, attention_bias, head_sink, k_scale and v_scale.
            inputs.extend([&none; 5]);
            inputs.extend([query, key]);
        }
        let attributes = [
            ("num_heads", Attribute::Int(heads.query as i64)),
            ("kv_num_heads", Attribute::Int(heads.key_value as i64)),
            ("do_rotary", Attribute::Int(1)),
            ("qk_norm_epsilon", Attribute::Float(epsilon)),
        ];
        // The kernel requires outputs for keys and values, although nothing reads them.
        let wanted = [true, true, true];
        let [y, _, _] = g.op_n("GroupQueryAttention", CONTRIB, &inputs, wanted, &attributes);
        y
    }
}
