//! Int8Linear: a linear layer in 8-bit integers.

use lexivec_kernels::codes::DEPTH;
use lexivec_kernels::linear::{Linear, Weights};
use lexivec_kernels::simd::InstructionSet;
use ort::operator::{ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType::{Float32, Int8, Int32, Uint8};

use super::tensors::{Inputs, missing};
use super::{Guarded, Run, Threads, failed};

/// Inputs: codes, uint8, as the operator Quantize arranges them; scales, float32 `[T]`; weights, int8
/// `[ceil(outputs / 16), inputs / 4, 16, 4]`; their scales, float32 `[outputs]`, and sums, int32 `[outputs]`; optionally a bias, float32
/// `[outputs]`, and fine codes, uint8. Output: float32 `[T, outputs]`.
pub(super) struct Int8Linear;

const NAME: &str = "Int8Linear";

impl Operator for Int8Linear {
    type Kernel<'attr> = Guarded<Computation>;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = [Uint8, Float32, Int8, Float32, Int32].map(OperatorInput::required);
        let optional = [Float32, Uint8].map(OperatorInput::optional);
        required.into_iter().chain(optional)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(Float32)]
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> ort::Result<Guarded<Computation>> {
        Ok(Guarded(Computation {
            instructions: InstructionSet::best(),
        }))
    }
}

pub(super) struct Computation {
    instructions: InstructionSet,
}

impl Run for Computation {
    fn run(&self, context: &ComputeContext) -> ort::Result<()> {
        let inputs = Inputs::of(context, 7)?;
        let linear = Linear {
            codes: inputs.tensor(0)?,
            fine: inputs.optional(6)?,
            scales: inputs.tensor(1)?,
            weights: Weights {
                codes: inputs.tensor(2)?,
                scales: inputs.tensor(3)?,
                sums: inputs.tensor(4)?,
                inputs: inputs.dimension(2, 1) * DEPTH,
            },
            bias: inputs.optional(5)?,
        };
        let shape = vec![
            linear.scales.len() as i64,
            linear.weights.scales.len() as i64,
        ];
        let mut out = context.output(0, shape)?.ok_or_else(missing)?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        linear
            .compute(self.instructions, &Threads(context), out)
            .map_err(|reason| failed(NAME, &reason))
    }
}
