//! Linear layers with integer weights in blocks by lexivec's own operators: activations are 8-bit codes with a scale for each block.

use std::sync::Arc;

use lexivec_kernels::{codes, linear};
use lexivec_runtime::operators::{
    BITS, BLOCK_LINEAR, BLOCK_SIZE, BlockLinearInput as Input, OUTPUTS,
};

use super::activation_codes::{CodeForm, Codes};
use super::group_input::GroupInput;
use super::ops::Ops;
use crate::error::Result;
use crate::onnx::{Attribute, Initializer, InitializerData, OWN, Value};
use crate::quantized::{BlockPart, BlockWeights, PackedBlocks};
use crate::tensor::DType;

impl Ops<'_> {
    /// Applies layers with weights in blocks to one input. Also returns the sum of the residual stream's addends, if it is a norm's
    /// input.
    pub(super) fn own_block_linears(
        &mut self,
        input: &GroupInput,
        inputs: usize,
        weights: Vec<(String, BlockWeights)>,
        biases: &[Value],
    ) -> Result<(Vec<Value>, Option<Value>)> {
        let size = weights.first().map_or(inputs, |(_, w)| w.format.size);
        let (codes, sum) = self.codes(input, inputs, CodeForm::of_blocks(size))?;
        let none = Value::none();
        let layer = |(number, (name, weights)): (usize, (String, BlockWeights))| {
            let bias = biases.get(number).unwrap_or(&none);
            self.own_block_linear(&codes, name, &weights.into(), bias)
        };
        Ok((weights.into_iter().enumerate().map(layer).collect(), sum))
    }

    fn own_block_linear(
        &mut self,
        codes: &Codes,
        name: String,
        weights: &Arc<BlockWeights>,
        bias: &Value,
    ) -> Value {
        let (format, outputs) = (weights.format, weights.outputs);
        let panels = outputs.div_ceil(linear::COLUMNS);
        let per_block = vec![panels, format.blocks(weights.inputs), linear::COLUMNS];
        let stored = weights.stored_scales(DType::F32);
        let scale_name = format!("{name}.scale");
        let data = |part| {
            let weights = Arc::clone(weights);
            InitializerData::Computed(Box::new(PackedBlocks { weights, part }))
        };
        let g = &mut self.graph;
        let scales = g.initializer(Initializer {
            name: scale_name.clone(),
            dtype: stored,
            shape: per_block.clone(),
            data: data(BlockPart::Scales {
                name: scale_name,
                dtype: stored,
            }),
        });
        let scales = self.cast(scales, stored, DType::F32);
        let g = &mut self.graph;
        let zeros = match &weights.zeros {
            Some(_) => g.initializer(Initializer {
                name: format!("{name}.zero"),
                dtype: DType::U8,
                shape: per_block,
                data: data(BlockPart::ZeroPoints),
            }),
            None => Value::none(),
        };
        let attributes = [
            (BITS, Attribute::Int(i64::from(format.bits))),
            (BLOCK_SIZE, Attribute::Int(format.size as i64)),
            (OUTPUTS, Attribute::Int(outputs as i64)),
        ];
        let packed = g.initializer(Initializer {
            name,
            dtype: DType::U8,
            shape: vec![
                panels,
                format.row_bytes(weights.inputs) / codes::DEPTH,
                linear::COLUMNS,
                codes::DEPTH,
            ],
            data: data(BlockPart::Codes),
        });
        let inputs = Input::ALL.map(|input| match input {
            Input::Codes => &codes.coarse,
            Input::Scales => &codes.scales,
            Input::CodeSums => &codes.sums,
            Input::Weights => &packed,
            Input::WeightScales => &scales,
            Input::ZeroPoints => &zeros,
            Input::Bias => bias,
        });
        let [y] = g.op_n(BLOCK_LINEAR, OWN, &inputs, [true], &attributes);
        y
    }
}
