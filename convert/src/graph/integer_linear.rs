//! Linear layers with integer weights: per output channel with integer activations, or in blocks.

use std::sync::Arc;

use lexivec_kernels::hadamard;
use lexivec_kernels::simd::InstructionSet;

use super::ops::Ops;
use crate::onnx::{Attribute, CONTRIB, Initializer, InitializerData, Value};
use crate::quantized::{BlockScales, BlockWeights, Int8Weights};
use crate::tensor::DType;

impl Ops<'_> {
    /// Linear layers with int8 weights per output channel and int8 activations per token. All quantisation parameters are
    /// constants: with `r = max|x|` of a token, the graph quantises `x / r` with the scale 1/127 and multiplies the result by
    /// `r`. So a token's result does not depend on the other tokens of its batch, which a scale per tensor could not guarantee.
    ///
    /// With two `terms`, the rounding error of the first codes is quantised 254 times as finely and multiplied with the same
    /// weights. That makes 15-bit activations, for inputs in which one value dwarfs the others.
    pub(super) fn int8_linears(
        &mut self,
        x: &Value,
        weights: Vec<(String, Int8Weights)>,
        terms: u32,
    ) -> Vec<Value> {
        let x = &match weights.first() {
            Some((name, first)) => self.rotated(x, name, first),
            None => x.clone(),
        };
        let g = &mut self.graph;
        let axis = g.ints(&[1]);
        let magnitude = g.op("Abs", &[x], &[]);
        let largest = g.op(
            "ReduceMax",
            &[&magnitude, &axis],
            &[("keepdims", Attribute::Int(1))],
        );
        // Avoids 0/0 for a token whose values are all zero.
        let least = g.scalar(DType::F32, &f32::MIN_POSITIVE.to_le_bytes());
        let largest = g.op("Max", &[&largest, &least], &[]);
        let unit = g.op("Div", &[x, &largest], &[]);
        let coarse = self.eight_bits(&unit, 1.0 / 127.0);
        let fine = (terms == 2).then(|| {
            // The excess of the codes is subtracted, instead of adding what they lack, because ONNX Runtime would fuse a
            // matrix product and an addition into one float operator before it fuses integers.
            let excess = self.graph.op("Sub", &[&coarse, &unit], &[]);
            self.eight_bits(&excess, 1.0 / (127.0 * 254.0))
        });
        let linear = |(name, quantized)| {
            let weight = self.int8_weight(name, quantized);
            let g = &mut self.graph;
            let mut y = g.op("MatMul", &[&coarse, &weight], &[]);
            if let Some(fine) = &fine {
                let second = g.op("MatMul", &[fine, &weight], &[]);
                y = g.op("Sub", &[&y, &second], &[]);
            }
            g.op("Mul", &[&y, &largest], &[])
        };
        weights.into_iter().map(linear).collect()
    }

    /// The input in the basis that these weights multiply. Rotates its blocks as `lexivec_kernels::hadamard` does, by a product with a
    /// constant. Calibration rotates nothing in graphs without lexivec's own operators, so only tests have such weights: they compare both.
    fn rotated(&mut self, x: &Value, name: &str, weights: &Int8Weights) -> Value {
        let (inputs, Some(block)) = (weights.inputs(), weights.rotation()) else {
            return x.clone();
        };
        let mut matrix = vec![0f32; block * block];
        for (i, row) in matrix.chunks_exact_mut(block).enumerate() {
            row[i] = 1.0;
            hadamard::rotate(InstructionSet::best(), row, block);
        }
        let g = &mut self.graph;
        let bytes = bytemuck::cast_slice(&matrix).to_vec();
        let name = format!("{name}.rotation");
        let matrix = g.constant(name, DType::F32, vec![block, block], bytes);
        let [blocks, rows] = [block, inputs].map(|width| g.ints(&[-1, width as i64]));
        let x = g.op("Reshape", &[x, &blocks], &[]);
        let x = g.op("MatMul", &[&x, &matrix], &[]);
        g.op("Reshape", &[&x, &rows], &[])
    }

    /// Linear layers with weights in blocks and activations in the compute type, by ONNX Runtime. On a CPU, MatMulNBits quantises
    /// activations too, with a scale per token and block, which is four times as fast as widening the weights (`accuracy_level` 4).
    pub(super) fn block_linears(
        &mut self,
        x: &Value,
        weights: Vec<(String, BlockWeights)>,
    ) -> Vec<Value> {
        weights
            .into_iter()
            .map(|(name, w)| self.block_linear(x, name, w.into()))
            .collect()
    }

    fn block_linear(&mut self, x: &Value, name: String, weights: Arc<BlockWeights>) -> Value {
        let (format, inputs, outputs) = (weights.format, weights.inputs, weights.outputs);
        let blocks = format.blocks(inputs);
        let shape = vec![outputs, blocks, format.row_bytes(inputs) / blocks];
        let accuracy = match self.style.compute {
            DType::F32 => 4,
            _ => 0,
        };
        let [codes, scales, zeros] = self.blocks(name, weights, shape);
        let attributes = [
            ("K", Attribute::Int(inputs as i64)),
            ("N", Attribute::Int(outputs as i64)),
            ("bits", Attribute::Int(i64::from(format.bits))),
            ("block_size", Attribute::Int(format.size as i64)),
            ("accuracy_level", Attribute::Int(accuracy)),
        ];
        let inputs = [x, &codes, &scales, &zeros];
        let [y] = self
            .graph
            .op_n("MatMulNBits", CONTRIB, &inputs, [true], &attributes);
        y
    }

    /// Looks up rows of a table in blocks.
    pub(super) fn gather_blocks(
        &mut self,
        name: &str,
        table: Arc<BlockWeights>,
        ids: &Value,
    ) -> Value {
        let format = table.format;
        let shape = vec![table.outputs, format.row_bytes(table.inputs)];
        let [codes, scales, zeros] = self.blocks(name.to_owned(), table, shape);
        let attributes = [
            ("gather_axis", Attribute::Int(0)),
            ("quantize_axis", Attribute::Int(1)),
            ("bits", Attribute::Int(i64::from(format.bits))),
            ("block_size", Attribute::Int(format.size as i64)),
        ];
        let inputs = [&codes, ids, &scales, &zeros];
        let [rows] = self.graph.op_n(
            "GatherBlockQuantized",
            CONTRIB,
            &inputs,
            [true],
            &attributes,
        );
        rows
    }

    /// Codes of this shape, scales of the compute type, and zero points or [`Value::none`].
    fn blocks(
        &mut self,
        name: String,
        weights: Arc<BlockWeights>,
        shape: Vec<usize>,
    ) -> [Value; 3] {
        let (compute, outputs) = (self.style.compute, weights.outputs);
        let stored = weights.stored_scales(compute);
        let scale_name = format!("{name}.scale");
        let scales = self.graph.initializer(Initializer {
            name: scale_name.clone(),
            dtype: stored,
            shape: vec![outputs, weights.format.blocks(weights.inputs)],
            data: InitializerData::Computed(Box::new(BlockScales {
                weights: Arc::clone(&weights),
                name: scale_name,
                dtype: stored,
            })),
        });
        let scales = self.cast(scales, stored, compute);
        let g = &mut self.graph;
        let zeros = match &weights.zeros {
            Some(zeros) => g.constant(
                format!("{name}.zero"),
                DType::U8,
                vec![outputs, weights.zero_bytes()],
                zeros.clone(),
            ),
            None => Value::none(),
        };
        let codes = g.initializer(Initializer {
            name,
            dtype: DType::U8,
            shape,
            data: InitializerData::Computed(Box::new(weights)),
        });
        [codes, scales, zeros]
    }

    /// Quantises to 8 bits with a constant scale and dequantises.
    fn eight_bits(&mut self, x: &Value, scale: f32) -> Value {
        let g = &mut self.graph;
        let scale = g.scalar(DType::F32, &scale.to_le_bytes());
        let (kind, zero) = self.style.dialect.activation_zero();
        let zero = g.scalar(kind, &[zero]);
        let codes = g.op("QuantizeLinear", &[x, &scale, &zero], &[]);
        g.op("DequantizeLinear", &[&codes, &scale, &zero], &[])
    }

    /// Int8 codes and their scales, `[in, out]`.
    fn int8_weight(&mut self, name: String, quantized: Int8Weights) -> Value {
        let g = &mut self.graph;
        let (inputs, outputs) = (quantized.inputs(), quantized.outputs());
        let scales = bytemuck::cast_slice(quantized.scales()).to_vec();
        let scales = g.constant(format!("{name}.scale"), DType::F32, vec![outputs], scales);
        let zeros = g.constant(
            format!("{name}.zero"),
            DType::I8,
            vec![outputs],
            vec![0; outputs],
        );
        let codes = g.initializer(Initializer {
            name,
            dtype: DType::I8,
            shape: vec![inputs, outputs],
            data: InitializerData::Computed(Box::new(quantized)),
        });
        g.op(
            "DequantizeLinear",
            &[&codes, &scales, &zeros],
            &[("axis", Attribute::Int(1))],
        )
    }
}
