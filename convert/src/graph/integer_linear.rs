//! The operations of weights that are integers: products with integers, and blocks.

use std::sync::Arc;

use super::builder::{Attribute, CONTRIB, DType, Data, Initializer, Value};
use super::ops::Ops;
use crate::blocks::BlockQuantized;
use crate::quantize::Quantized;

impl Ops<'_> {
    /// Int8 weights per output channel, int8 activations per token, from static parameters only: `r = max|x|` per
    /// row, quantise `x / r` with the constant scale 1/127, multiply the product by `r`. A row's result does not
    /// depend on the other rows of its batch, which a scale per tensor cannot give.
    ///
    /// With two `terms`, what the first codes leave is quantised once more, 254 times as finely, and a second product
    /// with the same weights added: activations of 15 bits, where one value of a row dwarfs the others.
    pub(super) fn int8_products(
        &mut self,
        x: &Value,
        weights: Vec<(String, Quantized)>,
        terms: u32,
    ) -> Vec<Value> {
        let g = &mut self.graph;
        let axis = g.ints(&[1]);
        let magnitude = g.op("Abs", &[x], &[]);
        let largest = g.op(
            "ReduceMax",
            &[&magnitude, &axis],
            &[("keepdims", Attribute::Int(1))],
        );
        // An all-zero row would give 0/0.
        let least = g.scalar(DType::F32, &f32::MIN_POSITIVE.to_le_bytes());
        let largest = g.op("Max", &[&largest, &least], &[]);
        let unit = g.op("Div", &[x, &largest], &[]);
        let coarse = self.eight_bits(&unit, 1.0 / 127.0);
        let fine = (terms == 2).then(|| {
            // What the codes have too much is subtracted, not what they lack added: ONNX Runtime would make a product and
            // its addition one float operator before it fuses integers.
            let rest = self.graph.op("Sub", &[&coarse, &unit], &[]);
            self.eight_bits(&rest, 1.0 / (127.0 * 254.0))
        });
        let product = |(name, quantized)| {
            let weight = self.int8_weight(name, quantized);
            let g = &mut self.graph;
            let mut product = g.op("MatMul", &[&coarse, &weight], &[]);
            if let Some(fine) = &fine {
                let second = g.op("MatMul", &[fine, &weight], &[]);
                product = g.op("Sub", &[&product, &second], &[]);
            }
            g.op("Mul", &[&product, &largest], &[])
        };
        weights.into_iter().map(product).collect()
    }

    /// Weights in blocks, activations in the compute type. On a CPU their product has integer activations as well, each
    /// row's of a block with a scale of their own: four times as fast as widening the weights (`accuracy_level` 4).
    pub(super) fn block_products(
        &mut self,
        x: &Value,
        weights: Vec<(String, BlockQuantized)>,
    ) -> Vec<Value> {
        let products = weights.into_iter();
        products
            .map(|(name, w)| self.block_product(x, name, w.into()))
            .collect()
    }

    fn block_product(&mut self, x: &Value, name: String, weights: Arc<BlockQuantized>) -> Value {
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

    /// Rows of a table in blocks.
    pub(super) fn gather_blocks(
        &mut self,
        name: &str,
        table: Arc<BlockQuantized>,
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

    /// Codes of this shape, scales of the compute type and zero points, or none. Scales are stored in 16 bits where that
    /// says what they are: at 4 bits they are a ninth of a model even so.
    fn blocks(
        &mut self,
        name: String,
        weights: Arc<BlockQuantized>,
        shape: Vec<usize>,
    ) -> [Value; 3] {
        let (compute, outputs) = (self.style.compute, weights.outputs);
        // Below that float16 has fewer bits, which graphs that compute in it have to live with.
        let normal = |scale: &f32| (6.2e-5..65_000.0).contains(&scale.abs());
        let stored = match weights.scales.iter().all(normal) {
            true => DType::F16,
            false => compute,
        };
        let scales = self.graph.initializer(Initializer {
            name: format!("{name}.scale"),
            dtype: stored,
            shape: vec![outputs, weights.format.blocks(weights.inputs)],
            data: Data::Scales(Arc::clone(&weights)),
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
            data: Data::Blocks(weights),
        });
        [codes, scales, zeros]
    }

    /// Quantises with a constant scale and back.
    fn eight_bits(&mut self, x: &Value, scale: f32) -> Value {
        let g = &mut self.graph;
        let scale = g.scalar(DType::F32, &scale.to_le_bytes());
        let (kind, zero) = self.style.dialect.activation_zero();
        let zero = g.scalar(kind, &[zero]);
        let codes = g.op("QuantizeLinear", &[x, &scale, &zero], &[]);
        g.op("DequantizeLinear", &[&codes, &scale, &zero], &[])
    }

    /// Int8 codes and their scales, `[in, out]`.
    fn int8_weight(&mut self, name: String, quantized: Quantized) -> Value {
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
            data: Data::Quantized(quantized.into()),
        });
        g.op(
            "DequantizeLinear",
            &[&codes, &scales, &zeros],
            &[("axis", Attribute::Int(1))],
        )
    }
}
