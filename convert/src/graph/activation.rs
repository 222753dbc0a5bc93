//! Activation functions of the MLP.
//!
//! To add one: accept its name for `hidden_act` in `models/src/decoder.rs`, add a variant to [`super::group_input::GroupInput`] that `mlp`
//! in [`super::decoder`] makes, and write its float form here. For int8 of target `cpu` it also needs a variant of `Rows` in
//! `lexivec_kernels::rows`, an operator (`quantize.rs` and `signature.rs` in `runtime/src/onnxruntime/operators/`) and its node
//! ([`super::own_int8`]). Calibration bounds activations by it (`calibrate/linear_group.rs`), and moves values between the layers before
//! and after it (`calibrate/float16_range.rs`).

use super::ops::Ops;
use crate::onnx::Value;

impl Ops<'_> {
    /// `silu(gate) * up` with `silu(x) = x * sigmoid(x)`. ONNX Runtime fuses `Sigmoid` and the first `Mul` to QuickGelu.
    pub(super) fn silu_mul(&mut self, gate: &Value, up: &Value) -> Value {
        let sigmoid = self.graph.op("Sigmoid", &[gate], &[]);
        let silu = self.graph.op("Mul", &[gate, &sigmoid], &[]);
        self.graph.op("Mul", &[&silu, up], &[])
    }
}
