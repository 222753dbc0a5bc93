//! The input of a linear group, as the operation that computes it. It is written only when the group's arithmetic is known,
//! because our own operators for 8-bit integers compute and quantise it in one pass.

use super::ops::Ops;
use crate::error::Result;
use crate::onnx::Value;

/// The residual stream as two addends, of which the second may be missing.
#[derive(Debug, Clone)]
pub(super) struct ResidualStream {
    pub(super) x: Value,
    pub(super) added: Option<Value>,
}

/// The input of a linear group.
#[derive(Debug, Clone)]
pub(super) enum GroupInput {
    /// The norm of the residual stream.
    Norm {
        stream: ResidualStream,
        /// The name of the norm's weights.
        weights: String,
        epsilon: f64,
    },
    /// `silu(gate) * up`.
    SwiGlu { gate: Value, up: Value },
    /// The result of any other operation.
    Value(Value),
}

impl Ops<'_> {
    /// Computes an input in floats. Also returns the sum of the residual stream's addends, if it is a norm's input.
    pub(super) fn float_input(
        &mut self,
        input: &GroupInput,
        width: usize,
    ) -> Result<(Value, Option<Value>)> {
        Ok(match input {
            GroupInput::Norm {
                stream,
                weights,
                epsilon,
            } => match &stream.added {
                Some(added) => {
                    let (normed, sum) =
                        self.add_rms_norm(&stream.x, added, weights, width, *epsilon)?;
                    (normed, Some(sum))
                }
                None => {
                    let normed = self.rms_norm(&stream.x, weights, width, *epsilon)?;
                    (normed, Some(stream.x.clone()))
                }
            },
            GroupInput::SwiGlu { gate, up } => (self.silu_mul(gate, up), None),
            GroupInput::Value(value) => (value.clone(), None),
        })
    }
}
