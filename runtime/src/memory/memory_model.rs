//! The memory model: how many bytes a model takes on a GPU. It does no I/O.
//!
//! It covers graphs of target `cuda`. ONNX Runtime's planner keeps one set of buffers for all layers: tensors of the
//! same symbolic shape share buffers, and a buffer stays allocated from the first layer that uses it to the last. The
//! peak is therefore a sum over shapes: bytes of a tensor, times how many of that shape are live at the same time.
//! Shapes over *packed tokens* (distinct tokens of the batch) and over *slots* (`[B, S]`, padding included) are
//! different shapes.
//!
//! The model leaves out the CUDA context, kernels, and cuBLAS's handles, which are several hundred MB on a card.

use lexivec_models::{
    AttentionForm, Compute, Decoder, GraphForm, Layout, Manifest, Precision, Target, WeightStorage,
};

use crate::batch::{FREE_SLOTS, Limits};

/// Batches of other shapes leave gaps in the arena: after mixed batches, it held 1.5 times the activations of the
/// largest one.
const ARENA_SLACK: f64 = 1.5;
/// cuBLASLt's workspace, which GemmFloat8 allocates.
const FLOAT8_WORKSPACE: usize = 32 << 20;

/// The memory that a model takes on a GPU, in bytes. [`fit`](crate::fit()) returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryModel {
    decoder: Decoder,
    form: GraphForm,
    weights: usize,
}

/// The size of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Number of packed tokens.
    pub(crate) tokens: usize,
    /// Sequences times the length of the longest: `B * S`.
    pub(crate) slots: usize,
    /// Length of the longest sequence, `S`.
    pub(crate) longest: usize,
}

impl BatchSize {
    /// A single text.
    #[must_use]
    pub(crate) fn text(tokens: usize) -> Self {
        Self {
            tokens,
            slots: tokens,
            longest: tokens,
        }
    }

    /// The batch of this many tokens that takes the most memory within the limits.
    #[must_use]
    pub fn worst(tokens: usize, max_padding: usize, max_length: usize) -> Self {
        Self {
            tokens,
            slots: FREE_SLOTS.max(max_padding * tokens),
            longest: tokens.min(max_length),
        }
    }
}

impl MemoryModel {
    /// Creates the model of a graph; `None` for targets that it does not cover.
    #[must_use]
    pub(crate) fn new(decoder: &Decoder, form: GraphForm) -> Option<Self> {
        (form.target == Target::Cuda).then(|| Self {
            weights: weights(decoder, form.precision),
            decoder: decoder.clone(),
            form,
        })
    }

    /// Creates the model of a converted graph. Weights that the conversion wrote count with the size of their file,
    /// because a quantised model may keep some linear layers in another precision.
    #[must_use]
    pub(crate) fn of(manifest: &Manifest) -> Option<Self> {
        if manifest.layout != Layout::Packed {
            return None;
        }
        let mut model = Self::new(&manifest.decoder, manifest.form())?;
        let file = manifest.files.get("model.onnx.data");
        if let (WeightStorage::Own, Some(file)) = (&manifest.weights, file) {
            model.weights = usize::try_from(file.size).unwrap_or(usize::MAX);
        }
        Some(model)
    }

