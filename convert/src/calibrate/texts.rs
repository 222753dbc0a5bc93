//! The texts of a calibration, as token sequences.

use std::collections::HashSet;

use lexivec_models::Checkpoint;
use lexivec_runtime::{Request, Tokenizer, Truncate};

use crate::error::Result;

/// Terms, sentences and code in many languages, a text per line.
const BUILT_IN: &str = include_str!("../../data/calibration.txt");
/// The most tokens of a text: what comes later differs little from what came before.
const TOKENS_PER_TEXT: usize = 256;
/// The most tokens in all: more change hardly anything, and take longer.
const TOKENS: usize = 4096;

/// The sequences of these texts, or of the built-in set; different ones only, taken evenly where there are more than
/// calibration has use for.
pub(super) fn sequences(checkpoint: &Checkpoint, texts: &[String]) -> Result<Vec<Vec<u32>>> {
    let d = &checkpoint.decoder;
    let length = checkpoint.max_length().min(TOKENS_PER_TEXT);
    let tokenizer = Tokenizer::open(&checkpoint.tokenizer, d.vocab_size, length)?;
    let built_in: Vec<String>;
    let texts = if texts.is_empty() {
        built_in = BUILT_IN.lines().map(str::to_owned).collect();
        &built_in
    } else {
        texts
    };
    // Enough candidates for the budget, from all over the texts.
    let step = (texts.len() / TOKENS).max(1);
    let mut known = HashSet::new();
    let mut sequences = Vec::new();
    for text in texts.iter().step_by(step).filter(|t| !t.trim().is_empty()) {
        let request = Request {
            truncate: Truncate::End,
            ..Request::text(text.as_str())
        };
        let ids = tokenizer.encode(&request)?.ids;
        if known.insert(ids.clone()) {
            sequences.push(ids);
        }
    }
    let total: usize = sequences.iter().map(Vec::len).sum();
    if total <= TOKENS {
        return Ok(sequences);
    }
    // Bresenham's line: a sequence is taken whenever the share of tokens that are wanted passes its end.
    let (mut seen, mut taken) = (0usize, 0usize);
    sequences.retain(|s| {
        seen += s.len();
        let keep = taken + s.len() <= (seen * TOKENS).div_ceil(total).max(TOKENS_PER_TEXT);
        taken += if keep { s.len() } else { 0 };
        keep
    });
    Ok(sequences)
}
