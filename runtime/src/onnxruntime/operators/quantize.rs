//! Quantize, NormQuantize and SwiGluQuantize: 8-bit codes of rows, with a scale for each row or block.

use lexivec_kernels::rows::{Form, Outputs, Rows, Scaling, quantize};
use lexivec_kernels::simd::InstructionSet;
use ort::operator::{ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType::{Float32, Int32, Uint8};

use super::signature::{BLOCK_SIZE, EPSILON, NORM_QUANTIZE, QUANTIZE, ROTATION, SWIGLU_QUANTIZE};
use super::tensors::{Inputs, missing};
use super::{Guarded, Run, Threads, failed};

/// The operators for quantisation; the constants describe their inputs and outputs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Quantize {
    /// [`QUANTIZE`]
    Plain,
    /// [`NORM_QUANTIZE`]
    Norm,
    /// [`SWIGLU_QUANTIZE`]
    SwiGlu,
}

impl Quantize {
    fn operator(self) -> &'static str {
        match self {
            Self::Plain => QUANTIZE,
            Self::Norm => NORM_QUANTIZE,
            Self::SwiGlu => SWIGLU_QUANTIZE,
        }
    }

    fn input_count(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Norm => 3,
            Self::SwiGlu => 2,
        }
    }
}

impl Operator for Quantize {
    type Kernel<'attr> = Guarded<Computation>;

    fn name(&self) -> &str {
        self.operator()
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = self.input_count() - usize::from(matches!(self, Self::Norm));
        (0..self.input_count()).map(move |number| match number < required {
            true => OperatorInput::required(Float32),
            false => OperatorInput::optional(Float32),
        })
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let always = [Uint8, Float32].map(OperatorOutput::required);
        let others = [Uint8, Float32, Int32].map(OperatorOutput::optional);
        always.into_iter().chain(others)
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<Guarded<Computation>> {
        // A width that no rows have is an error of the kernel.
        let width = |attribute| match context.get::<i64>(attribute).unwrap_or_default() {
            0 => None,
            width => Some(usize::try_from(width).unwrap_or(usize::MAX)),
        };
        Ok(Guarded(Computation {
            operator: *self,
            form: Form {
                scaling: width(BLOCK_SIZE).map_or(Scaling::Row, Scaling::Block),
                rotation: width(ROTATION),
            },
            epsilon: context.get::<f32>(EPSILON).unwrap_or_default(),
            instructions: InstructionSet::best(),
        }))
    }
}

pub(super) struct Computation {
    operator: Quantize,
    form: Form,
    epsilon: f32,
    instructions: InstructionSet,
}

impl Run for Computation {
    fn run(&self, context: &ComputeContext) -> ort::Result<()> {
        let inputs = Inputs::of(context, self.operator.input_count())?;
        let x = inputs.tensor(0)?;
        let rows = match self.operator {
            Quantize::Plain => Rows::Plain(x),
            Quantize::Norm => Rows::Norm {
                x,
                residual: inputs.optional(2)?,
                weight: inputs.tensor(1)?,
                epsilon: self.epsilon,
            },
            Quantize::SwiGlu => Rows::SwiGlu {
                gate: x,
                up: inputs.tensor(1)?,
            },
        };
        let (shape, width) = (inputs.shape(0), inputs.dimension(0, 1));
        let layout = self.form.scaling.layout(self.instructions, width);
        let count = usize::try_from(rows_of(&shape)).unwrap_or_default();
        let arranged = layout.shape(count, width).map(|size| size as i64).to_vec();
        let mut codes = context.output(0, arranged.clone())?.ok_or_else(missing)?;
        let mut fine = context.output(2, arranged)?;
        let per_row = match self.form.scaling {
            Scaling::Row => vec![rows_of(&shape)],
            Scaling::Block(size) => vec![rows_of(&shape), (width / size) as i64],
        };
        let mut scales = context.output(1, per_row.clone())?.ok_or_else(missing)?;
        let mut code_sums = context.output(4, per_row)?;
        let mut sum = match self.operator {
            Quantize::Norm => context.output(3, shape)?,
            Quantize::Plain | Quantize::SwiGlu => None,
        };
        let sum = sum.as_mut().map(|sum| sum.try_extract_tensor_mut::<f32>());
        let fine = fine
            .as_mut()
            .map(|fine| fine.try_extract_tensor_mut::<u8>());
        let code_sums = code_sums
            .as_mut()
            .map(|sums| sums.try_extract_tensor_mut::<i32>());
        let outputs = Outputs {
            codes: codes.try_extract_tensor_mut()?.1,
            fine: fine.transpose()?.map(|(_, fine)| fine),
            scales: scales.try_extract_tensor_mut()?.1,
            code_sums: code_sums.transpose()?.map(|(_, sums)| sums),
            sum: sum.transpose()?.map(|(_, sum)| sum),
        };
        let threads = Threads(context);
        quantize(self.instructions, &threads, rows, width, self.form, outputs)
            .map_err(|reason| failed(self.operator.operator(), &reason))
    }
}

/// The first dimension; 0 for a scalar.
fn rows_of(shape: &[i64]) -> i64 {
    shape.first().copied().unwrap_or_default()
}
