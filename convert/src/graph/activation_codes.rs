//! The inputs of lexivec's own linear layers: computed and quantised in one pass.

use lexivec_runtime::operators::{
    BLOCK_SIZE, EPSILON, NORM_QUANTIZE, QUANTIZE, ROTATION, SWIGLU_QUANTIZE,
};

use super::group_input::GroupInput;
use super::ops::Ops;
use crate::error::Result;
use crate::onnx::{Attribute, OWN, Value};

/// What the codes of an input have beside 8 bits and scales.
#[derive(Debug, Clone, Copy)]
pub(super) struct CodeForm {
    /// Whether a second code holds the rounding error of the first one.
    fine: bool,
    /// The number of values that share a scale; all of a row if `None`.
    block: Option<usize>,
    /// The width of the blocks that are rotated, if any.
    rotation: Option<usize>,
}

impl CodeForm {
    /// A scale for each row.
    pub(super) fn of_rows(fine: bool) -> Self {
        Self {
            fine,
            block: None,
            rotation: None,
        }
    }

    /// A scale for each block of this many values.
    pub(super) fn of_blocks(size: usize) -> Self {
        Self {
            block: Some(size),
            ..Self::of_rows(false)
        }
    }

    /// The same for an input whose blocks of this width are rotated, if any are.
    pub(super) fn rotated(self, rotation: Option<usize>) -> Self {
        Self { rotation, ..self }
    }
}

/// The 8-bit codes of activations, as `lexivec_kernels::codes` arranges them, and the scale of each token or block.
pub(super) struct Codes {
    pub(super) coarse: Value,
    /// [`Value::none`] if 8 bits are enough.
    pub(super) fine: Value,
    pub(super) scales: Value,
    /// The sum of each block's codes; [`Value::none`] if rows have a scale.
    pub(super) sums: Value,
}

impl Ops<'_> {
    /// The 8-bit codes of an input. Also returns the sum of the residual stream's addends.
    pub(super) fn codes(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        form: CodeForm,
    ) -> Result<(Codes, Option<Value>)> {
        let (operator, values, mut attributes) = match input {
            GroupInput::Norm {
                stream,
                weights,
                epsilon,
            } => {
                let mut values = vec![stream.x.clone(), self.vector(weights, inputs)?];
                values.extend(stream.added.clone());
                let epsilon = Attribute::Float(*epsilon as f32);
                (NORM_QUANTIZE, values, vec![(EPSILON, epsilon)])
            }
            GroupInput::SwiGlu { gate, up } => {
                (SWIGLU_QUANTIZE, vec![gate.clone(), up.clone()], Vec::new())
            }
            GroupInput::Value(x) => (QUANTIZE, vec![x.clone()], Vec::new()),
        };
        if let Some(size) = form.block {
            attributes.push((BLOCK_SIZE, Attribute::Int(size as i64)));
        }
        if let Some(width) = form.rotation {
            attributes.push((ROTATION, Attribute::Int(width as i64)));
        }
        let added = matches!(input, GroupInput::Norm { stream, .. } if stream.added.is_some());
        let wanted = [true, true, form.fine, added, form.block.is_some()];
        let values: Vec<&Value> = values.iter().collect();
        let [coarse, scales, fine, sum, sums] =
            self.graph.op_n(operator, OWN, &values, wanted, &attributes);
        let stream = match input {
            GroupInput::Norm { .. } if added => Some(sum),
            GroupInput::Norm { stream, .. } => Some(stream.x.clone()),
            GroupInput::SwiGlu { .. } | GroupInput::Value(_) => None,
        };
        let codes = Codes {
            coarse,
            fine,
            scales,
            sums,
        };
        Ok((codes, stream))
    }
}
