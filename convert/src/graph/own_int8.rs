//! Linear layers in 8-bit integers by lexivec's own operators: the input is computed and quantised in one pass, and one product
//! includes the scales and the bias.

use std::sync::Arc;

use lexivec_kernels::{codes, linear, rows};
use lexivec_runtime::operators::{
    EPSILON, INT8_LINEAR, Int8LinearInput as Input, NORM_QUANTIZE, QUANTIZE, SWIGLU_QUANTIZE,
};

use super::group_input::GroupInput;
use super::ops::Ops;
use crate::error::Result;
use crate::onnx::{Attribute, Initializer, InitializerData, OWN, Value};
use crate::quantized::{Int8Sums, Int8Weights, PackedInt8};
use crate::tensor::DType;

/// Whether the operators take inputs of this width. ONNX Runtime's integer products serve other widths.
pub(super) fn takes(inputs: usize) -> bool {
    inputs.is_multiple_of(rows::WIDTH_STEP)
}

/// The 8-bit codes of activations, as `lexivec_kernels::codes` arranges them, and the scale of each token.
struct Codes {
    coarse: Value,
    /// [`Value::none`] if 8 bits are enough.
    fine: Value,
    scales: Value,
}

impl Ops<'_> {
    /// Applies int8 layers to one input, in one or two `terms` as [`int8_linears`](Self::int8_linears) says. Also returns the sum
    /// of the residual stream's addends, if it is a norm's input.
    pub(super) fn own_int8_linears(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        weights: Vec<(String, Int8Weights)>,
        biases: &[Value],
        terms: u32,
    ) -> Result<(Vec<Value>, Option<Value>)> {
        let (codes, sum) = self.codes(input, inputs, terms == 2)?;
        let none = Value::none();
        let layer = |(number, (name, weights)): (usize, (String, Int8Weights))| {
            let bias = biases.get(number).unwrap_or(&none);
            self.own_int8_linear(&codes, name, weights, bias)
        };
        Ok((weights.into_iter().enumerate().map(layer).collect(), sum))
    }

    /// The 8-bit codes of an input. Also returns the sum of the residual stream's addends.
    fn codes(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        fine: bool,
    ) -> Result<(Codes, Option<Value>)> {
        let (operator, values, attributes) = match input {
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
        let values: Vec<&Value> = values.iter().collect();
        let g = &mut self.graph;
        let (coarse, scales, fine, sum) = match input {
            GroupInput::Norm { stream, .. } => {
                let wanted = [true, true, fine, stream.added.is_some()];
                let [coarse, scales, fine, sum] =
                    g.op_n(operator, OWN, &values, wanted, &attributes);
                let sum = stream.added.as_ref().map_or(&stream.x, |_| &sum).clone();
                (coarse, scales, fine, Some(sum))
            }
            GroupInput::SwiGlu { .. } | GroupInput::Value(_) => {
                let wanted = [true, true, fine];
                let [coarse, scales, fine] = g.op_n(operator, OWN, &values, wanted, &attributes);
                (coarse, scales, fine, None)
            }
        };
        let codes = Codes {
            coarse,
            fine,
            scales,
        };
        Ok((codes, sum))
    }

    fn own_int8_linear(
        &mut self,
        codes: &Codes,
        name: String,
        weights: Int8Weights,
        bias: &Value,
    ) -> Value {
        let weights = Arc::new(weights);
        let (inputs, outputs) = (weights.inputs(), weights.outputs());
        let g = &mut self.graph;
        let weight_scales = bytemuck::cast_slice(weights.scales()).to_vec();
        let weight_scales = g.constant(
            format!("{name}.scale"),
            DType::F32,
            vec![outputs],
            weight_scales,
        );
        let sums = g.initializer(Initializer {
            name: format!("{name}.sum"),
            dtype: DType::I32,
            shape: vec![outputs],
            data: InitializerData::Computed(Box::new(Int8Sums(Arc::clone(&weights)))),
        });
        let packed = g.initializer(Initializer {
            name,
            dtype: DType::I8,
            shape: vec![
                outputs.div_ceil(linear::COLUMNS),
                inputs / codes::DEPTH,
                linear::COLUMNS,
                codes::DEPTH,
            ],
            data: InitializerData::Computed(Box::new(PackedInt8(weights))),
        });
        let inputs = Input::ALL.map(|input| match input {
            Input::Codes => &codes.coarse,
            Input::Scales => &codes.scales,
            Input::Weights => &packed,
            Input::WeightScales => &weight_scales,
            Input::WeightSums => &sums,
            Input::Bias => bias,
            Input::FineCodes => &codes.fine,
        });
        let [y] = g.op_n(INT8_LINEAR, OWN, &inputs, [true], &[]);
        y
    }
}
