//! PackedAttention: causal attention over packed tokens.

use lexivec_kernels::attention::{Attention, Factors, HeadNorms, Heads, RotaryTables, Tokens};
use lexivec_kernels::simd::InstructionSet;
use ort::operator::{ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType::{Float32, Int64};

use super::signature::{
    EPSILON, KV_NUM_HEADS, NUM_HEADS, PACKED_ATTENTION, PackedAttentionInput as Input,
};
use super::tensors::{Inputs, missing};
use super::{Guarded, Run, Threads, failed};

/// The operator; [`PACKED_ATTENTION`] describes its inputs, outputs and attributes.
pub(super) struct PackedAttention {
    /// The factors of its products, where the processor has a choice.
    pub(super) factors: Factors,
}

impl Operator for PackedAttention {
    type Kernel<'attr> = Guarded<Computation>;

    fn name(&self) -> &str {
        PACKED_ATTENTION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        Input::ALL.map(|input| match input {
            Input::Query
            | Input::Key
            | Input::Value
            | Input::PrefixKey
            | Input::PrefixValue
            | Input::Cos
            | Input::Sin => OperatorInput::required(Float32),
            Input::PositionIds | Input::KvIndex | Input::TokenIndex => {
                OperatorInput::required(Int64)
            }
            Input::QueryNorm | Input::KeyNorm => OperatorInput::optional(Float32),
            Input::QueryTokens => OperatorInput::optional(Int64),
        })
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
            query_heads: heads(NUM_HEADS),
            key_heads: heads(KV_NUM_HEADS),
            epsilon: context.get::<f32>(EPSILON).unwrap_or_default(),
            factors: self.factors,
            instructions: InstructionSet::best(),
        }))
    }
}

pub(super) struct Computation {
    query_heads: usize,
    key_heads: usize,
    epsilon: f32,
    factors: Factors,
    instructions: InstructionSet,
}

impl Run for Computation {
    fn run(&self, context: &ComputeContext) -> ort::Result<()> {
        let inputs = Inputs::of(context, Input::ALL.len())?;
        let norms = match (
            inputs.optional(Input::QueryNorm as usize)?,
            inputs.optional(Input::KeyNorm as usize)?,
        ) {
            (Some(query), Some(key)) => Some(HeadNorms {
                query,
                key,
                epsilon: self.epsilon,
            }),
            _ => None,
        };
        let size = inputs
            .dimension(Input::Key as usize, 1)
            .checked_div(self.key_heads);
        let attention = Attention {
            heads: Heads {
                query: self.query_heads,
                key_value: self.key_heads,
                size: size.unwrap_or(0),
            },
            q: inputs.tensor(Input::Query as usize)?,
            k: inputs.tensor(Input::Key as usize)?,
            v: inputs.tensor(Input::Value as usize)?,
            cached_keys: inputs.tensor(Input::PrefixKey as usize)?,
            cached_values: inputs.tensor(Input::PrefixValue as usize)?,
            tokens: Tokens {
                positions: inputs.tensor(Input::PositionIds as usize)?,
                kv_index: inputs.tensor(Input::KvIndex as usize)?,
                length: inputs.dimension(Input::KvIndex as usize, 1),
                token_index: inputs.tensor(Input::TokenIndex as usize)?,
                queries: inputs.optional(Input::QueryTokens as usize)?,
            },
            norms,
            rotary: RotaryTables {
                cos: inputs.tensor(Input::Cos as usize)?,
                sin: inputs.tensor(Input::Sin as usize)?,
            },
            factors: self.factors,
        };
        let mut out = context
            .output(0, inputs.shape(Input::Query as usize))?
            .ok_or_else(missing)?;
        let mut keys = context
            .output(1, inputs.shape(Input::Key as usize))?
            .ok_or_else(missing)?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        let (_, keys) = keys.try_extract_tensor_mut::<f32>()?;
        attention
            .compute(self.instructions, &Threads(context), keys, out)
            .map_err(|reason| failed(PACKED_ATTENTION, &reason))
    }
}