    /// Bytes of all weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.weights
    }

    /// Whether the graph computes in float32.
    fn computes_in_float32(&self) -> bool {
        self.form.precision == Precision::Fp32 || self.form.compute == Some(Compute::Fp32)
    }

    /// Bytes of one number of an activation.
    fn element(&self) -> usize {
        if self.computes_in_float32() { 4 } else { 2 }
    }

    /// Peak bytes of a batch without the weights.
    #[must_use]
    pub fn activations(&self, batch: BatchSize) -> usize {
        let BatchSize {
            tokens,
            slots,
            longest,
        } = batch;
        let d = &self.decoder;
        let (hidden, inner) = (d.hidden_size, d.intermediate_size);
        let (query, key) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
        // The residual, its norm, a linear layer's output and their sum; gate, up and their product.
        let mut row = 4 * hidden + 3 * inner;
        let slot = match self.form.attention {
            AttentionForm::Standard => {
                // Outputs of the attention's linear layers share the residual stream's buffers if they are as wide.
                row += [query, key].iter().filter(|w| **w != hidden).sum::<usize>();
                // Heads after their norm, and after the rotation.
                row += (usize::from(d.qk_norm) + 1) * (query + key);
                // Query, key and value as sequences, and the attention's output.
                2 * (query + key)
            }
            AttentionForm::Grouped => {
                row += query + 2 * key;
                // The stacked linear layer's output as sequences; the unpacked query, the attention's output, and its
                // packed form; and the keys and values of every layer, because ONNX Runtime does not release outputs
                // that nobody reads.
                query + 2 * key + 3 * query + 2 * key * d.layers
            }
        };
        let element = self.element();
        let attention = match self.computes_in_float32() {
            // No fused kernel: scores, softmax and their copies in full, and query, key, value and output transposed.
            true => slots * (4 * d.heads * longest + 2 * (query + key)) * element,
            // The softmax's sums, float32.
            false => slots * d.heads * 4,
        };
        // Index inputs, int64.
        let inputs = 8 * (3 * tokens + 2 * slots);
        let scratch = match self.form.precision {
            Precision::Fp8 => tokens * (hidden + query + inner) + FLOAT8_WORKSPACE,
            // A whole weight in the compute type.
            Precision::Int8Weight | Precision::Int4Weight => hidden * inner.max(query) * element,
            Precision::Fp32 | Precision::Fp16 | Precision::Bf16 | Precision::Int8 => 0,
        };
        (tokens * row + slots * slot) * element + attention + inputs + scratch
    }

    /// The largest token budget, at most `limits.max_tokens`, whose batches fit into this many bytes together with the
    /// weights; 0 if none fits.
    #[must_use]
    pub(crate) fn budget(&self, bytes: usize, limits: &Limits, max_length: usize) -> usize {
        let worst = |tokens| BatchSize::worst(tokens, limits.max_padding, max_length);
        self.most(bytes, limits.max_tokens, worst)
    }

    /// The longest text, at most `max_length` tokens, that fits alone into this many bytes together with the weights.
    #[must_use]
    pub(crate) fn longest_text(&self, bytes: usize, max_length: usize) -> usize {
        self.most(bytes, max_length, BatchSize::text)
    }

    /// An upper bound of what a batch needs, gaps in the arena included.
    #[must_use]
    pub(crate) fn needed(&self, batch: BatchSize) -> usize {
        self.weights + (ARENA_SLACK * self.activations(batch) as f64) as usize
    }

    fn most(&self, bytes: usize, limit: usize, size: impl Fn(usize) -> BatchSize) -> usize {
        let fits = |tokens: usize| self.needed(size(tokens)) <= bytes;
        let (mut fitting, mut beyond) = (0, limit + 1);
        while beyond - fitting > 1 {
            let middle = usize::midpoint(fitting, beyond);
            if fits(middle) {
                fitting = middle;
            } else {
                beyond = middle;
            }
        }
        fitting
    }
}

/// Bytes of the weights with all linear layers in one precision, in blocks of 32.
fn weights(d: &Decoder, precision: Precision) -> usize {
    let (query, key) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
    let products = d.hidden_size * (2 * query + 2 * key + 3 * d.intermediate_size);
    let norms = 2 * d.hidden_size + 2 * d.head_dim;
    let table = d.vocab_size * d.hidden_size;
    // Cosines and sines of every position are halves of a head.
    let rotary = d.max_positions * d.head_dim;
    let others = d.layers * norms + d.hidden_size + rotary;
    let element = if precision == Precision::Fp32 { 4 } else { 2 };
    // Bytes per 32 weights: codes and a scale.
    let block = match precision {
        Precision::Fp32 | Precision::Fp16 | Precision::Bf16 => 32 * element,
        Precision::Fp8 | Precision::Int8 => 32,
        Precision::Int8Weight => 32 + element,
        Precision::Int4Weight => 16 + element,
    };
    let table = match precision {
        Precision::Int8Weight | Precision::Int4Weight => table / 32 * (32 + element),
        _ => table * element,
    };
    d.layers * products / 32 * block + table + others * element
}

#[cfg(test)]
mod tests;
