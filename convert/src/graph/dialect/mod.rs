//! Dialects: the operators of each target for norms, rotary embeddings, attention and linear layers.
//!
//! Every dialect computes the same function. They differ because execution providers have kernels for different operators:
//!
//! | target | dialect | attention | execution provider |
//! |---|---|---|---|
//! | `cpu` | [`Cpu`](cpu::Cpu) | PackedAttention, our own operator, with norm and rotary embedding inside | ONNX Runtime's CPU provider |
//! | `ort` | [`Ort`](ort::Ort) | GroupQueryAttention over gathered sequences, after cached prefixes | ONNX Runtime's CPU provider |
//! | `cuda` | [`Cuda`](cuda::Cuda) | Attention-23, or GroupQueryAttention with norm and rotary embedding inside | the CUDA provider |
//! | `standard` | [`Standard`](standard::Standard) | Attention-23 | OpenVINO, other tools |
//! | `tensorrt` | [`Standard`](standard::Standard) | Attention-23 in 16 bits | TensorRT |

mod contrib;
mod cpu;
mod cuda;
mod ort;
mod standard;

use lexivec_models::{AttentionForm, Target};

use crate::onnx::{Attribute, Graph, Value};
use crate::tensor::DType;

/// The operators of one target. By default norms and rotary embeddings use ONNX Runtime's own operators. Rows have the shape
/// `[tokens, width]`, sequences `[B, S, width]`.
pub(super) trait Dialect: Sync {
    /// Whether a packed graph has inputs for cached prefixes, and outputs that fill the prefix cache.
    fn keeps_prefixes(&self) -> bool;

    /// Whether one matrix product computes all layers of a linear group, and its result is split.
    fn stacks(&self, compute: DType) -> bool;

    /// Root mean square normalisation over the last axis (arXiv 1910.07467).
    fn rms_norm(&self, g: &mut Graph, x: &Value, weight: &Value, epsilon: f32) -> Value {
        contrib::rms_norm(g, x, weight, epsilon)
    }

    /// `sum = x + residual; (rms_norm(sum), sum)`.
    fn add_rms_norm(
        &self,
        g: &mut Graph,
        x: &Value,
        residual: &Value,
        weight: &Value,
        epsilon: f32,
    ) -> (Value, Value) {
        contrib::add_rms_norm(g, x, residual, weight, epsilon)
    }

    /// Rotates the heads of `x`, `[tokens, 1, heads * D]`, by `positions`, `[tokens, 1]` (RoPE, arXiv 2104.09864, half-rotation
    /// form).
    fn rotary(
        &self,
        g: &mut Graph,
        x: &Value,
        positions: &Value,
        tables: &RotaryValues,
        heads: usize,
    ) -> Value {
        contrib::rotary(g, x, positions, tables, heads)
    }

    /// The lengths that the attention operator needs; `None` if it derives them from shapes. `rectangle` is any value of shape
    /// `[B, S]`.
    fn lengths(&self, _g: &mut Graph, _rectangle: &Value) -> Option<Lengths> {
        None
    }

    /// Causal attention with grouped key/value heads, over sequences padded on the right. No mask is needed, because causality
    /// hides padding from all real tokens.
    fn attention(
        &self,
        g: &mut Graph,
        compute: DType,
        qkv: [&Value; 3],
        heads: HeadCounts,
        lengths: Option<&Lengths>,
    ) -> Value;

    /// Attention that includes norms and rotary embeddings; `None` if these are operators of their own.
    fn fused_attention(&self) -> Option<&dyn FusedAttention> {
        None
    }

    /// Attention that reads packed tokens where they are; `None` if it reads sequences.
    fn packed_attention(&self) -> Option<&dyn PackedAttention> {
        None
    }

