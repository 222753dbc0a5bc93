//! The signatures of lexivec's own operators: their names and attributes, and the order of the inputs of PackedAttention,
//! Int8Linear and BlockLinear. Conversion writes nodes by them, and the kernels read their inputs by them.
//!
//! In shapes, T is the number of packed tokens, P of cached tokens, B of sequences, and S the length of the longest one. `heads`,
//! `kv_heads` and `size` are the numbers of heads and the width of a head.

/// The domain of the operators, which only lexivec has.
pub const DOMAIN: &str = "lexivec";

/// Causal attention with grouped key/value heads over packed tokens. Inputs: [`PackedAttentionInput`]. Attributes: [`NUM_HEADS`],
/// [`KV_NUM_HEADS`], [`EPSILON`].
///
/// | output | type, shape | meaning |
/// |---|---|---|
/// | 0 | float32 `[Q, heads * size]` | the result, a row for each query token |
/// | 1 | float32 `[T, kv_heads * size]` | the keys after norm and rotation, which the KV cache stores |
pub const PACKED_ATTENTION: &str = "PackedAttention";

/// Quantises each row of its input. Outputs and attributes as those of [`NORM_QUANTIZE`], without the sum.
///
/// | input | type, shape | meaning |
/// |---|---|---|
/// | 0 | float32 `[T, width]` | the rows |
pub const QUANTIZE: &str = "Quantize";

/// Quantises the root mean square norm of each row. Attributes: [`EPSILON`]; [`BLOCK_SIZE`] if not a whole row but each of its blocks has
/// a scale; [`ROTATION`] if blocks are rotated before they are quantised.
///
/// | input | type, shape | meaning |
/// |---|---|---|
/// | 0 | float32 `[T, width]` | the rows |
/// | 1 | float32 `[width]` | the norm's weight |
/// | 2, optional | float32 `[T, width]` | added to the rows before the norm |
///
/// | output | type, shape | meaning |
/// |---|---|---|
/// | 0 | uint8, arranged as `lexivec_kernels::codes::Layout` says | the 8-bit codes |
/// | 1 | float32 `[T]` or `[T, blocks]` | the scale of each row or block |
/// | 2, optional | uint8, arranged alike | fine codes: the rounding errors of the codes |
/// | 3, optional | float32 `[T, width]` | the sum of the inputs 0 and 2 |
/// | 4, optional | int32, as the scales | the sum of the codes of each row or block, less the code of zero |
pub const NORM_QUANTIZE: &str = "NormQuantize";

/// Quantises `silu(gate) * up`. Outputs and attributes as those of [`NORM_QUANTIZE`], without the sum.
///
/// | input | type, shape | meaning |
/// |---|---|---|
/// | 0 | float32 `[T, width]` | the gate |
/// | 1 | float32 `[T, width]` | the other factor, up |
pub const SWIGLU_QUANTIZE: &str = "SwiGluQuantize";

/// A linear layer in 8-bit integers. Inputs: [`Int8LinearInput`].
///
/// | output | type, shape | meaning |
/// |---|---|---|
/// | 0 | float32 `[T, outputs]` | the layer's result |
pub const INT8_LINEAR: &str = "Int8Linear";

/// A linear layer with weights of 4 or 8 bits, which share scales, and may share zero points, in blocks of inputs. Inputs:
/// [`BlockLinearInput`]. Attributes: [`BITS`], [`BLOCK_SIZE`], [`OUTPUTS`].
///
/// | output | type, shape | meaning |
/// |---|---|---|
/// | 0 | float32 `[T, outputs]` | the layer's result |
pub const BLOCK_LINEAR: &str = "BlockLinear";

/// Attribute: the bits of a weight, 4 or 8.
pub const BITS: &str = "bits";

/// Attribute: the number of inputs that share a scale.
pub const BLOCK_SIZE: &str = "block_size";

/// Attribute: the width of the blocks to which the Hadamard transform of `lexivec_kernels::hadamard` is applied.
pub const ROTATION: &str = "rotation";

/// Attribute: the number of outputs of a layer.
pub const OUTPUTS: &str = "outputs";

/// Attribute: the number of query heads.
pub const NUM_HEADS: &str = "num_heads";

/// Attribute: the number of key and value heads.
pub const KV_NUM_HEADS: &str = "kv_num_heads";

/// Attribute: what a norm adds to the mean square.
pub const EPSILON: &str = "epsilon";

