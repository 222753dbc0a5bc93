//! Linear layers in 8-bit integers by lexivec's own operators: the input is computed and quantised in one pass, and one product
//! includes the scales and the bias.

use std::sync::Arc;

use lexivec_kernels::{codes, linear, rows};
use lexivec_runtime::operators::{INT8_LINEAR, Int8LinearInput as Input};

use super::activation_codes::{CodeForm, Codes};
use super::group_input::GroupInput;
use super::ops::Ops;
use crate::error::Result;
use crate::onnx::{Initializer, InitializerData, OWN, Value};
use crate::quantized::{Int8Sums, Int8Weights, PackedInt8};
use crate::tensor::DType;

/// Whether the operators take inputs of this width. ONNX Runtime's integer products serve other widths.
pub(super) fn takes(inputs: usize) -> bool {
    inputs.is_multiple_of(rows::WIDTH_STEP)
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
        let rotation = weights.first().and_then(|(_, w)| w.rotation());
        let form = CodeForm::of_rows(terms == 2).rotated(rotation);
        let (codes, sum) = self.codes(input, inputs, form)?;
        let none = Value::none();
        let layer = |(number, (name, weights)): (usize, (String, Int8Weights))| {
            let bias = biases.get(number).unwrap_or(&none);
            self.own_int8_linear(&codes, name, weights, bias)
        };
        Ok((weights.into_iter().enumerate().map(layer).collect(), sum))
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