    /// `x` times the transposed `weight`, both 8-bit floats with a scale each. By default both are widened before the product,
    /// which simulates a kernel for 8-bit floats.
    fn float8_matmul(
        &self,
        g: &mut Graph,
        compute: DType,
        x: &Value,
        weight: &Value,
        [x_scale, weight_scale]: [f32; 2],
    ) -> Value {
        let [x, weight] = [x, weight].map(|v| g.cast(v, compute));
        let attributes = [
            ("transB", Attribute::Int(1)),
            ("alpha", Attribute::Float(x_scale * weight_scale)),
        ];
        g.op("Gemm", &[&x, &weight], &attributes)
    }

    /// Whether linear layers with integer weights are lexivec's own operators.
    fn has_own_linears(&self) -> bool {
        false
    }

    /// The type and value of the zero point of 8-bit activations.
    fn activation_zero(&self) -> (DType, u8);
}

/// Attention that reads stacked query, key and value.
pub(super) trait FusedAttention {
    /// `qkv` has the shape `[B, S, (heads + 2 * kv_heads) * D]`. `norms` holds the weights of the query and key norms, if the
    /// model has them.
    #[allow(clippy::too_many_arguments)] // The operator's inputs.
    fn attention(
        &self,
        g: &mut Graph,
        qkv: &Value,
        norms: Option<[Value; 2]>,
        epsilon: f32,
        tables: &RotaryValues,
        heads: HeadCounts,
        lengths: &Lengths,
    ) -> Value;
}

/// Attention over packed tokens: each attends to its ancestors, without padding and without copies.
pub(super) trait PackedAttention {
    /// The outputs, a row for each query token, and the keys after norm and rotary embedding. All values are float32.
    fn attention(&self, g: &mut Graph, inputs: &PackedInputs<'_>) -> [Value; 2];
}

/// The inputs of [`PackedAttention`].
pub(super) struct PackedInputs<'a> {
    /// Queries, keys and values before norm and rotary embedding.
    pub(super) qkv: [&'a Value; 3],
    /// Cached keys and values.
    pub(super) prefix: [&'a Value; 2],
    /// int64 `[T]`.
    pub(super) positions: &'a Value,
    /// int64 `[B, S]`.
    pub(super) kv_index: &'a Value,
    /// int64 `[T]`.
    pub(super) token_index: &'a Value,
    /// The packed tokens that are queries, int64; [`Value::none`] for all of them.
    pub(super) query_tokens: &'a Value,
    pub(super) tables: &'a RotaryValues,
    /// The weights of the query and key norms, if the model has them.
    pub(super) norms: Option<[Value; 2]>,
    pub(super) epsilon: f32,
    pub(super) heads: HeadCounts,
}

/// Numbers of heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadCounts {
    pub(super) query: usize,
    pub(super) key_value: usize,
}

/// cos and sin of position times frequency, `[positions, D/2]` each.
#[derive(Debug)]
pub(super) struct RotaryValues {
    pub(super) cos: Value,
    pub(super) sin: Value,
}

/// The lengths that GroupQueryAttention takes.
#[derive(Debug)]
pub(super) struct Lengths {
    /// `total_sequence_length`: int32 scalar.
    pub(super) total: Value,
    /// `seqlens_k`: int32 `[B]`, each total - 1.
    pub(super) last: Value,
}

/// The dialect of a target.
pub(super) fn of(target: Target, attention: AttentionForm) -> &'static dyn Dialect {
    match (target, attention) {
        (Target::Cpu, _) => &cpu::Cpu,
        (Target::Ort, _) => &ort::Ort,
        (Target::Cuda, AttentionForm::Standard) => &cuda::Cuda {
            attention: AttentionForm::Standard,
        },
        (Target::Cuda, AttentionForm::Grouped) => &cuda::Cuda {
            attention: AttentionForm::Grouped,
        },
        (Target::Standard, _) => &standard::Standard {
            half_attention: false,
        },
        (Target::TensorRt, _) => &standard::Standard {
            half_attention: true,
        },
    }
}
