//! The memory that a text takes on a CPU.

use lexivec_models::{Decoder, Target};

/// Bytes of an attention score in ONNX Runtime: a float32, and half as much for what surrounds it. Measured: 8 heads and 12,000 tokens
/// take 7.0 GB.
const SCORE: usize = 6;

/// The memory that a text takes on a CPU while it is computed, besides the model.
///
/// ONNX Runtime's attention keeps a score for each head and each pair of a text's tokens: 16 heads and 32,768 tokens would take
/// 69 GB. Attention of target `cpu` keeps none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextMemory {
    /// Bytes for each token.
    pub per_token: usize,
    /// Bytes for each pair of tokens.
    pub per_pair: usize,
}

impl TextMemory {
    /// The memory of a model's texts; `target` is `None` for another exporter's model.
    #[must_use]
    pub fn of(decoder: &Decoder, target: Option<Target>) -> Self {
        let d = decoder;
        let (query, key) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
        // Float32: gate and up; queries and the output of attention; keys twice and values; the residual stream and what is added to it.
        let values = 2 * d.intermediate_size + 2 * query + 3 * key + 4 * d.hidden_size;
        Self {
            per_token: size_of::<f32>() * values,
            per_pair: match target {
                Some(Target::Cpu) => 0,
                _ => SCORE * d.heads,
            },
        }
    }

    /// The longest text that takes at most this many bytes, in tokens.
    pub(crate) fn longest(self, bytes: usize) -> usize {
        // The positive root of per_pair n^2 + per_token n = bytes, in the form that also holds for per_pair = 0.
        let [a, b, c] = [self.per_pair, self.per_token, bytes].map(|x| x as f64);
        let tokens = 2.0 * c / (b + (b * b + 4.0 * a * c).sqrt());
        tokens as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nano() -> Decoder {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/config.json");
        Decoder::read(config.as_ref()).unwrap()
    }

    #[test]
    fn memory_grows_with_the_square_of_the_length_where_attention_keeps_scores() {
        for target in [None, Some(Target::Ort), Some(Target::Standard)] {
            let memory = TextMemory::of(&nano(), target);
            assert_eq!(memory.longest(7_000_000_000), 11_933);
            assert_eq!(memory.longest(28_000_000_000), 24_008);
        }
    }

    #[test]
    fn memory_grows_with_the_length_where_attention_keeps_none() {
        let memory = TextMemory::of(&nano(), Some(Target::Cpu));
        assert_eq!(memory.longest(memory.per_token * 32_768), 32_768);
    }
}
