//! For ONNX Runtime's CUDA provider, in two forms of attention that a card has to choose between.
//!
//! Neither has nodes for the CPU, which would keep a batch from being one CUDA graph, nor inputs for kept prefixes, whose
//! rows would travel to the device with every batch. Linear layers are products by themselves: a product that is split is
//! copied, which costs more memory and time than one launch saves.

use lexivec_models::Attention;

use super::super::builder::{Attribute, CONTRIB, DType, Graph, Value};
use super::{Dialect, FusedAttention, Heads, Lengths, RotaryTables};

/// The two forms differ in what computes attention.
pub(super) struct Cuda {
    pub(super) attention: Attention,
}

impl Dialect for Cuda {
    fn keeps_prefixes(&self) -> bool {
        false
    }

    fn stacks(&self, _compute: DType) -> bool {
        false
    }

    /// Inputs of the graph: computed in it, they would be nodes for the CPU.
    fn lengths(&self, g: &mut Graph, _rectangle: &Value) -> Option<Lengths> {
        (self.attention == Attention::Grouped).then(|| Lengths {
            last: g.input("seqlens_k", DType::I32, &["B"]),
            total: g.input("total_sequence_length", DType::I32, &[]),
        })
    }

    fn attention(
        &self,
        g: &mut Graph,
        _compute: DType,
        qkv: [&Value; 3],
        heads: Heads,
        _lengths: Option<&Lengths>,
    ) -> Value {
        super::standard::causal_attention(g, qkv, heads)
    }

    fn fused_attention(&self) -> Option<&dyn FusedAttention> {
        (self.attention == Attention::Grouped).then_some(self)
    }

    /// GemmFloat8 hands both to cuBLASLt. It allocates its workspace with every product, so that no CUDA graph can hold it.
    fn float8_product(
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
        // No scale of the output: cuBLASLt takes one for outputs of 8 bits alone and rejects the product otherwise.
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
        tables: &RotaryTables,
        heads: Heads,
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
            // position_ids, attention_bias, head_sink, k_scale and v_scale are left out.
            inputs.extend([&none; 5]);
            inputs.extend([query, key]);
        }
        let attributes = [
            ("num_heads", Attribute::Int(heads.query as i64)),
            ("kv_num_heads", Attribute::Int(heads.key_value as i64)),
            ("do_rotary", Attribute::Int(1)),
            ("qk_norm_epsilon", Attribute::Float(epsilon)),
        ];
        // The kernel refuses to run without places for its keys and values, which nobody reads.
        let wanted = [true, true, true];
        let [y, _, _] = g.op_n("GroupQueryAttention", CONTRIB, &inputs, wanted, &attributes);
        y
    }
}