/// The inputs of [`PACKED_ATTENTION`], in order. There are Q query tokens: all T packed tokens, unless [`QueryTokens`](Self::QueryTokens)
/// names some. Indices of tokens count the P cached tokens first, then the T packed ones.
///
/// ```
/// use lexivec_runtime::operators::PackedAttentionInput;
///
/// assert_eq!(PackedAttentionInput::ALL[3], PackedAttentionInput::PrefixKey);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedAttentionInput {
    /// float32 `[Q, heads * size]`: the queries before norm and rotation.
    Query,
    /// float32 `[T, kv_heads * size]`: the keys before norm and rotation.
    Key,
    /// float32 `[T, kv_heads * size]`: the values.
    Value,
    /// float32 `[P, kv_heads * size]`: the cached keys, after norm and rotation.
    PrefixKey,
    /// float32 `[P, kv_heads * size]`: the cached values.
    PrefixValue,
    /// int64 `[T]`: the position of each packed token in its sequences.
    PositionIds,
    /// int64 `[B, S]`: the index of the token at each position of each sequence.
    KvIndex,
    /// int64 `[T]`: the slot in the flat `[B * S]` of `KvIndex` where each packed token stands in one of its sequences.
    TokenIndex,
    /// float32 `[positions, size / 2]`: the cosines of position times frequency.
    Cos,
    /// float32 `[positions, size / 2]`: the sines of position times frequency.
    Sin,
    /// float32 `[size]`, optional: the weight of the queries' norm. Heads are normalised only if both norms are there.
    QueryNorm,
    /// float32 `[size]`, optional: the weight of the keys' norm.
    KeyNorm,
    /// int64 `[Q]`, optional: the packed tokens that are queries.
    QueryTokens,
}

impl PackedAttentionInput {
    /// All inputs, in order.
    pub const ALL: [Self; 13] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::PrefixKey,
        Self::PrefixValue,
        Self::PositionIds,
        Self::KvIndex,
        Self::TokenIndex,
        Self::Cos,
        Self::Sin,
        Self::QueryNorm,
        Self::KeyNorm,
        Self::QueryTokens,
    ];
}

/// The inputs of [`INT8_LINEAR`], in order.
///
/// ```
/// use lexivec_runtime::operators::Int8LinearInput;
///
/// assert_eq!(Int8LinearInput::ALL[2], Int8LinearInput::Weights);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Int8LinearInput {
    /// uint8, as the operators for quantisation arrange them: the codes of activations.
    Codes,
    /// float32 `[T]`: the scale of each row of codes.
    Scales,
    /// int8 `[ceil(outputs / 16), inputs / 4, 16, 4]`: the weights, as `lexivec_kernels::linear::pack` arranges them.
    Weights,
    /// float32 `[outputs]`: the scale of each output's weights.
    WeightScales,
    /// int32 `[outputs]`: the sum of each output's weights.
    WeightSums,
    /// float32 `[outputs]`, optional: the bias.
    Bias,
    /// uint8, arranged as `Codes`, optional: the fine codes of activations.
    FineCodes,
}

impl Int8LinearInput {
    /// All inputs, in order.
    pub const ALL: [Self; 7] = [
        Self::Codes,
        Self::Scales,
        Self::Weights,
        Self::WeightScales,
        Self::WeightSums,
        Self::Bias,
        Self::FineCodes,
    ];
}

/// The inputs of [`BLOCK_LINEAR`], in order. `per_byte` is 2 for weights of 4 bits and 1 for those of 8 bits.
///
/// ```
/// use lexivec_runtime::operators::BlockLinearInput;
///
/// assert_eq!(BlockLinearInput::ALL[3], BlockLinearInput::Weights);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockLinearInput {
    /// uint8, as the operators for quantisation arrange them: the codes of activations.
    Codes,
    /// float32 `[T, blocks]`: the scale of each block of codes.
    Scales,
    /// int32 `[T, blocks]`: the sum of each block's codes.
    CodeSums,
    /// uint8 `[ceil(outputs / 16), inputs / (4 per_byte), 16, 4]`: the weights, as `lexivec_kernels::block_linear::pack` arranges them.
    Weights,
    /// float32 `[ceil(outputs / 16), blocks, 16]`: the scale of each block of weights.
    WeightScales,
    /// uint8 `[ceil(outputs / 16), blocks, 16]`, optional: the zero point of each block of weights; the middle of the codes without.
    ZeroPoints,
    /// float32 `[outputs]`, optional: the bias.
    Bias,
}

impl BlockLinearInput {
    /// All inputs, in order.
    pub const ALL: [Self; 7] = [
        Self::Codes,
        Self::Scales,
        Self::CodeSums,
        Self::Weights,
        Self::WeightScales,
        Self::ZeroPoints,
        Self::Bias,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inputs_number_is_its_place_in_the_list() {
        let attention = PackedAttentionInput::ALL.map(|input| input as usize);
        assert!(attention.into_iter().eq(0..PackedAttentionInput::ALL.len()));
        let linear = Int8LinearInput::ALL.map(|input| input as usize);
        assert!(linear.into_iter().eq(0..Int8LinearInput::ALL.len()));
        let blocks = BlockLinearInput::ALL.map(|input| input as usize);
        assert!(blocks.into_iter().eq(0..BlockLinearInput::ALL.len()));
    }
}
