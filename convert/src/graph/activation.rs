//! Activation functions of the MLP.
//!
//! To add one: write it as a method here, call it from `mlp` in [`super::decoder`], and accept its name for `hidden_act` in
//! `models/src/decoder.rs`.

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
