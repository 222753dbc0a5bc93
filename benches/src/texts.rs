//! Creates texts from numbers, so that every run and every server gets the same texts.

use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::json;

const QUALITIES: [&str; 16] = [
    "acute",
    "chronic",
    "benign",
    "primary",
    "secondary",
    "recurrent",
    "familial",
    "latent",
    "bilateral",
    "diffuse",
    "focal",
    "mixed",
    "partial",
    "severe",
    "transient",
    "idiopathic",
];
const SYLLABLES: [&str; 24] = [
    "car", "di", "o", "my", "neu", "ro", "gas", "tri", "he", "pa", "der", "ma", "os", "te", "ne",
    "phro", "pul", "mo", "vas", "cu", "lar", "hy", "po", "xi",
];

/// Returns a short text of two words, which is different for each number.
#[must_use]
pub fn term(number: u64) -> String {
    let quality = QUALITIES[(number % 16) as usize];
    let mut word = String::new();
    let mut rest = number / 16;
    // Words have at least three syllables, so that small numbers look like words.
    for place in 0.. {
        if place >= 3 && rest == 0 {
            break;
        }
        word.push_str(SYLLABLES[(rest % 24) as usize]);
        rest /= 24;
    }
    format!("{quality} {word}")
}

/// Returns a text of `terms` terms, which is different for each number.
#[must_use]
pub fn passage(number: u64, terms: u64) -> String {
    let terms: Vec<String> = (0..terms).map(|t| term(number * terms + t)).collect();
    terms.join(", ")
}

/// Returns a pseudo-random number from a seed (SplitMix64).
#[must_use]
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Draws numbers below a bound by Zipf's law: the number of rank k has a probability proportional to 1 / k^s.
#[derive(Debug, Clone)]
pub struct Zipf(Arc<[f64]>);

impl Zipf {
    /// Creates the distribution with exponent `s` over `items` numbers.
    #[must_use]
    pub fn new(items: usize, s: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=items).map(|rank| {
            sum += (rank as f64).powf(-s);
            sum
        });
        Self(cumulative.collect())
    }

    /// Returns the draw for a seed.
    #[must_use]
    pub fn draw(&self, seed: u64) -> u64 {
        let total = self.0.last().copied().unwrap_or(0.0);
        // A float represents 53 bits exactly.
        let place = (mix(seed) >> 11) as f64 / (1u64 << 53) as f64 * total;
        self.0.partition_point(|sum| *sum <= place) as u64
    }
}

/// Returns the body of a request for `texts` with additional `fields`.
#[must_use]
pub fn body(model: &str, texts: &[String], fields: &serde_json::Value) -> Bytes {
    let mut body = json!({"model": model, "input": texts, "encoding_format": "base64"});
    if let (Some(body), Some(fields)) = (body.as_object_mut(), fields.as_object()) {
        body.extend(fields.clone());
    }
    body.to_string().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn terms_are_distinct() {
        let terms: HashSet<String> = (0..300_000).map(term).collect();
        assert_eq!(terms.len(), 300_000);
    }

    #[test]
    fn zipf_draws_follow_the_distribution() {
        let zipf = Zipf::new(1000, 1.0);
        let draws: Vec<u64> = (0..100_000).map(|seed| zipf.draw(seed)).collect();
        assert!(draws.iter().all(|d| *d < 1000));
        let share = |rank| draws.iter().filter(|d| **d == rank).count() as f64 / 100_000.0;
        // The thousandth harmonic number is 7.485.
        for (rank, expected) in [(0, 1.0 / 7.485), (1, 0.5 / 7.485), (9, 0.1 / 7.485)] {
            assert!((share(rank) - expected).abs() < 0.004, "{rank}");
        }
    }
}
