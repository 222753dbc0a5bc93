//! BlockLinear: a linear layer whose weights share scales in blocks.

use lexivec_kernels::block_linear::{Bits, BlockLinear as Layer, Weights};
use lexivec_kernels::simd::InstructionSet;
use ort::operator::{ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType::{Float32, Int32, Uint8};

use super::signature::{BITS, BLOCK_LINEAR, BLOCK_SIZE, BlockLinearInput as Input, OUTPUTS};
use super::tensors::{Inputs, missing};
use super::{Guarded, Run, Threads, failed};

/// The operator; [`BLOCK_LINEAR`] describes its inputs, attributes and output.
pub(super) struct BlockLinear;

impl Operator for BlockLinear {
    type Kernel<'attr> = Guarded<Computation>;

    fn name(&self) -> &str {
        BLOCK_LINEAR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        Input::ALL.map(|input| match input {
            Input::Codes | Input::Weights => OperatorInput::required(Uint8),
            Input::Scales | Input::WeightScales => OperatorInput::required(Float32),
            Input::CodeSums => OperatorInput::required(Int32),
            Input::ZeroPoints => OperatorInput::optional(Uint8),
            Input::Bias => OperatorInput::optional(Float32),
        })
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(Float32)]
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<Guarded<Computation>> {
        let attribute = |name: &str| -> ort::Result<usize> {
            let value = context.get::<i64>(name);
            value
                .and_then(|value| usize::try_from(value).ok())
                .ok_or_else(|| failed(BLOCK_LINEAR, &format!("attribute {name}: {value:?}")))
        };
        let bits = match attribute(BITS)? {
            4 => Bits::Four,
            8 => Bits::Eight,
            other => {
                let reason = format!("weights have 4 or 8 bits, and these have {other}");
                return Err(failed(BLOCK_LINEAR, &reason));
            }
        };
        Ok(Guarded(Computation {
            bits,
            block: attribute(BLOCK_SIZE)?,
            outputs: attribute(OUTPUTS)?,
            instructions: InstructionSet::best(),
        }))
    }
}

pub(super) struct Computation {
    bits: Bits,
    block: usize,
    outputs: usize,
    instructions: InstructionSet,
}

impl Run for Computation {
    fn run(&self, context: &ComputeContext) -> ort::Result<()> {
        let inputs = Inputs::of(context, Input::ALL.len())?;
        let weights = Weights {
            codes: inputs.tensor(Input::Weights as usize)?,
            bits: self.bits,
            scales: inputs.tensor(Input::WeightScales as usize)?,
            zeros: inputs.optional(Input::ZeroPoints as usize)?,
            block: self.block,
            inputs: inputs.dimension(Input::WeightScales as usize, 1) * self.block,
            outputs: self.outputs,
        };
        let layer = Layer {
            codes: inputs.tensor(Input::Codes as usize)?,
            scales: inputs.tensor(Input::Scales as usize)?,
            sums: inputs.tensor(Input::CodeSums as usize)?,
            weights,
            bias: inputs.optional(Input::Bias as usize)?,
        };
        let refused = |reason: String| failed(BLOCK_LINEAR, &reason);
        layer.check().map_err(refused)?;
        let shape = vec![layer.rows() as i64, self.outputs as i64];
        let mut out = context.output(0, shape)?.ok_or_else(missing)?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        layer
            .compute(self.instructions, &Threads(context), out)
            .map_err(refused)
    }
}
