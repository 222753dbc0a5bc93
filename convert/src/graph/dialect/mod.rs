//! Dialects: which operators compute norms, rotary embedding, attention and linear layers.
//!
//! Every dialect computes the same function. They differ in what their execution providers have kernels for:
//!
//! | target | dialect | attention | for |
//! |---|---|---|---|
//! | `ort` | [`Ort`](ort::Ort) | GroupQueryAttention over gathered sequences, behind kept prefixes | ONNX Runtime's CPU provider |
//! | `cuda` | [`Cuda`](cuda::Cuda) | Attention-23, or GroupQueryAttention with norm and rotary embedding inside | the CUDA provider |
//! | `standard` | [`Standard`](standard::Standard) | Attention-23 | OpenVINO, other tools |
//! | `tensorrt` | [`Standard`](standard::Standard) | Attention-23 in 16 bits | TensorRT |

mod contrib;
mod cuda;
mod ort;
mod standard;

use lexivec_models::{Attention, Target};

use super::builder::{Attribute, DType, Graph, Value};

/// The operators of one target; norms and rotary embedding are ONNX Runtime's own unless a dialect says otherwise. Shapes: rows are `[rows, width]`, sequences `[B, S, width]`.
pub(super) trait Dialect: Sync {
    /// Whether a packed graph takes rows of kept prefixes, and returns the keys and values that these come from.
    fn keeps_prefixes(&self) -> bool;

    /// Whether linear layers that share an input are computed as one product whose result is split.
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

    /// Rotates the heads of `x`, `[rows, 1, heads * D]`, by `positions`, `[rows, 1]` (RoPE, arXiv 2104.09864, half-rotation
    /// form).
    fn rotary(
        &self,
        g: &mut Graph,
        x: &Value,
        positions: &Value,
        tables: &RotaryTables,
        heads: usize,
    ) -> Value {
        contrib::rotary(g, x, positions, tables, heads)
    }

    /// What attention wants to know of lengths; nothing where the operator reads shapes. `rectangle` is any value of shape
    /// `[B, S]`.
    fn lengths(&self, _g: &mut Graph, _rectangle: &Value) -> Option<Lengths> {
        None
    }

    /// Causal attention with grouped key/value heads, over sequences padded on the right. There is no mask: no real token
    /// sees a padded one.
    fn attention(
        &self,
        g: &mut Graph,
        compute: DType,
        qkv: [&Value; 3],
        heads: Heads,
        lengths: Option<&Lengths>,
    ) -> Value;

    /// Attention that normalises and rotates inside; none where these are operators of their own.
    fn fused_attention(&self) -> Option<&dyn FusedAttention> {
        None
    }

    /// `x` times the transposed `weight`, both 8-bit floats and each with its scale. Where no kernel multiplies them, both are
    /// widened: that simulates what one would compute.
    fn float8_product(
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

    /// The type and value of the zero point of 8-bit activations.
    fn activation_zero(&self) -> (DType, u8);
}

/// Attention that reads the stacked product of query, key and value.
pub(super) trait FusedAttention {
    /// `qkv` is `[B, S, (heads + 2 * kv_heads) * D]`, `norms` the weights of the query's and the key's norm, where the model
    /// has them.
    #[allow(clippy::too_many_arguments)] // The operator's inputs.
    fn attention(
        &self,
        g: &mut Graph,
        qkv: &Value,
        norms: Option<[Value; 2]>,
        epsilon: f32,
        tables: &RotaryTables,
        heads: Heads,
        lengths: &Lengths,
    ) -> Value;
}

/// Numbers of heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) query: usize,
    pub(super) key_value: usize,
}

/// cos and sin of position times frequency, `[positions, D/2]` each.
#[derive(Debug)]
pub(super) struct RotaryTables {
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
pub(super) fn of(target: Target, attention: Attention) -> &'static dyn Dialect {
    match (target, attention) {
        (Target::Ort, _) => &ort::Ort,
        (Target::Cuda, Attention::Standard) => &cuda::Cuda {
            attention: Attention::Standard,
        },
        (Target::Cuda, Attention::Grouped) => &cuda::Cuda {
            attention: Attention::Grouped,
        },
        (Target::Standard, _) => &standard::Standard {
            half_attention: false,
        },
        (Target::TensorRt, _) => &standard::Standard {
            half_attention: true,
        },
    }
}
