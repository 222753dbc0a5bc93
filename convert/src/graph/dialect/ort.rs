//! The dialect of ONNX Runtime's own operators on CPUs.

use super::{Dialect, HeadCounts, Lengths};
use crate::onnx::{Attribute, CONTRIB, Graph, Value};
use crate::tensor::DType;

/// The portable CPU dialect. It uses GroupQueryAttention, which keeps a score for each head and pair of tokens. Norms are operators of
/// their own, because its CPU kernel rejects their weights.
pub(super) struct Ort;

impl Dialect for Ort {
    fn keeps_prefixes(&self) -> bool {
        true
    }

    /// Not in float32, because splitting a result copies it and a CPU gains nothing from fewer matrix products. 16-bit graphs are
    /// stacked: ONNX Runtime computes them in float32 and skips the rounding between two operators, except at a split. There
    /// verification sees values that float16 cannot hold.
    fn stacks(&self, compute: DType) -> bool {
        compute != DType::F32
    }

    fn lengths(&self, g: &mut Graph, rectangle: &Value) -> Option<Lengths> {
        let [batch, sequence] = g.shape_of(rectangle);
        let to = [("to", Attribute::Int(DType::I32 as i64))];
        let sequence = g.op("Cast", &[&sequence], &to);
        let total = g.op("Squeeze", &[&sequence], &[]);
        let one = g.scalar(DType::I32, &1i32.to_le_bytes());
        let last = g.op("Sub", &[&sequence, &one], &[]);
        let last = g.op("Expand", &[&last, &batch], &[]);
        Some(Lengths { total, last })
    }

    fn attention(
        &self,
        g: &mut Graph,
        _compute: DType,
        [q, k, v]: [&Value; 3],
        heads: HeadCounts,
        lengths: Option<&Lengths>,
    ) -> Value {
        let none = Value::none();
        let (last, total) = lengths.map_or((&none, &none), |l| (&l.last, &l.total));
        let inputs = [q, k, v, &none, &none, last, total];
        let attributes = [
            ("num_heads", Attribute::Int(heads.query as i64)),
            ("kv_num_heads", Attribute::Int(heads.key_value as i64)),
        ];
        let [y] = g.op_n("GroupQueryAttention", CONTRIB, &inputs, [true], &attributes);
        y
    }

    /// uint8 around 128 always fuses to one integer matrix product, and U8S8 has the fast kernels.
    fn activation_zero(&self) -> (DType, u8) {
        (DType::U8, 128)
    }
}
