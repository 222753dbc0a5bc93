//! Linear layers of 8-bit floats: weights with one scale, activations with a scale per token.

use super::group_input::GroupInput;
use super::ops::Ops;
use crate::error::Result;
use crate::onnx::{Attribute, Initializer, InitializerData, Value};
use crate::quantized::Float8Weights;
use crate::tensor::e4m3::MAX;
use crate::tensor::{DType, cast};

/// Far below any mean square of activations, and still a normal float32.
const EPSILON: f32 = 1e-20;

impl Ops<'_> {
    /// Multiplies activations, as 8-bit floats, by several weights.
    ///
    /// The output of a norm is bounded for every token by the root of its width times its largest gain, so one constant
    /// power of two brings it into range. Other activations are first divided by their root mean square, after which the root
    /// of the width bounds them, and the results are multiplied by it.
    pub(super) fn float8_linears(
        &mut self,
        x: &Value,
        inputs: usize,
        origin: &GroupInput,
        weights: Vec<(String, Float8Weights)>,
    ) -> Result<Vec<Value>> {
        let compute = self.style.compute;
        let root = (inputs as f32).sqrt();
        let (codes, factor, magnitude) = match origin {
            GroupInput::Norm { weights: name, .. } => {
                let mut gains = vec![0f32; inputs];
                self.weights.get(name, &[inputs])?.read_f32(0, &mut gains)?;
                let factor = power_below(MAX / (root * cast::largest(&gains)));
                let by = self.float_constant(&[], &[factor])?;
                let scaled = self.graph.op("Mul", &[x, &by], &[]);
                (self.graph.cast(&scaled, DType::F8), factor, None)
            }
            GroupInput::SwiGlu { .. } | GroupInput::Value(_) => {
                let factor = power_below(MAX / root);
                let gains = self.float_constant(&[inputs], &vec![factor; inputs])?;
                let attributes = [
                    ("axis", Attribute::Int(-1)),
                    ("epsilon", Attribute::Float(EPSILON)),
                ];
                let [scaled, inverse] = self.graph.op_n(
                    "SimplifiedLayerNormalization",
                    "",
                    &[x, &gains],
                    [true, true],
                    &attributes,
                );
                let magnitude = self.graph.op("Reciprocal", &[&inverse], &[]);
                let magnitude = self.cast(magnitude, DType::F32, compute);
                (self.graph.cast(&scaled, DType::F8), factor, Some(magnitude))
            }
        };
        let outputs = weights.into_iter().map(|(name, weights)| {
            let scales = [1.0 / factor, weights.scale];
            let weight = self.graph.initializer(Initializer {
                name,
                dtype: DType::F8,
                shape: vec![weights.outputs, weights.inputs],
                data: InitializerData::Computed(Box::new(weights)),
            });
            let dialect = self.style.dialect;
            let y = dialect.float8_matmul(&mut self.graph, compute, &codes, &weight, scales);
            match &magnitude {
                Some(magnitude) => self.graph.op("Mul", &[&y, magnitude], &[]),
                None => y,
            }
        });
        Ok(outputs.collect())
    }

    /// A computed constant of the compute type.
    fn float_constant(&mut self, shape: &[usize], values: &[f32]) -> Result<Value> {
        let compute = self.style.compute;
        let mut bytes = Vec::new();
        cast::write(values, compute, "a constant", &mut bytes)?;
        let name = self.graph.unique("const");
        Ok(self.graph.constant(name, compute, shape.to_vec(), bytes))
    }
}

/// The largest power of two of float16's normal range that is not above `value`.
fn power_below(value: f32) -> f32 {
    let power = value.log2().floor();
    2f32.powf(power.clamp(-14.0, 15.0))
}

#[cfg(test)]
mod tests {
    use super::power_below;

    #[test]
    fn powers_are_not_above_and_finite() {
        assert_eq!((power_below(8.0), power_below(7.9)), (8.0, 4.0));
        assert_eq!(power_below(f32::INFINITY), 32_768.0);
    }
}
