//! The texts of a calibration, as token sequences, and the part of them that is held out.

use std::collections::HashSet;

use lexivec_models::Checkpoint;
use lexivec_runtime::{Request, Tokenizer, Truncate};

use crate::error::Result;

/// Terms, sentences and code in many languages, one text per line.
const BUILT_IN: &str = include_str!("../../data/calibration.txt");
/// The most tokens of a text. Later tokens behave like earlier ones.
const TOKENS_PER_TEXT: usize = 256;
/// The most tokens of all texts. More tokens take longer and hardly change the result.
const TOKENS: usize = 4096;

/// One text in this many is held out from solving, so that measurements on it hold for texts that calibration never sees.
const HELD_OUT_EVERY: usize = 4;

/// Splits values that belong to texts into those of the solved and of the held-out texts. If there are few texts, all of them
/// are both solved and held out.
pub(super) fn split<T: Clone>(texts: impl ExactSizeIterator<Item = T>) -> (Vec<T>, Vec<T>) {
    if texts.len() < 2 * HELD_OUT_EVERY {
        let all: Vec<T> = texts.collect();
        return (all.clone(), all);
    }
    let (mut solved, mut held_out) = (Vec::new(), Vec::new());
    for (i, text) in texts.enumerate() {
        match i % HELD_OUT_EVERY {
            0 => held_out.push(text),
            _ => solved.push(text),
        }
    }
    (solved, held_out)
}

/// The distinct sequences of these texts, or of the built-in set. If they have too many tokens, an even selection of them.
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
    // Takes enough candidates for the budget, spread over all texts.
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
    // Bresenham's line: takes a sequence whenever the number of wanted tokens so far has reached its end.
    let (mut seen, mut taken) = (0usize, 0usize);
    sequences.retain(|s| {
        seen += s.len();
        let keep = taken + s.len() <= (seen * TOKENS).div_ceil(total).max(TOKENS_PER_TEXT);
        taken += if keep { s.len() } else { 0 };
        keep
    });
    Ok(sequences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_texts_is_held_out() {
        let sequences: Vec<Vec<u32>> = (0..75).map(|i| vec![i]).collect();
        let (solved, held_out) = split(sequences.iter().cloned());
        assert_eq!((solved.len(), held_out.len()), (56, 19));
        let mut all = [solved, held_out].concat();
        all.sort();
        assert_eq!(all, sequences);
    }

    #[test]
    fn few_texts_are_both_solved_and_held_out() {
        let sequences = vec![vec![1], vec![2]];
        let parts = split(sequences.iter().cloned());
        assert_eq!(parts, (sequences.clone(), sequences));
    }
}
