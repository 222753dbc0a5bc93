//! Shape ranges for TensorRT, which compiles a graph for them.
//!
//! An engine's range bounds each dimension by itself, so its memory is that of the largest batch *and* the longest text
//! at once. Buckets by length bound their product: many short texts, or few long ones.
//!
//! TensorRT engines can hold several ranges (optimisation profiles), and ONNX Runtime's providers read several of them
//! from their options, but its TensorRT provider always runs in the first (microsoft/onnxruntime#31624). So a bucket is
//! a session with one range.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::network::graph_inputs::{Dimension, GraphInput};
use crate::onnxruntime::session_settings::Profile;

/// The batches that one engine accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Maximum number of texts.
    pub(crate) sequences: usize,
    /// Maximum tokens of a text.
    pub(crate) length: usize,
    /// Maximum tokens of all texts together.
    pub(crate) tokens: usize,
}

/// The upper ends of the buckets, besides the longest text.
const LENGTHS: [usize; 3] = [64, 512, 4096];
/// Slots of a bucket for each token of the budget; as much padding as batches may have.
const PADDING: usize = 2;

/// Three or four buckets, for a token budget and a model's longest text.
pub(crate) fn buckets(max_tokens: usize, max_length: usize) -> Vec<Bucket> {
    let lengths = LENGTHS.into_iter().filter(|length| *length < max_length);
    lengths
        .chain([max_length])
        .map(|length| Bucket {
            sequences: (PADDING * max_tokens / length).max(1),
            length,
            // A text that is longer than the budget runs alone.
            tokens: max_tokens.max(length),
        })
        .collect()
}

impl Bucket {
    /// The ranges of a graph's inputs.
    ///
    /// # Errors
    /// The name of an input whose dimensions cannot be bounded.
    pub(crate) fn profile(&self, inputs: &[GraphInput]) -> Result<Profile, String> {
        let mut profile = Profile::default();
        for input in inputs {
            let dynamic = |d: &Dimension| matches!(d, Dimension::Dynamic(_));
            if !input.shape.iter().any(dynamic) {
                continue;
            }
            let mut ranges = Vec::new();
            for (axis, dimension) in input.shape.iter().enumerate() {
                ranges.push(match dimension {
                    Dimension::Fixed(size) => [*size; 3],
                    Dimension::Dynamic(symbol) => self
                        .range(input, axis, symbol)
                        .ok_or_else(|| input.name.clone())?,
                });
            }
            let texts = [&mut profile.min, &mut profile.opt, &mut profile.max];
            for (which, text) in texts.into_iter().enumerate() {
                let sizes: Vec<String> = ranges.iter().map(|r| r[which].to_string()).collect();
                let comma = if text.is_empty() { "" } else { "," };
                let _ = write!(text, "{comma}{}:{}", input.name, sizes.join("x"));
            }
        }
        Ok(profile)
    }

    /// The minimum, usual and maximum size of a dimension.
    fn range(&self, input: &GraphInput, axis: usize, symbol: &str) -> Option<[usize; 3]> {
        // Padded graphs of any exporter.
        let padded = ["input_ids", "attention_mask", "position_ids"].contains(&input.name.as_str())
            && input.shape.len() == 2;
        let symbol = match (padded, axis) {
            (true, 0) => "B",
            (true, _) => "S",
            (false, _) => symbol,
        };
        match symbol {
            "B" => Some([1, self.sequences.div_ceil(PADDING), self.sequences]),
            "S" => Some([1, self.length, self.length]),
            "T" => Some([1, self.tokens, self.tokens]),
            // There are no cached prefixes.
            "P" => Some([0; 3]),
            _ => None,
        }
    }

    /// Whether a text of so many tokens fits.
    pub(crate) fn takes(&self, tokens: usize) -> bool {
        tokens <= self.length
    }
}

/// The error for a graph whose shapes lexivec cannot bound by itself.
pub(crate) fn unknown(path: &std::path::Path, input: &str, options: [&str; 3]) -> Error {
    Error::Signature {
        path: path.to_path_buf(),
        reason: format!(
            "TensorRT needs bounds for every input, and those of `{input}` are not known: set the provider's options {}, {} and {}",
            options[0], options[1], options[2]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, shape: &[&str]) -> GraphInput {
        let dimension = |text: &&str| match text.parse() {
            Ok(size) => Dimension::Fixed(size),
            Err(_) => Dimension::Dynamic((*text).to_owned()),
        };
        GraphInput {
            name: name.to_owned(),
            shape: shape.iter().map(dimension).collect(),
        }
    }

    #[test]
    fn buckets_hold_the_budget_at_every_length() {
        let found = buckets(16_384, 32_768);
        let pairs: Vec<_> = found.iter().map(|b| (b.length, b.sequences)).collect();
        assert_eq!(pairs, [(64, 512), (512, 64), (4096, 8), (32_768, 1)]);
        assert_eq!(found[3].tokens, 32_768);
        // A model of short texts has no bucket beyond them.
        assert_eq!(buckets(2048, 512).len(), 2);
        for bucket in found {
            assert!(bucket.sequences * bucket.length <= PADDING * 16_384);
        }
    }

    #[test]
    fn a_profile_bounds_every_dynamic_input() {
        let inputs = [
            input("input_ids", &["T"]),
            input("kv_index", &["B", "S"]),
            input("last_slot", &["B"]),
            input("prefix_key.0", &["P", "64"]),
            input("scale", &["1"]),
        ];
        let bucket = buckets(1024, 512)[0];
        let profile = bucket.profile(&inputs).unwrap();
        assert_eq!(
            profile.min,
            "input_ids:1,kv_index:1x1,last_slot:1,prefix_key.0:0x64"
        );
        assert_eq!(
            profile.opt,
            "input_ids:1024,kv_index:16x64,last_slot:16,prefix_key.0:0x64"
        );
        assert_eq!(
            profile.max,
            "input_ids:1024,kv_index:32x64,last_slot:32,prefix_key.0:0x64"
        );
    }

    #[test]
    fn padded_graphs_of_other_exporters_are_known_by_their_inputs() {
        let ids = input("input_ids", &["batch_size", "sequence_length"]);
        let profile = buckets(1024, 512)[1].profile(&[ids]).unwrap();
        assert_eq!(profile.max, "input_ids:4x512");
        let other = input("pixels", &["batch", "3"]);
        assert_eq!(
            buckets(1024, 512)[0].profile(&[other]),
            Err("pixels".to_owned())
        );
    }
}
