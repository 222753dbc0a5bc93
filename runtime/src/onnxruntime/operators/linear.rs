//! Int8Linear: a linear layer in 8-bit integers.

use lexivec_kernels::codes::DEPTH;
use lexivec_kernels::linear::{Linear, Weights};
use lexivec_kernels::simd::InstructionSet;
use ort::operator::{ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType::{Float32, Int8, Int32, Uint8};

use super::signature::{INT8_LINEAR, Int8LinearInput as Input};
use super::tensors::{Inputs, missing};
use super::{Guarded, Run, Threads, failed};

/// The operator; [`INT8_LINEAR`] describes its inputs and output.
pub(super) struct Int8Linear;

impl Operator for Int8Linear {
    type Kernel<'attr> = Guarded<Computation>;

    fn name(&self) -> &str {
        INT8_LINEAR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        Input::ALL.map(|input| match input {
            Input::Codes => OperatorInput::required(Uint8),
            Input::Scales | Input::WeightScales => OperatorInput::required(Float32),
            Input::Weights => OperatorInput::required(Int8),
            Input::WeightSums => OperatorInput::required(Int32),
            Input::Bias => OperatorInput::optional(Float32),
            Input::FineCodes => OperatorInput::optional(Uint8),
        })
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
        let inputs = Inputs::of(context, Input::ALL.len())?;
        let linear = Linear {
            codes: inputs.tensor(Input::Codes as usize)?,
            fine: inputs.optional(Input::FineCodes as usize)?,
            scales: inputs.tensor(Input::Scales as usize)?,
            weights: Weights {
                codes: inputs.tensor(Input::Weights as usize)?,
                scales: inputs.tensor(Input::WeightScales as usize)?,
                sums: inputs.tensor(Input::WeightSums as usize)?,
                inputs: inputs.dimension(Input::Weights as usize, 1) * DEPTH,
            },
            bias: inputs.optional(Input::Bias as usize)?,
        };
        let shape = vec![
            linear.scales.len() as i64,
            linear.weights.scales.len() as i64,
        ];
        let mut out = context.output(0, shape)?.ok_or_else(missing)?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        linear
            .compute(self.instructions, &Threads(context), out)
            .map_err(|reason| failed(INT8_LINEAR, &reason))
    }
}
