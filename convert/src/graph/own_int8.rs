//! Linear layers in 8-bit integers by lexivec's own operators: the input is computed and quantised in one pass, and one product
//! includes the scales and the bias.

use std::sync::Arc;

use lexivec_kernels::{codes, linear, rows};

use super::group_input::GroupInput;
use super::ops::Ops;
use crate::error::Result;
use crate::onnx::{Attribute, Initializer, InitializerData, OWN, Value};
use crate::quantized::{Int8Sums, Int8Weights, PackedInt8};
use crate::tensor::DType;

/// Whether the operators take inputs of this width.
pub(super) fn takes(inputs: usize) -> bool {
    inputs.is_multiple_of(rows::WIDTH_STEP) && inputs.is_multiple_of(codes::DEPTH)
}

impl Ops<'_> {
    /// Applies int8 layers to one input. Also returns the sum of the residual stream's addends, if it is a norm's input.
    pub(super) fn own_int8_linears(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        weights: Vec<(String, Int8Weights)>,
        biases: &[Value],
    ) -> Result<(Vec<Value>, Option<Value>)> {
        let (codes, sum) = self.codes(input, inputs)?;
        let none = Value::none();
        let layer = |(number, (name, weights)): (usize, (String, Int8Weights))| {
            let bias = biases.get(number).unwrap_or(&none);
            self.own_int8_linear(&codes, name, weights, bias)
        };
        Ok((weights.into_iter().enumerate().map(layer).collect(), sum))
    }

    /// The 8-bit codes of an input, uint8 `[T, inputs]`, and their scales, `[T]`.
    fn codes(&mut self, input: &GroupInput, inputs: usize) -> Result<([Value; 2], Option<Value>)> {
        Ok(match input {
            GroupInput::Norm {
                stream,
                weights,
                epsilon,
            } => {
                let weight = self.vector(weights, inputs)?;
                let epsilon = [("epsilon", Attribute::Float(*epsilon as f32))];
                let (x, g) = (&stream.x, &mut self.graph);
                match &stream.added {
                    Some(added) => {
                        let [codes, scales, sum] = g.op_n(
                            "NormQuantize",
                            OWN,
                            &[x, &weight, added],
                            [true; 3],
                            &epsilon,
                        );
                        ([codes, scales], Some(sum))
                    }
                    None => {
                        let codes = g.op_n("NormQuantize", OWN, &[x, &weight], [true; 2], &epsilon);
                        (codes, Some(x.clone()))
                    }
                }
            }
            GroupInput::SwiGlu { gate, up } => {
                let inputs = [gate, up];
                (
                    self.graph
                        .op_n("SwiGluQuantize", OWN, &inputs, [true; 2], &[]),
                    None,
                )
            }
            GroupInput::Value(x) => (self.graph.op_n("Quantize", OWN, &[x], [true; 2], &[]), None),
        })
    }

    fn own_int8_linear(
        &mut self,
        [codes, scales]: &[Value; 2],
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
        let inputs = [codes, scales, &packed, &weight_scales, &sums, bias];
        let [y] = g.op_n("Int8Linear", OWN, &inputs, [true], &[]);
        y
    }
}
