//! The part of the manifest that says how a conversion was verified, and how a session can be.

use serde::{Deserialize, Serialize};

use crate::decoder::Decoder;

/// The result of a conversion's verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Verification {
    /// The model's vectors were compared with a reference and were close enough.
    Passed {
        /// The name of the reference.
        against: String,
        /// The execution provider that computed the model's vectors.
        #[serde(default = "cpu")]
        on: String,
        /// Number of texts.
        texts: usize,
        /// The cosine similarity of the worst text.
        min_cosine: f64,
        /// The mean cosine similarity.
        mean_cosine: f64,
        /// The worst text.
        worst_text: String,
    },
    /// Nothing was compared.
    Skipped {
        /// The reason, as text.
        reason: String,
    },
}

/// The execution provider of all verifications from before manifests recorded it.
fn cpu() -> String {
    "cpu".to_owned()
}

/// A text and the vector that the model computed for it when it was verified. A session that computes another vector is
/// damaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownAnswer {
    /// The text's token ids, special tokens included.
    pub tokens: Vec<u32>,
    /// The first dimensions of its vector, scaled to unit length.
    pub vector: Vec<f32>,
}

impl KnownAnswer {
    /// Whether a model of this architecture can compute it.
    pub(super) fn fits(&self, decoder: &Decoder) -> bool {
        let is_known = |id: &u32| (*id as usize) < decoder.vocab_size;
        let widths = 1..=decoder.hidden_size;
        !self.tokens.is_empty()
            && self.tokens.iter().all(is_known)
            && widths.contains(&self.vector.len())
            && self.vector.iter().all(|value| value.is_finite())
    }
}
