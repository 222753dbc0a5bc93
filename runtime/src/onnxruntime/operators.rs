//! lexivec's own operators, for ONNX Runtime's CPU provider. This file takes inputs from ONNX Runtime; `lexivec-kernels` computes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lexivec_kernels::attention::{Attention, HeadNorms, Heads, RotaryTables, Tokens};
use lexivec_kernels::parallel::Parallel;
use lexivec_kernels::simd::InstructionSet;
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::{DynValueTypeMarker, PrimitiveTensorElementType, TensorElementType, ValueRef};

/// The domain of the operators, as `lexivec-convert` writes it.
const DOMAIN: &str = "lexivec";

/// The operators, for one session.
///
/// # Errors
/// ONNX Runtime rejects them.
pub(crate) fn domain() -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?.add(PackedAttention)
}

/// Attention over packed tokens, see [`Attention`].
///
/// Inputs, float32 unless stated: q, k, v, prefix_key, prefix_value, position_ids, kv_index, token_index (int64), cos, sin,
/// q_norm, k_norm (optional), query_tokens (int64, optional). Outputs: the attention's result, a row for each query; the keys
/// after norm and rotation.
struct PackedAttention;

impl Operator for PackedAttention {
    type Kernel<'attr> = PackedAttentionKernel;

    fn name(&self) -> &'static str {
        "PackedAttention"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        use TensorElementType::{Float32, Int64};
        let required = [
            Float32, Float32, Float32, Float32, Float32, Int64, Int64, Int64, Float32, Float32,
        ];
        let optional = [Float32, Float32, Int64];
        let required = required.into_iter().map(OperatorInput::required);
        required.chain(optional.into_iter().map(OperatorInput::optional))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [const { OperatorOutput::required(TensorElementType::Float32) }; 2]
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<PackedAttentionKernel> {
        let heads = |name: &str| {
            let value = context.get::<i64>(name).unwrap_or_default();
            usize::try_from(value).unwrap_or_default()
        };
        let epsilon = context.get::<f32>("epsilon").unwrap_or_default();
        Ok(PackedAttentionKernel {
            query_heads: heads("num_heads"),
            key_heads: heads("kv_num_heads"),
            epsilon,
            instructions: InstructionSet::best(),
        })
    }
}

struct PackedAttentionKernel {
    query_heads: usize,
    key_heads: usize,
    epsilon: f32,
    instructions: InstructionSet,
}

impl Kernel for PackedAttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        // A panic must not cross ONNX Runtime's frames.
        let run = AssertUnwindSafe(|| self.run(context));
        catch_unwind(run).unwrap_or_else(|_| Err(ort::Error::new("PackedAttention failed")))
    }
}

impl PackedAttentionKernel {
    fn run(&self, context: &ComputeContext) -> ort::Result<()> {
        let inputs = Inputs::of::<13>(context)?;
        let k = inputs.tensor::<f32>(1)?;
        let width = inputs.width(1);
        let heads = Heads {
            query: self.query_heads,
            key_value: self.key_heads,
            size: width.checked_div(self.key_heads).unwrap_or(0),
        };
        let norms = match (inputs.optional(10)?, inputs.optional(11)?) {
            (Some(query), Some(key)) => Some(HeadNorms {
                query,
                key,
                epsilon: self.epsilon,
            }),
            _ => None,
        };
        let attention = Attention {
            heads,
            q: inputs.tensor(0)?,
            k,
            v: inputs.tensor(2)?,
            cached_keys: inputs.tensor(3)?,
            cached_values: inputs.tensor(4)?,
            tokens: Tokens {
                positions: inputs.tensor(5)?,
                kv_index: inputs.tensor(6)?,
                length: inputs.width(6),
                token_index: inputs.tensor(7)?,
                queries: inputs.optional(12)?,
            },
            norms,
            rotary: RotaryTables {
                cos: inputs.tensor(8)?,
                sin: inputs.tensor(9)?,
            },
        };
        let mut out = context.output(0, inputs.shape(0))?.ok_or_else(missing)?;
        let mut keys = context.output(1, inputs.shape(1))?.ok_or_else(missing)?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        let (_, keys) = keys.try_extract_tensor_mut::<f32>()?;
        attention
            .compute(self.instructions, &Threads(context), keys, out)
            .map_err(|reason| ort::Error::new(format!("PackedAttention: {reason}")))
    }
}

fn missing() -> ort::Error {
    ort::Error::new("an operator lacks an input or output")
}

/// The inputs of an operator's call.
struct Inputs<'a>(Vec<Option<ValueRef<'a, DynValueTypeMarker>>>);

impl<'a> Inputs<'a> {
    fn of<const COUNT: usize>(context: &'a ComputeContext) -> ort::Result<Self> {
        let inputs = (0..COUNT).map(|number| context.input(number));
        inputs.collect::<ort::Result<_>>().map(Self)
    }

    /// The values of an input that may be left out.
    fn optional<T: PrimitiveTensorElementType>(&self, number: usize) -> ort::Result<Option<&[T]>> {
        let value = self.0[number].as_ref();
        value.map(|v| Ok(v.try_extract_tensor()?.1)).transpose()
    }

    fn tensor<T: PrimitiveTensorElementType>(&self, number: usize) -> ort::Result<&[T]> {
        self.optional(number)?.ok_or_else(missing)
    }

    fn shape(&self, number: usize) -> Vec<i64> {
        let value = self.0[number].as_ref();
        value.map_or_else(Vec::new, |v| v.shape().to_vec())
    }

    /// The last dimension.
    fn width(&self, number: usize) -> usize {
        let last = self.shape(number).last().copied().unwrap_or_default();
        usize::try_from(last).unwrap_or_default()
    }
}

/// The threads of the session.
struct Threads<'a>(&'a ComputeContext);

impl Parallel for Threads<'_> {
    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let task = |number| task(number);
        if self.0.par_for(tasks, 0, task).is_err() {
            // Tasks only write results, so it does no harm if some run twice.
            (0..tasks).for_each(task);
        }
    }
}
