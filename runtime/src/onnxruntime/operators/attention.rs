//! PackedAttention: causal attention over packed tokens.

use lexivec_kernels::attention::{Attention, HeadNorms, Heads, RotaryTables, Tokens};
use lexivec_kernels::simd::InstructionSet;
use ort::operator::{ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType::{Float32, Int64};

use super::tensors::{Inputs, missing};
use super::{Guarded, Run, Threads, failed};

/// Inputs, float32 unless stated: q, k, v, prefix_key, prefix_value, position_ids, kv_index, token_index (int64), cos, sin, and
/// optionally q_norm, k_norm, query_tokens (int64). Attributes: num_heads, kv_num_heads, epsilon. Outputs: a row for each query;
/// the keys after norm and rotation.
pub(super) struct PackedAttention;

const NAME: &str = "PackedAttention";

impl Operator for PackedAttention {
    type Kernel<'attr> = Guarded<Computation>;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = [
            Float32, Float32, Float32, Float32, Float32, Int64, Int64, Int64, Float32, Float32,
        ];
        let optional = [Float32, Float32, Int64];
        let required = required.into_iter().map(OperatorInput::required);
        required.chain(optional.into_iter().map(OperatorInput::optional))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [const { OperatorOutput::required(Float32) }; 2]
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<Guarded<Computation>> {
        let heads = |name: &str| {
            let value = context.get::<i64>(name).unwrap_or_default();
            usize::try_from(value).unwrap_or_default()
        };
        Ok(Guarded(Computation {
            query_heads: heads("num_heads"),
            key_heads: heads("kv_num_heads"),
            epsilon: context.get::<f32>("epsilon").unwrap_or_default(),
            instructions: InstructionSet::best(),
        }))
    }
}

pub(super) struct Computation {
    query_heads: usize,
    key_heads: usize,
    epsilon: f32,
    instructions: InstructionSet,
}

impl Run for Computation {
    fn run(&self, context: &ComputeContext) -> ort::Result<()> {
        let inputs = Inputs::of(context, 13)?;
        let norms = match (inputs.optional(10)?, inputs.optional(11)?) {
            (Some(query), Some(key)) => Some(HeadNorms {
                query,
                key,
                epsilon: self.epsilon,
            }),
            _ => None,
        };
        let size = inputs.dimension(1, 1).checked_div(self.key_heads);
        let attention = Attention {
            heads: Heads {
                query: self.query_heads,
                key_value: self.key_heads,
                size: size.unwrap_or(0),
            },
            q: inputs.tensor(0)?,
            k: inputs.tensor(1)?,
            v: inputs.tensor(2)?,
            cached_keys: inputs.tensor(3)?,
            cached_values: inputs.tensor(4)?,
            tokens: Tokens {
                positions: inputs.tensor(5)?,
                kv_index: inputs.tensor(6)?,
                length: inputs.dimension(6, 1),
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
            .map_err(|reason| failed(NAME, &reason))
    }
}
